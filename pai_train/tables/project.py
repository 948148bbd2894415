"""Columns as a data file holds them made into the table's: found by field id at every depth, in declared types."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.types import IcebergType, ListType, MapType, NestedField, StructType

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True)
class Wanted:
    """A column to be read.

    Attributes:
        field: What the table's schema says of it.
        declared: Its name, and the Arrow type it is delivered in.
    """

    field: NestedField
    declared: pa.Field

    @property
    def id(self) -> int:
        """Its field id, which a data file knows it by."""
        return self.field.field_id


def project(
    table: pa.Table, wanted: Sequence[Wanted], held: Mapping[int, NestedField], constants: Mapping[int, pa.Scalar]
) -> pa.Table:
    """Puts columns in order, in their declared types; what the file does not hold is constant, a default or null.

    Args:
        table: Columns of the file, by the file's own names.
        wanted: The columns of the result.
        held: What the file holds, by field id.
        constants: Values that all rows of the file have, by field id.

    Returns:
        The wanted columns; one that is dictionary encoded in the file stays so.

    Raises:
        pa.ArrowException: A value does not fit its declared type.
    """
    columns, fields = [], []
    for one in wanted:
        type_ = one.declared.type
        if one.id in constants:
            columns.append(pa.repeat(constants[one.id].cast(type_), table.num_rows))
        elif one.id not in held:
            columns.append(_absent(one.field, type_, table.num_rows))
        else:
            column = table.column(held[one.id].name)
            if pa.types.is_dictionary(column.type):
                type_ = pa.dictionary(pa.int32(), type_)
            columns.append(_column(column, held[one.id].field_type, one.field.field_type, type_))
        fields.append(one.declared.with_type(type_))
    return pa.Table.from_arrays(columns, schema=pa.schema(fields))


def _column(column: pa.ChunkedArray, held: IcebergType, wanted: IcebergType, declared: pa.DataType) -> pa.ChunkedArray:
    if _laid_out_alike(held, wanted):
        return column if column.type == declared else column.cast(declared)
    return pa.chunked_array([_adapt(chunk, held, wanted, declared) for chunk in column.chunks], declared)


def _laid_out_alike(held: IcebergType, wanted: IcebergType) -> bool:
    """Tells whether a cast is enough: the same fields of the same names in the same order, at every depth."""
    match held, wanted:
        case StructType(), StructType():
            return [(f.field_id, f.name) for f in held.fields] == [(f.field_id, f.name) for f in wanted.fields] and all(
                _laid_out_alike(old.field_type, new.field_type)
                for old, new in zip(held.fields, wanted.fields, strict=True)
            )
        case ListType(), ListType():
            return _laid_out_alike(held.element_type, wanted.element_type)
        case MapType(), MapType():
            return _laid_out_alike(held.key_type, wanted.key_type) and _laid_out_alike(
                held.value_type, wanted.value_type
            )
    return True


def _adapt(values: pa.Array, held: IcebergType, wanted: IcebergType, declared: pa.DataType) -> pa.Array:
    match held, wanted:
        case StructType(), StructType():
            places = {field.field_id: index for index, field in enumerate(held.fields)}
            children = [
                _adapt(values.field(places[field.field_id]), held.fields[places[field.field_id]].field_type, *target)
                if field.field_id in places
                else _absent(field, target[1], len(values))
                for field, target in (
                    (field, (field.field_type, arrow.type))
                    for field, arrow in zip(wanted.fields, declared.fields, strict=True)
                )
            ]
            return pa.StructArray.from_arrays(children, fields=list(declared.fields), mask=values.is_null())
        case ListType(), ListType():
            offsets, inner = _unsliced(values, values.values)
            elements = _adapt(inner, held.element_type, wanted.element_type, declared.value_type)
            return type(values).from_arrays(offsets, elements, mask=values.is_null()).cast(declared)
        case MapType(), MapType():
            offsets, keys = _unsliced(values, values.keys)
            _, items = _unsliced(values, values.items)
            return pa.MapArray.from_arrays(
                offsets,
                _adapt(keys, held.key_type, wanted.key_type, declared.key_type),
                _adapt(items, held.value_type, wanted.value_type, declared.item_type),
                type=declared,
                mask=values.is_null(),
            )
    return values.cast(declared)


def _unsliced(values: pa.Array, inner: pa.Array) -> tuple[pa.Array, pa.Array]:
    """Returns offsets from 0, and the inner values between the first and the last of them."""
    first, last = values.offsets[0].as_py(), values.offsets[-1].as_py()
    return pc.subtract(values.offsets, values.offsets[0]), inner.slice(first, last - first)


def _absent(field: NestedField, type_: pa.DataType, rows: int) -> pa.Array:
    """Returns what rows have in a field that was added after their file was written."""
    if field.initial_default is None:
        return pa.nulls(rows, type_)
    return pa.repeat(pa.scalar(field.initial_default).cast(type_), rows)
