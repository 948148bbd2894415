"""CSV files as a source: byte ranges as chunks, each owning the lines that start in it."""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import accumulate
from threading import Lock
from typing import TYPE_CHECKING, overload

import numpy as np
import pyarrow as pa

from pai_train.errors import DataError, Fault, PaiTrainError, did_you_mean
from pai_train.feed import fields, lines
from pai_train.feed.header import BYTE_ORDER_MARK, file_columns
from pai_train.feed.marks import mark
from pai_train.spec.contracts import Chunk, Marked, RowPlace, Snapshot
from pai_train.storage.errors import ObjectChanged
from pai_train.storage.urls import display

if TYPE_CHECKING:
    from pai_train.storage.store import ObjectInfo, Store

KIB, MIB = 2**10, 2**20
INDEXED_BYTES = 16 * MIB
"""Inputs up to this size are read once to count the rows of each chunk."""

LINED_BYTES = 1024 * MIB
"""In files up to this size a bad row is told by its line too, for which the file is read up to there."""

_SLACK = 64 * KIB
_LOOK = 32 * KIB
_GZIP = b"\x1f\x8b"


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
    """The lines of a chunk: the object's number, the byte where they start, and their text."""

    index: int
    offset: int
    text: bytes


class CsvSource:
    """Rows of CSV files; a `Source`, a `TextSource` and a `MarkingSource`.

    A row is a line, even inside quotes, so that files can be cut anywhere. A chunk may hold no line. The chunk size
    depends on the files alone, so that the order of rows does not depend on who reads them.

    Args:
        objects: The files, in row order.
        columns: The columns. Without header all of them in the order of the fields; with header by name, in any order.
        store: Where the objects are.
        header: Whether each file's first line names its columns; all files name the declared ones at the same places.
        delimiter: The one ASCII character between fields.
        chunk_bytes: Size of a chunk; left out, a 64th of the files' total size within 1 KiB and 4 MiB.

    Raises:
        DataError: The delimiter cannot separate fields, or no column is declared.
    """

    def __init__(
        self,
        objects: Sequence[ObjectInfo],
        columns: Mapping[str, pa.DataType],
        *,
        store: Store,
        header: bool,
        delimiter: str = ",",
        chunk_bytes: int | None = None,
    ) -> None:
        if not columns:
            raise DataError("no columns are declared", wanted="columns: {name: TYPE, …} in the order of the fields")
        fields.check_delimiter(delimiter)
        self._objects = tuple(objects)
        self._columns = dict(columns)
        self._store = store
        self._header = header
        self._delimiter = delimiter
        self._bytes = sum(info.size for info in self._objects)
        self._chunk_bytes = chunk_bytes or min(max(-(-self._bytes // 64), KIB), 4 * MIB)
        self._cuts = Cuts(self._objects, self._chunk_bytes)
        self._counted: Cuts | None = None
        self._rows: int | None = None
        self._file_columns: dict[str, pa.DataType] | None = None if header else self._columns
        self._seen: set[int] = set()
        # Small inputs that come over a network are kept: every epoch would fetch them again, chunk by chunk.
        self._kept: dict[str, bytes] = {}
        self._lock = Lock()

    @property
    def schema(self) -> pa.Schema:
        return pa.schema(list(self._columns.items()))

    @property
    def snapshot(self) -> Snapshot:
        identity = json.dumps([[info.url, info.size, info.etag] for info in self._objects])
        self.chunks()
        return Snapshot(hashlib.sha256(identity.encode()).hexdigest(), self._rows, self._bytes)

    def chunks(self) -> Sequence[Chunk]:
        """Lists the byte ranges; small inputs are read once, to count their rows."""
        if self._bytes > INDEXED_BYTES:
            return self._cuts
        with self._lock:
            if self._counted is None:
                with ThreadPoolExecutor(self._store.limits.parallel) as pool:
                    counts = list(pool.map(self._count, range(len(self._objects))))
                rows = [count for each in counts for count in each]
                self._rows = sum(rows)
                self._counted = Cuts(self._objects, self._chunk_bytes, rows)
            return self._counted

    def read(self, chunk: Chunk, columns: Sequence[str], start: int = 0) -> Iterator[pa.RecordBatch]:
        yield self._decode(self._piece(chunk), columns).slice(start)

    def read_marked(self, chunk: Chunk, columns: Sequence[str]) -> Marked:
        piece = self._piece(chunk)
        try:
            return mark(piece.text, self._columns_of_files(), self._delimiter, self._known(columns))
        finally:
            if self._store.is_local:
                self._check_unchanged(self._objects[piece.index])

    def locate(self, chunk: Chunk, rows: Sequence[int]) -> Sequence[RowPlace]:
        piece = self._piece(chunk)
        info, offsets = self._objects[piece.index], lines.row_offsets(piece.text)
        first = self._line_number(info, piece.offset) if rows and info.size <= LINED_BYTES else None
        places = []
        for row in rows:
            offset = int(offsets[row])
            line = None if first is None else first + piece.text.count(b"\n", 0, offset)
            places.append(
                RowPlace(info.url, line=line, offset=piece.offset + offset, raw=lines.line_at(piece.text, offset))
            )
        return places

    def lines(self, chunk: Chunk) -> bytes:
        return lines.normalise(self._piece(chunk).text)

    def decode(self, text: bytes, columns: Sequence[str]) -> pa.RecordBatch:
        return fields.decode(text, self._columns_of_files(), self._delimiter, self._known(columns))

    def place(self, chunk: Chunk, row: int) -> str:
        piece = self._piece(chunk)
        return self._place(piece, int(lines.row_offsets(piece.text)[row]))

    def head(self, *, lenient: bool = False) -> list[str | None]:
        """Reads the first chunk and returns the declared column at each field, None for a field without.

        Raises:
            DataError: The header or, unless `lenient`, one of the first rows cannot be read as declared.
        """
        piece = self._piece(self._cuts[0])
        if not lenient:
            self._decode(piece, list(self._columns))
        return self._places(self._columns_of_files())

    def _decode(self, piece: Piece, columns: Sequence[str]) -> pa.RecordBatch:
        try:
            return self.decode(piece.text, columns)
        except fields.FieldError as error:
            self._check_unchanged(self._objects[piece.index])
            raise DataError(
                error.fault.what,
                where=self._place(piece, error.offset),
                got=f"{error.fault.got} at byte {piece.offset + error.offset} of the file",
                wanted=error.expectation,
                todo=error.fault.todo,
            ) from error

    def _known(self, columns: Sequence[str]) -> Sequence[str]:
        for name in columns:
            if name not in self._columns:
                raise DataError(f"there is no column {name!r}", todo=did_you_mean(name, self._columns))
        return columns

    def _piece(self, chunk: Chunk) -> Piece:
        """Reads the lines that start in a chunk, of the first chunk of a file without byte order mark and header."""
        index, lo, hi = self._cuts.bounds(chunk.id)
        info = self._objects[index]
        if self._store.is_local:
            self._check_unchanged(info)
        # The byte before the chunk tells whether its first byte starts a line.
        first = max(lo - 1, 0)
        data = self._read(info, first, hi + min(_SLACK, max(self._chunk_bytes, 4 * KIB)))
        if lo:
            self._check_header(index)
            begin = data.find(b"\n", 0, hi - 1 - first) + 1
            if not begin:
                return Piece(index, hi, b"")
            return Piece(index, first + begin, self._through_newline(info, first, data, hi - 1 - first)[begin:])
        data = self._through_newline(info, first, data, hi - 1)
        begin = self._body(index, data)
        return Piece(index, begin, data[begin:])

    def _through_newline(self, info: ObjectInfo, first: int, data: bytes, at: int) -> bytes:
        """Returns the data up to the first newline at or behind a place in them, reading on where there is none."""
        pieces, more = [data], _SLACK
        stop, end = data.find(b"\n", at), first + len(data)
        while stop < 0 and end < info.size:
            piece = self._read(info, end, end + more)
            stop = piece.find(b"\n")
            pieces.append(piece)
            end, more = end + len(piece), 2 * more
        if stop >= 0:
            pieces[-1] = pieces[-1][: stop + 1]
        return b"".join(pieces)

    def _body(self, index: int, data: bytes) -> int:
        """Returns where a file's rows start, given its first lines, and checks its header."""
        if data.startswith(_GZIP):
            where, todo = display(self._objects[index].url), "unpack it, and name the unpacked file"
            raise DataError("the file is compressed by gzip, which is not read", where=where, todo=todo)
        begin = len(BYTE_ORDER_MARK) if data.startswith(BYTE_ORDER_MARK) else 0
        if not self._header or not data:
            self._seen.add(index)
            return begin
        self._match(index, lines.line_at(data, begin))
        newline = data.find(b"\n", begin)
        return len(data) if newline < 0 else newline + 1

    def _check_header(self, index: int) -> None:
        if index not in self._seen:
            info = self._objects[index]
            self._body(index, self._through_newline(info, 0, self._read(info, 0, _LOOK), 0))

    def _match(self, index: int, line: bytes) -> None:
        if index in self._seen:
            return
        where = f"{display(self._objects[index].url)}:1"
        found = file_columns(line, self._columns, self._delimiter, where)
        places = self._places(found)
        wanted = places if self._is_first(index) else self._places(self._columns_of_files())
        if places != wanted:
            raise _other_header(where, list(found), [name or "any" for name in wanted])
        self._file_columns = self._file_columns or found
        self._seen.add(index)

    def _places(self, columns: Mapping[str, pa.DataType]) -> list[str | None]:
        return [name if name in self._columns else None for name in columns]

    def _is_first(self, index: int) -> bool:
        return not any(info.size for info in self._objects[:index])

    def _columns_of_files(self) -> dict[str, pa.DataType]:
        """Returns all columns of the files, by the first file that is not empty."""
        if self._file_columns is None:
            first = next((index for index, info in enumerate(self._objects) if info.size), None)
            if first is None:
                return self._columns
            self._check_header(first)
        return self._file_columns or self._columns

    def _count(self, index: int) -> list[int]:
        """Counts the rows of each chunk of one object."""
        info = self._objects[index]
        if self._store.is_local:
            self._check_unchanged(info)
        data = self._read(info, 0, info.size)
        if not self._store.is_local:
            self._kept[info.url] = data
        begin = self._body(index, data)
        offsets = lines.row_offsets(data[begin:]) + begin
        if not self._header:
            offsets[offsets == begin] = 0  # A byte order mark belongs to the first line.
        chunks = -(-info.size // self._chunk_bytes)
        return [int(count) for count in np.bincount(offsets // self._chunk_bytes, minlength=chunks)]

    def _read(self, info: ObjectInfo, start: int, end: int) -> bytes:
        end = min(end, info.size)
        kept = self._kept.get(info.url)
        if kept is not None:
            return kept[start:end]
        try:
            # A remote store reads this version or none, at no further request.
            data = self._store.read(info.url, start, end, etag=info.etag)
        except ObjectChanged:
            raise _changed(info, "another version") from None
        if len(data) != end - start:
            raise _changed(info, f"{start + len(data)} bytes")
        return data

    def _check_unchanged(self, info: ObjectInfo) -> None:
        now = self._store.info(info.url)
        if now is None or (now.size, now.etag) != (info.size, info.etag):
            raise _changed(info, "no object" if now is None else f"{now.size} bytes, etag {now.etag}")

    def _place(self, piece: Piece, offset: int) -> str:
        info = self._objects[piece.index]
        return f"{display(info.url)}:{self._line_number(info, piece.offset + offset)}"

    def _line_number(self, info: ObjectInfo, byte: int) -> int:
        """Returns the number, from 1, of the line in which a byte of a file lies."""
        starts = range(0, byte, 4 * MIB)
        return 1 + sum(self._read(info, start, min(start + 4 * MIB, byte)).count(b"\n") for start in starts)


def look(
    store: Store,
    objects: Sequence[ObjectInfo],
    columns: Mapping[str, pa.DataType],
    header: bool,
    delimiter: str = ",",
    *,
    lenient: bool = False,
) -> list[Fault]:
    """Reads the first 64 KiB of every file and lists what does not fit the declaration; writes nothing.

    With `lenient` rows may be bad, and only headers are looked at.
    """
    filled = [info for info in objects if info.size]

    def head(info: ObjectInfo) -> list[str | None] | Fault:
        try:
            source = CsvSource([info], columns, store=store, header=header, delimiter=delimiter, chunk_bytes=_LOOK)
            return source.head(lenient=lenient)
        except PaiTrainError as error:
            return error.fault

    with ThreadPoolExecutor(store.limits.parallel) as pool:
        heads = list(pool.map(head, filled))
    faults = [found for found in heads if isinstance(found, Fault)]
    wanted = next((found for found in heads if not isinstance(found, Fault)), [])
    for info, found in zip(filled, heads, strict=True):
        if not isinstance(found, Fault) and found != wanted:
            names = [name or "any" for name in found]
            faults.append(_other_header(f"{display(info.url)}:1", names, [name or "any" for name in wanted]).fault)
    return list(dict.fromkeys(faults))


def _other_header(where: str, found: list[str], wanted: list[str]) -> DataError:
    return DataError(
        "the header differs from the other files'",
        where=where,
        got=", ".join(found),
        wanted=", ".join(wanted),
        todo="give all files of an input the same columns at the same places",
    )


def _changed(info: ObjectInfo, got: str) -> DataError:
    return DataError(
        "the file changed while it was read",
        where=display(info.url),
        got=got,
        wanted=f"{info.size} bytes, etag {info.etag}, as listed at the start",
        todo="start again when nobody writes to it",
    )
