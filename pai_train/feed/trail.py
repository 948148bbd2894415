"""Positions between the batches of a superbatch: found when somebody asks, at no cost when nobody does."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pai_train.feed.contracts import Position
    from pai_train.feed.order import Int64s


@dataclass(frozen=True)
class Stretch:
    """Rows of one block that a lane gave, one after the other.

    Attributes:
        ordinal: The block's place in its lane's order of the epoch.
        cursors: For each row the block's rows consumed once it is delivered, int64 of shape [rows].
        ends: Whether the block ends with them.
    """

    ordinal: int
    cursors: Int64s
    ends: bool


@dataclass(frozen=True)
class Trail:
    """How the lanes of one worker went through a superbatch.

    Attributes:
        before: The position before it.
        behind: By lane, how many of its rows the first batches hold: the first, the first two, …
        stretches: By lane, the rows it gave.
    """

    before: Position
    behind: Mapping[int, Int64s]
    stretches: Mapping[int, Sequence[Stretch]]

    def position(self, batches: int) -> Position:
        """Returns the position behind the first batches, at least one and not all of them."""
        lanes = list(self.before.lanes)
        for lane, behind in self.behind.items():
            lanes[lane] = _cursor(self.stretches[lane], int(behind[batches - 1])) or lanes[lane]
        return replace(self.before, batch=self.before.batch + batches, lanes=tuple(lanes))


def _cursor(stretches: Sequence[Stretch], rows: int) -> tuple[int, int] | None:
    """Returns the (ordinal, row) behind so many rows, None for none of them."""
    if not rows:
        return None
    for stretch in stretches:
        held = len(stretch.cursors)
        if rows == held and stretch.ends:
            return stretch.ordinal + 1, 0
        if rows <= held:
            return stretch.ordinal, int(stretch.cursors[rows - 1])
        rows -= held
    raise ValueError("the lane gave fewer rows")
