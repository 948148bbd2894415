"""TableReader: rows of a table as Python values, any number at a time. Imports TensorFlow for a table's end only."""

from __future__ import annotations

import warnings
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from pai_train.errors import TableError
from pai_train.paiio.columns import chosen
from pai_train.paiio.rows import check_slice, open_rows
from pai_train.paiio.settings import settings

if TYPE_CHECKING:
    from types import TracebackType

    from pai_train.paiio.settings import ReadStyle

_BUFFER_ROWS = 8192
_MAX_THREADS = 64


class TableReader:
    """Reads one slice of a table, row by row or some rows at once; a context manager. NULL is None.

    The snapshot of the moment of opening is read. At most `capacity` rows are held, whatever the table's size.

    Args:
        table: An address; it may name partitions, and a range of rows.
        selected_cols: Names of columns separated by commas, in the order wanted; '' for all.
        excluded_cols: Names of columns to leave out; not together with selected_cols.
        slice_id: Which slice is read, from 0.
        slice_count: How many slices there are.
        num_threads: How many blocks of rows are read ahead at once; 0 for one.
        capacity: Rows held, in all; 0 for 8,192 per thread and the block in use, fewer where rows are large.
        style: How values are handed out; None for what `paiio.configure` says.

    Attributes:
        start_pos: The slice's first row, counted from 0 over the table.
        end_pos: The row behind its last.

    Raises:
        TableError: No such table, partition, slice or column.
    """

    def __init__(
        self,
        table: str,
        selected_cols: str | None = "",
        excluded_cols: str | None = "",
        slice_id: int = 0,
        slice_count: int = 1,
        num_threads: int = 0,
        capacity: int = 0,
        *,
        style: ReadStyle | None = None,
    ) -> None:
        check_slice(slice_id, slice_count)
        if not 0 <= num_threads <= _MAX_THREADS or capacity < 0:
            raise TableError(
                "no such number", got=f"num_threads={num_threads}, capacity={capacity}", wanted="0 or more"
            )
        known = settings()
        self._style = style or known.style
        self._tables = known.tables
        self._ref = known.ref(table)
        self._rows = open_rows(self._tables, self._ref)
        self._columns = chosen(self._rows.source.schema.names, selected_cols, excluded_cols, str(self._ref))
        slice_ = self._rows.meant(self._ref.rows, slice_id, slice_count)
        self.start_pos, self.end_pos = slice_.start, slice_.stop
        self._threads = num_threads or 1
        most = max(1, capacity // (self._threads + 1)) if capacity else _BUFFER_ROWS
        self._block_rows = self._rows.at_once(most)
        self._executor: ThreadPoolExecutor | None = ThreadPoolExecutor(self._threads, thread_name_prefix="TableReader")
        self._ahead: deque[tuple[int, Future[list[list[Any]]]]] = deque()
        self._block: list[list[Any]] = []
        self._block_size = self._used = 0
        self._go_to(self.start_pos)

    @property
    def offset_pos(self) -> int:
        """The next row to be read, counted from 0 over the table."""
        return self._at

    def read(self, num_records: int = 1, allow_smaller_final_batch: bool = False) -> Any:
        """Returns the next rows.

        Where fewer are left than asked for, the reading ends without them, and a warning says how many they are;
        `allow_smaller_final_batch`, or `short_read='return'` in the style, gives them instead.

        Args:
            num_records: How many, at least 1.
            allow_smaller_final_batch: Whether the last rows may be fewer.

        Returns:
            An array of objects of shape [rows, columns], or a list of tuples, as the style says.

        Raises:
            OutOfRangeException: No row is left, or fewer than asked for.
            DataError: The rows cannot be read as the table declares them.
        """
        if num_records < 1:
            raise TableError("no such number of rows", got=f"num_records={num_records}", wanted="1 or more")
        self._open_still()
        left = self.end_pos - self._at
        short = left < num_records and not allow_smaller_final_batch and self._style.short_read == "raise"
        if left <= 0 or short:
            if left > 0:
                warnings.warn(
                    f"{self._ref}: the last {left} rows are fewer than read({num_records}) asks for and are not "
                    "returned; pass allow_smaller_final_batch=True, or say paiio.configure(short_read='return')",
                    RuntimeWarning,
                    stacklevel=2,
                )
            raise _end()
        columns: list[list[Any]] = [[] for _ in self._columns]
        wanted = min(left, num_records)
        while wanted:
            if self._used == self._block_size:
                self._next_block()
            stop = min(self._used + wanted, self._block_size)
            for column, values in zip(columns, self._block, strict=True):
                column.extend(values[self._used : stop])
            wanted -= stop - self._used
            self._at += stop - self._used
            self._used = stop
        return _records(columns, self._style)

    def seek(self, offset: int = 0) -> None:
        """Goes to a row of the slice, counted from 0; the row behind the last is the end.

        Raises:
            OutOfRangeException: There is no such row.
        """
        self._open_still()
        if not 0 <= offset <= self.get_row_count():
            raise _end(f"{self._ref}: no row {offset} in a slice of {self.get_row_count()} rows")
        self._go_to(self.start_pos + offset)

    def get_row_count(self) -> int:
        """Returns how many rows the slice has."""
        return self.end_pos - self.start_pos

    def get_schema(self) -> np.ndarray[Any, Any]:
        """Returns name and type of each column read, as an array with the fields colname and typestr."""
        info = self._tables.describe(self._ref)
        if info is None:
            raise TableError("the table is gone", where=str(self._ref))
        types = {column.name: str(column.type).lower() for column in (*info.columns, *info.partitions)}
        return np.array([(name, types[name]) for name in self._columns], [("colname", object), ("typestr", object)])

    def close(self) -> None:
        """Ends the reading; once more does nothing."""
        if self._executor is not None:
            self._executor.shutdown(wait=False, cancel_futures=True)
            self._executor = None
        self._ahead.clear()

    def _go_to(self, row: int) -> None:
        self._at = self._ahead_at = row
        self._ahead.clear()
        self._block, self._block_size, self._used = [], 0, 0

    def _open_still(self) -> ThreadPoolExecutor:
        if self._executor is None:
            raise TableError("the reader is closed", where=str(self._ref))
        return self._executor

    def _next_block(self) -> None:
        executor = self._open_still()
        while len(self._ahead) <= self._threads and self._ahead_at < self.end_pos:
            rows = range(self._ahead_at, min(self._ahead_at + self._block_rows, self.end_pos))
            self._ahead.append((len(rows), executor.submit(self._read_block, rows)))
            self._ahead_at = rows.stop
        self._block_size, future = self._ahead.popleft()
        self._block, self._used = future.result(), 0

    def _read_block(self, rows: range) -> list[list[Any]]:
        table = self._rows.table(rows, self._columns)
        return [self._values(column) for column in table.columns]

    def _values(self, column: pa.ChunkedArray) -> list[Any]:
        if pa.types.is_string(column.type) and self._style.strings == "bytes":
            column = column.cast(pa.binary())
        values: list[Any] = column.to_pylist()
        return values

    def __enter__(self) -> TableReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _records(columns: list[list[Any]], style: ReadStyle) -> Any:
    if style.records == "tuples":
        return list(zip(*columns, strict=True))
    records = np.empty((len(columns[0]), len(columns)), object)
    for index, values in enumerate(columns):
        records[:, index] = np.fromiter(values, object, len(values))
    return records


def _end(message: str | None = None) -> Exception:
    from pai_train.paiio.out_of_range import MESSAGE, OutOfRangeException

    return OutOfRangeException(message or MESSAGE)
