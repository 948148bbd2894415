"""The partitions of a table: values as text in an address, as stored in a manifest, and as a filter over files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from pai_train.errors import TableError, did_you_mean
from pai_train.spec.address import refuse_rows
from pai_train.tables.arrow import arrow_type

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pai_train.spec.address import Partition, TableRef
    from pai_train.spec.ddl import Column

Stored = tuple[Any, ...]
_MAX_SHOWN = 1000


def stored_value(column: Column, text: str) -> Any:
    """Returns the value of a partition column as Iceberg's manifests hold it: a date in days, a time in microseconds.

    Raises:
        TableError: Text that is no value of the column's type.
    """
    try:
        value = _as_arrow(column, text)
    except pa.ArrowInvalid as fault:
        raise TableError(
            f"the value of partition column {column.name!r} is not a {column.type}", got=repr(text)
        ) from fault
    if pa.types.is_date32(value.type):
        return value.cast(pa.int32()).as_py()
    if pa.types.is_timestamp(value.type):
        return value.cast(pa.timestamp("us")).cast(pa.int64()).as_py()
    return value.as_py()


def arrow_value(column: Column, stored: Any) -> pa.Scalar:
    """Returns a stored value as a value of the column's Arrow type; the inverse of `stored_value`."""
    type_ = arrow_type(column)
    if pa.types.is_timestamp(type_):
        return pa.scalar(stored, pa.int64()).cast(pa.timestamp("us")).cast(type_)
    if pa.types.is_date32(type_):
        return pa.scalar(stored, pa.int32()).cast(type_)
    return pa.scalar(stored, type_)


def selects(partition: Stored, columns: Sequence[Column], wanted: Sequence[Partition]) -> bool:
    """Tells whether a file of this partition belongs to the partitions that an address names; none means all."""
    if not wanted:
        return True
    held = {column.name: value for column, value in zip(columns, partition, strict=True)}
    types = {column.name: column for column in columns}
    return any(all(held[key] == stored_value(types[key], text) for key, text in pairs) for pairs in wanted)


def check_keys(ref: TableRef, columns: Sequence[Column]) -> None:
    """Refuses an address whose partitions name what the table is not partitioned by.

    Raises:
        TableError: A key that is no partition column, or a value that is not of its type.
    """
    by_name = {column.name: column for column in columns}
    for key, text in (pair for pairs in ref.partitions for pair in pairs):
        if not by_name:
            raise TableError(
                "the table has no partitions", where=str(ref), got=f"{key}={text}", wanted="its name alone"
            )
        if key not in by_name:
            raise TableError(
                f"{key!r} is no partition column", where=str(ref), got=f"{key}={text}", todo=did_you_mean(key, by_name)
            )
        stored_value(by_name[key], text)


def unknown_partition(ref: TableRef, pairs: Partition, columns: Sequence[Column], held: Sequence[Stored]) -> TableError:
    """Returns the error for a partition that holds no rows, with the nearest one that does."""
    got = _text(pairs)
    keys = {key for key, _ in pairs}
    known = {
        "/".join(
            f"{column.name}={arrow_value(column, value).cast(pa.string()).as_py()}"
            for column, value in zip(columns, partition, strict=True)
            if column.name in keys
        )
        for partition in held
    }
    todo = did_you_mean(got, sorted(known)[:_MAX_SHOWN])
    return TableError("no such partition", where=str(ref), got=got, todo=todo or "the table holds no rows yet")


def one_partition(ref: TableRef, columns: Sequence[Column]) -> Partition:
    """Returns the one whole partition that a write goes to; empty for a table without partitions.

    Raises:
        TableError: No partition, more than one, one that leaves a partition column out, or a range of rows.
    """
    refuse_rows(ref)
    check_keys(ref, columns)
    names = [column.name for column in columns]
    if not names:
        return ()
    if len(ref.partitions) != 1 or {key for key, _ in ref.partitions[0]} != set(names):
        raise TableError(
            "a write goes to one whole partition",
            where=str(ref),
            got=" and ".join(_text(pairs) for pairs in ref.partitions) or "no partition",
            wanted="/" + "/".join(f"{name}=value" for name in names) + " after the table's name",
        )
    values = dict(ref.partitions[0])
    return tuple((name, values[name]) for name in names)


def _as_arrow(column: Column, text: str) -> pa.Scalar:
    return pc.cast(pa.array([text], pa.string()), arrow_type(column))[0]


def _text(pairs: Partition) -> str:
    return "/".join(f"{key}={value}" for key, value in pairs)
