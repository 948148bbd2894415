"""A MaxCompute table's rows as a source: fixed ranges of the sessions that number them."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pyarrow as pa

from pai_train.errors import DataError, TableError, did_you_mean
from pai_train.spec.contracts import Chunk, Snapshot
from pai_train.tables.arrow import arrow_schema, arrow_type
from pai_train.tables.cut import cut
from pai_train.tables.maxcompute.download import Download, Downloads, place
from pai_train.tables.maxcompute.partitions import leaf_values, leaves_of
from pai_train.tables.maxcompute.state import EMPTY, Named, State, parse_snapshot, snapshot_id, state_of
from pai_train.tables.maxcompute.wire import can_keep, from_wire, wire_schema

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pai_train.spec.address import Partition, TableRef
    from pai_train.tables.maxcompute.connection import Connection
    from pai_train.tables.maxcompute.meta import TableMeta

_LOOKS = 5
_SMALL_ROWS = 65_536
_SMALL_BYTES, _KEPT_BYTES = 16 * 2**20, 64 * 2**20


@dataclass(frozen=True)
class _Piece:
    """A session, and what its rows have in common."""

    session: Download
    leaf: Partition
    constants: dict[str, pa.Scalar]


class MaxComputeSource:
    """Rows of a table, or of partitions of it, as they are now. Reading is pure and may be done by several threads.

    Each partition is read through a download session of its own, which keeps its rows and their order for 24 hours. A
    partition column that the address fixes is not a column of the source; the others come last. Columns whose types
    have no twin in Arrow are left out, and are refused by name where they are asked for.

    Args:
        connection: The way to the service.
        ref: The table, and the partitions and rows that are meant.
        meta: What the table is.
        snapshot: The snapshot's id; None for the current one. With sessions in it, their order is meant; without, the
            same rows in any order.
        rows: Only these rows, counted from 0 over what `ref` names; None for all.

    Attributes:
        columns: Its columns, as declared.

    Raises:
        TableError: No such partition or snapshot, a range that is not within the rows, too many partitions, a view.
    """

    def __init__(
        self,
        connection: Connection,
        ref: TableRef,
        meta: TableMeta,
        snapshot: str | None = None,
        rows: range | None = None,
    ) -> None:
        self._ref = ref
        self._meta = meta
        if meta.is_view:
            raise TableError(
                "a view has no rows that can be read",
                where=str(ref),
                todo="make a table of it: CREATE TABLE … AS SELECT …",
            )
        fixed = dict(ref.partitions[0]) if len(ref.partitions) == 1 else {}
        self._keys = [column for column in meta.partitions if column.name not in fixed]
        self._refused = {column.name: column for column in meta.columns if not can_keep(column)}
        kept = [column for column in meta.columns if column.name not in self._refused]
        self.columns = (*kept, *self._keys)
        self.schema = arrow_schema(self.columns)
        self._wire = wire_schema(kept, meta.plain_decimals)
        self._downloads = Downloads(connection, ref)
        self._small = _Small()
        leaves = leaves_of(connection, ref, meta.partitions)
        state, sessions = self._opened(connection, leaves, snapshot)
        self._pieces = {
            f"{place(ref, leaf)}#{session.id}": _Piece(session, leaf, leaf_values(leaf, self._keys))
            for leaf, session in zip(state.leaves, sessions, strict=True)
        }
        total = sum(session.rows for session in sessions)
        meant = _meant(ref, rows, total)
        self._chunks = tuple(cut({url: piece.session.rows for url, piece in self._pieces.items()}, meant))
        self.snapshot = Snapshot(
            id=snapshot_id(state, total, sessions) if total else EMPTY,
            rows=len(meant),
            bytes=None,
            order_stable=True,
        )

    def chunks(self) -> Sequence[Chunk]:
        return self._chunks

    def read(self, chunk: Chunk, columns: Sequence[str], start: int = 0) -> Iterator[pa.RecordBatch]:
        piece, lo, hi = self._locate(chunk)
        fields = [self._field(name) for name in columns]
        keys = {column.name for column in self._keys}
        names = {field.name for field in fields} - keys
        wire = pa.schema([field for field in self._wire if field.name in names])
        rows = range(min(lo + start, hi), hi)
        where = chunk.ref
        if not names:
            yield from (_assembled(None, size, fields, piece) for size in _sizes(rows))
            return
        for batch in self._small.rows(self._downloads, piece, rows, wire):
            ours = from_wire(batch, [field for field in fields if field.name not in keys], where)
            yield _assembled(ours, ours.num_rows, fields, piece)

    def _opened(
        self, connection: Connection, leaves: Sequence[Partition], wanted: str | None
    ) -> tuple[State, list[Download]]:
        if wanted == EMPTY:
            return State((), ()), []
        if wanted is None:
            return self._fresh(connection, leaves)
        current = State(((),), (self._meta.modified,))
        named = parse_snapshot(self._ref, wanted, snapshot_id(current, self._meta.rows))
        if named.sessions:
            return self._again(connection, leaves, named)
        state, sessions = self._fresh(connection, leaves)
        self._check_unchanged(named, state, sum(one.rows for one in sessions))
        return state, sessions

    def _fresh(self, connection: Connection, leaves: Sequence[Partition]) -> tuple[State, list[Download]]:
        """Opens sessions between two looks that find the same state."""
        before = state_of(connection, self._ref, leaves)
        for _ in range(_LOOKS):
            sessions = [self._downloads.create(leaf) for leaf in leaves]
            after = state_of(connection, self._ref, leaves)
            if after == before:
                return after, sessions
            before = after
        raise TableError(
            "the table keeps changing while it is opened", where=str(self._ref), todo="start again when it is at rest"
        )

    def _again(self, connection: Connection, leaves: Sequence[Partition], named: Named) -> tuple[State, list[Download]]:
        """Returns sessions that were opened before: their rows stay as they were, whatever was written since."""
        state = state_of(connection, self._ref, leaves)
        if len(named.sessions) != len(leaves):
            self._check_unchanged(named, state, None)
        found = [self._downloads.find(leaf, one) for leaf, one in zip(leaves, named.sessions, strict=True)]
        sessions = [one for one in found if one is not None]
        if len(sessions) == len(found):
            if state.mark == named.mark:
                return state, sessions
            # The rows are still those of the snapshot.
            return _Remembered(state.leaves, state.modified, named.mark), sessions
        self._check_unchanged(named, state, None)
        raise TableError(
            "the session that gave the rows their order has ended: it lives for 24 hours",
            where=str(self._ref),
            got=f"{len(found) - len(sessions)} of {len(found)} sessions; the table is unchanged",
            todo=f"train.resume=never starts anew; snapshot={named.mark}-{named.rows} names the same rows in any order",
        )

    def _check_unchanged(self, named: Named, state: State, rows: int | None) -> None:
        changed = []
        if state.mark != named.mark:
            changed.append(f"last change {state.mark}, not {named.mark}")
        if rows is not None and named.rows is not None and rows != named.rows:
            changed.append(f"{rows} rows, not {named.rows}")
        if changed:
            raise TableError(
                "the table has no such snapshot any more: it was changed",
                where=str(self._ref),
                got="; ".join(changed),
                todo="train.resume=never starts anew on the table as it is; leave `snapshot` out to read it as it is",
            )

    def _field(self, name: str) -> pa.Field:
        if name.lower() in self._refused:
            arrow_type(self._refused[name.lower()])
        if name.lower() not in self.schema.names:
            known = self.schema.names
            raise TableError(f"the table has no column {name!r}", where=str(self._ref), todo=did_you_mean(name, known))
        return self.schema.field(name.lower())

    def _locate(self, chunk: Chunk) -> tuple[_Piece, int, int]:
        url, _, rows = chunk.ref.rpartition("@")
        lo, _, hi = rows.partition("-")
        if url not in self._pieces or not (lo.isdecimal() and hi.isdecimal()):
            raise DataError(
                "the chunk belongs to another source", where=str(self._ref), got=chunk.ref, wanted="url#session@lo-hi"
            )
        return self._pieces[url], int(lo), int(hi)


@dataclass(frozen=True)
class _Remembered(State):
    """The state that sessions were opened in, where there is another one now."""

    then: str = ""

    @property
    def mark(self) -> str:
        return self.then


class _Small:
    """Keeps the rows of small sessions, so that their chunks are not asked for one by one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, tuple[str, ...]], pa.Table] = OrderedDict()
        self._large: set[tuple[str, tuple[str, ...]]] = set()

    def rows(self, downloads: Downloads, piece: _Piece, rows: range, wire: pa.Schema) -> Iterator[pa.RecordBatch]:
        """Yields a range of rows."""
        key = piece.session.id, tuple(wire.names)
        if piece.session.rows > _SMALL_ROWS or key in self._large:
            yield from downloads.read(piece.session, piece.leaf, rows, wire)
            return
        with self._lock:
            whole = self._kept.get(key)
            if whole is None and key not in self._large:
                whole = self._whole(downloads, piece, wire, key)
        if whole is None:
            yield from downloads.read(piece.session, piece.leaf, rows, wire)
        else:
            yield from whole.slice(rows.start, len(rows)).to_batches()

    def _whole(
        self, downloads: Downloads, piece: _Piece, wire: pa.Schema, key: tuple[str, tuple[str, ...]]
    ) -> pa.Table | None:
        batches: list[pa.RecordBatch] = []
        size = 0
        for batch in downloads.read(piece.session, piece.leaf, range(piece.session.rows), wire):
            batches.append(batch)
            size += batch.nbytes
            if size > _SMALL_BYTES:
                self._large.add(key)
                return None
        whole = pa.Table.from_batches(batches, wire)
        self._kept[key] = whole
        while sum(table.nbytes for table in self._kept.values()) > _KEPT_BYTES:
            self._kept.popitem(last=False)
        return whole


def _assembled(batch: pa.RecordBatch | None, size: int, fields: Sequence[pa.Field], piece: _Piece) -> pa.RecordBatch:
    """Puts partition columns among the others, in the order asked for."""
    columns = [
        pa.repeat(piece.constants[field.name], size)
        if batch is None or field.name in piece.constants
        else batch.column(field.name)
        for field in fields
    ]
    return pa.RecordBatch.from_arrays(columns, schema=pa.schema(list(fields)))


def _sizes(rows: range) -> Iterator[int]:
    """Cuts a range into batches."""
    for start in range(rows.start, rows.stop, _SMALL_ROWS):
        yield min(_SMALL_ROWS, rows.stop - start)


def _meant(ref: TableRef, rows: range | None, total: int) -> range:
    """Returns the rows that are meant, counted over all sessions: `rows` counts within those that `ref` names."""
    first, last = ref.rows or (0, None)
    last = total if last is None else last
    if first > last or last > total:
        raise TableError(
            "the range of the address goes beyond the table's rows",
            where=str(replace(ref, rows=None)),
            got=f"rows {first} to {last}",
            wanted=f"within 0 to {total}: there are {total} rows",
        )
    if rows is None:
        return range(first, last)
    if rows.step != 1 or not 0 <= rows.start <= rows.stop <= last - first:
        raise TableError(
            "the range of rows is not within the table",
            where=str(ref),
            got=str(rows),
            wanted=f"within 0 to {last - first}",
        )
    return range(first + rows.start, first + rows.stop)
