"""How recipes write names and characters: table columns without case, delimiters with escapes."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from pai_train.spec.config import InputConfig, LabelConfig
from pai_train.spec.ids import ids_without_case

if TYPE_CHECKING:
    from collections.abc import Iterable

_ESCAPE = re.compile(r"\\(?:t|x([0-9a-fA-F]{2}))")


def character(text: str) -> str:
    r"""Returns the character that `\t` or `\x01` stands for, which a command line cannot well hold; else the text."""
    match = _ESCAPE.fullmatch(text)
    if match is None:
        return text
    return chr(int(match[1], 16)) if match[1] else "\t"


def without_case(rows: InputConfig) -> InputConfig:
    """Writes the column names of a table input in lower case, as tables have them."""
    label, defaults = rows.label, rows.record_defaults
    if isinstance(label, LabelConfig):
        label = replace(label, column=label.column.lower())
    elif label is not None:
        label = label.lower()
    return replace(
        rows,
        columns={name.lower(): text for name, text in rows.columns.items()},
        label=label,
        weight=None if rows.weight is None else rows.weight.lower(),
        ids=ids_without_case(rows.ids),
        features=None if rows.features is None else [name.lower() for name in rows.features],
        record_defaults={n.lower(): v for n, v in defaults.items()} if isinstance(defaults, dict) else defaults,
    )


def given_twice(names: Iterable[str]) -> list[str]:
    """Returns the names, in lower case, that are given more than once but for case."""
    return [name for name, count in Counter(name.lower() for name in names).items() if count > 1]
