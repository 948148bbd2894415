"""Declared columns against those that files bring with them: by name, of a type that holds every value."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from pai_train.errors import Fault, TableError, did_you_mean
from pai_train.spec.table import Column
from pai_train.tables.arrow import arrow_type, maxcompute_type

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# Types that MaxCompute has not, and the smallest of its own that holds all their values.
_INSTEAD = {
    pa.uint8(): pa.int16(),
    pa.uint16(): pa.int32(),
    pa.uint32(): pa.int64(),
    pa.float16(): pa.float32(),
    pa.date64(): pa.date32(),
    pa.timestamp("s"): pa.timestamp("ms"),
    # Cast with a check: a time that is finer than a microsecond is an error when it is read.
    pa.timestamp("ns"): pa.timestamp("us"),
}
_NUMBERS = (pa.int8(), pa.int16(), pa.int32(), pa.int64())


def plain_type(found: pa.DataType) -> pa.DataType:
    """Returns a type without what is only a way to store it: dictionaries, long offsets, views, the zone UTC."""
    if pa.types.is_dictionary(found):
        return plain_type(found.value_type)
    if pa.types.is_large_string(found) or pa.types.is_string_view(found):
        return pa.string()
    if pa.types.is_large_binary(found) or pa.types.is_fixed_size_binary(found) or pa.types.is_binary_view(found):
        return pa.binary()
    if pa.types.is_timestamp(found) and found.tz in ("UTC", "+00:00"):
        return pa.timestamp(found.unit)
    return found


def own_type(found: pa.DataType) -> pa.DataType | None:
    """Returns the type in which a stored column is read where none is declared; None where there is none."""
    found = plain_type(found)
    found = _INSTEAD.get(found, found)
    try:
        return arrow_type(Column("-", maxcompute_type(found)))
    except TableError:
        return None


def holds(declared: pa.DataType, found: pa.DataType) -> bool:
    """Tells whether every value of a stored type is one of the declared type, but for times that are too fine."""
    own = own_type(found)
    if own is None or own == declared:
        return own is not None
    if own in _NUMBERS and declared in _NUMBERS:
        return bool(own.bit_width < declared.bit_width)
    if pa.types.is_timestamp(own) and pa.types.is_timestamp(declared):
        return bool((own.unit, declared.unit) == ("ms", "us"))
    return bool(own == pa.float32() and declared == pa.float64())


def read_schema(
    found: pa.Schema, columns: Mapping[str, pa.DataType], where: str
) -> tuple[pa.Schema | None, list[Fault]]:
    """Returns the columns in which a file is read: those that are declared, or else all it has.

    Args:
        found: The file's own columns.
        columns: The declared ones with their types; none for all.
        where: The file, for messages.

    Returns:
        The columns in the declared order or the file's, None where there is a fault; and the faults.
    """
    faults = [
        Fault(
            f"the file has column {name!r} twice", where, wanted="names that differ", todo="leave it out, or rename it"
        )
        for name in columns or dict.fromkeys(found.names)
        if len(found.get_all_field_indices(name)) > 1
    ]
    if faults:
        return None, faults
    if not columns:
        fields = [(field.name, own_type(field.type)) for field in found]
        faults = [
            Fault(
                f"column {field.name!r} has a type that is not read",
                where,
                got=str(field.type),
                todo="declare the columns to read, and leave this one out",
            )
            for field, (_, kind) in zip(found, fields, strict=True)
            if kind is None
        ]
        return (None if faults else pa.schema(fields)), faults
    kinds = {field.name: field.type for field in found}
    faults = [
        Fault(
            f"the file has no column {name!r}",
            where,
            wanted=", ".join(f"{other} {_shown(kind)}" for other, kind in kinds.items()),
            todo=did_you_mean(name, kinds),
        )
        for name in columns
        if name not in kinds
    ]
    faults += [
        Fault(
            f"column {name!r} has another type in the file",
            where,
            got=f"{_shown(kinds[name])}, declared {_shown(declared)}",
            wanted="the file's type, or one that holds all its values",
            todo="correct the declared type; no value is changed to fit",
        )
        for name, declared in columns.items()
        if name in kinds and not holds(declared, kinds[name])
    ]
    return (None if faults else pa.schema(list(columns.items()))), faults


def difference(first: pa.Schema, other: pa.Schema, names: Sequence[str]) -> tuple[str, str, str] | None:
    """Returns the first of some columns that two files hold with other types: its name, and its type in each."""
    for name in names:
        one, two = first.field(name).type, other.field(name).type if name in other.names else None
        if two is None or plain_type(one) != plain_type(two):
            return name, _shown(one), "no such column" if two is None else _shown(two)
    return None


def _shown(kind: pa.DataType) -> str:
    own = own_type(kind)
    return str(kind) if own is None or own != plain_type(kind) else f"{maxcompute_type(own)} ({kind})"
