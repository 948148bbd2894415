"""Rows of tables as lines of text, from one table after another: what readers of TF1 queues hand out."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from pai_train.errors import TableError
from pai_train.paiio.columns import chosen
from pai_train.paiio.rows import NumberedRows, check_slice, open_rows

if TYPE_CHECKING:
    from pai_train.paiio.settings import Settings

_BLOCK_ROWS = 8192
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
        self._block: list[bytes] = []
        self._at = 0

    @property
    def needs_table(self) -> bool:
        """Whether no row is left of the tables that were given."""
        with self._lock:
            return not (self._waiting or self._left or self._at < len(self._block))

    def read(self, table: str, count: int) -> tuple[list[bytes], list[bytes]]:
        """Returns the addresses and the lines of the next rows; none where another table is needed first.

        Args:
            table: A further address to read from; '' for none.
            count: How many rows at most.

        Raises:
            TableError: No such table or column.
        """
        with self._lock:
            if table:
                self._waiting.append(table)
            while self._at == len(self._block) and (self._left or self._waiting):
                self._next_block()
            lines = self._block[self._at : self._at + count]
            where = "" if self._table is None else self._table.where
            first = self._left.start - len(self._block) + self._at
            self._at += len(lines)
            return [f"{where}:{first + index}".encode() for index in range(len(lines))], lines

    def _next_block(self) -> None:
        self._block, self._at = [], 0
        if not self._left:
            ref = self._settings.ref(self._waiting.popleft())
            self._table = open_rows(self._settings.tables, ref)
            self._columns = chosen(self._table.source.schema.names, self._selected, None, self._table.where)
            self._left = self._table.meant(ref.rows, *self._slice)
        if self._left and self._table is not None:
            block, self._left = self._left[:_BLOCK_ROWS], self._left[_BLOCK_ROWS:]
            self._block = self._lines(self._table.table(block, self._columns))

    def _lines(self, table: pa.Table) -> list[bytes]:
        texts = [self._text(column.combine_chunks()) for column in table.columns]
        delimiter = pa.scalar(self._delimiter.encode(), pa.binary())
        lines: list[bytes] = pc.binary_join_element_wise(*texts, delimiter).to_pylist()
        return lines

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
