"""What a model builder is given: the statistics of the feature columns and what is to be learned."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

DataType = Literal["float", "int", "bool", "string", "id", "image"]
Task = Literal["classification", "regression"]
ClassValue = str | int | bool


@dataclass(frozen=True)
class ColumnSpec:
    """A feature column, with what preprocessing inside the model needs of the training rows.

    Attributes:
        name: The column, and the name of the model's input.
        dtype: 'float' (float64), 'int' (int64), 'bool', 'string', 'id' (int32) or 'image' (uint8), as the feed
            delivers it.
        mean: Mean of a numeric or bool column.
        variance: Population variance of a numeric or bool column; 1 for a constant one.
        vocabulary: Values of a string column, the most frequent first.
        size: Of a column of ids: how many there are, 0 to size - 1.
        shape: Of a column of images: [height, width, channels].
    """

    name: str
    dtype: DataType
    mean: float = 0.0
    variance: float = 1.0
    vocabulary: tuple[bytes | str, ...] = ()
    size: int = 0
    shape: tuple[int, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Returns a dict of JSON types."""
        values = [one if isinstance(one, str) else {"base64": _text(one)} for one in self.vocabulary]
        return {**asdict(self), "vocabulary": values, "shape": list(self.shape)}

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> ColumnSpec:
        """Reads what `to_json` gave."""
        values = [one if isinstance(one, str) else base64.b64decode(one["base64"]) for one in told["vocabulary"]]
        return cls(**{**told, "vocabulary": tuple(values), "shape": tuple(told["shape"])})


@dataclass(frozen=True)
class LabelSpec:
    """What the model learns.

    Attributes:
        column: The label column.
        task: Classification gives one logit per class, regression one value.
        classes: The class values in the order of the logits; empty for regression.
    """

    column: str
    task: Task
    classes: tuple[ClassValue, ...] = ()

    def __post_init__(self) -> None:
        if self.task == "classification" and not self.classes:
            raise ValueError(f"label {self.column!r}: classification needs classes")
        if len(set(self.classes)) != len(self.classes):
            raise ValueError(f"label {self.column!r}: a class is named twice: {self.classes}")
        if len({isinstance(value, str) for value in self.classes}) > 1:
            raise ValueError(f"label {self.column!r}: classes mix strings and numbers: {self.classes}")

    def to_json(self) -> dict[str, Any]:
        """Returns a dict of JSON types."""
        return {**asdict(self), "classes": list(self.classes)}

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> LabelSpec:
        """Reads what `to_json` gave."""
        return cls(**{**told, "classes": tuple(told["classes"])})

    @property
    def width(self) -> int:
        """Number of values the model gives per row."""
        return len(self.classes) if self.task == "classification" else 1


def _text(value: bytes) -> str:
    return base64.b64encode(value).decode()


ModelBuilder = Callable[..., Any]
"""`(columns: Sequence[ColumnSpec], label: LabelSpec, **params) -> keras.Model`.

The model takes raw columns: one input of shape (rows, *column.shape) per ColumnSpec, with its name. It returns logits
of shape (rows, n classes), for two classes too, or values of shape (rows, 1).
"""
