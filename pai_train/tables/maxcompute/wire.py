"""The Arrow types in which the tunnel carries columns, and rows on their way between them and ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from pai_train.errors import DataError, TableError
from pai_train.spec.types import Array, Map, MaxComputeType, Primitive, Struct
from pai_train.tables.arrow import arrow_type
from pai_train.tables.conform import conform

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from pai_train.spec.ddl import Column

# Times are instants, in UTC on every machine; those of TIMESTAMP_NTZ have no zone anywhere.
_TIMES = {"DATETIME": pa.timestamp("ms"), "TIMESTAMP": pa.timestamp("ns"), "TIMESTAMP_NTZ": pa.timestamp("ns")}
_PLAIN_DECIMAL = pa.decimal256(54, 18)


def can_keep(column: Column) -> bool:
    """Tells whether a column has a type that rows can be read and written in."""
    try:
        arrow_type(column)
    except TableError:
        return False
    return True


def wire_field(column: Column, *, plain_decimal: bool = False) -> pa.Field:
    """Returns the field in which the tunnel carries a column.

    Args:
        column: The column.
        plain_decimal: Whether it is declared as DECIMAL alone.

    Raises:
        TableError: A type without an Arrow twin; it names the column and the type.
    """
    ours = arrow_type(column)
    return pa.field(column.name, _PLAIN_DECIMAL if plain_decimal else _wire(column.type, ours))


def wire_schema(columns: Sequence[Column], plain_decimals: Collection[str] = ()) -> pa.Schema:
    """Returns the schema in which the tunnel carries columns.

    Args:
        columns: The columns, in the table's order.
        plain_decimals: Names of those declared as DECIMAL alone.

    Raises:
        TableError: A type without an Arrow twin; it names the column and the type.
    """
    return pa.schema([wire_field(one, plain_decimal=one.name in plain_decimals) for one in columns])


def from_wire(batch: pa.RecordBatch, fields: Sequence[pa.Field], where: str) -> pa.RecordBatch:
    """Returns rows as the tunnel carried them in our types, with the columns in the order of the fields.

    Raises:
        DataError: A value that our type cannot hold, such as a time finer than a microsecond.
    """
    columns = []
    for field in fields:
        values = batch.column(field.name)
        try:
            columns.append(values if values.type == field.type else values.cast(field.type))
        except pa.ArrowException as fault:
            raise DataError(
                f"column {field.name!r} holds a value that cannot be read without loss",
                where=where,
                got=str(fault),
                wanted=str(field.type),
                todo="leave the column out, or read a table in which such values are rounded",
            ) from fault
    return pa.RecordBatch.from_arrays(columns, schema=pa.schema(list(fields)))


def to_wire(batch: pa.RecordBatch, ours: pa.Schema, wire: pa.Schema, where: str) -> pa.RecordBatch:
    """Returns rows as the tunnel takes them.

    Args:
        batch: The rows, with any of the columns.
        ours: All columns in our types.
        wire: The same in the tunnel's.
        where: What is written, for people.

    Raises:
        TableError: A column is unknown, missing though NOT NULL, or does not fit.
    """
    batch = conform(batch, ours, where)
    columns = []
    for values, field in zip(batch.columns, wire, strict=True):
        try:
            columns.append(values if values.type == field.type else values.cast(field.type))
        except pa.ArrowException as fault:
            raise TableError(
                f"column {field.name!r} does not fit what MaxCompute keeps",
                where=where,
                got=f"{values.type}: {fault}",
                wanted=f"{field.type}, in which times are of the years 1678 to 2261",
            ) from fault
    return pa.RecordBatch.from_arrays(columns, schema=wire)


def _wire(declared: MaxComputeType, ours: pa.DataType) -> pa.DataType:
    match declared:
        case Primitive(name) if name in _TIMES:
            return _TIMES[name]
        case Array(element):
            return pa.list_(_wire(element, ours.value_type))
        case Map(key, value):
            return pa.map_(_wire(key, ours.key_type), _wire(value, ours.item_type))
        case Struct(fields):
            inner = [(name, _wire(kind, ours.field(name).type)) for name, kind in fields]
            return pa.struct([pa.field(name, kind) for name, kind in inner])
    return ours
