"""A source of which only the rows that fulfil a filter are delivered, for stores that cannot filter themselves."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from pai_train.tables.columns import iceberg_schema
from pai_train.tables.where import Where

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pai_train.spec.contracts import Chunk, Source
    from pai_train.spec.ddl import Column

_MOST_AT_ONCE = 8
_ONE_ROW = pa.table({"any": pa.nulls(1)}).select([])


class FilteredSource:
    """Rows of another source; implements `Source`. Reading is pure and may be done by several threads.

    The columns that the filter looks at are read once when it is opened, so that chunks say how many rows they hold;
    where these are partition columns, no row is read for it.

    Args:
        source: The rows.
        where: The filter.
        columns: The source's columns, as declared.
        address: What is filtered, for messages.

    Raises:
        WhereError: The filter is none, or does not fit the columns.
        PaiTrainError: As reading the source.
    """

    def __init__(self, source: Source, where: str, columns: Sequence[Column], address: str) -> None:
        self._source = source
        self._where = Where(where, iceberg_schema(columns), address)
        self._names = [one.declared.name for one in self._where.wanted]
        self._types = pa.schema([one.declared for one in self._where.wanted])
        self.schema = source.schema
        with ThreadPoolExecutor(min(_MOST_AT_ONCE, 2 * (os.cpu_count() or 1)), "count") as pool:
            counts = list(pool.map(self._count, source.chunks()))
        held = [(chunk, count) for chunk, count in zip(source.chunks(), counts, strict=True) if count]
        self._chunks = tuple(replace(chunk, id=number, rows=count) for number, (chunk, count) in enumerate(held))
        self.snapshot = replace(source.snapshot, rows=sum(count for _, count in held), bytes=None)

    def chunks(self) -> Sequence[Chunk]:
        return self._chunks

    def read(self, chunk: Chunk, columns: Sequence[str], start: int = 0) -> Iterator[pa.RecordBatch]:
        wanted = [name.lower() for name in columns]
        for batch in self._source.read(chunk, list(dict.fromkeys([*wanted, *self._names]))):
            chosen = batch.filter(self._mask(batch)) if self._names else batch
            kept = chosen.select(wanted).slice(min(start, chosen.num_rows))
            start -= chosen.num_rows - kept.num_rows
            if kept.num_rows:
                yield kept

    def _count(self, chunk: Chunk) -> int:
        if not self._names:
            return (chunk.rows or 0) if pc.all(self._where.mask(_ONE_ROW)).as_py() else 0
        return sum(pc.sum(self._mask(batch)).as_py() or 0 for batch in self._source.read(chunk, self._names))

    def _mask(self, batch: pa.RecordBatch) -> pa.Array:
        table = pa.Table.from_batches([batch.select(self._names)]).cast(self._types)
        found = self._where.mask(table)
        return found.combine_chunks() if isinstance(found, pa.ChunkedArray) else found
