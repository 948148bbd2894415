"""Counted groups of rows cut, and joined, into pieces of chunks, by a rule that depends on counts and sizes alone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

from pai_train.tables.cut import MAX_ROWS, MIN_ROWS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

CHUNKS = 64
"""How many chunks files have at least that are not tiny."""
WIDE_BYTES = 16 * 2**20
"""Bytes that a chunk's rows may make up, uncompressed, where `MAX_ROWS` rows are less."""


@dataclass(frozen=True)
class Piece:
    """Rows of one file that are read at once.

    Attributes:
        file: The file's number.
        groups: Its groups that hold them; several only whole.
        lo: First row, counted from the start of the first group.
        hi: Row after the last, counted so too.
        first: First row, counted from the start of the file.
        whole: Whether the rows are all that the groups hold.
    """

    file: int
    groups: range
    lo: int
    hi: int
    first: int
    whole: bool

    @property
    def rows(self) -> int:
        """How many rows."""
        return self.hi - self.lo


def chunk_rows(rows: int, size: int) -> int:
    """Returns how many rows a chunk holds, of so many rows of so many bytes in all."""
    most = max(MAX_ROWS, WIDE_BYTES * rows // max(1, size))
    return min(max(-(-rows // CHUNKS), MIN_ROWS), most)


def cut(files: Iterable[Sequence[int]], size: int) -> Iterator[tuple[Piece, ...]]:
    """Cuts groups into equal parts of at most `size` rows, and joins small ones up to that.

    Args:
        files: Row counts of each file's groups.
        size: Rows of a chunk.
    """
    held: list[Piece] = []
    rows = 0
    for piece in _pieces(files, size):
        if held and rows + piece.rows > size:
            yield tuple(held)
            held, rows = [], 0
        last = held[-1] if held else None
        if last is not None and last.file == piece.file and last.whole and piece.whole:
            held[-1] = replace(last, groups=range(last.groups.start, piece.groups.stop), hi=last.hi + piece.rows)
        else:
            held.append(piece)
        rows += piece.rows
    if held:
        yield tuple(held)


def _pieces(files: Iterable[Sequence[int]], size: int) -> Iterator[Piece]:
    for file, groups in enumerate(files):
        first = 0
        for group, rows in enumerate(groups):
            parts = -(-rows // size)
            for lo, hi in pairwise(part * rows // parts for part in range(parts + 1 if parts else 0)):
                yield Piece(file, range(group, group + 1), lo, hi, first + lo, whole=rows <= size)
            first += rows


def without(piece: Piece, rows: int) -> Piece:
    """Returns a piece without its first rows."""
    return replace(piece, lo=piece.lo + rows, first=piece.first + rows, whole=piece.whole and not rows)
