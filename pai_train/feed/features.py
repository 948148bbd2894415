"""What a feature of a tf.train.Example may be in Arrow, and what is wrong with one. Knows no TensorFlow."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Callable


class ExampleError(ValueError):
    """A record that is no Example, or one of whose features is not as declared.

    Attributes:
        row: Its number among the records given.
        column: The feature; None where the record is no Example.
        what: The fault in one sentence.
        got: What is found.
        wanted: What is accepted instead.
    """

    def __init__(self, row: int, column: str | None, what: str, got: str, wanted: str) -> None:
        super().__init__(what)
        self.row, self.column, self.what, self.got, self.wanted = row, column, what, got, wanted


def feature_kind(kind: pa.DataType) -> str | None:
    """Returns which list of a feature holds values of a column's type; None where none does."""
    if isinstance(kind, pa.FixedShapeTensorType):
        kind = kind.value_type
    if pa.types.is_signed_integer(kind) or pa.types.is_boolean(kind):
        return "int64_list"
    if kind in (pa.float32(), pa.float64()):
        return "float_list"
    return "bytes_list" if kind in (pa.string(), pa.binary()) else None


def values_of(kind: pa.DataType) -> int:
    """Returns how many values a feature of a column's type has: 1, or the size of a vector."""
    return int(kind.storage_type.list_size) if isinstance(kind, pa.FixedShapeTensorType) else 1


def first_failing(count: int, holds: Callable[[int, int], bool]) -> int:
    """Returns the first of some rows for which something does not hold, by halving; it fails for one at least."""
    lo, hi = 0, count
    while hi - lo > 1:
        middle = (lo + hi) // 2
        if holds(lo, middle):
            lo = middle
        else:
            hi = middle
    return lo
