"""Superbatches: lanes read, dealt into batches and put in order, as Arrow; what every engine's meaning rests on."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from pai_train.feed.assemble import Columns, Span, in_order
from pai_train.feed.blocks import Block, BlockReader, LaneReader, units
from pai_train.feed.contracts import FeedPlan, Position, Shard
from pai_train.feed.deal import Dealer
from pai_train.feed.order import beginning, check_position, lay_out
from pai_train.feed.trail import Stretch, Trail

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import pyarrow as pa

    from pai_train.feed.contracts import Measure
    from pai_train.feed.runs import Runs
    from pai_train.spec.contracts import Source

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Taken(Protocol[T_co]):
    """Rows taken from the own lanes, laid end to end in lane order."""

    @property
    def given(self) -> Mapping[int, int]:
        """Rows of each lane: fewer than wanted only where the lane has ended."""
        ...

    @property
    def cursors(self) -> Mapping[int, tuple[int, int]]:
        """The (ordinal, row) behind them."""
        ...

    @property
    def stretches(self) -> Mapping[int, Sequence[Stretch]]:
        """The blocks' rows they are, by lane."""
        ...

    def rows(self, order: Runs | None, count: int) -> T_co:
        """Returns the first `count` rows in an order."""
        ...


class Lanes(Protocol[T_co]):
    """An engine's way of reading lanes."""

    def take(self, epoch: int, wanted: Mapping[int, int]) -> Taken[T_co]:
        """Takes the next rows of each lane, inside an epoch."""
        ...


@dataclass(frozen=True)
class Delivery(Generic[T]):
    """One superbatch in an engine's own form; see `Superbatch`."""

    rows: tuple[int, ...]
    data: T
    after: Position
    trail: Trail

    def position(self, batches: int) -> Position:
        """Returns the position behind the first batches, at least one."""
        return self.after if batches == len(self.rows) else self.trail.position(batches)


def deal_lanes(lanes: Lanes[T], dealer: Dealer, plan: FeedPlan) -> Iterator[Delivery[T]]:
    """Yields superbatches until the plan's last epoch ends; the last of an epoch points at the next one."""
    held: Delivery[T] | None = None
    delivered = 0
    while not dealer.done:
        before = dealer.at
        taken = lanes.take(before.epoch, dealer.wanted())
        hand = dealer.deal(taken.given, taken.cursors)
        if hand is None:
            dealer.end_epoch()
            if held is not None:
                yield replace(held, after=dealer.at)
            elif not delivered and plan.epochs is None:
                return
            held, delivered = None, 0
            continue
        rows = hand.rows[: hand.full] if plan.drop_remainder else hand.rows
        if not rows:
            continue
        if held is not None:
            yield held
        trail = Trail(before, hand.behind, taken.stretches)
        held = Delivery(rows, taken.rows(hand.order, sum(rows)), hand.after, trail)
        delivered += 1


def start(source: Source, plan: FeedPlan, at: Position | None, shard: Shard) -> Dealer:
    """Lays a source out in lanes and checks that a position fits.

    Raises:
        DataError: The position belongs to other data or another order.
    """
    layout = lay_out(source.chunks(), plan)
    if at is None:
        at = beginning(source.snapshot, plan, layout)
    else:
        check_position(at, source.snapshot, plan, layout)
    return Dealer(layout, plan, at, shard)


@contextmanager
def arrow_superbatches(
    source: Source,
    plan: FeedPlan,
    at: Position | None = None,
    shard: Shard = Shard(),
    parallel: int | None = None,
    *,
    encoded: bool = False,
    measure: Measure = nullcontext,
) -> Iterator[Iterator[Delivery[pa.RecordBatch]]]:
    """Reads a source as Arrow superbatches.

    Args:
        source: What to read.
        plan: What to deliver.
        at: Where to begin; None for the beginning.
        shard: Which worker reads.
        parallel: Chunks read at once; None for as many as there are cores.
        encoded: Whether strings may come dictionary encoded, where the source has them so.
        measure: Measures the reading of a block.

    Raises:
        DataError: The position belongs to other data or another order, or a row cannot be read.
    """
    dealer = start(source, plan, at, shard)
    workers = parallel or os.cpu_count() or 1
    with ThreadPoolExecutor(workers, thread_name_prefix="read") as executor:
        ahead = max(1, -(-workers // max(1, len(dealer.lanes))))
        lanes = ArrowLanes(plan, dealer, BlockReader(source, plan, executor, encoded, measure), ahead)
        try:
            yield deal_lanes(lanes, dealer, plan)
        finally:
            lanes.close()


@dataclass(frozen=True)
class ArrowRows:
    """Rows of all own lanes as spans of blocks."""

    given: Mapping[int, int]
    cursors: Mapping[int, tuple[int, int]]
    spans: tuple[Span, ...]
    stretches: Mapping[int, Sequence[Stretch]]

    def rows(self, order: Runs | None, count: int) -> pa.RecordBatch:
        return in_order(self.spans, order, count)


class ArrowLanes:
    """Reads the own lanes through a pool of threads; Arrow decodes without holding the GIL."""

    def __init__(self, plan: FeedPlan, dealer: Dealer, reader: BlockReader, ahead: int) -> None:
        at, layout = dealer.at, dealer.layout
        self._lanes = {
            lane: _Lane(LaneReader(reader, units(layout, plan, lane, at.epoch, *at.lanes[lane]), ahead))
            for lane in dealer.lanes
        }
        # A batch takes of every lane: the first block of each comes before the second of any.
        for blocks in range(1, ahead + 2):
            for lane in self._lanes.values():
                lane.reader.begin(blocks)

    def take(self, epoch: int, wanted: Mapping[int, int]) -> ArrowRows:
        given, cursors, stretches = {}, {}, {}
        spans: list[Span] = []
        for lane, count in wanted.items():
            own, stretches[lane], cursor = self._lanes[lane].take(epoch, count)
            given[lane] = sum(span.rows for span in own)
            spans += own
            if cursor is not None:
                cursors[lane] = cursor
        return ArrowRows(given, cursors, tuple(spans), stretches)

    def close(self) -> None:
        """Drops what was read ahead."""
        for lane in self._lanes.values():
            lane.reader.close()


class _Lane:
    """One lane's current block, and how much of it is delivered."""

    def __init__(self, reader: LaneReader) -> None:
        self.reader = reader
        self._block: Block | None = None
        self._columns: Columns | None = None
        self._offset = 0

    def take(self, epoch: int, count: int) -> tuple[list[Span], list[Stretch], tuple[int, int] | None]:
        spans: list[Span] = []
        stretches: list[Stretch] = []
        cursor = None
        while count:
            block, columns = self._block, self._columns
            if block is None or columns is None or self._offset == columns.rows:
                unit = self.reader.peek()
                if unit is None or unit.epoch != epoch:
                    break
                block = self._block = self.reader.next()
                columns = self._columns = Columns(block.batch)
                self._offset = 0
            rows = min(count, columns.rows - self._offset)
            cursors = block.cursors[self._offset : self._offset + rows]
            self._offset += rows
            count -= rows
            ends = self._offset == columns.rows
            if rows:
                spans.append(Span(columns, self._offset - rows, rows))
                stretches.append(Stretch(block.unit.ordinal, cursors, ends))
            place = block.unit.ordinal
            cursor = (place + 1, 0) if ends else (place, int(block.cursors[self._offset - 1]))
        return spans, stretches, cursor
