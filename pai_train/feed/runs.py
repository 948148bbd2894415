"""An order of rows as runs of consecutive ones: what is copied by runs needs no number for each row."""

from __future__ import annotations

from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pai_train.feed.order import Int64s


class Runs:
    """Rows of pieces that are laid end to end, in an order.

    Args:
        starts: Where each run begins, int64 of shape [runs].
        lengths: How many rows it has, int64 of shape [runs].

    Attributes:
        rows: How many rows all have.
    """

    def __init__(self, starts: Int64s, lengths: Int64s) -> None:
        self._bounds = starts, lengths
        self.rows = int(lengths.sum())

    @classmethod
    def of(cls, places: Int64s) -> Runs:
        """Takes an order that says where each row stands, int64 of shape [rows]; its runs are found when asked for."""
        runs = cls.__new__(cls)
        runs.places, runs.rows = places, len(places)
        return runs

    @cached_property
    def _bounds(self) -> tuple[Int64s, Int64s]:
        first = np.flatnonzero(np.diff(self.places, prepend=-2) != 1)
        return self.places[first], np.diff(first, append=len(self.places))

    @cached_property
    def mean(self) -> float:
        """Rows of a run on average."""
        return self.rows / max(1, len(self._bounds[0]))

    @cached_property
    def places(self) -> Int64s:
        """Where each row stands, int64 of shape [rows]."""
        starts, lengths = self._bounds
        places: Int64s = np.repeat(starts - (lengths.cumsum() - lengths), lengths)
        places += np.arange(self.rows)
        return places

    def head(self, rows: int) -> Runs:
        """Returns the order of the first rows alone."""
        if rows == self.rows:
            return self
        starts, lengths = self._bounds
        return Runs(starts, np.clip(lengths - (lengths.cumsum() - rows), 0, lengths))

    def cut(self, lengths: Sequence[int]) -> list[tuple[int, int, int]]:
        """Returns the number of the piece, first row in it and row behind the last of each run.

        A run that goes over the end of a piece is cut there.

        Args:
            lengths: Rows of each piece.
        """
        edges = np.cumsum([0, *lengths])
        starts = self._bounds[0]
        stops = starts + self._bounds[1]
        firsts = np.searchsorted(edges, starts, side="right") - 1
        lasts = np.searchsorted(edges, stops, side="left") - 1
        los, his = (starts - edges[firsts]).tolist(), (stops - edges[firsts]).tolist()
        found = []
        for piece, last, lo, hi in zip(firsts.tolist(), lasts.tolist(), los, his, strict=True):
            if last <= piece:
                found.append((piece, lo, hi))
                continue
            at = [lo, *(edges[piece + 1 : last + 1] - edges[piece]).tolist(), hi]
            offset = 0
            for number, (begin, end) in enumerate(pairwise(at)):
                found.append((piece + number, begin - offset, end - offset))
                offset = end
        return [run for run in found if run[1] < run[2]]
