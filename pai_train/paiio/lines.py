"""Rows of tables as lines of text, from one table after another: what readers of TF1 queues hand out."""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
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
from pai_train.paiio.decoded import Decoded, Decoding, decoded
from pai_train.paiio.rows import UNIT_ROWS, NumberedRows, check_slice, open_rows

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from pai_train.paiio.settings import Settings

_AHEAD = 2
"""Blocks that are made at once, while another one is handed out."""
_HELD = 2
"""Blocks that stay in memory behind the one that is handed out, for those who look at its rows a little later."""
_KNOWN = 4096
"""Blocks that can be read again."""
_FIRST_PRINTABLE = " "
_NEWLINE = b"\n"


@dataclass(frozen=True)
class Taken:
    """Consecutive rows of one table that were handed out.

    Attributes:
        table: The table's address.
        first: The number of the first row.
        count: How many they are.
        block: The number of the block that they are of.
        at: Where in it they begin.
    """

    table: str = ""
    first: int = 0
    count: int = 0
    block: int = 0
    at: int = 0


@dataclass(frozen=True)
class _Lines:
    """The rows of a block as text.

    Attributes:
        data: All lines, a separator behind each.
        edges: Where each line begins, and where the last one ends, int of shape [rows + 1].
        separator: Bytes that no line holds.
    """

    data: memoryview
    edges: np.ndarray[Any, Any]
    separator: bytes

    def part(self, at: int, count: int) -> tuple[bytes, bytes]:
        """Returns some of the lines as one text, and what stands between them."""
        return bytes(self.data[self.edges[at] : self.edges[at + count] - len(self.separator)]), self.separator


class _Block:
    """Rows that are read at once, and what was made of them. Threads may share it.

    Args:
        rows: The table.
        span: Numbers of the rows.
        columns: The columns, in order.
        delimiter: Stands between the values of a line.
    """

    def __init__(self, rows: NumberedRows, span: range, columns: Sequence[str], delimiter: str) -> None:
        self.table, self.span = rows.where, span
        self._delimiter = delimiter
        self._lock = threading.Lock()
        self._source, self._columns = rows, columns
        self._batch: pa.RecordBatch | None = None
        self._lines: _Lines | None = None
        self._decoded: dict[Decoding, Decoded | None] = {}

    def read(self) -> None:
        """Reads the rows."""
        with self._lock:
            self._rows()

    def lines(self) -> _Lines:
        """Returns the rows as text."""
        with self._lock:
            if self._lines is None:
                self._lines = _written(self._rows(), self._delimiter)
            return self._lines

    def decoded(self, decoding: Decoding) -> Decoded | None:
        """Returns what decode_csv would make of the text; None where only decode_csv itself can."""
        with self._lock:
            if decoding not in self._decoded:
                self._decoded[decoding] = decoded(self._rows(), decoding, self._delimiter)
            return self._decoded[decoding]

    def forget(self) -> None:
        """Gives the memory back; the rows can be read again."""
        with self._lock:
            self._batch = self._lines = None
            self._decoded.clear()

    def _rows(self) -> pa.RecordBatch:
        if self._batch is None:
            self._batch = self._source.batch(self.span, self._columns)
        return self._batch


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
        self._blocks: OrderedDict[int, _Block] = OrderedDict()
        self._count = 0
        self._writes = False
        self._decodings: set[Decoding] = set()

    def take(self, table: str, count: int) -> Taken:
        """Hands out the next rows; none where another table is needed first.

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
                    return Taken()
                self._next_block()
            block, at = self._block, self._at
            taken = min(count, len(block.span) - at)
            self._at += taken
            if self._at == len(block.span):
                self._block = None
            return Taken(block.table, block.span[at], taken, self._count, at)

    def lines(self, block: int, at: int, count: int) -> tuple[bytes, bytes]:
        """Returns rows that were handed out as lines in one text, and the separator, bytes that no line holds."""
        self._writes = True
        return self._held(block).lines().part(at, count)

    def columns(self, block: int, at: int, count: int, decoding: Decoding) -> list[np.ndarray[Any, Any]] | None:
        """Returns what decode_csv would make of the lines of rows that were handed out.

        Returns:
            The arrays that columns travel as, see `Decoded.part`; None where only decode_csv itself can say.
        """
        self._decodings.add(decoding)
        whole = self._held(block).decoded(decoding)
        return None if whole is None else whole.part(at, count)

    def _held(self, number: int) -> _Block:
        with self._lock:
            block = self._blocks.get(number)
        if block is None:
            raise TableError("these rows were handed out too long ago", got=f"block {number}")
        return block

    def _next_block(self) -> None:
        if not (self._ahead or self._left):
            ref = self._settings.ref(self._waiting.popleft())
            self._table = open_rows(self._settings.tables, ref)
            self._columns = chosen(self._table.source.schema.names, self._selected, None, self._table.where)
            self._left.extend(self._table.units(self._table.meant(ref.rows, *self._slice), UNIT_ROWS))
        while self._left and self._table is not None and len(self._ahead) <= _AHEAD:
            block = _Block(self._table, self._left.popleft(), self._columns, self._delimiter)
            self._ahead.append(self._executor.submit(self._made, block))
        if self._ahead:
            self._block, self._at = self._ahead.popleft().result(), 0
            self._count += 1
            self._blocks[self._count] = self._block
            if (old := self._blocks.get(self._count - _HELD)) is not None:
                old.forget()
            self._blocks.pop(self._count - _KNOWN, None)

    def _made(self, block: _Block) -> _Block:
        """Makes of rows what was asked for of those before, while these are in use."""
        block.read()
        if self._writes:
            block.lines()
        for decoding in tuple(self._decodings):
            block.decoded(decoding)
        return block


def _written(batch: pa.RecordBatch, delimiter: str) -> _Lines:
    table = pa.Table.from_batches([batch])
    plain = [
        column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column
        for column in table.columns
    ]
    table = pa.Table.from_arrays(plain, table.column_names)
    return _by_arrow(table, delimiter) or _joined(table, delimiter)


def _by_arrow(table: pa.Table, delimiter: str) -> _Lines | None:
    """Makes lines by Arrow's own writer, in one pass; None where a text needs quotes, or bars the writer."""
    if not delimiter.isascii():
        return None
    sink = pa.BufferOutputStream()
    form = csv.WriteOptions(include_header=False, delimiter=delimiter, quoting_style="none", batch_size=table.num_rows)
    try:
        csv.write_csv(table, sink, form)
    except pa.ArrowInvalid:
        return None
    data = memoryview(sink.getvalue())
    ends = np.flatnonzero(np.frombuffer(data, np.uint8) == _NEWLINE[0]) + 1
    return _Lines(data, np.append(0, ends), _NEWLINE) if len(ends) == table.num_rows else None


def _joined(table: pa.Table, delimiter: str) -> _Lines:
    """Makes lines of any text."""
    texts = [_text(column.combine_chunks(), delimiter) for column in table.columns]
    lines = pc.binary_join_element_wise(*texts, pa.scalar(delimiter.encode(), pa.binary()))
    separator = absent(lines)
    ended = pc.binary_join_element_wise(lines, pa.scalar(b"", pa.binary()), pa.scalar(separator, pa.binary()))
    edges = np.frombuffer(ended.buffers()[1], np.int32)[: len(ended) + 1]
    return _Lines(memoryview(ended.buffers()[2]), edges, separator)


def _text(column: pa.Array, delimiter: str) -> pa.Array:
    is_text = pa.types.is_string(column.type) or pa.types.is_binary(column.type)
    text = column if is_text else column.cast(pa.string())
    text = text.cast(pa.binary()).fill_null(b"")
    if not is_text or delimiter < _FIRST_PRINTABLE:
        return text
    special = [pc.match_substring(text, mark) for mark in (delimiter, '"', "\n", "\r")]
    for marks in special[1:]:
        special[0] = pc.or_(special[0], marks)
    if not pc.any(special[0]).as_py():
        return text
    quoted = pc.binary_join_element_wise(b"", pc.replace_substring(text, '"', '""'), b"", b'"')
    return pc.if_else(special[0], quoted, text)
