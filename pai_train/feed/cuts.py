"""Chunks of files of lines: byte ranges of objects, and the lines that were read for one."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, overload

from pai_train.spec.contracts import Chunk

if TYPE_CHECKING:
    from pai_train.storage.store import ObjectInfo

KIB, MIB = 2**10, 2**20


def chunk_size(total: int) -> int:
    """Returns the bytes of a chunk for files of this many in all: a 64th of them, within 1 KiB and 4 MiB."""
    return min(max(-(-total // 64), KIB), 4 * MIB)


class Cuts(Sequence[Chunk]):
    """The chunks of a list of objects, made when asked for.

    Args:
        objects: What is cut.
        size: Bytes of a chunk; the last of an object is shorter.
        rows: Rows of each chunk, where they were counted.
    """

    def __init__(self, objects: Sequence[ObjectInfo], size: int, rows: Sequence[int] | None = None) -> None:
        self._objects = objects
        self._size = size
        self._rows = rows
        self._starts = [0, *accumulate(-(-info.size // size) for info in objects)]

    def __len__(self) -> int:
        return self._starts[-1]

    def bounds(self, number: int) -> tuple[int, int, int]:
        """Returns a chunk's object, by its number, and its first byte and the byte behind its last one."""
        index = bisect_right(self._starts, number) - 1
        lo = (number - self._starts[index]) * self._size
        return index, lo, min(lo + self._size, self._objects[index].size)

    @overload
    def __getitem__(self, number: int) -> Chunk: ...
    @overload
    def __getitem__(self, number: slice) -> list[Chunk]: ...
    def __getitem__(self, number: int | slice) -> Chunk | list[Chunk]:
        if isinstance(number, slice):
            return [self[each] for each in range(*number.indices(len(self)))]
        number = range(len(self))[number]
        index, lo, hi = self.bounds(number)
        rows = None if self._rows is None else self._rows[number]
        return Chunk(number, rows, hi - lo, f"{self._objects[index].url}#{lo}-{hi}")


@dataclass(frozen=True)
class Piece:
    """The lines of a chunk.

    Attributes:
        index: The object's number.
        offset: The byte where they start: of the object, or of what it holds once it is unpacked.
        text: The lines in UTF-8; the newlines inside quotes, where such are meant, as `quoted.STAND_IN`.
        raw: The lines as they are stored: the same where nothing was changed.
        first_line: Number in the object of the first of them, from 1, where it is known.
    """

    index: int
    offset: int
    text: bytes
    raw: bytes
    first_line: int | None = None
