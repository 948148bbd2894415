"""The rows of data files that fulfil a filter: how many each chunk has, and the rows themselves."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

import pyarrow.compute as pc

from pai_train.tables.group_statistics import group_entry

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pyarrow as pa
    from pyiceberg.partitioning import PartitionSpec

    from pai_train.spec.contracts import Chunk
    from pai_train.tables.data_file import DataFile
    from pai_train.tables.parquet import Footer, ParquetReader
    from pai_train.tables.project import Wanted
    from pai_train.tables.where import Where

_MOST_AT_ONCE = 8


class Filter:
    """A filter over the data files of one table. May be used by several threads.

    Args:
        where: The filter.
        reader: Reads the files.
        spec: How the table is partitioned.
    """

    def __init__(self, where: Where, reader: ParquetReader, spec: PartitionSpec) -> None:
        self._where = where
        self._reader = reader
        self._spec = spec
        self._decided: dict[str, bool | None] = {}

    def chunks(self, given: Sequence[tuple[Chunk, DataFile, int, int]]) -> tuple[Chunk, ...]:
        """Returns the chunks that hold rows which fulfil it, with their number, numbered through.

        Args:
            given: Chunks with their file, first place and the place behind the last.

        Raises:
            DataError: A file that statistics do not decide about is damaged.
        """
        for _, file, _, _ in given:
            if file.url not in self._decided and file.entry is not None:
                self._decided[file.url] = self._where.decide(file.entry, self._spec)
        with ThreadPoolExecutor(min(_MOST_AT_ONCE, 2 * (os.cpu_count() or 1)), "count") as pool:
            counts = list(pool.map(lambda one: self._count(*one), given))
        held = [(chunk, count) for (chunk, *_), count in zip(given, counts, strict=True) if count]
        return tuple(replace(chunk, id=number, rows=count) for number, (chunk, count) in enumerate(held))

    def read(
        self, file: DataFile, lo: int, hi: int, wanted: Sequence[Wanted], start: int = 0, *, encoded: bool = False
    ) -> Iterator[pa.Table]:
        """Yields the rows between two places that fulfil it, from the `start`-th of them on.

        Raises:
            DataError: As the reader's.
        """
        width = len(wanted)
        for table in self._reader.read(file, lo, hi, [*wanted, *self._where.wanted], self._skips, encoded=encoded):
            held = table.select(range(width))
            if self._decided.get(file.url) is not True:
                held = held.filter(self._where.mask(table.select(range(width, table.num_columns))))
            kept = held.slice(min(start, held.num_rows))
            start -= held.num_rows - kept.num_rows
            if kept.num_rows:
                yield kept

    def _count(self, chunk: Chunk, file: DataFile, lo: int, hi: int) -> int:
        decided = self._decided.get(file.url)
        if decided is not None:
            return (chunk.rows or 0) if decided else 0
        tables = self._reader.read(file, lo, hi, self._where.wanted, self._skips)
        return sum(pc.sum(self._where.mask(table)).as_py() or 0 for table in tables)

    def _skips(self, footer: Footer, group: int) -> bool:
        fields = [footer.fields[one.id] for one in self._where.wanted if one.id in footer.fields]
        primitive = [field for field in fields if field.field_type.is_primitive]
        if len(primitive) < len(self._where.wanted):
            # A column that the file lacks has no statistics that could be asked.
            return False
        return self._where.decide(group_entry(footer.parquet, group, primitive)) is False
