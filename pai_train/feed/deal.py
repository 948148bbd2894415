"""Dealing lanes into batches: how many rows of which lane, in which order, and the position behind them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pai_train.feed.contracts import FeedPlan, Position, Shard
from pai_train.feed.runs import Runs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pai_train.feed.order import Int64s, Layout


@dataclass(frozen=True)
class Hand:
    """A superbatch to be put together.

    Attributes:
        rows: True row count of each batch on this worker; 0 where its lanes give no row to a batch.
        order: Where the rows stand in the lanes' rows laid end to end; None when as they are.
        after: The position behind it, inside the epoch.
        behind: By own lane, how many of its rows the first batches hold: the first, the first two, …
        full: How many leading batches hold all the rows they were meant to hold: over all workers where the lanes'
            rows are known, else on this worker.
    """

    rows: tuple[int, ...]
    order: Runs | None
    after: Position
    behind: Mapping[int, Int64s]
    full: int


class Dealer:
    """Walks through one epoch after the other, batch by batch, the same way for every engine."""

    def __init__(self, layout: Layout, plan: FeedPlan, at: Position, shard: Shard) -> None:
        self.layout = layout
        self._plan = plan
        self.at = at
        self.lanes: Sequence[int] = range(shard.index, len(layout.lanes), shard.count)
        self._alone = shard.count == 1
        self._asked: tuple[int, Int64s] | None = None

    @property
    def done(self) -> bool:
        """Whether all epochs of the plan have been delivered."""
        return self._plan.epochs is not None and self.at.epoch >= self._plan.epochs

    def wanted(self) -> dict[int, int]:
        """Returns how many rows of each own lane the next superbatch takes."""
        return dict(zip(self.lanes, self._shares().sum(axis=1).tolist(), strict=True))

    def deal(self, given: Mapping[int, int], cursors: Mapping[int, tuple[int, int]]) -> Hand | None:
        """Makes batches of what the lanes gave; a lane that gave less than it was asked for has ended.

        Args:
            given: Rows of each own lane.
            cursors: The new (ordinal, row) of each own lane.

        Returns:
            The batches, or None when there was nothing left in this epoch.
        """
        shares = self._shares()
        held = np.array([given[lane] for lane in self.lanes], np.int64)
        # Row counts by lane and batch: what the lane is to give, up to where it ends.
        behind = shares.cumsum(axis=1)
        asked = behind[:, -1]
        if (held < asked).any():
            behind = np.minimum(behind, held[:, None])
            counts = behind.copy()
            counts[:, 1:] -= behind[:, :-1]
        else:
            counts = shares
        rows, meant = counts.sum(axis=0), shares.sum(axis=0)
        if not rows.any():
            return None
        count = int(np.flatnonzero(rows)[-1]) + 1
        if not self._alone and (held >= asked).any():
            # Other workers' lanes give rows to the batches in which these pause: all stay at the same batch.
            count = len(rows)
        order: Runs | None = None
        if len(self.lanes) > 1 and count > 1:
            first = behind - counts + (held.cumsum() - held)[:, None]
            order = Runs(first.T.ravel(), counts.T.ravel())
        lanes = tuple(cursors.get(lane, cursor) for lane, cursor in enumerate(self.at.lanes))
        before = self.at
        self.at = Position(before.snapshot, before.order, before.seed, before.epoch, before.batch + count, lanes)
        full = self._full(before.batch, rows[:count], meant[:count])
        cumulated = dict(zip(self.lanes, behind, strict=True))
        return Hand(tuple(rows[:count].tolist()), order, self.at, cumulated, full)

    def _full(self, first: int, rows: Int64s, meant: Int64s) -> int:
        held = self.layout.rows
        if held is not None:
            # Own lanes may hold all they are to give to a batch that other workers' lanes leave short.
            return min(max(held // self._plan.batch_size - first, 0), len(rows))
        short = np.flatnonzero(rows < meant)
        return int(short[0]) if len(short) else len(rows)

    def end_epoch(self) -> None:
        """Goes on to the following epoch."""
        self.at = self.at.next_epoch()

    def _shares(self) -> Int64s:
        """Returns how many rows each own lane gives to each batch of the next superbatch."""
        first, steps = self.at.batch, self._plan.steps
        if self._asked is not None and self._asked[0] == first:
            return self._asked[1]
        while True:
            shares = self.layout.shares(self.lanes, self._plan.batch_size, first, steps)
            # A lane of few rows gives none to some batches. Of batches to which own lanes give nothing at all, more
            # are dealt at once: a worker that asks for no row could not tell them from its end.
            if shares.any() or not self.lanes or not self.layout.bounds[-1]:
                self._asked = first, shares
                return shares
            steps += 1
