"""Which rows come when: a pure function of snapshot, plan and epoch. Knows neither workers nor bytes."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from pai_train.errors import DataError
from pai_train.feed.contracts import FeedPlan, Position, Split

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pai_train.spec.contracts import Chunk, Snapshot

Int64s = npt.NDArray[np.int64]

EXACT_ROWS = 2**24
"""Up to this many rows the lanes are weighed by exact counts; above, by a scaled estimate."""


@dataclass(frozen=True)
class Layout:
    """The chunks of each lane, and how large the lanes are.

    Attributes:
        lanes: Chunk ids by lane; a chunk stays in its lane for good, so that a worker reads the same objects again.
        bounds: Running sum of the lanes' weights, one more than there are lanes.
        exact: Whether the weights are the numbers of rows that will be delivered.
    """

    lanes: tuple[tuple[int, ...], ...]
    bounds: tuple[int, ...]
    exact: bool

    @property
    def rows(self) -> int | None:
        """Rows delivered in an epoch, where that is known."""
        return self.bounds[-1] if self.exact else None

    def batches(self, plan: FeedPlan) -> int | None:
        """Batches that an epoch of a plan delivers, where that is known."""
        if not self.exact:
            return None
        full, rest = divmod(self.bounds[-1], plan.batch_size)
        return full + (1 if rest and not plan.drop_remainder else 0)

    def shares(self, lanes: Sequence[int], batch_size: int, first: int, count: int) -> Int64s:
        """Returns how many rows lanes give to batches first … first + count - 1, int64 of shape [lanes, count].

        Lane l has given floor(t B W[l+1] / W) - floor(t B W[l] / W) rows before batch t, W being the running sum of
        weights. The sum over lanes telescopes to t B, so that every batch is full while no lane has ended, and lanes
        end together.
        """
        rows = np.arange(first, first + count + 1, dtype=np.int64) * batch_size
        given = rows * np.array(self.bounds, np.int64)[:, None] // max(1, self.bounds[-1])
        before = given[1:] - given[:-1]
        return (before[:, 1:] - before[:, :-1])[list(lanes)]

    def epoch(self, lane: int, plan: FeedPlan, epoch: int) -> tuple[tuple[int, ...], ...]:
        """Returns the blocks of a lane in the order of an epoch, each as the ids of its chunks."""
        ids = self.lanes[lane]
        if plan.shuffle != "none":
            order = np.random.default_rng([plan.seed, epoch, lane]).permutation(len(ids))
            ids = tuple(ids[i] for i in order)
        size = plan.window if plan.shuffle == "window" else 1
        return tuple(ids[first : first + size] for first in range(0, len(ids), size))


_BEHIND_ALL = 2**31 - 1
"""The ordinal of a lane that has ended in an epoch that other lanes have not."""


def lay_out(chunks: Sequence[Chunk], plan: FeedPlan) -> Layout:
    """Deals the chunks to lanes of nearly equal weight: the heaviest first, each to the lightest lane.

    There are fewer lanes than the plan allows where a lane would give less than one row to a batch.
    """
    known = all(chunk.rows is not None for chunk in chunks)
    exact = known and sum(chunk.rows or 0 for chunk in chunks) <= EXACT_ROWS
    if exact:
        weights = [kept_rows(plan.split, chunk) for chunk in chunks]
    else:
        sizes = [(chunk.rows if known else chunk.bytes) or 0 for chunk in chunks]
        scale = max(1, -(-sum(sizes) // EXACT_ROWS))
        weights = [-(-size // scale) for size in sizes]
    filled = sum(1 for weight in weights if weight)
    total = sum(weights)
    count = max(1, min(plan.lanes, plan.batch_size // 2, filled))
    while True:
        lanes, loads = _deal(weights, count)
        if count == 1 or min(loads) * plan.batch_size >= total:
            break
        count -= 1
    bounds = [0]
    for load in loads:
        bounds.append(bounds[-1] + load)
    return Layout(lanes, tuple(bounds), exact)


def _deal(weights: Sequence[int], count: int) -> tuple[tuple[tuple[int, ...], ...], list[int]]:
    lanes: list[list[int]] = [[] for _ in range(count)]
    heap = [(0, lane) for lane in range(count)]
    for chunk in sorted(range(len(weights)), key=lambda i: (-weights[i], i)):
        load, lane = heapq.heappop(heap)
        lanes[lane].append(chunk)
        heapq.heappush(heap, (load + weights[chunk], lane))
    loads = [0] * count
    for load, lane in heap:
        loads[lane] = load
    return tuple(tuple(sorted(lane)) for lane in lanes), loads


def in_test(split: Split, chunk: int, rows: int) -> npt.NDArray[np.bool_]:
    """Returns which rows of a chunk are in the test set, bool of shape [rows].

    A row's place is the SplitMix64 finaliser (Steele, Lea and Flood, 2014) over (seed, chunk, row).
    """
    state = np.arange(rows, dtype=np.uint64) + np.uint64(1)
    base = (split.seed * 0xD1342543DE82EF95 + chunk * 0x2545F4914F6CDD1D) % 2**64
    with np.errstate(over="ignore"):
        state = state * np.uint64(0x9E3779B97F4A7C15) + np.uint64(base)
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        state ^= state >> np.uint64(31)
    test: npt.NDArray[np.bool_] = (state >> np.uint64(11)) < np.uint64(split.fraction * 2**53)
    return test


def kept_rows(split: Split | None, chunk: Chunk) -> int:
    """Returns how many rows of a chunk of known length are delivered."""
    rows = chunk.rows or 0
    if split is None:
        return rows
    test = int(in_test(split, chunk.id, rows).sum())
    return test if split.part == "test" else rows - test


def delivery(
    plan: FeedPlan, epoch: int, chunks: Sequence[int], rows: Sequence[int], start: int = 0
) -> tuple[Int64s, Int64s]:
    """Returns which rows of a block are delivered, in order, from cursor `start` on.

    Args:
        plan: What to deliver.
        epoch: In which epoch.
        chunks: Ids of the block's chunks, whose rows are numbered through.
        rows: Row count of each.
        start: Rows of the block consumed before, before filtering.

    Returns:
        The row numbers, int64 of shape [kept]; and for each the cursor behind it: rows consumed before filtering.
    """
    total = sum(rows)
    numbers = _counting(total + 1)
    if plan.shuffle == "none":
        order = numbers[:-1]
    else:
        # A chunk is in one block of an epoch: the first one names the block.
        order = np.random.default_rng([plan.seed, epoch, chunks[0], 1]).permutation(total).astype(np.int64, copy=False)
    cursors = numbers[1:]
    if plan.split is not None:
        split = plan.split
        test = np.concatenate([in_test(split, chunk, count) for chunk, count in zip(chunks, rows, strict=True)])
        kept = test[order] == (split.part == "test")
        order, cursors = order[kept], cursors[kept]
    first = int(np.searchsorted(cursors, start, side="right")) if start else 0
    return order[first:], cursors[first:]


@lru_cache(maxsize=2)
def _power_of_two(size: int) -> Int64s:
    numbers = np.arange(size, dtype=np.int64)
    numbers.flags.writeable = False
    return numbers


def _counting(count: int) -> Int64s:
    """Returns 0 … count - 1, read-only: blocks are of like sizes, and need not fill memory with the same numbers."""
    return _power_of_two(1 << max(0, count - 1).bit_length())[:count]


def fingerprint(plan: FeedPlan) -> str:
    """Names the part of a plan that fixes the order, for a position to be checked against."""
    split = f"{plan.split.part} {plan.split.fraction}:{plan.split.seed}" if plan.split else "all rows"
    shuffle = f"window of {plan.window}" if plan.shuffle == "window" else plan.shuffle
    return f"shuffle {shuffle}, lanes {plan.lanes}, batch {plan.batch_size}, {split}"


def beginning(snapshot: Snapshot, plan: FeedPlan, layout: Layout) -> Position:
    """Returns the position before the first batch."""
    return Position(snapshot, fingerprint(plan), plan.seed, 0, 0, ((0, 0),) * len(layout.lanes))


def check_position(at: Position, snapshot: Snapshot, plan: FeedPlan, layout: Layout) -> None:
    """Refuses a position that was taken over other data or in another order.

    Raises:
        DataError: Says what changed.
    """
    if at.snapshot.id != snapshot.id:
        raise DataError(
            "the data changed since the position was saved",
            got=f"snapshot {snapshot.id}, {snapshot.rows} rows, {snapshot.bytes} bytes",
            wanted=f"snapshot {at.snapshot.id}, {at.snapshot.rows} rows, {at.snapshot.bytes} bytes",
            todo="train.resume=never starts anew on the data as they are",
        )
    if (at.order, at.seed, len(at.lanes)) != (fingerprint(plan), plan.seed, len(layout.lanes)):
        raise DataError(
            "the order of rows changed since the position was saved",
            got=f"{fingerprint(plan)}, seed {plan.seed}, {len(layout.lanes)} lanes in use",
            wanted=f"{at.order}, seed {at.seed}, {len(at.lanes)} lanes in use",
            todo="train.resume=never starts anew in the new order",
        )


def merge(parts: Sequence[Position]) -> Position:
    """Puts the positions of all workers of one reading together: lane l is taken from worker l modulo their number.

    A worker that has no row in the last batches of an epoch stands at the next one's beginning before the others do.

    Raises:
        DataError: The workers do not stand behind the same batch, or read different things.
    """
    # A worker beyond the lanes reads nothing, and stands nowhere.
    reading = parts[: len(parts[0].lanes)]
    epoch = min(part.epoch for part in reading)
    last = max((part for part in reading if part.epoch == epoch), key=lambda part: part.batch)
    stands = {(part.snapshot.id, part.order, part.seed, part.epoch, part.batch) for part in reading}
    wanted = {(last.snapshot.id, last.order, last.seed, *at) for at in ((epoch, last.batch), (epoch + 1, 0))}
    if not stands <= wanted:
        raise DataError(
            "the workers' positions do not belong together",
            got="; ".join(
                f"epoch {part.epoch}, batch {part.batch}, {part.order}, seed {part.seed}" for part in reading
            ),
            wanted="positions behind the same batch of one reading, one of each worker, in their order",
        )
    lanes = []
    for lane in range(len(last.lanes)):
        part = parts[lane % len(parts)]
        lanes.append(part.lanes[lane] if part.epoch == epoch else (_BEHIND_ALL, 0))
    return Position(last.snapshot, last.order, last.seed, epoch, last.batch, tuple(lanes))
