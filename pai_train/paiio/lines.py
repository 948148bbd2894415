"""Rows of tables as lines of text, from one table after another: what readers of TF1 queues hand out."""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from pai_train.errors import TableError
from pai_train.paiio.arrays import absent
from pai_train.paiio.columns import chosen
from pai_train.paiio.rows import UNIT_ROWS, NumberedRows, check_slice, open_rows

if TYPE_CHECKING:
    from typing import Any

    from pai_train.paiio.settings import Settings

_AHEAD = 2
"""Blocks that are made at once, while another one is handed out."""
_FIRST_PRINTABLE = " "
_NEWLINE = b"\n"


@dataclass(frozen=True)
class Lines:
    """Lines of consecutive rows of one table.

    Attributes:
        table: The table's address.
        first: The number of the first row.
        count: How many they are.
        text: All of them, with a separator between each two.
        separator: Bytes that no line holds.
    """

    table: str = ""
    first: int = 0
    count: int = 0
    text: bytes = b""
    separator: bytes = _NEWLINE


@dataclass(frozen=True)
class _Block:
    """Lines as they were made, which are handed out part by part.

    Attributes:
        table: The table's address.
        rows: Numbers of their rows.
        data: All lines, a separator behind each.
        edges: Where each line begins, and where the last one ends, int of shape [rows + 1].
        separator: Bytes that no line holds.
    """

    table: str
    rows: range
    data: memoryview
    edges: np.ndarray[Any, Any]
    separator: bytes

    def part(self, at: int, count: int) -> Lines:
        """Returns some of the lines."""
        stop = min(at + count, len(self.rows))
        text = bytes(self.data[self.edges[at] : self.edges[stop] - len(self.separator)])
        return Lines(self.table, self.rows[at], stop - at, text, self.separator)


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
        self._left: deque[range] = deque()
        self._ahead: deque[Future[_Block]] = deque()
        self._executor = ThreadPoolExecutor(_AHEAD, thread_name_prefix="LineReader")
        self._block: _Block | None = None
        self._at = 0

    def take(self, table: str, count: int) -> Lines:
        """Returns the lines of the next rows; none where another table is needed first.

        Args:
            table: A further address to read from; '' for none.
            count: How many rows at most.

        Raises:
            TableError: No such table or column.
        """
        with self._lock:
            if table:
                self._waiting.append(table)
            while self._block is None:
                if not (self._ahead or self._left or self._waiting):
                    return Lines()
                self._next_block()
            lines = self._block.part(self._at, count)
            self._at += lines.count
            if self._at == len(self._block.rows):
                self._block = None
            return lines

    def _next_block(self) -> None:
        if not (self._ahead or self._left):
            ref = self._settings.ref(self._waiting.popleft())
            self._table = open_rows(self._settings.tables, ref)
            self._columns = chosen(self._table.source.schema.names, self._selected, None, self._table.where)
            self._left.extend(self._table.units(self._table.meant(ref.rows, *self._slice), UNIT_ROWS))
        while self._left and self._table is not None and len(self._ahead) <= _AHEAD:
            self._ahead.append(self._executor.submit(self._made, self._table, self._left.popleft(), self._columns))
        if self._ahead:
            self._block, self._at = self._ahead.popleft().result(), 0

    def _made(self, rows: NumberedRows, block: range, columns: list[str]) -> _Block:
        """Reads rows and makes lines of them; the next ones while these are in use."""
        table = rows.table(block, columns)
        return self._written(rows.where, block, table) or self._joined(rows.where, block, table)

    def _written(self, where: str, block: range, table: pa.Table) -> _Block | None:
        """Makes lines by Arrow's own writer, in one pass; None where a text needs quotes, or bars the writer."""
        if not self._delimiter.isascii():
            return None
        sink = pa.BufferOutputStream()
        form = csv.WriteOptions(
            include_header=False, delimiter=self._delimiter, quoting_style="none", batch_size=table.num_rows
        )
        try:
            csv.write_csv(table, sink, form)
        except pa.ArrowInvalid:
            return None
        data = memoryview(sink.getvalue())
        ends = np.flatnonzero(np.frombuffer(data, np.uint8) == _NEWLINE[0]) + 1
        return _Block(where, block, data, np.append(0, ends), _NEWLINE) if len(ends) == table.num_rows else None

    def _joined(self, where: str, block: range, table: pa.Table) -> _Block:
        """Makes lines of any text."""
        texts = [self._text(column.combine_chunks()) for column in table.columns]
        lines = pc.binary_join_element_wise(*texts, pa.scalar(self._delimiter.encode(), pa.binary()))
        separator = absent(lines)
        ended = pc.binary_join_element_wise(lines, pa.scalar(b"", pa.binary()), pa.scalar(separator, pa.binary()))
        edges = np.frombuffer(ended.buffers()[1], np.int32)[: len(ended) + 1]
        return _Block(where, block, memoryview(ended.buffers()[2]), edges, separator)

    def _text(self, column: pa.Array) -> pa.Array:
        is_text = pa.types.is_string(column.type) or pa.types.is_binary(column.type)
        text = column if is_text else column.cast(pa.string())
        text = text.cast(pa.binary()).fill_null(b"")
        if not is_text or self._delimiter < _FIRST_PRINTABLE:
            return text
        special = [pc.match_substring(text, mark) for mark in (self._delimiter, '"', "\n", "\r")]
        for marks in special[1:]:
            special[0] = pc.or_(special[0], marks)
        if not pc.any(special[0]).as_py():
            return text
        quoted = pc.binary_join_element_wise(b"", pc.replace_substring(text, '"', '""'), b"", b'"')
        return pc.if_else(special[0], quoted, text)
