"""Rows of tables as lines of text, from one table after another: what readers of TF1 queues hand out."""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pai_train.errors import TableError
from pai_train.paiio.columns import chosen
from pai_train.paiio.rows import NumberedRows, check_slice, open_rows

if TYPE_CHECKING:
    from pai_train.paiio.settings import Settings

_BLOCK_ROWS = 32_768
_FIRST_PRINTABLE = " "


class LineReader:
    """Reads one slice of each table that it is given. Threads may share it; each row is handed out once.

    Text is put in quotes where it holds the delimiter, a quote or the end of a line, as decode_csv undoes it; with a
    delimiter that is a control character it is left as it is, for decode_csv with use_quote_delim=False.

    Args:
        settings: Where tables are.
        delimiter: Stands between the values of a line.
        selected_cols: Columns, in order; '' for all.
        slice_id: Which slice of each table.
        slice_count: How many slices there are.

    Raises:
        TableError: No such slice, or a delimiter of no or several characters.
    """

    def __init__(
        self, settings: Settings, delimiter: str, selected_cols: str | None, slice_id: int, slice_count: int
    ) -> None:
        check_slice(slice_id, slice_count)
        if len(delimiter) != 1:
            raise TableError("a delimiter is one character", got=repr(delimiter))
        self._settings = settings
        self._delimiter = delimiter
        self._selected = selected_cols
        self._slice = (slice_id, slice_count)
        self._lock = threading.Lock()
        self._waiting: deque[str] = deque()
        self._table: NumberedRows | None = None
        self._columns: list[str] = []
        self._left = range(0)
        self._block = self._keys = pa.array([], pa.binary())
        self._ahead: tuple[range, Future[tuple[pa.Array, pa.Array]]] | None = None
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="LineReader")
        self._at = 0

    @property
    def needs_table(self) -> bool:
        """Whether no row is left of the tables that were given."""
        with self._lock:
            return not (self._waiting or self._left or self._at < len(self._block))

    def read(self, table: str, count: int) -> tuple[list[bytes], list[bytes]]:
        """Returns what `take` does, as lists."""
        keys, lines = self.take(table, count)
        return keys.tolist(), lines.tolist()

    def take(self, table: str, count: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """Returns the addresses and the lines of the next rows; none where another table is needed first.

        Args:
            table: A further address to read from; '' for none.
            count: How many rows at most.

        Returns:
            Two arrays of bytes objects, of shape [rows].

        Raises:
            TableError: No such table or column.
        """
        with self._lock:
            if table:
                self._waiting.append(table)
            while self._at == len(self._block) and (self._left or self._waiting):
                self._next_block()
            keys, lines = (array.slice(self._at, count) for array in (self._keys, self._block))
            self._at += len(lines)
            return keys.to_numpy(zero_copy_only=False), lines.to_numpy(zero_copy_only=False)

    def _next_block(self) -> None:
        self._block, self._keys, self._at = self._block[:0], self._keys[:0], 0
        if not self._left:
            ref = self._settings.ref(self._waiting.popleft())
            self._table = open_rows(self._settings.tables, ref)
            self._columns = chosen(self._table.source.schema.names, self._selected, None, self._table.where)
            self._left = self._table.meant(ref.rows, *self._slice)
        if self._left and self._table is not None:
            block, self._left = self._left[:_BLOCK_ROWS], self._left[_BLOCK_ROWS:]
            ahead, self._ahead = self._ahead, None
            rows = ahead[1].result() if ahead is not None and ahead[0] == block else self._rows(block)
            if self._left:
                coming = self._left[:_BLOCK_ROWS]
                self._ahead = coming, self._executor.submit(self._rows, coming)
            self._keys, self._block = rows

    def _rows(self, block: range) -> tuple[pa.Array, pa.Array]:
        """Reads rows and makes lines of them; the next ones while these are in use."""
        table = self._table
        if table is None:
            raise ValueError("no table is open")
        numbers = pa.array(np.arange(block.start, block.stop)).cast(pa.string()).cast(pa.binary())
        where = pa.scalar(f"{table.where}:".encode(), pa.binary())
        keys = pc.binary_join_element_wise(where, numbers, pa.scalar(b"", pa.binary()))
        return keys, self._lines(table.table(block, self._columns))

    def _lines(self, table: pa.Table) -> pa.Array:
        texts = [self._text(column.combine_chunks()) for column in table.columns]
        delimiter = pa.scalar(self._delimiter.encode(), pa.binary())
        return pc.binary_join_element_wise(*texts, delimiter)

    def _text(self, column: pa.Array) -> pa.Array:
        is_text = pa.types.is_string(column.type) or pa.types.is_binary(column.type)
        text = column if is_text else column.cast(pa.string())
        text = text.cast(pa.binary()).fill_null(b"")
        if not is_text or self._delimiter < _FIRST_PRINTABLE:
            return text
        special = [pc.match_substring(text, mark) for mark in (self._delimiter, '"', "\n", "\r")]
        quoted = pc.binary_join_element_wise(b"", pc.replace_substring(text, '"', '""'), b"", b'"')
        for marks in special[1:]:
            special[0] = pc.or_(special[0], marks)
        return pc.if_else(special[0], quoted, text)
