"""Row groups too large to be held, decoded in a stream that goes on from one range of rows to the next."""

from __future__ import annotations

from collections import OrderedDict, deque
from threading import Lock
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Hashable, Iterator, Sequence
    from contextlib import AbstractContextManager

LARGE_GROUP_BYTES = 64 * 2**20
"""Row groups above are decoded in a stream, so that they are never held."""
_HELD_BYTES = LARGE_GROUP_BYTES
"""Of a stream, what was decoded last: threads ask for neighbouring ranges in nearly their order."""
_STREAMS = 2
_ROWS = 16384


class GroupStreams:
    """The streams that were used last. May be used by several threads.

    Ranges of a group that come in order are decoded once in all. One that comes when its rows have been let go is
    decoded from the group's beginning on.

    Args:
        held_bytes: Decoded rows that each stream keeps at most, but for those that are asked for.
    """

    def __init__(self, held_bytes: int = _HELD_BYTES) -> None:
        self._held_bytes = held_bytes
        self._lock = Lock()
        self._streams: OrderedDict[Hashable, _Stream] = OrderedDict()

    def read(
        self,
        key: Hashable,
        opened: Callable[[], AbstractContextManager[Any]],
        footer: pq.FileMetaData,
        group: int,
        columns: Sequence[str],
        rows: range,
    ) -> Iterator[pa.Table]:
        """Yields some rows of a row group. Pages with a checksum are checked.

        Args:
            key: Names the file and what it holds.
            opened: Opens it.
            footer: What it says of itself.
            group: The row group's number.
            columns: The columns, in order.
            rows: Which rows, counted from the first of the group.
        """
        names = tuple(columns)

        def batches() -> Generator[pa.RecordBatch]:
            with (
                opened() as stream,
                pq.ParquetFile(stream, metadata=footer, page_checksum_verification=True) as file,
            ):
                yield from file.iter_batches(_ROWS, [group], list(names), use_threads=False)

        with self._lock:
            made = _Stream(batches, footer.row_group(group).num_rows, self._held_bytes)
            held = self._streams.setdefault((key, group, names), made)
            self._streams.move_to_end((key, group, names))
            if len(self._streams) > _STREAMS:
                self._streams.popitem(last=False)
        for batch in held.read(rows):
            yield pa.Table.from_batches([batch])


class _Stream:
    """Batches of one row group, from its beginning on, the last of them kept."""

    def __init__(self, begin: Callable[[], Generator[pa.RecordBatch]], rows: int, held_bytes: int) -> None:
        self._begin = begin
        self._rows = rows
        self._most = held_bytes
        self._lock = Lock()
        self._start_anew()

    def read(self, rows: range) -> list[pa.RecordBatch]:
        """Returns batches of these rows, one thread after the other."""
        with self._lock:
            if rows.start < self._start:
                self._start_anew()
            try:
                while self._stop < rows.stop and (batch := next(self._batches, None)) is not None:
                    self._held.append(batch)
                    self._stop += batch.num_rows
                    self._let_go(rows.start)
                if self._stop == self._rows:
                    # Nothing more is read: the file is closed.
                    self._batches.close()
            except BaseException:
                self._start_anew()
                raise
            found, at = [], self._start
            for batch in self._held:
                lo, hi = max(rows.start - at, 0), min(rows.stop - at, batch.num_rows)
                if lo < hi:
                    found.append(batch.slice(lo, hi - lo))
                at += batch.num_rows
            self._let_go(rows.stop)
            return found

    @property
    def _start(self) -> int:
        """The first row that is kept."""
        kept: int = sum(batch.num_rows for batch in self._held)
        return self._stop - kept

    def _start_anew(self) -> None:
        self._batches = self._begin()
        self._held: deque[pa.RecordBatch] = deque()
        self._stop = 0

    def _let_go(self, first: int) -> None:
        """Drops the first batches while there are too many, but none that holds row `first` or one behind it."""
        size = sum(batch.nbytes for batch in self._held)
        while self._held and size > self._most and self._start + self._held[0].num_rows <= first:
            size -= self._held.popleft().nbytes
