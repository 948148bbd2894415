"""Parquet files as a source: chunks of rows of row groups, of which only the wanted columns are read."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from pai_train.feed.file_set import FileSet
from pai_train.feed.groups import FileGroups, GroupedSource
from pai_train.tables.group_streams import LARGE_GROUP_BYTES, GroupStreams
from pai_train.tables.recent import Recent
from pai_train.tables.row_group_reads import decoded

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pai_train.feed.pieces import Piece
    from pai_train.storage.store import ObjectInfo, Store

FOOTER_BYTES = 32 * 2**20
"""Footers, as they are stored, that are kept for reading."""

GROUPS_BYTES = 128 * 2**20
"""Decoded row groups that are kept, because several chunks lie in them."""


def parquet_source(objects: Sequence[ObjectInfo], columns: Mapping[str, pa.DataType], store: Store) -> GroupedSource:
    """Returns the rows of Parquet files, in the files' order.

    Args:
        objects: The files; all hold the columns that are read with the same types.
        columns: The columns to read with their types; none for all.
        store: Where the files are.
    """
    files = FileSet(objects, store, "Parquet")
    return GroupedSource(files, columns, ParquetGroups(files))


class ParquetGroups:
    """Row groups of Parquet files; a `GroupReader`. Pages with a checksum are checked."""

    def __init__(self, files: FileSet) -> None:
        self._files = files
        self._footers = Recent(FOOTER_BYTES, lambda footer: max(1, footer.serialized_size))
        self._streams = GroupStreams()
        self._decoded = Recent(GROUPS_BYTES, lambda table: max(1, table.nbytes))

    def groups(self, index: int) -> FileGroups:
        footer = self._footer(index)
        groups = [footer.row_group(number) for number in range(footer.num_row_groups)]
        with self._files.reading(index):
            schema = footer.schema.to_arrow_schema()
        return FileGroups(
            schema, tuple(group.num_rows for group in groups), sum(group.total_byte_size for group in groups)
        )

    def read(self, piece: Piece, columns: Sequence[str], *, encoded: bool) -> Iterator[pa.Table]:
        footer = self._footer(piece.file)
        group = piece.groups.start
        if piece.whole or len(piece.groups) > 1:
            yield self._decode(piece.file, piece.groups, columns, encoded=encoded).slice(piece.lo, piece.rows)
        elif footer.row_group(group).total_byte_size > LARGE_GROUP_BYTES:
            opened = partial(self._files.opened, piece.file)
            yield from self._streams.read(piece.file, opened, footer, group, columns, range(piece.lo, piece.hi))
        else:
            key = (piece.file, group, tuple(columns), encoded)
            table = self._decoded.get(key, lambda: self._decode(piece.file, piece.groups, columns, encoded=encoded))
            yield table.slice(piece.lo, piece.rows)

    def _footer(self, index: int) -> pq.FileMetaData:
        def read() -> pq.FileMetaData:
            with self._files.opened(index) as stream:
                return pq.read_metadata(stream)

        return self._footers.get(index, read)

    def _decode(self, index: int, groups: range, columns: Sequence[str], *, encoded: bool) -> pa.Table:
        footer = self._footer(index)
        with self._files.opened(index) as stream:
            return decoded(stream, footer, groups, columns, encoded=encoded)
