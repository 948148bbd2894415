"""A table's rows as a source: chunks cut from the manifest's record counts, read by row group."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pai_train.errors import DataError, TableError, did_you_mean
from pai_train.spec.contracts import Chunk, Snapshot
from pai_train.tables.arrow import arrow_schema
from pai_train.tables.columns import declared_columns
from pai_train.tables.cut import cut
from pai_train.tables.filtered import Filter
from pai_train.tables.parquet import CACHED_BYTES, ParquetReader
from pai_train.tables.plan import plan
from pai_train.tables.project import Wanted
from pai_train.tables.ranges import chosen_rows, named_rows
from pai_train.tables.where import Where

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pyarrow as pa
    from pyiceberg.table import Table
    from pyiceberg.types import NestedField

    from pai_train.spec.address import TableRef
    from pai_train.storage import Store
    from pai_train.tables.data_file import DataFile

EMPTY = "empty"
_TEXT_BYTES = 32
"""What a value of text or of a nested type is taken to need; those that need more are kept as far as there is room."""


class IcebergSource:
    """One snapshot of a table, or of some of its partitions. Reading is pure and may be done by several threads.

    Rows are ordered by data file and by place in it. A partition column that the address fixes is not a column of
    the source; the others come last. With a filter, chunks hold the rows that fulfil it, counted when the source is
    opened: by statistics where they decide, else by reading the columns that it looks at.

    Args:
        ref: The table, and the partitions and rows that are meant.
        table: The table as loaded.
        store: Where its files lie.
        snapshot: The snapshot's id; None for the current one.
        rows: Only these rows, counted from 0 over what `ref` names; None for all.
        where: Of those, only the rows that fulfil this filter; None for all.

    Attributes:
        rows: How many there are.

    Raises:
        TableError: No such snapshot or partition, a range that is not within the rows, a filter that does not fit.
        DataError: A file that had to be looked into is damaged.
    """

    def __init__(
        self,
        ref: TableRef,
        table: Table,
        store: Store,
        snapshot: str | None = None,
        rows: range | None = None,
        where: str | None = None,
    ) -> None:
        data, partitions = declared_columns(table.metadata)
        fixed = dict(ref.partitions[0]) if len(ref.partitions) == 1 else {}
        columns = [*data, *(column for column in partitions if column.name not in fixed)]
        self.schema = arrow_schema(columns)
        schema = table.metadata.schema()
        self._fields = {column.name: schema.find_field(column.name, case_sensitive=False) for column in columns}
        self._ref = ref
        self._reader = ParquetReader(store, table.name_mapping())
        snapshot_id = _snapshot_id(ref, table, snapshot)
        files = plan(ref, table, store, snapshot_id, partitions) if snapshot_id is not None else []
        self._files = {file.url: file for file in files}
        total = sum(file.rows for file in files)
        named, chosen = named_rows(ref, total), chosen_rows(ref, rows, total)
        counts = {file.url: file.rows for file in files}
        self._chunks = tuple(cut(counts, chosen, len(named), lambda url, *rows: self._files[url].span(*rows)))
        self._filter: Filter | None = None
        if where is not None:
            self._filter = Filter(Where(where, schema, str(ref)), self._reader, table.spec())
            self._chunks = self._filter.chunks([(chunk, *self._locate(chunk)) for chunk in self._chunks])
        self.rows = sum(chunk.rows or 0 for chunk in self._chunks)
        self.snapshot = Snapshot(
            id=EMPTY if snapshot_id is None else str(snapshot_id),
            rows=self.rows,
            bytes=sum(file.bytes for file in files) if self.rows == total else None,
        )

    def chunks(self) -> Sequence[Chunk]:
        return self._chunks

    def read(self, chunk: Chunk, columns: Sequence[str], start: int = 0) -> Iterator[pa.RecordBatch]:
        return _batches(self._tables(chunk, columns, start, encoded=False))

    def read_encoded(self, chunk: Chunk, columns: Sequence[str], start: int = 0) -> Iterator[pa.RecordBatch]:
        """As `read`, with strings of few values dictionary encoded; see `EncodedSource`."""
        return _batches(self._tables(chunk, columns, start, encoded=True))

    def _tables(self, chunk: Chunk, columns: Sequence[str], start: int, *, encoded: bool) -> Iterator[pa.Table]:
        file, lo, hi = self._locate(chunk)
        wanted = [self._wanted(name) for name in columns]
        if self._filter is not None:
            return self._filter.read(file, lo, hi, wanted, start, encoded=encoded)
        at = hi if start >= (chunk.rows or 0) else file.place(file.counted(lo) + start)
        return self._reader.read(file, at, hi, wanted, encoded=encoded, keeps=self._is_small(wanted))

    def _is_small(self, wanted: Sequence[Wanted]) -> bool:
        """Tells whether columns of all rows can be kept in memory, where other epochs have them for nothing."""
        return self.rows * sum(_width(one.declared.type) for one in wanted) <= CACHED_BYTES

    def _wanted(self, name: str) -> Wanted:
        field: NestedField | None = self._fields.get(name.lower())
        if field is None:
            raise TableError(
                f"the table has no column {name!r}", where=str(self._ref), todo=did_you_mean(name, self._fields)
            )
        return Wanted(field, self.schema.field(name.lower()))

    def _locate(self, chunk: Chunk) -> tuple[DataFile, int, int]:
        url, _, rows = chunk.ref.rpartition("@")
        lo, _, hi = rows.partition("-")
        if url not in self._files or not (lo.isdecimal() and hi.isdecimal()):
            raise DataError(
                "the chunk belongs to another source", where=str(self._ref), got=chunk.ref, wanted="url@lo-hi"
            )
        return self._files[url], int(lo), int(hi)


def _width(kind: pa.DataType) -> int:
    """Returns about how many bytes a value takes."""
    try:
        return max(1, int(kind.bit_width) // 8)
    except ValueError:
        return _TEXT_BYTES


def _batches(tables: Iterator[pa.Table]) -> Iterator[pa.RecordBatch]:
    for table in tables:
        yield from table.to_batches()


def _snapshot_id(ref: TableRef, table: Table, wanted: str | None) -> int | None:
    current = table.current_snapshot()
    if wanted is None:
        return current.snapshot_id if current else None
    if wanted == EMPTY:
        return None
    known = {str(snapshot.snapshot_id) for snapshot in table.snapshots()}
    if wanted not in known:
        raise TableError(
            "the table has no such snapshot; it has expired, or belongs to another table",
            where=str(ref),
            got=wanted,
            todo=f"train.resume=never starts anew; the current one is {current.snapshot_id if current else EMPTY}",
        )
    return int(wanted)
