"""Dealing lanes into batches: how many rows of which lane, in which order, and the position behind them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pai_train.feed.contracts import FeedPlan, Position, Shard

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pai_train.feed.order import Int64s, Layout


@dataclass(frozen=True)
class Hand:
    """A superbatch to be put together.

    Attributes:
        rows: True row count of each batch on this worker; 0 where its lanes give no row to a batch.
        order: Where each row stands in the lanes' rows laid end to end, int64 of shape [rows]; None when as it is.
        after: The position behind it, inside the epoch.
        full: How many leading batches hold all the rows they were meant to hold.
    """

    rows: tuple[int, ...]
    order: Int64s | None
    after: Position
    full: int


class Dealer:
    """Walks through one epoch after the other, batch by batch, the same way for every engine."""

    def __init__(self, layout: Layout, plan: FeedPlan, at: Position, shard: Shard) -> None:
        self.layout = layout
        self._plan = plan
        self.at = at
        self.lanes: Sequence[int] = range(shard.index, len(layout.lanes), shard.count)

    @property
    def done(self) -> bool:
        """Whether all epochs of the plan have been delivered."""
        return self._plan.epochs is not None and self.at.epoch >= self._plan.epochs

    def wanted(self) -> dict[int, int]:
        """Returns how many rows of each own lane the next superbatch takes."""
        return {lane: int(self._shares(lane).sum()) for lane in self.lanes}

    def deal(self, given: Mapping[int, int], cursors: Mapping[int, tuple[int, int]]) -> Hand | None:
        """Makes batches of what the lanes gave; a lane that gave less than it was asked for has ended.

        Args:
            given: Rows of each own lane.
            cursors: The new (ordinal, row) of each own lane.

        Returns:
            The batches, or None when there was nothing left in this epoch.
        """
        steps = self._plan.steps
        # 16 bits where they suffice: numpy sorts them by radix.
        numbers = np.arange(steps, dtype=np.uint16 if steps <= 2**16 else np.int64)
        batch_of = []
        meant = np.zeros(steps, np.int64)
        for lane in self.lanes:
            shares = self._shares(lane)
            meant += shares
            batch_of.append(np.repeat(numbers, shares)[: given[lane]])
        number = np.concatenate(batch_of) if batch_of else np.zeros(0, np.uint16)
        if not len(number):
            return None
        rows = np.bincount(number, minlength=steps)
        count = int(np.flatnonzero(rows)[-1]) + 1
        order: Int64s | None = None
        if len(batch_of) > 1 and count > 1:
            order = np.argsort(number, kind="stable").astype(np.int64)
        lanes = tuple(cursors.get(lane, cursor) for lane, cursor in enumerate(self.at.lanes))
        before = self.at
        self.at = Position(before.snapshot, before.order, before.seed, before.epoch, before.batch + count, lanes)
        short = np.flatnonzero(rows[:count] < meant[:count])
        full = int(short[0]) if len(short) else count
        return Hand(tuple(rows[:count].tolist()), order, self.at, full)

    def end_epoch(self) -> None:
        """Goes on to the following epoch."""
        self.at = self.at.next_epoch()

    def _shares(self, lane: int) -> Int64s:
        return self.layout.share(lane, self._plan.batch_size, self.at.batch, self._plan.steps)
