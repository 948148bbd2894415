"""Several tables read as one: their chunks numbered through, their snapshots one identity."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from pai_train.errors import DataError, TableError
from pai_train.spec.contracts import Chunk, Snapshot

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pai_train.spec.address import TableRef
    from pai_train.spec.contracts import Source
    from pai_train.tables.contracts import Tables

_BETWEEN = ","


def open_tables(
    tables: Tables,
    refs: Sequence[TableRef],
    snapshot: str | None = None,
    rows: range | None = None,
    where: str | None = None,
) -> Source:
    """Opens one table, or several of the same columns one after the other.

    Args:
        tables: Where they are.
        refs: Their addresses. One alone is opened as `Tables.source` does it.
        snapshot: Of several, their snapshot ids in order, joined by `,`; None for the current ones.
        rows: Only these rows, counted from 0 over all tables in order; None for all.
        where: Of those, only the rows that fulfil this filter; None for all.

    Raises:
        TableError: As `Tables.source`; tables whose columns differ; not one snapshot for each.
    """
    if len(refs) == 1:
        return _open(tables, refs[0], snapshot, rows, where)
    sources = _open_each(tables, refs, snapshot_ids(refs, snapshot), where if rows is None else None)
    first = sources[0]
    for ref, source in zip(refs[1:], sources[1:], strict=True):
        _check_columns(refs[0], first.schema, ref, source.schema)
    if rows is not None:
        sources = _narrow(tables, refs, sources, rows, where)
    return SeveralSource(refs, sources, _joint([source.snapshot for source in sources]))


def count_tables(tables: Tables, refs: Sequence[TableRef]) -> int:
    """Returns how many rows several addresses name together; reads no rows.

    Raises:
        TableError: As `Tables.count`.
    """
    return sum(tables.count(ref) for ref in refs)


class SeveralSource:
    """The rows of several sources of the same columns, one source after the other; implements `Source`.

    Args:
        refs: What they are, for messages.
        sources: The sources. The first gives the columns their order.
        snapshot: The identity of all of them.
    """

    def __init__(self, refs: Sequence[TableRef], sources: Sequence[Source], snapshot: Snapshot) -> None:
        self._refs = tuple(refs)
        self._sources = tuple(sources)
        self.snapshot = snapshot
        nullable = {field.name for source in sources for field in source.schema if field.nullable}
        self.schema = pa.schema([field.with_nullable(field.name in nullable) for field in sources[0].schema])
        inner = [(source, chunk) for source in sources for chunk in source.chunks()]
        self._inner = tuple(inner)
        self._chunks = tuple(
            Chunk(number, chunk.rows, chunk.bytes, chunk.ref) for number, (_, chunk) in enumerate(inner)
        )

    def chunks(self) -> Sequence[Chunk]:
        return self._chunks

    def read(self, chunk: Chunk, columns: Sequence[str], start: int = 0) -> Iterator[pa.RecordBatch]:
        if not 0 <= chunk.id < len(self._chunks) or self._chunks[chunk.id] != chunk:
            where = _BETWEEN.join(map(str, self._refs))
            raise DataError("the chunk belongs to another source", where=where, got=chunk.ref)
        source, inner = self._inner[chunk.id]
        return self._read(source, inner, columns, start)

    def _read(self, source: Source, chunk: Chunk, columns: Sequence[str], start: int) -> Iterator[pa.RecordBatch]:
        for batch in source.read(chunk, columns, start):
            # Only whether nulls may occur can differ between the tables.
            schema = pa.schema([self.schema.field(name) for name in batch.schema.names])
            yield pa.RecordBatch.from_arrays(batch.columns, schema=schema)


def _open(tables: Tables, ref: TableRef, snapshot: str | None, rows: range | None, where: str | None) -> Source:
    return tables.source(ref, snapshot, rows) if where is None else tables.source(ref, snapshot, rows, where)


def snapshot_ids(refs: Sequence[TableRef], snapshot: str | None) -> list[str | None]:
    """Returns the snapshot of each table, of the joint identity of all of them; None for the current ones.

    Raises:
        TableError: Not one for each.
    """
    if len(refs) == 1:
        return [snapshot]
    ids: list[str | None] = [None] * len(refs) if snapshot is None else list(snapshot.split(_BETWEEN))
    if len(ids) != len(refs):
        raise TableError(
            "several tables need one snapshot each",
            where=_BETWEEN.join(map(str, refs)),
            got=f"{len(ids)}: {snapshot}",
            wanted=f"{len(refs)} snapshot ids, in the order of the tables, joined by '{_BETWEEN}'",
        )
    return ids


def _open_each(tables: Tables, refs: Sequence[TableRef], ids: Sequence[str | None], where: str | None) -> list[Source]:
    """Opens all of them; addresses of one table see one snapshot of it, whoever writes meanwhile."""
    seen: dict[tuple[str, str], str] = {}
    sources = []
    for ref, id_ in zip(refs, ids, strict=True):
        name = (ref.project, ref.name)
        source = _open(tables, ref, seen.get(name) if id_ is None else id_, None, where)
        seen.setdefault(name, source.snapshot.id)
        sources.append(source)
    return sources


def _narrow(
    tables: Tables, refs: Sequence[TableRef], sources: Sequence[Source], rows: range, where: str | None
) -> list[Source]:
    """Opens the tables that hold some of the rows again, with those alone."""
    counts = [source.snapshot.rows or 0 for source in sources]
    total = sum(counts)
    if rows.step != 1 or not 0 <= rows.start <= rows.stop <= total:
        raise TableError(
            "the range of rows is not within the tables",
            where=_BETWEEN.join(map(str, refs)),
            got=str(rows),
            wanted=f"within 0 to {total}",
        )
    narrowed, first = [], 0
    for ref, source, count in zip(refs, sources, counts, strict=True):
        start, stop = (min(max(edge - first, 0), count) for edge in (rows.start, rows.stop))
        same = where is None and (start, stop) == (0, count)
        narrowed.append(source if same else _open(tables, ref, source.snapshot.id, range(start, stop), where))
        first += count
    return narrowed


def _joint(snapshots: Sequence[Snapshot]) -> Snapshot:
    counts = [snapshot.rows for snapshot in snapshots]
    sizes = [snapshot.bytes for snapshot in snapshots]
    total = None if None in counts else sum(count or 0 for count in counts)
    return Snapshot(
        id=_BETWEEN.join(snapshot.id for snapshot in snapshots),
        rows=total,
        bytes=None if None in sizes else sum(size or 0 for size in sizes),
        order_stable=all(snapshot.order_stable for snapshot in snapshots),
    )


def _check_columns(one: TableRef, held: pa.Schema, other: TableRef, given: pa.Schema) -> None:
    lines = [f"- {field.name} {field.type}" for field in held if _differs(field, given)]
    lines += [f"+ {field.name} {field.type}" for field in given if _differs(field, held)]
    if lines:
        raise TableError(
            "tables that are read together have the same columns, and these differ",
            where=f"{one}{_BETWEEN}{other}",
            got="\n".join(["", f"--- {one}", f"+++ {other}", *lines]).replace("\n", "\n      "),
            wanted="equal names and types, in any order",
        )


def _differs(field: pa.Field, schema: pa.Schema) -> bool:
    return field.name not in schema.names or schema.field(field.name).type != field.type
