"""Nulls: what stands for them, and the rows where nothing does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pai_train.errors import DataError
from pai_train.feed import values
from pai_train.feed.assemble import plain
from pai_train.spec.contracts import BadRow

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt


class EmptyError(DataError):
    """A null in a column that has no default.

    Attributes:
        row: The first such row of the batch, from 0.
    """

    def __init__(self, column: str, *, row: int, got: str, where: str | None = None) -> None:
        self.column = column
        self.row = row
        super().__init__(
            f"column {column!r} is empty in some rows and has no default",
            where=where,
            got=got,
            wanted="a value in every row",
            todo=f"give {column!r} a value in record_defaults, or fill its fields",
        )

    def at(self, where: str) -> EmptyError:
        """Returns the error with the place of its first row."""
        return EmptyError(self.column, row=self.row, got="no value", where=where)


def fill(batch: pa.RecordBatch, defaults: Mapping[str, Any]) -> pa.RecordBatch:
    """Puts defaults in the place of nulls, and of empty strings.

    Args:
        batch: Rows of any source.
        defaults: Value by column name; names that the batch lacks are passed over.

    Returns:
        The same columns without a null.

    Raises:
        EmptyError: A null in a column without default.
        DataError: A default that is no value of its column's type.
    """
    columns = {name: _filled(name, batch.column(name), defaults) for name in batch.schema.names}
    return pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))


def first_nulls(batch: pa.RecordBatch, required: Sequence[str]) -> npt.NDArray[np.int64]:
    """Returns the first required column that is null in each row, by its place there; -1 where none is."""
    found = np.full(batch.num_rows, -1, np.int64)
    for place, name in enumerate(required):
        column = batch.column(name)
        if column.null_count or pa.types.is_dictionary(column.type):
            null = pc.is_null(column).to_numpy(zero_copy_only=False)
            found[null & (found < 0)] = place
    return found


def _filled(name: str, column: Any, defaults: Mapping[str, Any]) -> Any:
    if pa.types.is_dictionary(column.type):
        if not column.null_count:
            if not defaults.get(name):
                return column
            filled = _filled(name, column.dictionary, defaults)
            return pa.DictionaryArray.from_arrays(column.indices, filled, safe=False)
        column = plain(column)
    if defaults.get(name) is None:
        if column.null_count:
            row = pc.index(column.is_null(), True).as_py()
            got = f"{column.null_count} of {len(column)} values, the first in row {row}"
            raise EmptyError(name, row=row, got=got)
        return column
    default = values.default(name, column.type, defaults[name])
    if column.null_count:
        column = column.fill_null(default)
    if pa.types.is_string(column.type) and default.as_py():
        column = pc.if_else(pc.equal(column, ""), default, column)
    return column


def null_row(row: int, column: str) -> BadRow:
    """Says that a row is bad, for a column is null that has no default."""
    return BadRow(row, f"column {column!r} is empty and has no default", column, "no value", "a value")
