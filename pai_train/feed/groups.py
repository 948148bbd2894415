"""Files of counted groups of rows (row groups, record batches) as a source: groups cut, and joined, into chunks."""

from __future__ import annotations

from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Protocol

import pyarrow as pa

from pai_train.errors import DataError, Fault, PaiTrainError, did_you_mean
from pai_train.feed.declared import difference, read_schema
from pai_train.feed.pieces import Piece, chunk_rows, cut, without
from pai_train.spec.contracts import Chunk, RowPlace, Snapshot
from pai_train.tables.cut import MAX_ROWS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pai_train.feed.file_set import FileSet

_MOST_FAULTS = 8


@dataclass(frozen=True)
class FileGroups:
    """What a file says of itself without its rows.

    Attributes:
        schema: Its columns, as stored.
        rows: Row count of each group.
        bytes: About what its rows take when they are not compressed.
    """

    schema: pa.Schema
    rows: tuple[int, ...]
    bytes: int


class GroupReader(Protocol):
    """How one format counts and reads groups. May be used by several threads."""

    def groups(self, index: int) -> FileGroups:
        """Returns what a file says of itself; reads none of its rows.

        Raises:
            DataError: The file is damaged, or not as it was listed.
        """
        ...

    def read(self, piece: Piece, columns: Sequence[str], *, encoded: bool) -> Iterator[pa.Table]:
        """Yields the rows of a piece with these columns, as stored, in tables of bounded size.

        Args:
            piece: Which rows.
            columns: At least one.
            encoded: Whether strings of few values are wanted dictionary encoded.

        Raises:
            DataError: The file is damaged, or not as it was listed.
        """
        ...


class GroupedSource:
    """Rows of files that know their row counts; a `Source`, an `EncodedSource` and a `LocatingSource`.

    A chunk is a fixed number of rows, one for all: a 64th of the rows, within 4 and 65,536, or what makes up 16 MiB
    where that is more. Larger groups are cut, smaller ones joined, also those of several files. The cut depends on the
    files alone, so that the order of rows does not depend on who reads them.

    Args:
        files: The files.
        columns: The columns to read with their types; none for those that the files have.
        reader: How they are read.
    """

    def __init__(self, files: FileSet, columns: Mapping[str, pa.DataType], reader: GroupReader) -> None:
        self._files = files
        self._columns = dict(columns)
        self._reader = reader
        self._lock = Lock()
        self._index: _Index | None = None

    @property
    def schema(self) -> pa.Schema:
        return self._indexed().schema

    @property
    def snapshot(self) -> Snapshot:
        return Snapshot(self._files.id, self._indexed().rows, self._files.bytes)

    def chunks(self) -> Sequence[Chunk]:
        """Lists the chunks; the first call reads what the files say of themselves, several at once."""
        return self._indexed().chunks

    def read(self, chunk: Chunk, columns: Sequence[str], start: int = 0) -> Iterator[pa.RecordBatch]:
        yield from self._read(chunk, columns, start, encoded=False)

    def read_encoded(self, chunk: Chunk, columns: Sequence[str], start: int = 0) -> Iterator[pa.RecordBatch]:
        yield from self._read(chunk, columns, start, encoded=True)

    def locate(self, chunk: Chunk, rows: Sequence[int]) -> Sequence[RowPlace]:
        return [self._place(chunk, row) for row in rows]

    def _place(self, chunk: Chunk, row: int) -> RowPlace:
        for piece in self._indexed().pieces[chunk.id]:
            if row < piece.rows:
                return RowPlace(self._files.objects[piece.file].url, piece.first + row)
            row -= piece.rows
        raise IndexError(f"row {row} behind the chunk's last")

    def faults(self) -> list[Fault]:
        """Reads what every file says of itself and lists what does not fit; no rows are read."""
        try:
            self._indexed()
        except _Misfit as error:
            return error.faults
        except PaiTrainError as error:
            return [error.fault]
        return []

    def _indexed(self) -> _Index:
        with self._lock:
            if self._index is None:
                found = self._files.each(self._groups)
                faults = [one for one in found if isinstance(one, Fault)]
                if faults:
                    raise _Misfit(faults)
                self._index = self._joined([one for one in found if isinstance(one, FileGroups)])
            return self._index

    def _groups(self, index: int) -> FileGroups | Fault:
        try:
            return self._reader.groups(index)
        except DataError as error:
            return error.fault

    def _joined(self, files: Sequence[FileGroups]) -> _Index:
        if not files:
            return _Index(pa.schema(list(self._columns.items())), (), 0)
        schema, faults = read_schema(files[0].schema, self._columns, self._files.name(0))
        if schema is None:
            raise _Misfit(faults)
        for index, file in enumerate(files):
            names = schema.names if self._columns else dict.fromkeys([*schema.names, *file.schema.names])
            known = [name for name in names if name in files[0].schema.names]
            new = [name for name in names if name not in files[0].schema.names]
            differs = difference(files[0].schema, file.schema, known)
            if differs is None and new:
                differs = (new[0], "no such column", str(file.schema.field(new[0]).type))
            if differs is not None:
                faults.append(self._other(index, *differs))
            if len(faults) == _MOST_FAULTS:
                break
        if faults:
            raise _Misfit(faults)
        rows = sum(sum(file.rows) for file in files)
        size = chunk_rows(rows, sum(file.bytes for file in files))
        return _Index(schema, tuple(cut([file.rows for file in files], size)), rows, self._files)

    def _other(self, index: int, name: str, first: str, other: str) -> Fault:
        return Fault(
            f"column {name!r} differs from the other files'",
            self._files.name(index),
            got=other,
            wanted=f"{first}, as in {self._files.name(0)}",
            todo="give all files of an input the same columns, or name those that agree in an input of their own",
        )

    def _read(self, chunk: Chunk, columns: Sequence[str], start: int, *, encoded: bool) -> Iterator[pa.RecordBatch]:
        index = self._indexed()
        for name in columns:
            if name not in index.schema.names:
                raise DataError(f"there is no column {name!r}", todo=did_you_mean(name, index.schema.names))
        schema = pa.schema([index.schema.field(name) for name in columns])
        for piece in index.pieces[chunk.id]:
            skipped = min(start, piece.rows)
            start -= skipped
            if skipped < piece.rows:
                yield from self._batches(without(piece, skipped), schema, encoded=encoded)

    def _batches(self, piece: Piece, schema: pa.Schema, *, encoded: bool) -> Iterator[pa.RecordBatch]:
        rows = 0
        for table in self._reader.read(piece, schema.names, encoded=encoded):
            fitting = self._fit(piece, table, schema, encoded=encoded)
            rows += fitting.num_rows
            yield from fitting.to_batches(max_chunksize=MAX_ROWS)
        if rows != piece.rows:
            raise self._files.damaged(piece.file, f"{rows} rows where {piece.rows} are counted")

    def _fit(self, piece: Piece, table: pa.Table, schema: pa.Schema, *, encoded: bool) -> pa.Table:
        """Returns the columns in their types; those of strings may stay dictionary encoded."""
        columns = []
        for field in schema:
            column = table.column(field.name)
            try:
                columns.append(_cast(column, field.type, encoded=encoded))
            except pa.ArrowInvalid as error:
                raise DataError(
                    f"column {field.name!r} holds a value that is none of its type",
                    where=f"{self._files.name(piece.file)}, rows {piece.first} to {piece.first + piece.rows - 1}",
                    got=f"{column.type}: {' '.join(str(error).split())}",
                    wanted=str(field.type),
                    todo="leave the column out, or write the file with values of that type",
                ) from error
        return pa.table(columns, names=schema.names)


class _Misfit(DataError):
    """Carries all faults of a look at the files; as an error it is the first."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        first = faults[0]
        super().__init__(first.what, where=first.where, got=first.got, wanted=first.wanted, todo=first.todo)
        self.faults = list(faults)


class _Index:
    """What is known of all files: columns, rows, and the pieces of each chunk."""

    def __init__(
        self, schema: pa.Schema, pieces: tuple[tuple[Piece, ...], ...], rows: int, files: FileSet | None = None
    ) -> None:
        self.schema = schema
        self.pieces = pieces
        self.rows = rows
        self.chunks = [
            Chunk(number, sum(piece.rows for piece in each), None, _ref(files, each))
            for number, each in enumerate(pieces)
            if files is not None
        ]


def _ref(files: FileSet, pieces: Sequence[Piece]) -> str:
    first = pieces[0]
    ref = f"{files.objects[first.file].url}@{first.first}-{first.first + first.rows}"
    return ref if len(pieces) == 1 else f"{ref} and {len(pieces) - 1} more"


def _cast(column: pa.ChunkedArray, kind: pa.DataType, *, encoded: bool) -> pa.ChunkedArray:
    """Returns a column in its type; raises Arrow's error where a value would be another one."""
    if pa.types.is_dictionary(column.type):
        if encoded and pa.types.is_string(kind):
            return column.cast(pa.dictionary(pa.int32(), kind))
        column = column.cast(column.type.value_type)
    return column if column.type == kind else column.cast(kind)
