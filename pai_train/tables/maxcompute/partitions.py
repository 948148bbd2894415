"""Which partitions an address of MaxCompute means, and the values that their rows have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pai_train.errors import TableError
from pai_train.tables.maxcompute.meta import partition_list
from pai_train.tables.partitions import arrow_value, check_keys, stored_value, unknown_partition

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

    from pai_train.spec.address import Partition, TableRef
    from pai_train.spec.ddl import Column
    from pai_train.tables.maxcompute.connection import Connection

MOST = 200
"""MaxCompute opens so many download sessions of a table in 5 minutes; each partition needs one."""


def leaves_of(connection: Connection, ref: TableRef, columns: tuple[Column, ...]) -> list[Partition]:
    """Returns the whole partitions that an address means, sorted; one empty one for a table without partitions.

    Raises:
        TableError: A key or value that no partition has, or more partitions than can be read at once.
    """
    check_keys(ref, columns)
    if not columns:
        return [()]
    held = partition_list(connection, ref, columns)
    stored = {leaf: tuple(stored_value(one, dict(leaf)[one.name]) for one in columns) for leaf in held}
    types = {column.name: (at, column) for at, column in enumerate(columns)}

    def selected(leaf: Partition, pairs: Partition) -> bool:
        return all(stored[leaf][types[key][0]] == stored_value(types[key][1], text) for key, text in pairs)

    for pairs in ref.partitions:
        if not any(selected(leaf, pairs) for leaf in held):
            raise unknown_partition(ref, pairs, columns, list(stored.values()))
    chosen = [leaf for leaf in held if not ref.partitions or any(selected(leaf, pairs) for pairs in ref.partitions)]
    if len(chosen) > MOST:
        raise TableError(
            "more partitions than can be read at once",
            where=str(ref),
            got=f"{len(chosen)} partitions",
            wanted=f"at most {MOST}",
            todo="name fewer, joined by '&'",
        )
    return chosen


def leaf_values(leaf: Partition, columns: Sequence[Column]) -> dict[str, pa.Scalar]:
    """Returns the values that the rows of a partition have in these partition columns."""
    texts = dict(leaf)
    return {column.name: arrow_value(column, stored_value(column, texts[column.name])) for column in columns}
