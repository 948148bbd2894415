"""The contracts that rooms share: what a source is, and what a transactional write is."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pyarrow as pa


@dataclass(frozen=True)
class Snapshot:
    """The identity of what is read, kept in positions and run records.

    Attributes:
        id: Changes when the data change: an Iceberg snapshot id, or a hash over object sizes and etags. Where sessions
            of a service give the rows their order, those stand behind an `@`.
        rows: Row count, where it is known without reading data.
        bytes: Stored size, where it is known.
        order_stable: Whether two readings of this snapshot give the rows in one order.
    """

    id: str
    rows: int | None
    bytes: int | None
    order_stable: bool = True

    def to_json(self) -> dict[str, Any]:
        """Returns a dict of JSON types; `Snapshot(**json)` is its inverse."""
        return asdict(self)

    def answers(self, wanted: str) -> bool:
        """Tells whether this is the snapshot of an id, which may leave the order of the rows open."""
        return wanted in (self.id, self.content)

    @property
    def content(self) -> str:
        """The id without what gives the rows their order; of several tables, each's, joined by `,`."""
        return ",".join(one.partition("@")[0] for one in self.id.split(","))


@dataclass(frozen=True)
class Chunk:
    """A piece of a source that can be read alone, small enough to be held in memory.

    Attributes:
        id: Its index in `Source.chunks()`.
        rows: Row count, where it is known without reading data.
        bytes: Stored size, where it is known. At least one of rows and bytes is given.
        ref: What it is, for people and for the source: `url#lo-hi` in bytes, `url@lo-hi` in rows.
    """

    id: int
    rows: int | None
    bytes: int | None
    ref: str


class Source(Protocol):
    """Rows with random access by chunk. Reading is pure: the same call gives the same rows."""

    @property
    def schema(self) -> pa.Schema:
        """All columns, in the source's order; strings as pa.string()."""
        ...

    @property
    def snapshot(self) -> Snapshot:
        """The identity of the data all reads refer to."""
        ...

    def chunks(self) -> Sequence[Chunk]:
        """Lists the chunks in the source's row order; opens no data."""
        ...

    def read(self, chunk: Chunk, columns: Sequence[str], start: int = 0) -> Iterator[pa.RecordBatch]:
        """Yields the rows of a chunk from row `start` on, with these columns in this order.

        May be called from several threads at once. Nulls stay null.

        Raises:
            DataError: A field cannot be read as declared, or the data changed since the snapshot.
            StorageError: The bytes cannot be read.
        """
        ...


@runtime_checkable
class EncodedSource(Protocol):
    """A source that can hand out strings as they are stored, where they are stored dictionary encoded."""

    def read_encoded(self, chunk: Chunk, columns: Sequence[str], start: int = 0) -> Iterator[pa.RecordBatch]:
        """As `Source.read`, but that a column of strings may be pa.dictionary(pa.int32(), pa.string()).

        It is where few values repeat, which may differ from batch to batch. No value of the dictionary is null.
        """
        ...


@runtime_checkable
class TextSource(Protocol):
    """A source of text lines, which can also hand out its lines before they are decoded."""

    def lines(self, chunk: Chunk) -> bytes:
        """Returns the chunk's rows as lines: no header, no blank lines, each ended by one newline byte."""
        ...

    def decode(self, text: bytes, columns: Sequence[str]) -> pa.RecordBatch:
        """Turns lines as given by `lines` into rows, by the same field grammar as `read`.

        Raises:
            DataError: A field cannot be read as declared.
        """
        ...

    def place(self, chunk: Chunk, row: int) -> str:
        """Returns file and line of a row of a chunk, for people."""
        ...


@dataclass(frozen=True)
class BadRow:
    """A row that cannot be read as declared.

    Attributes:
        row: Its number in its chunk, from 0.
        what: The fault in one sentence.
        column: The column at fault; None where the row's shape is.
        got: The value found, as people read it.
        wanted: What is accepted instead.
    """

    row: int
    what: str
    column: str | None
    got: str
    wanted: str


@dataclass(frozen=True)
class RowPlace:
    """Where a row stands, and what stands there.

    Attributes:
        url: The object.
        row: Its number among the object's rows, or those of `among`, where there are no lines.
        among: Of which rows `row` counts, where not of all of the object.
        line: Its line in the object, from 1, where there are lines and finding out reads little.
        offset: The byte where it starts: in the object, or in what it holds once it is unpacked.
        raw: The row as it is stored.
    """

    url: str
    row: int | None = None
    among: str | None = None
    line: int | None = None
    offset: int | None = None
    raw: bytes | None = None


@dataclass(frozen=True)
class Marked:
    """The rows of a chunk, those that cannot be read left out and named.

    Attributes:
        batches: The good rows, in the chunk's order.
        rows: How many rows the chunk has, bad ones included.
        bad: The others, by ascending row.
    """

    batches: Sequence[pa.RecordBatch]
    rows: int
    bad: Sequence[BadRow]


@runtime_checkable
class LocatingSource(Protocol):
    """A source that says itself where a row stands; of others the chunk's `ref` does."""

    def locate(self, chunk: Chunk, rows: Sequence[int]) -> Sequence[RowPlace]:
        """Returns where rows of a chunk stand, in the order given."""
        ...


@runtime_checkable
class MarkingSource(Protocol):
    """A source that can leave out rows that cannot be read, and say which."""

    def read_marked(self, chunk: Chunk, columns: Sequence[str]) -> Marked:
        """Reads a chunk as `Source.read` does; a row at fault in one of these columns does not end the reading.

        Raises:
            DataError: The object as a whole cannot be read: it changed, is truncated, or has another header.
            StorageError: The bytes cannot be read.
        """
        ...

    def locate(self, chunk: Chunk, rows: Sequence[int]) -> Sequence[RowPlace]:
        """Returns where rows of a chunk stand, in the order given."""
        ...


@dataclass(frozen=True)
class Part:
    """A finished, not yet published piece of a write: plain JSON, so that it can cross processes.

    Attributes:
        slice_id: Which slice of the output it holds; one part per slice is committed.
        attempt: Which try at that slice.
        url: Where the staged data lies, or an upload's block.
        rows: Row count.
        bytes: Size as stored.
    """

    slice_id: int
    attempt: int
    url: str
    rows: int
    bytes: int

    def to_json(self) -> dict[str, Any]:
        """Returns a dict of JSON types; `Part(**json)` is its inverse."""
        return asdict(self)


class PartWriter(Protocol):
    """Writes one part; nothing of it is visible before the session's commit."""

    def write(self, batch: pa.RecordBatch) -> None:
        """Adds rows. Columns are matched by name, cast to the output's types, missing ones are null.

        Raises:
            TableError: A column is unknown to the output or cannot be cast without loss.
        """
        ...

    def finish(self) -> Part:
        """Closes the part and returns what `WriteSession.commit` needs of it."""
        ...

    def abort(self) -> None:
        """Closes the part and removes what it wrote."""
        ...


class WriteSession(Protocol):
    """A write that is all or nothing: parts are staged, one commit publishes them."""

    def part(self, slice_id: int, attempt: int) -> PartWriter:
        """Opens the writer of one slice; a slice that is written again is another attempt.

        Raises:
            TableError: This attempt at the slice is being written already, where that can be known.
        """
        ...

    def commit(self, parts: Sequence[Part]) -> Snapshot:
        """Publishes the parts. A repeated commit with the session's token gives the same answer.

        Raises:
            TableError: Two parts of one slice, a part that is gone, or other rows are published under the token.
        """
        ...

    def abort(self) -> None:
        """Removes what this session staged and neither it nor another session of its token publishes."""
        ...
