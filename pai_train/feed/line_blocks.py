"""Files of lines that can only be read from their beginning: indexed once, as chunks of whole rows.

Such files are compressed, or of 16 bits per character, or have newlines inside quotes. What is unpacked for the index
is kept in a file on this machine, of about the size of the compressed one, so that any chunk is read as fast as any.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np

from pai_train.errors import DataError
from pai_train.feed import lines, quoted
from pai_train.feed.cuts import MIB, Piece
from pai_train.feed.header import BYTE_ORDER_MARK
from pai_train.feed.line_files import INDEXED_BYTES, LOOK
from pai_train.feed.spool import Spool
from pai_train.feed.unpack import and_last, packing, unpacked
from pai_train.spec.contracts import Chunk

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pai_train.feed.contents import Contents
    from pai_train.feed.encodings import Encoding
    from pai_train.feed.line_files import Heads
    from pai_train.feed.unpack import Packing

logger = logging.getLogger(__name__)

_RATIO = 4
"""How many times larger text is than it is compressed, about."""


@dataclass(frozen=True)
class _Block:
    """Whole rows: their file, byte and line there, size; and place and size in the spool, of those that lie in it."""

    index: int
    offset: int
    line: int
    size: int
    place: int
    stored: int


class BlockedLines:
    """Lines of files that are read in one stream.

    Args:
        contents: The files.
        heads: Takes the files' first lines.
        encoding: How the text is written.
        kind: How the files are compressed; auto for as the first bytes of each say.
        chunk_bytes: Least size of a chunk, of unpacked text; left out, by the files' total size.
        delimiter: The byte between fields, where newlines inside quotes are data.
    """

    def __init__(
        self,
        contents: Contents,
        heads: Heads,
        encoding: Encoding,
        kind: Packing | str,
        chunk_bytes: int | None,
        delimiter: bytes | None,
    ) -> None:
        self.contents = contents
        self._heads = heads
        self._encoding = encoding
        self._kind = kind
        self._delimiter = delimiter
        self._chunk_bytes = chunk_bytes or min(max(-(-contents.bytes * _RATIO // 64), 2**10), 4 * MIB)
        self._blocks: list[_Block] = []
        self._chunks: list[Chunk] | None = None
        self._spool = Spool()
        self._lock = Lock()

    @property
    def rows(self) -> int | None:
        if self.contents.bytes > INDEXED_BYTES:
            return None
        return sum(chunk.rows or 0 for chunk in self.chunks())

    def chunks(self) -> Sequence[Chunk]:
        with self._lock:
            if self._chunks is None:
                if self.contents.bytes > INDEXED_BYTES:
                    size = self.contents.bytes / MIB
                    logger.info("reading %.0f MiB once from the beginning, to find the rows; so does a resume", size)
                blocks: list[_Block] = []
                chunks: list[Chunk] = []
                for index in range(len(self.contents.objects)):
                    for block, rows in self._index(index):
                        blocks.append(block)
                        ref = f"{self.contents.objects[index].url}#{block.offset}-{block.offset + block.size}"
                        chunks.append(Chunk(len(chunks), rows, block.size, ref))
                self._blocks, self._chunks = blocks, chunks
            return self._chunks

    def piece(self, chunk: Chunk) -> Piece:
        self.chunks()
        block = self._blocks[chunk.id]
        if block.place < 0:
            self.contents.check_unchanged(block.index)
            raw = self.contents.read(block.index, block.offset, block.offset + block.size)
        else:
            raw = self._spool.read(block.place, block.stored, block.size)
        return Piece(block.index, block.offset, self._rows_as_lines(raw), raw, block.line)

    def first(self, index: int) -> Piece:
        for offset, line, raw in self._cut(index, LOOK):
            return Piece(index, offset, self._rows_as_lines(raw), raw, line)
        return Piece(index, 0, b"", b"")

    def check_head(self, index: int) -> None:
        if not self._heads.is_checked(index) and self.contents.objects[index].size:
            self.first(index)

    def line_number(self, piece: Piece, offset: int) -> int:
        return (piece.first_line or 1) + piece.raw.count(b"\n", 0, offset)

    def _rows_as_lines(self, raw: bytes) -> bytes:
        return raw if self._delimiter is None else quoted.one_line_rows(raw, self._delimiter)

    def _index(self, index: int) -> Iterator[tuple[_Block, int]]:
        """Reads a file to its end, and yields its blocks with their row counts."""
        in_place = self._encoding.is_utf8 and self._packing(index) == "none"
        for offset, line, raw in self._cut(index, self._chunk_bytes):
            rows = lines.count_rows(self._rows_as_lines(raw))
            place, stored = (-1, 0) if in_place else self._spool.write(raw)
            yield _Block(index, offset, line, len(raw), place, stored), rows

    def _cut(self, index: int, size: int) -> Iterator[tuple[int, int, bytes]]:
        """Yields a file's rows in blocks of at least so many bytes, each with its byte and line; the head is left out.

        Where a block ends depends on the text and the size alone.
        """
        rest, offset, line, at_start = b"", 0, 1, True
        for data, final in and_last(self._text(index)):
            rest += data
            if not final and len(rest) < size:
                continue
            if at_start:
                if not final and b"\n" not in rest:
                    continue
                begin, at_start = self._body(index, rest), False
                line += rest.count(b"\n", 0, begin)
                rest, offset = rest[begin:], offset + begin
            ends, at = self._row_ends(rest, final=final), 0
            while (cut := int(np.searchsorted(ends, at + size))) < len(ends):
                end = int(ends[cut])
                yield offset + at, line, rest[at:end]
                line, at = line + rest.count(b"\n", at, end), end
            if final and at < len(rest):
                yield offset + at, line, rest[at:]
                at = len(rest)
            rest, offset = rest[at:], offset + at

    def _row_ends(self, text: bytes, *, final: bool) -> lines.Int64s:
        """Returns the bytes behind the ends of rows, as far as they are known."""
        newlines = np.flatnonzero(np.frombuffer(text, np.uint8) == 0x0A)
        if self._delimiter is not None:
            inner, known = quoted.inner_newlines(text, self._delimiter, final=final)
            newlines = np.setdiff1d(newlines[newlines < known], inner, assume_unique=True)
        return newlines + 1

    def _text(self, index: int) -> Iterator[bytes]:
        """Yields what a file holds, as UTF-8."""
        name = self.contents.name(index)
        stream = unpacked(self.contents.stream(index), self._packing(index), name)
        yield from self._encoding.stream(stream, name)

    def _packing(self, index: int) -> Packing:
        if not self.contents.objects[index].size:
            return "none"
        found = packing(self.contents.read(index, 0, 4))
        if self._kind not in ("auto", "none", found):
            raise DataError(
                f"the file is not compressed by {self._kind}",
                where=self.contents.name(index),
                got="a file that is not compressed" if found == "none" else f"a file compressed by {found}",
                wanted=self._kind,
                todo="leave compression at auto",
            )
        return "none" if self._kind == "none" else found

    def _body(self, index: int, text: bytes) -> int:
        """Returns where a file's rows start, given its first lines, and has its head checked."""
        if not text:
            self._heads.pass_over(index)
            return 0
        begin = len(BYTE_ORDER_MARK) if text.startswith(BYTE_ORDER_MARK) else 0
        self._heads.check(index, lines.line_at(text, begin))
        if not self._heads.are_lines:
            return begin
        newline = text.find(b"\n", begin)
        return len(text) if newline < 0 else newline + 1
