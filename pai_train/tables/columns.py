"""A table's declared columns as an Iceberg schema, and back: what Iceberg cannot say is kept in a property."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING

from pyiceberg.io.pyarrow import schema_to_pyarrow
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.transforms import IdentityTransform
from pyiceberg.types import (
    BinaryType,
    BooleanType,
    DateType,
    DecimalType,
    DoubleType,
    FloatType,
    IcebergType,
    IntegerType,
    ListType,
    LongType,
    MapType,
    NestedField,
    StringType,
    StructType,
    TimestampType,
)

from pai_train.errors import TableError
from pai_train.spec.ddl import Column, Ddl
from pai_train.spec.types import Array, Decimal, Map, MaxComputeType, Primitive, Struct, Text, parse_type
from pai_train.tables.arrow import arrow_schema, maxcompute_type

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pyiceberg.table.metadata import TableMetadata

COLUMNS = "pai_train.columns"
LIFECYCLE = "pai_train.lifecycle"
COMMENT = "comment"

_FIRST_PARTITION_ID = 1000
_PRIMITIVES: dict[str, IcebergType] = {
    "TINYINT": IntegerType(),
    "SMALLINT": IntegerType(),
    "INT": IntegerType(),
    "BIGINT": LongType(),
    "FLOAT": FloatType(),
    "DOUBLE": DoubleType(),
    "BOOLEAN": BooleanType(),
    "STRING": StringType(),
    "BINARY": BinaryType(),
    "DATE": DateType(),
    "DATETIME": TimestampType(),
    "TIMESTAMP": TimestampType(),
    "TIMESTAMP_NTZ": TimestampType(),
}


def iceberg_schema(columns: Sequence[Column]) -> Schema:
    """Returns the schema with fresh field ids: data columns, then partition columns.

    Raises:
        TableError: A type that tables cannot keep.
    """
    arrow_schema(columns)
    ids = itertools.count(1)
    return Schema(
        *(
            NestedField(
                next(ids), column.name, _iceberg_type(column.type, ids), not column.nullable, doc=column.comment
            )
            for column in columns
        )
    )


def partition_spec(schema: Schema, partitions: Sequence[Column]) -> PartitionSpec:
    """Returns identity partitions, in order."""
    return PartitionSpec(
        *(
            PartitionField(
                schema.find_field(column.name).field_id, _FIRST_PARTITION_ID + index, IdentityTransform(), column.name
            )
            for index, column in enumerate(partitions)
        )
    )


def table_properties(ddl: Ddl) -> dict[str, str]:
    """Returns the properties of a new table: the statement's own, and what describes it again."""
    columns = [
        {"name": column.name, "type": str(column.type), "default": column.default}
        for column in (*ddl.columns, *ddl.partitions)
    ]
    properties = {**dict(ddl.properties), COLUMNS: json.dumps(columns, ensure_ascii=False)}
    if ddl.comment is not None:
        properties[COMMENT] = ddl.comment
    if ddl.lifecycle is not None:
        properties[LIFECYCLE] = str(ddl.lifecycle)
    return properties


def declared_columns(metadata: TableMetadata) -> tuple[tuple[Column, ...], tuple[Column, ...]]:
    """Returns the data columns and the partition columns of a table, with their declared types.

    A column that the property does not know, because another engine made it, is declared by its stored type.

    Raises:
        TableError: A stored type, or a way of partitioning, that MaxCompute does not have.
    """
    schema = metadata.schema()
    known = {column["name"]: column for column in json.loads(metadata.properties.get(COLUMNS, "[]"))}
    keys = [_partition_source(field) for field in metadata.spec().fields]
    columns = {field.field_id: _declared(field, known.get(field.name.lower(), {})) for field in schema.fields}
    data = tuple(column for field_id, column in columns.items() if field_id not in keys)
    return data, tuple(columns[key] for key in keys)


def _partition_source(field: PartitionField) -> int:
    if not isinstance(field.transform, IdentityTransform):
        raise TableError(
            "the table is partitioned in a way that is not served",
            got=f"{field.transform} of {field.name!r}",
            wanted="partitions by the values of columns",
        )
    return field.source_id


def _declared(field: NestedField, known: Mapping[str, str]) -> Column:
    type_ = parse_type(known["type"]) if "type" in known else None
    if type_ is None or _shape(_iceberg_type(type_, itertools.count())) != _shape(field.field_type):
        try:
            type_ = maxcompute_type(schema_to_pyarrow(field.field_type))
        except TableError as error:
            raise TableError(error.fault.what, where=f"column {field.name!r}", got=error.fault.got) from None
    return Column(field.name, type_, not field.required, known.get("default"), field.doc)


def _shape(type_: IcebergType) -> object:
    """Returns the type without field ids, for comparing."""
    match type_:
        case ListType():
            return ("list", _shape(type_.element_type))
        case MapType():
            return ("map", _shape(type_.key_type), _shape(type_.value_type))
        case StructType():
            return ("struct", *((field.name, _shape(field.field_type)) for field in type_.fields))
    return str(type_)


def _iceberg_type(declared: MaxComputeType, ids: Iterator[int]) -> IcebergType:
    match declared:
        case Primitive(name) if name in _PRIMITIVES:
            return _PRIMITIVES[name]
        case Text():
            return StringType()
        case Decimal(precision, scale):
            return DecimalType(precision, scale)
        case Array(element):
            return ListType(next(ids), _iceberg_type(element, ids), element_required=False)
        case Map(key, value):
            return MapType(
                next(ids), _iceberg_type(key, ids), next(ids), _iceberg_type(value, ids), value_required=False
            )
        case Struct(fields):
            return StructType(*(NestedField(next(ids), name, _iceberg_type(type_, ids)) for name, type_ in fields))
    raise TableError("a type that tables cannot keep", got=str(declared))
