"""Rows made to fit the columns of an output: by name, cast without loss, null where a column is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from pai_train.errors import TableError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping

_SHOWN = 80


def conform(
    batch: pa.RecordBatch,
    schema: pa.Schema,
    where: str,
    *,
    first_row: int = 0,
    lengths: Mapping[str, int] | None = None,
) -> pa.RecordBatch:
    """Returns the rows with exactly the columns of `schema`; names are compared without case.

    Args:
        batch: The rows.
        schema: The output's columns; a field that is not nullable takes no null.
        where: What the rows are written to, for messages.
        first_row: How many rows were written before, for messages.
        lengths: The most characters of the values of text columns, by name.

    Raises:
        TableError: A column is unknown, given twice, missing though NOT NULL, or holds a value that cannot be cast
            without loss; it says which column, row and value.
    """
    given = _by_name(batch, schema, where)
    columns = []
    for field in schema:
        index = given.get(field.name.lower())
        if index is None:
            values = pa.nulls(batch.num_rows, field.type)
        else:
            values = _cast(batch.column(index), field, where, first_row)
        if not field.nullable and values.null_count:
            row = first_row + pc.index(pc.is_null(values), pa.scalar(True)).as_py()
            raise TableError(
                f"column {field.name!r} is NOT NULL",
                where=where,
                got="no such column in the rows" if index is None else f"{values.null_count} nulls, first in row {row}",
                wanted="a value in every row",
            )
        if lengths is not None and field.name in lengths:
            _check_lengths(values, field.name, lengths[field.name], where, first_row)
        columns.append(values)
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _by_name(batch: pa.RecordBatch, schema: pa.Schema, where: str) -> dict[str, int]:
    known = {name.lower() for name in schema.names}
    given: dict[str, int] = {}
    for index, name in enumerate(batch.schema.names):
        if name.lower() not in known:
            raise TableError(f"the output has no column {name!r}", where=where, todo=did_you_mean(name, schema.names))
        if name.lower() in given:
            raise TableError(f"column {name!r} is given twice", where=where, wanted="each column once")
        given[name.lower()] = index
    return given


def _cast(values: pa.Array, field: pa.Field, where: str, first_row: int) -> pa.Array:
    try:
        return values.cast(field.type)
    except pa.ArrowException as fault:
        row = _first_misfit(values, field.type)
        value = "" if row is None else f"row {first_row + row}: {_shown(values[row])}, "
        raise TableError(
            f"column {field.name!r} does not fit its type",
            where=where,
            got=f"{value}{values.type}: {fault}",
            wanted=str(field.type),
        ) from fault


def _first_misfit(values: pa.Array, type_: pa.DataType) -> int | None:
    """Returns the first row that cannot be cast, by halving; None where no value of the type can be."""
    if not _casts(values.slice(0, 0), type_):
        return None
    lo, hi = 0, len(values)
    while hi - lo > 1:
        middle = (lo + hi) // 2
        if _casts(values.slice(lo, middle - lo), type_):
            lo = middle
        else:
            hi = middle
    return lo


def _casts(values: pa.Array, type_: pa.DataType) -> bool:
    try:
        values.cast(type_)
    except pa.ArrowException:
        return False
    return True


def _check_lengths(values: pa.Array, name: str, most: int, where: str, first_row: int) -> None:
    row = pc.index(pc.greater(pc.utf8_length(values), most), pa.scalar(True)).as_py()
    if row >= 0:
        raise TableError(
            f"column {name!r} does not fit its type",
            where=where,
            got=f"row {first_row + row}: {_shown(values[row])}, {len(values[row].as_py())} characters",
            wanted=f"at most {most} characters",
        )


def _shown(value: pa.Scalar) -> str:
    # A time in nanoseconds has no value in Python.
    text = str(value) if pa.types.is_timestamp(value.type) else repr(value.as_py())
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
