"""Chunks of fixed ranges of rows, cut by a rule that depends on row counts alone."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from pai_train.spec.contracts import Chunk

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

CHUNKS = 64
MIN_ROWS, MAX_ROWS = 4, 65536


def cut(pieces: Mapping[str, int], rows: range) -> Iterator[Chunk]:
    """Cuts each piece every N rows, N from the row count of all pieces alone, then keeps what lies in `rows`.

    Args:
        pieces: The row count of each, by its name, in order.
        rows: Which rows, counted over all pieces.
    """
    size = min(max(-(-sum(pieces.values()) // CHUNKS), MIN_ROWS), MAX_ROWS)
    first, count = 0, 0
    for name, held in pieces.items():
        edges = [*range(0, held, size), held]
        for lo, hi in pairwise(edges):
            start, stop = max(lo, rows.start - first), min(hi, rows.stop - first)
            if start < stop:
                yield Chunk(count, stop - start, None, f"{name}@{start}-{stop}")
                count += 1
        first += held
