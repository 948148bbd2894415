"""One Parquet data file of a table, read by field id and by range of rows, with what was decoded last kept."""

from __future__ import annotations

import threading
from collections import OrderedDict
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from pai_train.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence

    from pai_train.storage import Store

FIELD_ID = b"PARQUET:field_id"

_FOOTERS = 64
_CACHED_BYTES = 128 * 2**20
_LARGE_GROUP_BYTES = 64 * 2**20
_STREAMED_ROWS = 16384


@dataclass(frozen=True)
class DataFile:
    """A data file as the manifest describes it.

    Attributes:
        url: Where it lies.
        rows: Its record count.
        bytes: Its size.
        constants: Values of partition columns, by field id: all rows of the file have them.
    """

    url: str
    rows: int
    bytes: int
    constants: Mapping[int, pa.Scalar] = field(default_factory=dict, compare=False)


class Recent:
    """The most recently used results of slow calls, up to a total weight; each is computed once, also by threads."""

    def __init__(self, limit: int, weight: Callable[[Any], int]) -> None:
        self._limit = limit
        self._weight = weight
        self._lock = threading.Lock()
        self._held: OrderedDict[Hashable, Future[Any]] = OrderedDict()
        self._weights: dict[Hashable, int] = {}

    def get(self, key: Hashable, compute: Callable[[], Any]) -> Any:
        """Returns the result for `key`, computing it where it is not held; a failure is not kept."""
        with self._lock:
            future = self._held.get(key)
            mine = future is None
            if future is None:
                future = self._held[key] = Future()
            self._held.move_to_end(key)
        if mine:
            self._fill(key, future, compute)
        return future.result()

    def _fill(self, key: Hashable, future: Future[Any], compute: Callable[[], Any]) -> None:
        try:
            result = compute()
        except BaseException as fault:
            with self._lock:
                del self._held[key]
            future.set_exception(fault)
            return
        future.set_result(result)
        with self._lock:
            self._weights[key] = self._weight(result)
            while sum(self._weights.values()) > self._limit:
                oldest = next(held for held in self._held if held in self._weights)
                del self._held[oldest], self._weights[oldest]


class ParquetReader:
    """Reads ranges of rows of a table's data files. May be used by several threads.

    Args:
        store: Where the files lie.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._footers = Recent(_FOOTERS, lambda _: 1)
        self._groups = Recent(_CACHED_BYTES, lambda table: max(1, int(table.nbytes)))

    def read(
        self, file: DataFile, lo: int, hi: int, fields: Sequence[tuple[int, pa.Field]]
    ) -> Iterator[pa.RecordBatch]:
        """Yields rows lo to hi, not including hi, of a file.

        Args:
            file: The data file.
            lo: First row.
            hi: Row after the last.
            fields: Iceberg field id and declared Arrow field of each column, in the order wanted.

        Raises:
            DataError: The file is not what the manifest says, or a value does not fit its declared type.
        """
        try:
            footer = self._footers.get(file.url, lambda: self._footer(file.url))
            if footer.num_rows != file.rows:
                raise DataError(
                    "a data file has changed since it was published",
                    where=file.url,
                    got=f"{footer.num_rows} rows",
                    wanted=f"{file.rows} rows",
                )
            names = _names_by_id(footer)
            stored = tuple(names[i] for i, _ in fields if i in names and i not in file.constants)
            schema = pa.schema([declared for _, declared in fields])
            for table in self._tables(file.url, footer, stored, lo, hi):
                yield from _project(table, fields, schema, names, file.constants).to_batches()
        except pa.ArrowException as fault:
            raise DataError(
                "a data file cannot be read as the table declares it", where=file.url, got=str(fault)
            ) from fault

    def _footer(self, url: str) -> pq.FileMetaData:
        with self._store.open_input(url) as stream:
            return pq.read_metadata(stream)

    def _tables(
        self, url: str, footer: pq.FileMetaData, columns: tuple[str, ...], lo: int, hi: int
    ) -> Iterator[pa.Table]:
        first = 0
        for group in range(footer.num_row_groups):
            size = footer.row_group(group).num_rows
            start, stop = max(lo - first, 0), min(hi - first, size)
            first += size
            if start >= stop:
                continue
            if footer.row_group(group).total_byte_size > _LARGE_GROUP_BYTES:
                yield from self._streamed(url, footer, group, columns, start=start, stop=stop)
                continue
            decode = partial(self._decoded, url, footer, group, columns)
            table = self._groups.get((url, group, columns), decode)
            yield table.slice(start, stop - start)

    def _decoded(self, url: str, footer: pq.FileMetaData, group: int, columns: tuple[str, ...]) -> pa.Table:
        with self._store.open_input(url) as stream, pq.ParquetFile(stream, metadata=footer, pre_buffer=True) as file:
            return file.read_row_group(group, columns=list(columns), use_threads=False)

    def _streamed(
        self, url: str, footer: pq.FileMetaData, group: int, columns: tuple[str, ...], *, start: int, stop: int
    ) -> Iterator[pa.Table]:
        """Yields part of a row group that is too large to be held: rows before it are decoded and let go."""
        at = 0
        with self._store.open_input(url) as stream, pq.ParquetFile(stream, metadata=footer) as file:
            for batch in file.iter_batches(_STREAMED_ROWS, [group], list(columns), use_threads=False):
                lo, hi = max(start - at, 0), min(stop - at, batch.num_rows)
                at += batch.num_rows
                if lo < hi:
                    yield pa.Table.from_batches([batch.slice(lo, hi - lo)])
                if at >= stop:
                    return


def _names_by_id(footer: pq.FileMetaData) -> dict[int, str]:
    return {
        int(column.metadata[FIELD_ID]): column.name
        for column in footer.schema.to_arrow_schema()
        if column.metadata and FIELD_ID in column.metadata
    }


def _project(
    table: pa.Table,
    fields: Sequence[tuple[int, pa.Field]],
    schema: pa.Schema,
    names: Mapping[int, str],
    constants: Mapping[int, pa.Scalar],
) -> pa.Table:
    """Puts columns in order, cast to their declared types; what the file does not hold is constant or null."""
    columns = []
    for field_id, declared in fields:
        if field_id in constants:
            columns.append(pa.repeat(constants[field_id].cast(declared.type), table.num_rows))
        elif field_id in names:
            columns.append(table.column(names[field_id]).cast(declared.type))
        else:
            columns.append(pa.nulls(table.num_rows, declared.type))
    return pa.Table.from_arrays(columns, schema=schema)
