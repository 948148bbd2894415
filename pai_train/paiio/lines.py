"""Rows of tables as lines of text, from one table after another: what readers of TF1 queues hand out."""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pai_train.errors import TableError
from pai_train.paiio.columns import chosen
from pai_train.paiio.decoded import Decoded, Decoding, decoded
from pai_train.paiio.rows import UNIT_ROWS, NumberedRows, check_slice, open_rows
from pai_train.paiio.written import Lines, written

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    import numpy as np
    import pyarrow as pa

    from pai_train.paiio.settings import Settings

_AHEAD = 2
"""Blocks that are made at once, while another one is handed out."""
_HELD = 2
"""Blocks that stay in memory behind the one that is handed out, for those who look at its rows a little later."""
_KNOWN = 4096
"""Blocks that can be read again."""


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
        self._lines: Lines | None = None
        self._decoded: dict[Decoding, Decoded | None] = {}

    def make(self, decodings: Sequence[Decoding], *, writes: bool) -> None:
        """Reads the rows and makes of them what will be asked for."""
        with self._lock:
            self._rows()
        if writes:
            self.lines()
        for decoding in decodings:
            self.decoded(decoding)
        if writes or decodings:
            with self._lock:
                self._batch = None

    def lines(self) -> Lines:
        """Returns the rows as text."""
        with self._lock:
            if self._lines is None:
                self._lines = written(self._rows(), self._delimiter)
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
        self._blocks: dict[int, _Block] = {}
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
        block.make(tuple(self._decodings), writes=self._writes)
        return block
