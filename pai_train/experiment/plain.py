"""Values as JSON types, for run records and metrics."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any


def plain(value: Any) -> Any:
    """Returns `value` made of dict, list, str, int, float, bool and None.

    JSON has no word for non-finite numbers: they become 'NaN', 'Infinity' and '-Infinity'. Scalars of numpy and
    TensorFlow become Python's.

    Raises:
        TypeError: There is no JSON for this value.
    """
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else _name(value)
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    for convert in ("item", "numpy"):
        if hasattr(value, convert):
            return plain(getattr(value, convert)())
    raise TypeError(f"no JSON for a value of type {type(value).__name__}")


def _name(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"
