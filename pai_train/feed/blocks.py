"""One block: the rows of a chunk that a plan delivers, in their order, each with the cursor behind it."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

import pyarrow as pa

from pai_train.feed.fields import EmptyError, fill
from pai_train.feed.order import Int64s, Layout, delivery
from pai_train.spec.contracts import TextSource
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


def read_block(source: Source, chunk: Chunk, plan: FeedPlan, unit: Unit) -> Block:
    """Reads one unit. Pure: the same unit always gives the same block.

    Raises:
        DataError: A row cannot be read, or holds a null where there is no default; says where it stands.
    """
    schema = pa.schema([source.schema.field(name) for name in plan.columns])
    table = pa.Table.from_batches(list(source.read(chunk, plan.columns)), schema)
    order, cursors = delivery(plan, unit.epoch, chunk.id, table.num_rows, unit.start)
    if plan.shuffle != "none" or len(order) != table.num_rows:
        table = table.take(pa.array(order))
    batch = _one(table)
    try:
        return Block(unit, batch if plan.defaults is None else fill(batch, plan.defaults), cursors)
    except EmptyError as error:
        raise error.at(_place(source, chunk, int(order[error.row]))) from None


def _place(source: Source, chunk: Chunk, row: int) -> str:
    if isinstance(source, TextSource):
        return source.place(chunk, row)
    url, _, rows = chunk.ref.rpartition("@")
    lo, hi = (int(text) for text in rows.split("-"))
    if chunk.rows is not None and chunk.rows != hi - lo:
        # Deleted rows and rows that a filter leaves out are not counted.
        return f"{display(url)}, row {row} of the {chunk.rows} that are read of rows {lo} to {hi - 1}"
    return f"{display(url)}, row {lo + row}"


def _one(table: pa.Table) -> pa.RecordBatch:
    batches = table.combine_chunks().to_batches()
    if batches:
        return batches[0]
    return pa.RecordBatch.from_arrays([pa.array([], field.type) for field in table.schema], schema=table.schema)


class LaneReader:
    """The blocks of one lane in order, some of them read ahead by the executor's threads."""

    def __init__(self, source: Source, plan: FeedPlan, turns: Iterator[Unit], executor: Executor, ahead: int) -> None:
        self._source = source
        self._chunks = source.chunks()
        self._plan = plan
        self._turns = turns
        self._executor = executor
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
            chunk = self._chunks[unit.chunk]
            self._reading.append((unit, self._executor.submit(read_block, self._source, chunk, self._plan, unit)))
