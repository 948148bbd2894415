"""One block: the rows of a chunk that a plan delivers, in their order, each with the cursor behind it."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

import pyarrow as pa

from pai_train.feed.assemble import in_order
from pai_train.feed.fields import EmptyError, fill
from pai_train.feed.order import Int64s, Layout, delivery
from pai_train.spec.contracts import EncodedSource, PlacedSource
from pai_train.storage import display

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Executor, Future

    from pai_train.feed.contracts import FeedPlan
    from pai_train.spec.contracts import Chunk, Source


@dataclass(frozen=True)
class Unit:
    """A chunk's turn in a lane.

    Attributes:
        epoch: The epoch, from 0.
        ordinal: The chunk's place in its lane's order of that epoch.
        chunk: Chunk id.
        start: Cursor to begin at: rows of the chunk consumed before, before filtering.
    """

    epoch: int
    ordinal: int
    chunk: int
    start: int


@dataclass(frozen=True)
class Block:
    """What a unit delivers.

    Attributes:
        unit: Where it comes from.
        batch: The rows in order of delivery, without nulls where the plan has a default.
        cursors: Per row the chunk's rows consumed once it is delivered, int64 of shape [rows].
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


def read_block(source: Source, chunk: Chunk, plan: FeedPlan, unit: Unit, *, encoded: bool = False) -> Block:
    """Reads one unit. Pure: the same unit always gives the same block.

    Args:
        source: Where the rows are.
        chunk: The unit's chunk.
        plan: What to deliver.
        unit: The chunk's turn.
        encoded: Whether strings may come dictionary encoded, where the source has them so.

    Raises:
        DataError: A row cannot be read, or holds a null where there is no default; says where it stands.
    """
    encode = encoded and isinstance(source, EncodedSource)
    read = source.read_encoded if encode else source.read  # type: ignore[attr-defined]
    batches = list(read(chunk, plan.columns)) or [no_rows(source, plan)]
    rows = sum(batch.num_rows for batch in batches)
    order, cursors = delivery(plan, unit.epoch, chunk.id, rows, unit.start)
    in_place = plan.shuffle == "none" and len(order) == rows
    batch = in_order(batches, None if in_place else order, len(order))
    try:
        return Block(unit, batch if plan.defaults is None else fill(batch, plan.defaults), cursors)
    except EmptyError as error:
        raise error.at(_place(source, chunk, int(order[error.row]))) from None


def _place(source: Source, chunk: Chunk, row: int) -> str:
    if isinstance(source, PlacedSource):
        return source.place(chunk, row)
    url, _, rows = chunk.ref.rpartition("@")
    lo, hi = (int(text) for text in rows.split("-"))
    if chunk.rows is not None and chunk.rows != hi - lo:
        # Deleted rows and rows that a filter leaves out are not counted.
        return f"{display(url)}, row {row} of the {chunk.rows} that are read of rows {lo} to {hi - 1}"
    return f"{display(url)}, row {lo + row}"


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

    def begin(self, unit: Unit) -> Future[Block]:
        """Begins to read a unit."""
        chunk = self.source.chunks()[unit.chunk]
        return self.executor.submit(read_block, self.source, chunk, self.plan, unit, encoded=self.encoded)


class LaneReader:
    """The blocks of one lane in order, some of them read ahead."""

    def __init__(self, reader: BlockReader, turns: Iterator[Unit], ahead: int) -> None:
        self._reader = reader
        self._turns = turns
        self._reading: deque[tuple[Unit, Future[Block]]] = deque()
        self._ahead = ahead

    def peek(self) -> Unit | None:
        """Returns the unit of the next block, or None at the end of the plan."""
        self._refill()
        return self._reading[0][0] if self._reading else None

    def next(self) -> Block:
        """Waits for the next block."""
        self._refill()
        _, future = self._reading.popleft()
        block = future.result()
        self._refill()
        return block

    def close(self) -> None:
        """Drops what has not been started."""
        while self._reading:
            self._reading.popleft()[1].cancel()

    def _refill(self) -> None:
        while len(self._reading) <= self._ahead:
            unit = next(self._turns, None)
            if unit is None:
                return
            self._reading.append((unit, self._reader.begin(unit)))
