"""The columns of the MaxCompute server: as pyodps knows them, as Arrow stores them, as each API writes them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from odps import types as odps_types
from odps.models import TableSchema
from odps.tunnel.io.types import odps_type_to_arrow_type

if TYPE_CHECKING:
    from pai_train.spec.table import Column, Ddl

# What pyodps has no Arrow type for: such columns go as records only.
_MONTHS, _JSON = pa.int64(), pa.string()


def odps_type(column: Column) -> Any:
    """Returns the type of a column as pyodps knows it."""
    return odps_types.validate_data_type(str(column.type))


def type_text(column: Column) -> str:
    """Returns the type of a column as the service writes it: in small letters, names of fields as they are."""
    text = str(column.type)
    return text if "STRUCT" in text else text.lower()


def stored_type(kind: Any) -> pa.DataType:
    """Returns the Arrow type in which values of a type are kept."""
    if isinstance(kind, odps_types.Array):
        return pa.list_(stored_type(kind.value_type))
    if isinstance(kind, odps_types.Map):
        return pa.map_(stored_type(kind.key_type), stored_type(kind.value_type))
    if isinstance(kind, odps_types.Struct):
        return pa.struct([(name, stored_type(one)) for name, one in kind.field_types.items()])
    if isinstance(kind, odps_types.IntervalYearMonth):
        return _MONTHS
    if isinstance(kind, odps_types.Json):
        return _JSON
    if isinstance(kind, odps_types.Decimal) and kind.scale == 0:
        # pyodps takes a scale of 0 for none, and puts 18 in its place.
        return pa.decimal128(kind.precision, 0)
    return odps_type_to_arrow_type(kind)


def stored_schema(ddl: Ddl) -> pa.Schema:
    """Returns the Arrow schema in which a table's rows are kept."""
    return pa.schema([(column.name, stored_type(odps_type(column))) for column in ddl.columns])


def codec_schema(columns: Iterable[Column]) -> TableSchema:
    """Returns the schema by which pyodps's codecs of records read and write."""
    columns = list(columns)
    schema = TableSchema.from_lists([column.name for column in columns], [odps_type(column) for column in columns])
    schema.build_snapshot()
    return schema


def catalog_column(column: Column) -> dict[str, Any]:
    """Returns a column as the metadata of a table lists it."""
    listed: dict[str, Any] = {
        "name": column.name,
        "type": type_text(column),
        "comment": column.comment or "",
        "label": "",
        "isNullable": column.nullable,
    }
    return listed if column.default is None else {**listed, "defaultValue": column.default}


def tunnel_schema(ddl: Ddl) -> dict[str, Any]:
    """Returns a table's schema as the tunnel tells it."""

    def listed(columns: Iterable[Column]) -> list[dict[str, Any]]:
        return [
            {"name": one.name, "type": type_text(one), "nullable": one.nullable, "column_id": str(at)}
            for at, one in enumerate(columns)
        ]

    return {
        "IsVirtualView": False,
        "columns": listed(ddl.columns),
        "partitionKeys": listed(ddl.partitions),
    }


def storage_schema(data: Iterable[Column], partitions: Iterable[Column]) -> dict[str, Any]:
    """Returns a session's schema as the Storage API tells it."""

    def listed(columns: Iterable[Column]) -> list[dict[str, Any]]:
        return [
            {"Name": one.name, "Type": type_text(one), "Comment": one.comment or "", "Nullable": one.nullable}
            for one in columns
        ]

    return {"DataColumns": listed(data), "PartitionColumns": listed(partitions)}
