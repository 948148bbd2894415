"""Files of lines with a way to decode them, as a source: the one machinery of CSV, text and JSON lines."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING, NoReturn, Protocol

import numpy as np
import pyarrow as pa

from pai_train.errors import DataError, did_you_mean
from pai_train.feed import lines
from pai_train.feed.contents import Contents
from pai_train.feed.encodings import Encoding, all_undecodable, as_stored, undecodable
from pai_train.feed.fields import FieldError, shown
from pai_train.feed.line_blocks import BlockedLines
from pai_train.feed.line_files import LINED_BYTES, Heads, LineFiles, RangedLines
from pai_train.feed.unpack import SUFFIXES, packing
from pai_train.spec.contracts import BadRow, Chunk, Marked, RowPlace, Snapshot

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pai_train.feed.cuts import Piece
    from pai_train.feed.lines import Int64s
    from pai_train.storage.store import ObjectInfo, Store


class Decoder(Protocol):
    """Turns lines into rows."""

    def decode(self, text: bytes, columns: Sequence[str]) -> pa.RecordBatch:
        """Reads lines, each a row.

        Raises:
            FieldError: The first row that cannot be read.
        """
        ...

    def mark(self, text: bytes, columns: Sequence[str]) -> Marked:
        """Reads lines, into one batch, and names those that `decode` refuses."""
        ...


class TextFileSource:
    """Rows of files of lines; a `Source`, a `TextSource` and a `MarkingSource`.

    Args:
        objects: The files, in row order.
        columns: The columns.
        decoder: Turns lines into rows.
        heads: Takes the files' first lines.
        store: Where the objects are.
        compression: How the files are compressed; auto for as the first bytes say of the first file and of those
            whose names end with .gz, .gzip, .zst or .zstd.
        encoding: How the text is written.
        delimiter: The byte between fields where newlines inside quotes are data; None where each newline ends a row.
        chunk_bytes: Size of a chunk; left out, by the files' total size within 1 KiB and 4 MiB.

    Raises:
        DataError: No column is declared, or there is no such encoding.
    """

    def __init__(
        self,
        objects: Sequence[ObjectInfo],
        columns: Mapping[str, pa.DataType],
        decoder: Decoder,
        heads: Heads,
        *,
        store: Store,
        compression: str = "auto",
        encoding: str = "utf-8",
        delimiter: bytes | None = None,
        chunk_bytes: int | None = None,
    ) -> None:
        if not columns:
            raise DataError("no columns are declared", wanted="columns: {name: TYPE, …} in the order of the fields")
        self._columns = dict(columns)
        self._decoder = decoder
        self._heads = heads
        self._contents = Contents(objects, store)
        self._compression = compression
        self._encoding = Encoding(encoding)
        self._delimiter = delimiter
        self._chunk_bytes = chunk_bytes
        self._made: LineFiles | None = None
        self._lock = Lock()

    @property
    def schema(self) -> pa.Schema:
        return pa.schema(list(self._columns.items()))

    @property
    def snapshot(self) -> Snapshot:
        return Snapshot(self._contents.id, self.files.rows, self._contents.bytes)

    @property
    def files(self) -> LineFiles:
        """The files; which kind they are is looked up when it is needed first."""
        with self._lock:
            if self._made is None:
                in_one_stream = self._delimiter is not None or not self._encoding.cuts_anywhere or self._is_packed()
                self._made = (
                    BlockedLines(
                        self._contents,
                        self._heads,
                        self._encoding,
                        self._compression,
                        self._chunk_bytes,
                        self._delimiter,
                    )
                    if in_one_stream
                    else RangedLines(self._contents, self._heads, self._encoding, self._chunk_bytes)
                )
            return self._made

    def chunks(self) -> Sequence[Chunk]:
        """Lists the chunks; small inputs and files that cannot be cut are read once, to count their rows."""
        return self.files.chunks()

    def read(self, chunk: Chunk, columns: Sequence[str], start: int = 0) -> Iterator[pa.RecordBatch]:
        yield self._read(self.files.piece(chunk), self._known(columns)).slice(start)

    def read_marked(self, chunk: Chunk, columns: Sequence[str]) -> Marked:
        piece = self.files.piece(chunk)
        self._before_decoding(piece)
        marked = self._decoder.mark(piece.text, self._known(columns))
        if marked.bad:
            self._contents.check_unchanged(piece.index)
        return self._without_undecodable(piece, marked)

    def locate(self, chunk: Chunk, rows: Sequence[int]) -> Sequence[RowPlace]:
        piece = self.files.piece(chunk)
        info = self._contents.objects[piece.index]
        starts, ends = self._raw_rows(piece)
        numbered = bool(rows) and (piece.first_line is not None or info.size <= LINED_BYTES)
        first = self.files.line_number(piece, 0) if numbered else None
        return [
            RowPlace(
                info.url,
                line=None if first is None else first + piece.raw.count(b"\n", 0, int(starts[row])),
                offset=piece.offset + int(starts[row]),
                raw=piece.raw[starts[row] : ends[row]].rstrip(b"\r\n"),
            )
            for row in rows
        ]

    def lines(self, chunk: Chunk) -> bytes:
        return lines.normalise(self.files.piece(chunk).text)

    def decode(self, text: bytes, columns: Sequence[str]) -> pa.RecordBatch:
        place = undecodable(text) if not self._encoding.is_utf8 else None
        if place is not None:
            row = max(lines.count_rows(text[: place.end()]) - 1, 0)
            raise self._no_text(f"row {row}", text, place.start())
        return self._decoder.decode(text, self._known(columns))

    def place(self, chunk: Chunk, row: int) -> str:
        piece = self.files.piece(chunk)
        return self._place(piece, int(self._raw_rows(piece)[0][row]))

    def head(self, index: int = 0, *, lenient: bool = False) -> None:
        """Reads the first lines of a file.

        Raises:
            DataError: The header or, unless `lenient`, one of the first rows cannot be read as declared.
        """
        piece = self.files.first(index)
        if not lenient:
            self._read(piece, list(self._columns))

    def _read(self, piece: Piece, columns: Sequence[str]) -> pa.RecordBatch:
        self._before_decoding(piece)
        if not self._encoding.is_utf8 and (place := undecodable(piece.text)) is not None:
            at = self._raw_offset(piece, place.start())
            where = f"{self._place(piece, at)}, byte {piece.offset + at}"
            raise self._no_text(where, piece.text, place.start())
        try:
            return self._decoder.decode(piece.text, columns)
        except FieldError as error:
            self._refuse(piece, error)

    def _before_decoding(self, piece: Piece) -> None:
        """Knows the header of the files before the first row is decoded."""
        first = self._contents.first_filled
        if first is not None and first != piece.index:
            self.files.check_head(first)

    def _refuse(self, piece: Piece, error: FieldError) -> NoReturn:
        self._contents.check_unchanged(piece.index)
        offset = self._raw_offset(piece, error.offset)
        raise DataError(
            error.fault.what,
            where=self._place(piece, offset),
            got=f"{error.fault.got} at byte {piece.offset + offset} of the {self._whole}",
            wanted=error.expectation,
            todo=error.fault.todo,
        ) from error

    @property
    def _in_step(self) -> bool:
        """Whether each byte of a piece's text stands at the same place in its stored lines."""
        return self._encoding.is_utf8 or not isinstance(self.files, RangedLines)

    @property
    def _whole(self) -> str:
        return "file" if isinstance(self.files, RangedLines) else "file's text"

    def _no_text(self, where: str, text: bytes, at: int) -> DataError:
        line = lines.line_at(text, text.rfind(b"\n", 0, at) + 1)
        byte = as_stored(text[at : at + 3])
        return DataError(
            f"the text is not {self._encoding.name}",
            where=where,
            got=f"byte 0x{byte.hex()} in {shown(as_stored(line))}",
            wanted=f"text in {self._encoding.name}",
            todo="correct the encoding, or the file",
        )

    def _without_undecodable(self, piece: Piece, marked: Marked) -> Marked:
        """Makes rows bad that could not be decoded, in whichever column."""
        if self._encoding.is_utf8 or undecodable(piece.text) is None:
            return marked
        offsets = lines.row_offsets(piece.text)
        found = np.unique(np.searchsorted(offsets, all_undecodable(piece.text), side="right") - 1)
        known = {row.row for row in marked.bad}
        new = [int(row) for row in found if int(row) not in known]
        good = np.ones(marked.rows, bool)
        good[list(known)] = False
        kept = np.ones(marked.rows, bool)
        kept[new] = False
        mask = pa.array(kept[good])
        wanted = f"text in {self._encoding.name}"
        bad = [
            BadRow(
                row,
                f"the row is not {self._encoding.name}",
                None,
                shown(as_stored(lines.line_at(piece.text, int(offsets[row])))),
                wanted,
            )
            for row in new
        ]
        (batch,) = marked.batches
        return Marked([batch.filter(mask)], marked.rows, sorted([*marked.bad, *bad], key=lambda row: row.row))

    def _raw_rows(self, piece: Piece) -> tuple[Int64s, Int64s]:
        """Returns where rows start and end in a piece's stored lines."""
        text = piece.text if self._in_step else piece.raw
        starts = lines.row_offsets(text)
        newlines = np.flatnonzero(np.frombuffer(text, np.uint8) == 0x0A)
        ends = np.append(newlines, len(text))[np.searchsorted(newlines, starts)]
        return starts, ends

    def _raw_offset(self, piece: Piece, offset: int) -> int:
        """Returns where a byte of a piece's text stands in its stored lines."""
        if self._in_step:
            return offset
        row = max(int(np.searchsorted(lines.row_offsets(piece.text), offset, side="right")) - 1, 0)
        begin = int(lines.row_offsets(piece.text)[row])
        return int(self._raw_rows(piece)[0][row]) + self._encoding.length(piece.text[begin:offset])

    def _place(self, piece: Piece, offset: int) -> str:
        return f"{self._contents.name(piece.index)}:{self.files.line_number(piece, offset)}"

    def _known(self, columns: Sequence[str]) -> Sequence[str]:
        for name in columns:
            if name not in self._columns:
                raise DataError(f"there is no column {name!r}", todo=did_you_mean(name, self._columns))
        return columns

    def _is_packed(self) -> bool:
        if self._compression != "auto":
            return self._compression != "none"
        objects, first = self._contents.objects, self._contents.first_filled
        asked = [
            index
            for index, info in enumerate(objects)
            if index == first or (info.size and info.url.lower().endswith(SUFFIXES))
        ]
        return any(packing(self._contents.read(index, 0, 4)) != "none" for index in asked)
