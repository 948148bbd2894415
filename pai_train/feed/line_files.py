"""Files of lines that can be cut anywhere: byte ranges as chunks, each owning the lines that start in it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import TYPE_CHECKING, Protocol

import numpy as np

from pai_train.errors import DataError
from pai_train.feed import lines
from pai_train.feed.cuts import KIB, MIB, Cuts, Piece, chunk_size
from pai_train.feed.header import BYTE_ORDER_MARK
from pai_train.feed.unpack import packing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pai_train.feed.contents import Contents
    from pai_train.feed.encodings import Encoding
    from pai_train.spec.contracts import Chunk

INDEXED_BYTES = 16 * MIB
"""Inputs up to this size are read once to count the rows of each chunk."""

LINED_BYTES = 1024 * MIB
"""In files up to this size a bad row is told by its line too, for which the file is read up to there."""

LOOK = 32 * KIB
"""Bytes of a file that are looked at before a run."""

_SLACK = 64 * KIB


class Heads(Protocol):
    """What a format knows of the first lines of files."""

    @property
    def are_lines(self) -> bool:
        """Whether the first line of each file is no row."""
        ...

    def check(self, index: int, line: bytes) -> None:
        """Takes the first line of a file, in UTF-8; of the same file perhaps more than once.

        Raises:
            DataError: It is not what the format expects.
        """
        ...

    def pass_over(self, index: int) -> None:
        """Takes it that a file, which is not empty, holds nothing once it is unpacked."""
        ...

    def is_checked(self, index: int) -> bool:
        """Tells whether a file's first line was taken."""
        ...


class LineFiles(Protocol):
    """Files whose rows are lines, cut into chunks."""

    contents: Contents

    @property
    def rows(self) -> int | None:
        """The number of rows, where files are small enough to be counted."""
        ...

    def chunks(self) -> Sequence[Chunk]:
        """Lists the chunks."""
        ...

    def piece(self, chunk: Chunk) -> Piece:
        """Reads the lines of a chunk, without byte order mark and first line where these are no rows."""
        ...

    def first(self, index: int) -> Piece:
        """Reads the first lines of a file."""
        ...

    def check_head(self, index: int) -> None:
        """Has a file's first line checked, if that was not done yet."""
        ...

    def line_number(self, piece: Piece, offset: int) -> int:
        """Returns the number, from 1, of the line in the file in which a byte of a piece's stored lines lies."""
        ...


class RangedLines:
    """Lines of files that are not compressed, in an encoding in which a newline byte is a newline.

    Args:
        contents: The files.
        heads: Takes the files' first lines.
        encoding: How the text is written.
        chunk_bytes: Size of a chunk; left out, a 64th of the files' total size within 1 KiB and 4 MiB.
    """

    def __init__(self, contents: Contents, heads: Heads, encoding: Encoding, chunk_bytes: int | None) -> None:
        self.contents = contents
        self._heads = heads
        self._encoding = encoding
        self._chunk_bytes = chunk_bytes or chunk_size(contents.bytes)
        self.cuts = Cuts(contents.objects, self._chunk_bytes)
        self._counted: Cuts | None = None
        self._rows: int | None = None
        self._lock = Lock()

    @property
    def rows(self) -> int | None:
        self.chunks()
        return self._rows

    def chunks(self) -> Sequence[Chunk]:
        if self.contents.bytes > INDEXED_BYTES:
            return self.cuts
        with self._lock:
            if self._counted is None:
                with ThreadPoolExecutor(self.contents.store.limits.parallel) as pool:
                    counts = list(pool.map(self._count, range(len(self.contents.objects))))
                rows = [count for each in counts for count in each]
                self._rows = sum(rows)
                self._counted = Cuts(self.contents.objects, self._chunk_bytes, rows)
            return self._counted

    def piece(self, chunk: Chunk) -> Piece:
        index, lo, hi = self.cuts.bounds(chunk.id)
        return self._piece(index, lo, hi)

    def first(self, index: int) -> Piece:
        return self._piece(index, 0, min(self._chunk_bytes, self.contents.objects[index].size))

    def check_head(self, index: int) -> None:
        if not self._heads.is_checked(index) and self.contents.objects[index].size:
            data, end = self._through_newline(index, 0, self.contents.read(index, 0, LOOK), 0)
            self._body(index, data[:end])

    def line_number(self, piece: Piece, offset: int) -> int:
        return 1 + self.contents.newlines(piece.index, piece.offset) + piece.raw.count(b"\n", 0, offset)

    def _piece(self, index: int, lo: int, hi: int) -> Piece:
        self.contents.check_unchanged(index)
        # The byte before the chunk tells whether its first byte starts a line.
        first = max(lo - 1, 0)
        data = self.contents.read(index, first, hi + min(_SLACK, max(self._chunk_bytes, 4 * KIB)))
        data, end = self._through_newline(index, first, data, hi - 1 - first)
        if not lo:
            begin = self._body(index, data[:end])
        else:
            self.check_head(index)
            begin = data.find(b"\n", 0, hi - 1 - first) + 1
            if not begin:
                return Piece(index, hi, b"", b"")
        raw = data[begin:end]
        return Piece(index, first + begin, self._encoding.to_utf8(raw), raw)

    def _through_newline(self, index: int, first: int, data: bytes, at: int) -> tuple[bytes, int]:
        """Returns the data and where the first newline at or behind a place in them ends, reading on for one."""
        pieces, more, size = [data], _SLACK, self.contents.objects[index].size
        stop, end, before = data.find(b"\n", at), first + len(data), 0
        while stop < 0 and end < size:
            before = end - first
            piece = self.contents.read(index, end, end + more)
            stop = piece.find(b"\n")
            pieces.append(piece)
            end, more = end + len(piece), 2 * more
        return b"".join(pieces), before + stop + 1 if stop >= 0 else end - first

    def _body(self, index: int, data: bytes) -> int:
        """Returns where a file's rows start, given its first lines, and has its head checked."""
        packed = packing(data)
        if packed != "none":
            raise DataError(
                f"the file is compressed by {packed}, and others of the input are not",
                where=self.contents.name(index),
                todo=f"name it *.{'gz' if packed == 'gzip' else 'zst'}, or read it as an input of its own",
            )
        begin = len(BYTE_ORDER_MARK) if self._encoding.is_utf8 and data.startswith(BYTE_ORDER_MARK) else 0
        line = lines.line_at(data, begin)
        self._heads.check(index, self._encoding.to_utf8(line))
        if not self._heads.are_lines or not data:
            return begin
        newline = data.find(b"\n", begin)
        return len(data) if newline < 0 else newline + 1

    def _count(self, index: int) -> list[int]:
        """Counts the rows of each chunk of one object."""
        self.contents.check_unchanged(index)
        data = self.contents.keep(index)
        begin = self._body(index, data)
        offsets = lines.row_offsets(data[begin:]) + begin
        if not self._heads.are_lines:
            offsets[offsets == begin] = 0  # A byte order mark belongs to the first line.
        chunks = -(-len(data) // self._chunk_bytes)
        return [int(count) for count in np.bincount(offsets // self._chunk_bytes, minlength=chunks)]
