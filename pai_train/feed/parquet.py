"""Parquet files as a source: chunks of rows of row groups, of which only the wanted columns are read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from pai_train.feed.file_set import FileSet
from pai_train.feed.groups import FileGroups, GroupedSource
from pai_train.tables.parquet import repeating
from pai_train.tables.recent import Recent

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pai_train.feed.pieces import Piece
    from pai_train.storage.store import ObjectInfo, Store

FOOTER_BYTES = 32 * 2**20
"""Footers, as they are stored, that are kept for reading."""

GROUPS_BYTES = 128 * 2**20
"""Decoded row groups that are kept, because several chunks lie in them."""

LARGE_GROUP_BYTES = 64 * 2**20
"""Row groups above are decoded in a stream for each chunk anew, so that they are never held."""

_STREAMED_ROWS = 16384


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
            yield from self._streamed(piece, columns)
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
        kept = [name for name in columns if encoded and all(_repeats(footer, group, name) for group in groups)]
        with (
            self._files.opened(index) as stream,
            pq.ParquetFile(
                stream, metadata=footer, read_dictionary=kept, pre_buffer=True, page_checksum_verification=True
            ) as file,
        ):
            return file.read_row_groups(list(groups), columns=list(columns), use_threads=False)

    def _streamed(self, piece: Piece, columns: Sequence[str]) -> Iterator[pa.Table]:
        at = 0
        with (
            self._files.opened(piece.file) as stream,
            pq.ParquetFile(stream, metadata=self._footer(piece.file), page_checksum_verification=True) as file,
        ):
            for batch in file.iter_batches(_STREAMED_ROWS, list(piece.groups), list(columns), use_threads=False):
                lo, hi = max(piece.lo - at, 0), min(piece.hi - at, batch.num_rows)
                at += batch.num_rows
                if lo < hi:
                    yield pa.Table.from_batches([batch.slice(lo, hi - lo)])
                if at >= piece.hi:
                    return


def _repeats(footer: pq.FileMetaData, group: int, name: str) -> bool:
    return bool(repeating(footer.row_group(group), [name]))
