"""Chunks of fixed ranges of rows, cut by a rule that depends on row counts alone."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from pai_train.spec.contracts import Chunk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_CHUNKS = 64
_ENOUGH = 8
"""So many chunks of the most rows do: smaller ones are parts of row groups, and each group would be decoded again for
every part that a shuffled order has elsewhere."""
MIN_ROWS, MAX_ROWS = 4, 65536


def _as_counted(_: str, start: int, stop: int) -> tuple[int, int]:
    return start, stop


def cut(
    pieces: Mapping[str, int],
    rows: range,
    named: int | None = None,
    span: Callable[[str, int, int], tuple[int, int]] = _as_counted,
) -> Iterator[Chunk]:
    """Cuts each piece every N rows, N from the count of rows named alone, then keeps what lies in `rows`.

    Args:
        pieces: The row count of each, by its name, in order.
        rows: Which rows, counted over all pieces.
        named: How many rows an address names; None for those of all pieces.
        span: Where in a piece its rows from one to another, as counted, lie.
    """
    named = sum(pieces.values()) if named is None else named
    # A power of two divides the row groups that are written here: no chunk lies in two of them.
    size = min(max(1 << (-(-named // _CHUNKS) - 1).bit_length(), MIN_ROWS), MAX_ROWS) if named else MIN_ROWS
    if named >= _ENOUGH * MAX_ROWS:
        size = MAX_ROWS
    first, count = 0, 0
    for name, held in pieces.items():
        edges = [*range(0, held, size), held]
        for lo, hi in pairwise(edges):
            start, stop = max(lo, rows.start - first), min(hi, rows.stop - first)
            if start < stop:
                places = span(name, start, stop)
                yield Chunk(count, stop - start, None, f"{name}@{places[0]}-{places[1]}")
                count += 1
        first += held
