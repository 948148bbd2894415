"""What a model builder is given: the statistics of the feature columns and what is to be learned."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
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

    @property
    def width(self) -> int:
        """Number of values the model gives per row."""
        return len(self.classes) if self.task == "classification" else 1


ModelBuilder = Callable[..., Any]
"""`(columns: Sequence[ColumnSpec], label: LabelSpec, **params) -> keras.Model`.

The model takes raw columns: one input of shape (rows, *column.shape) per ColumnSpec, with its name. It returns logits
of shape (rows, n classes), for two classes too, or values of shape (rows, 1).
"""
