"""Rows made to fit the columns of an output: by name, cast without loss, null where a column is missing."""

from __future__ import annotations

import pyarrow as pa

from pai_train.errors import TableError, did_you_mean


def conform(batch: pa.RecordBatch, schema: pa.Schema, where: str) -> pa.RecordBatch:
    """Returns the rows with exactly the columns of `schema`; names are compared without case.

    Args:
        batch: The rows.
        schema: The output's columns; a field that is not nullable takes no null.
        where: What the rows are written to, for messages.

    Raises:
        TableError: A column is unknown, given twice, missing though NOT NULL, or cannot be cast without loss.
    """
    given = _by_name(batch, schema, where)
    columns = []
    for field in schema:
        index = given.get(field.name.lower())
        values = pa.nulls(batch.num_rows, field.type) if index is None else _cast(batch.column(index), field, where)
        if not field.nullable and values.null_count:
            raise TableError(
                f"column {field.name!r} is NOT NULL",
                where=where,
                got="no such column in the rows" if index is None else f"{values.null_count} nulls",
                wanted="a value in every row",
            )
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


def _cast(values: pa.Array, field: pa.Field, where: str) -> pa.Array:
    try:
        return values.cast(field.type)
    except pa.ArrowException as fault:
        raise TableError(
            f"column {field.name!r} does not fit its type",
            where=where,
            got=f"{values.type}: {fault}",
            wanted=str(field.type),
        ) from fault
