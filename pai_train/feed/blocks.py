"""One block: the rows of a chunk, or of a window of them, that a plan delivers, each with the cursor behind it."""

from __future__ import annotations

from collections import deque
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from pai_train.feed.assemble import in_order, whole
from pai_train.feed.bad_rows import place_of
from pai_train.feed.nulls import EmptyError, fill, first_nulls, null_row
from pai_train.feed.order import Int64s, Layout, delivery
from pai_train.feed.runs import Runs
from pai_train.spec.contracts import EncodedSource, MarkingSource

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from concurrent.futures import Executor, Future

    import numpy.typing as npt

    from pai_train.feed.contracts import FeedPlan, Measure
    from pai_train.spec.contracts import BadRow, Chunk, Source


@dataclass(frozen=True)
class Unit:
    """A block's turn in a lane.

    Attributes:
        epoch: The epoch, from 0.
        ordinal: The block's place in its lane's order of that epoch.
        chunks: Ids of its chunks: one, but for a window.
        start: Cursor to begin at: rows of the block consumed before, before filtering.
    """

    epoch: int
    ordinal: int
    chunks: tuple[int, ...]
    start: int


@dataclass(frozen=True)
class Block:
    """What a unit delivers.

    Attributes:
        unit: Where it comes from.
        batch: The rows in order of delivery, without nulls where the plan has a default.
        cursors: Per row the block's rows consumed once it is delivered, int64 of shape [rows].
    """

    unit: Unit
    batch: pa.RecordBatch
    cursors: Int64s


def units(layout: Layout, plan: FeedPlan, lane: int, epoch: int, ordinal: int, start: int) -> Iterator[Unit]:
    """Yields the turns of a lane from a position on, over all epochs of the plan."""
    for number in count(epoch):
        if plan.epochs is not None and number >= plan.epochs:
            return
        order = layout.epoch(lane, plan, number)
        if not order:
            return
        for place in range(ordinal, len(order)):
            yield Unit(number, place, order[place], start)
            start = 0
        ordinal, start = 0, 0


def read_block(source: Source, plan: FeedPlan, unit: Unit, *, encoded: bool = False) -> Block:
    """Reads one unit. Pure: the same unit always gives the same block.

    Args:
        source: Where the rows are.
        plan: What to deliver.
        unit: The block's turn.
        encoded: Whether strings may come dictionary encoded, where the source has them so.

    Raises:
        DataError: A row cannot be read, or holds a null where there is no default; says where it stands.
    """
    chunks = source.chunks()
    pieces = [read_rows(source, chunks[chunk], plan, encoded=encoded) for chunk in unit.chunks]
    rows = pieces[0] if len(pieces) == 1 else joined(pieces)
    places, consumed = delivery(plan, unit.epoch, unit.chunks, [piece.count for piece in pieces], unit.start)
    order, cursors = rows.kept(places, consumed)
    in_place = plan.shuffle == "none" and len(order) == sum(batch.num_rows for batch in rows.batches)
    if in_place and len(rows.batches) == 1:
        batch = rows.batches[0]
    else:
        batch = in_order(whole(rows.batches), None if in_place else Runs.of(order), len(order))
    try:
        return Block(unit, batch if plan.defaults is None else fill(batch, plan.defaults), cursors)
    except EmptyError as error:
        place = int(places[np.searchsorted(consumed, cursors[error.row])])
        edges = np.cumsum([0, *(piece.count for piece in pieces)])
        at = int(np.searchsorted(edges, place, side="right")) - 1
        raise error.at(place_of(source, chunks[unit.chunks[at]], place - int(edges[at]))) from None


@dataclass(frozen=True)
class Rows:
    """The rows of a chunk, or of several, that can be delivered.

    Attributes:
        batches: At least one.
        count: How many rows there are, those that are left out included.
        good: Which of them are in the batches, bool of shape [count]; None for all.
    """

    batches: Sequence[pa.RecordBatch]
    count: int
    good: npt.NDArray[np.bool_] | None = None

    def kept(self, order: Int64s, cursors: Int64s) -> tuple[Int64s, Int64s]:
        """Drops what is left out of an order of the rows, and numbers the rows as in the batches."""
        if self.good is None:
            return order, cursors
        kept = self.good[order]
        return (np.cumsum(self.good) - 1)[order[kept]], cursors[kept]


def read_rows(source: Source, chunk: Chunk, plan: FeedPlan, *, encoded: bool = False) -> Rows:
    """Reads a chunk; where the plan takes bad rows, hands them over and leaves them out."""
    taker = plan.bad_rows
    if taker is not None and isinstance(source, MarkingSource):
        marked = source.read_marked(chunk, plan.columns)
        batches, count, bad = list(marked.batches), marked.rows, list(marked.bad)
    else:
        encode = encoded and isinstance(source, EncodedSource)
        read = source.read_encoded if encode else source.read  # type: ignore[attr-defined]
        batches, bad = list(read(chunk, plan.columns)), []
        count = sum(batch.num_rows for batch in batches)
    batches = batches or [no_rows(source, plan)]
    if taker is None:
        return Rows(batches, count)
    good = np.ones(count, bool)
    good[[row.row for row in bad]] = False
    batches, empty = _without_nulls(batches, np.flatnonzero(good), plan)
    taker.note(source, chunk, count, [*bad, *empty])
    good[[row.row for row in empty]] = False
    return Rows(batches, count, None if good.all() else good)


def joined(pieces: Sequence[Rows]) -> Rows:
    """Lays the rows of several chunks end to end."""
    good = None
    if any(piece.good is not None for piece in pieces):
        good = np.concatenate([np.ones(piece.count, bool) if piece.good is None else piece.good for piece in pieces])
    return Rows([batch for piece in pieces for batch in piece.batches], sum(piece.count for piece in pieces), good)


def _without_nulls(
    batches: list[pa.RecordBatch], rows: Int64s, plan: FeedPlan
) -> tuple[list[pa.RecordBatch], list[BadRow]]:
    """Leaves out the rows in which a required column is null, given each row's number in the chunk."""
    required = plan.required
    if required is None:
        defaults = plan.defaults
        required = () if defaults is None else tuple(name for name in plan.columns if defaults.get(name) is None)
    kept, bad, first = [], [], 0
    for batch in batches:
        nulls = first_nulls(batch, required)
        if (nulls >= 0).any():
            at = np.flatnonzero(nulls >= 0)
            bad += [null_row(int(rows[first + row]), required[nulls[row]]) for row in at]
            kept.append(batch.filter(pa.array(nulls < 0)))
        else:
            kept.append(batch)
        first += batch.num_rows
    return kept, bad


def no_rows(source: Source, plan: FeedPlan) -> pa.RecordBatch:
    """Returns the plan's columns without a row."""
    fields = [source.schema.field(name) for name in plan.columns]
    return pa.RecordBatch.from_arrays([pa.array([], field.type) for field in fields], schema=pa.schema(fields))


@dataclass(frozen=True)
class BlockReader:
    """Reads the units of any lane in the executor's threads."""

    source: Source
    plan: FeedPlan
    executor: Executor
    encoded: bool = False
    measure: Measure = nullcontext

    def begin(self, unit: Unit) -> Future[Block]:
        """Begins to read a unit."""
        return self.executor.submit(self._read, unit)

    def _read(self, unit: Unit) -> Block:
        with self.measure():
            return read_block(self.source, self.plan, unit, encoded=self.encoded)


class LaneReader:
    """The blocks of one lane in order, some of them read ahead."""

    def __init__(self, reader: BlockReader, turns: Iterator[Unit], ahead: int) -> None:
        self._reader = reader
        self._turns = turns
        self._reading: deque[tuple[Unit, Future[Block]]] = deque()
        self._ahead = ahead

    def peek(self) -> Unit | None:
        """Returns the unit of the next block, or None at the end of the plan."""
        self.begin(self._ahead + 1)
        return self._reading[0][0] if self._reading else None

    def next(self) -> Block:
        """Waits for the next block."""
        self.begin(self._ahead + 1)
        _, future = self._reading.popleft()
        block = future.result()
        self.begin(self._ahead + 1)
        return block

    def close(self) -> None:
        """Drops what has not been started."""
        while self._reading:
            self._reading.popleft()[1].cancel()

    def begin(self, blocks: int) -> None:
        """Begins to read so many of the next blocks, with those under way."""
        while len(self._reading) < blocks:
            unit = next(self._turns, None)
            if unit is None:
                return
            self._reading.append((unit, self._reader.begin(unit)))
