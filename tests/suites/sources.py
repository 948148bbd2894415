"""A source in memory with any chunk layout, for tests of order and engines."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from pai_train.spec.contracts import Chunk, Snapshot

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class MemorySource:
    """Rows `id` 0, 1, … with a text beside each, cut into chunks of the given sizes."""

    def __init__(self, sizes: Sequence[int], *, known: bool = True, table: pa.Table | None = None) -> None:
        total = sum(sizes)
        self._table = table or pa.table(
            {"id": pa.array(range(total), pa.int64()), "name": [f"row {i}" for i in range(total)]}
        )
        self._known = known
        self._starts = [sum(sizes[:i]) for i in range(len(sizes) + 1)]
        self.reads: list[int] = []

    @property
    def schema(self) -> pa.Schema:
        return self._table.schema

    @property
    def snapshot(self) -> Snapshot:
        return Snapshot(f"memory-{self._starts}", self._table.num_rows if self._known else None, None)

    def chunks(self) -> Sequence[Chunk]:
        return [
            Chunk(
                i,
                hi - lo if self._known else None,
                None if self._known else 10 * (hi - lo) + i % 3,
                f"memory://rows@{lo}-{hi}",
            )
            for i, (lo, hi) in enumerate(zip(self._starts, self._starts[1:], strict=False))
        ]

    def read(self, chunk: Chunk, columns: Sequence[str], start: int = 0) -> Iterator[pa.RecordBatch]:
        self.reads.append(chunk.id)
        lo, hi = self._starts[chunk.id] + start, self._starts[chunk.id + 1]
        yield from self._table.slice(lo, hi - lo).select(list(columns)).to_batches(max_chunksize=7)
