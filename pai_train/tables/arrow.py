"""Declared MaxCompute types and their Arrow twins."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from pai_train.errors import TableError
from pai_train.spec.types import Array, Decimal, Map, MaxComputeType, Primitive, Struct, Text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pai_train.spec.ddl import Column

_PRIMITIVES: dict[str, pa.DataType] = {
    "TINYINT": pa.int8(),
    "SMALLINT": pa.int16(),
    "INT": pa.int32(),
    "BIGINT": pa.int64(),
    "FLOAT": pa.float32(),
    "DOUBLE": pa.float64(),
    "BOOLEAN": pa.bool_(),
    "STRING": pa.string(),
    "BINARY": pa.binary(),
    "DATE": pa.date32(),
    "DATETIME": pa.timestamp("ms"),
    "TIMESTAMP": pa.timestamp("us"),
    "TIMESTAMP_NTZ": pa.timestamp("us"),
}
# What keeps the values of a type that has no twin.
_INSTEAD = {
    "JSON": "declare it STRING, and keep the JSON as text",
    "INTERVAL_DAY_TIME": "declare it DOUBLE or DECIMAL(19,9), and keep seconds",
    "INTERVAL_YEAR_MONTH": "declare it INT, and keep months",
    "VECTOR": "declare it an ARRAY of its element type",
}
_TWINS = {arrow: name for name, arrow in reversed(_PRIMITIVES.items())}
_NORMAL = {
    pa.large_string(): pa.string(),
    pa.large_binary(): pa.binary(),
    pa.timestamp("us", "UTC"): pa.timestamp("us"),
}


def arrow_schema(columns: Sequence[Column]) -> pa.Schema:
    """Returns the columns as an Arrow schema, in order; a NOT NULL column is a field that is not nullable.

    Raises:
        TableError: A type without an Arrow twin.
    """
    return pa.schema([pa.field(column.name, arrow_type(column), column.nullable) for column in columns])


def arrow_type(column: Column) -> pa.DataType:
    """Returns the Arrow type of a column.

    Raises:
        TableError: A type without an Arrow twin; it names the column and the type.
    """
    try:
        return _twin(column.type)
    except _NoTwinError as fault:
        raise TableError(
            f"column {column.name!r} has a type that tables cannot keep",
            got=str(column.type) if str(fault) == str(column.type) else f"{fault} in {column.type}",
            wanted=f"{', '.join(_PRIMITIVES)}, DECIMAL, VARCHAR, CHAR, ARRAY, MAP or STRUCT",
            todo=_INSTEAD.get(str(fault).partition("(")[0]),
        ) from None


def maxcompute_type(arrow: pa.DataType) -> MaxComputeType:
    """Returns the declared type that an Arrow type is read back as, for a table whose declaration is not known.

    Raises:
        TableError: An Arrow type without a MaxCompute twin.
    """
    arrow = _NORMAL.get(arrow, arrow)
    if arrow in _TWINS:
        return Primitive(_TWINS[arrow])
    if pa.types.is_decimal128(arrow) and arrow.scale <= 18:
        return Decimal(arrow.precision, arrow.scale)
    if pa.types.is_list(arrow) or pa.types.is_large_list(arrow):
        return Array(maxcompute_type(arrow.value_type))
    if pa.types.is_map(arrow):
        return Map(maxcompute_type(arrow.key_type), maxcompute_type(arrow.item_type))
    if pa.types.is_struct(arrow):
        return Struct(tuple((field.name, maxcompute_type(field.type)) for field in arrow.fields))
    raise TableError("a stored type has no MaxCompute twin", got=str(arrow))


class _NoTwinError(Exception):
    """Carries the innermost type that has no twin."""


def _twin(declared: MaxComputeType) -> pa.DataType:
    match declared:
        case Primitive(name) if name in _PRIMITIVES:
            return _PRIMITIVES[name]
        case Text():
            return pa.string()
        case Decimal(precision, scale):
            return pa.decimal128(precision, scale)
        case Array(element):
            return pa.list_(_twin(element))
        case Map(key, value):
            return pa.map_(_twin(key), _twin(value))
        case Struct(fields):
            return pa.struct([pa.field(name, _twin(type_)) for name, type_ in fields])
    raise _NoTwinError(str(declared))
