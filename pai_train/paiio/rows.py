"""The rows of tables by number: which ones an address and a slice mean, and reading any range of them."""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections import OrderedDict
from dataclasses import replace
from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from pai_train.errors import DataError, TableError
from pai_train.feed.assemble import in_order, whole
from pai_train.feed.runs import Runs
from pai_train.paiio.sequence import cut
from pai_train.spec.contracts import EncodedSource
from pai_train.spec.slices import slice_rows
from pai_train.tables.cut import MAX_ROWS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pai_train.spec.address import TableRef
    from pai_train.spec.contracts import Source
    from pai_train.tables.contracts import Tables

_OPEN_SOURCES = 4
UNIT_ROWS = MAX_ROWS
"""Whole chunks of a large table: of each part of one, read apart, all of it would be decoded."""
_UNIT_BYTES = 16 * 2**20


class NumberedRows:
    """One snapshot of a table, or of partitions of it, whose rows are read by number. Threads may share it.

    Args:
        where: The table, for messages.
        source: What it is read from.

    Raises:
        TableError: The store does not say how many rows a chunk holds.
    """

    def __init__(self, where: str, source: Source) -> None:
        self.where = where
        self.source = source
        self._chunks = source.chunks()
        counts = [chunk.rows for chunk in self._chunks]
        if None in counts:
            raise TableError("the table's rows have no numbers", where=where, todo="read it without paiio")
        self.edges = list(accumulate((count or 0 for count in counts), initial=0))

    @property
    def count(self) -> int:
        """How many rows there are."""
        return self.edges[-1]

    def meant(self, bounds: tuple[int, int | None] | None, slice_id: int, slice_count: int) -> range:
        """Returns the rows of one slice of the range that an address names.

        Raises:
            TableError: The range names rows that are not there.
        """
        start, end = bounds or (0, None)
        stop = self.count if end is None else end
        if not start <= stop <= self.count:
            raise TableError(
                "the range of rows is not within the table",
                where=self.where,
                got=f"{start} to {stop}",
                wanted=f"within 0 to {self.count}",
            )
        part = slice_rows(stop - start, slice_id, slice_count)
        return range(start + part.start, start + part.stop)

    def at_once(self, most: int) -> int:
        """Returns how many rows to read at once: at most `most`, fewer where they are large as stored."""
        held = self.source.snapshot.bytes
        return min(most, max(1, _UNIT_BYTES * self.count // held)) if held and self.count else most

    def units(self, rows: range, most: int) -> list[range]:
        """Cuts rows into what is read at once: at most `most` rows, fewer where they are large."""
        return cut(self.edges, rows, self.at_once(most))

    def read(self, rows: range, columns: Sequence[str], *, encoded: bool = False) -> Iterator[pa.RecordBatch]:
        """Yields rows by number, step 1, in bounded batches.

        Args:
            rows: Their numbers.
            columns: Names of columns, in order.
            encoded: Whether strings may come dictionary encoded.

        Raises:
            DataError: They cannot be read as the table declares them.
            StorageError: The bytes cannot be read.
        """
        at = rows.start
        source = self.source
        reads = source.read_encoded if encoded and isinstance(source, EncodedSource) else source.read
        for index in range(bisect_right(self.edges, at) - 1, len(self._chunks)):
            if at >= rows.stop:
                return
            for batch in reads(self._chunks[index], columns, at - self.edges[index]):
                kept = batch.slice(0, rows.stop - at)
                at += kept.num_rows
                yield kept
                if at >= rows.stop:
                    return
            if at != self.edges[index + 1]:
                raise DataError(
                    "the table gave fewer rows than it has",
                    where=self.where,
                    got=f"row {at} was the last of {self._chunks[index].ref}",
                    wanted=f"rows up to {self.edges[index + 1]}",
                    todo="read again; the answer of the service was cut off",
                )

    def table(self, rows: range, columns: Sequence[str]) -> pa.Table:
        """Returns rows by number, step 1."""
        schema = pa.schema([self.source.schema.field(name) for name in columns])
        return pa.Table.from_batches(list(self.read(rows, columns)), schema)

    def batch(self, rows: range, columns: Sequence[str]) -> pa.RecordBatch:
        """Returns at least one row by number; a step above 1 leaves out those between.

        A column of strings is pa.dictionary(pa.int32(), pa.string()) where the store says that few values repeat.
        """
        pieces = list(self.read(range(rows.start, rows.stop), columns, encoded=True))
        count = rows.stop - rows.start
        order = None if rows.step == 1 else Runs.of(np.arange(0, count, rows.step))
        return in_order(whole(pieces), order, len(rows))


def open_rows(tables: Tables, ref: TableRef, snapshot: str | None = None) -> NumberedRows:
    """Opens what an address names, at a snapshot or as it is now.

    Raises:
        TableError: No such table, partition or snapshot.
    """
    ref = replace(ref, rows=None)
    return NumberedRows(str(ref), tables.source(ref, snapshot))


def check_slice(slice_id: int, slice_count: int) -> None:
    """Refuses a slice that there is none of.

    Raises:
        TableError: No such slice.
    """
    if slice_count < 1 or not 0 <= slice_id < slice_count:
        raise TableError(
            "no such slice", got=f"slice_id={slice_id}, slice_count={slice_count}", wanted="0 <= slice_id < slice_count"
        )


class OpenTables:
    """Tables by number, each at the snapshot it had when it was first opened; the last few are kept open.

    Args:
        tables: The table store.
    """

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._lock = threading.Lock()
        self._numbers: dict[TableRef, int] = {}
        self._snapshots: list[tuple[TableRef, str]] = []
        self._recent: OrderedDict[int, NumberedRows] = OrderedDict()

    def open(self, ref: TableRef) -> tuple[int, NumberedRows]:
        """Opens what an address names, and gives it a number.

        Raises:
            TableError: No such table or partition.
        """
        ref = replace(ref, rows=None)
        with self._lock:
            number = self._numbers.get(ref)
        if number is not None:
            return number, self.get(number)
        opened = open_rows(self._tables, ref)
        snapshot = opened.source.snapshot.id
        with self._lock:
            number = self._numbers.setdefault(ref, len(self._snapshots))
            if number == len(self._snapshots):
                self._snapshots.append((ref, snapshot))
            is_that = self._snapshots[number][1] == snapshot
        return number, self._keep(number, opened) if is_that else self.get(number)

    def get(self, number: int) -> NumberedRows:
        """Returns a table that was opened, at the snapshot that it had then.

        Raises:
            TableError: Table or snapshot is gone.
        """
        with self._lock:
            found = self._recent.get(number)
            if found is not None:
                self._recent.move_to_end(number)
                return found
            ref, snapshot = self._snapshots[number]
        return self._keep(number, open_rows(self._tables, ref, snapshot))

    def _keep(self, number: int, opened: NumberedRows) -> NumberedRows:
        """Keeps what is there already, which has read."""
        with self._lock:
            held = self._recent.setdefault(number, opened)
            self._recent.move_to_end(number)
            while len(self._recent) > _OPEN_SOURCES:
                self._recent.popitem(last=False)
        return held
