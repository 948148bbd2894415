"""A lane's turns for a queue: what its reader works on, and where in the lane the rows that came out stand."""

from __future__ import annotations

import threading
from collections import deque
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pai_train.errors import DataError
from pai_train.feed.blocks import Unit, read_block, units
from pai_train.feed.contracts import FeedPlan
from pai_train.feed.deal import Dealer
from pai_train.feed.fields import fill
from pai_train.feed.order import Int64s, delivery
from pai_train.feed.tensors import numpy_columns
from pai_train.spec.contracts import Source

# TextLineReader drops carriage returns, which are data inside a field: they travel escaped.
_ESCAPES = ((b"\x10", b"\x10\x30"), (b"\r", b"\x10\x31"))

# TF1's producers refuse an empty list: a lane that has nothing left gets one item that yields no row.
_NOTHING = b""

Columns = list[np.ndarray[Any, Any]]


class Turns:
    """The functions a lane's queue pipeline calls, and the ledger of what they handed out."""

    def __init__(self, source: Source, plan: FeedPlan, dealer: Dealer, lane: int, spool: Path) -> None:
        self._source = source
        self._plan = plan
        self._dealer = dealer
        self._lane = lane
        self._spool = spool
        self._units: dict[int, Unit] = {}
        self._ledger: deque[tuple[Unit, Int64s]] = deque()
        self._delivered = 0
        self._lock = threading.Lock()
        self.fault: Exception | None = None

    def begin(self, epoch: int) -> None:
        """Prepares an epoch, from the lane's cursor on."""
        ordinal, start = self._dealer.at.lanes[self._lane]
        turns = units(self._dealer.layout, self._plan, self._lane, epoch, ordinal, start)
        self._units = {unit.ordinal: unit for unit in takewhile(lambda unit: unit.epoch == epoch, turns)}
        self._ledger.clear()
        self._delivered = 0

    def order(self) -> np.ndarray[Any, Any]:
        """Returns the epoch's work for a producer, one `ordinal reference` per unit, as bytes of shape [units]."""
        chunks = self._source.chunks()
        work = [f"{ordinal} {chunks[unit.chunk].ref}".encode() for ordinal, unit in self._units.items()]
        return np.array(work or [_NOTHING], dtype=object)

    def stage(self, item: bytes) -> bytes:
        """Writes a text chunk's lines in order of delivery to a local file and returns its path."""
        with self._faults():
            if item == _NOTHING:
                path = self._spool / f"{self._lane}-nothing"
                path.touch()
                return str(path).encode()
            unit = self._unit(item)
            chunk = self._source.chunks()[unit.chunk]
            text = self._source.lines(chunk)  # type: ignore[attr-defined]
            for raw, escaped in _ESCAPES:
                text = text.replace(raw, escaped)
            lines = np.array(text.split(b"\n")[:-1], dtype=object)
            order, cursors = delivery(self._plan, unit.epoch, chunk.id, len(lines), unit.start)
            path = self._spool / f"{self._lane}-{unit.ordinal % 4}"
            path.unlink(missing_ok=True)
            path.write_bytes(b"".join(line + b"\n" for line in lines[order]))
            self._enter(unit, cursors)
            return str(path).encode()

    def decode(self, lines: np.ndarray[Any, Any]) -> Columns:
        """Turns dequeued lines into columns, by the grammar of `pai_train.feed.fields`."""
        with self._faults():
            text = b"\n".join(lines.tolist()) + b"\n" if len(lines) else b""
            for raw, escaped in reversed(_ESCAPES):
                text = text.replace(escaped, raw)
            try:
                batch = self._source.decode(text, self._plan.columns)  # type: ignore[attr-defined]
            except DataError as fault:
                self._find(fault, len(lines))
                raise
            return numpy_columns(fill(batch, self._plan.defaults))

    def read(self, item: bytes) -> Columns:
        """Reads a chunk that is not text."""
        with self._faults():
            if item == _NOTHING:
                return numpy_columns(self._no_rows())
            unit = self._unit(item)
            block = read_block(self._source, self._source.chunks()[unit.chunk], self._plan, unit)
            self._enter(unit, block.cursors)
            return numpy_columns(block.batch)

    def advance(self, rows: int) -> tuple[int, int] | None:
        """Counts rows as delivered and returns the cursor behind them, None when there were none."""
        cursor = None
        with self._lock:
            self._delivered += rows
            while self._ledger:
                unit, cursors = self._ledger[0]
                if self._delivered < len(cursors):
                    if self._delivered:
                        cursor = (unit.ordinal, int(cursors[self._delivered - 1]))
                    break
                cursor = (unit.ordinal + 1, 0)
                self._delivered -= len(cursors)
                self._ledger.popleft()
        return cursor

    def _unit(self, item: bytes) -> Unit:
        return self._units[int(item.split(b" ", 1)[0])]

    def _no_rows(self) -> pa.RecordBatch:
        fields = [self._source.schema.field(name) for name in self._plan.columns]
        return pa.RecordBatch.from_arrays([pa.array([], field.type) for field in fields], schema=pa.schema(fields))

    def _enter(self, unit: Unit, cursors: Int64s) -> None:
        with self._lock:
            self._ledger.append((unit, cursors))

    def _find(self, fault: DataError, rows: int) -> None:
        """Reads the chunks the lines came from again, which raises the same fault with its place."""
        with self._lock:
            window, seen = [], -self._delivered
            for unit, cursors in self._ledger:
                if seen >= rows:
                    break
                window.append(unit)
                seen += len(cursors)
        for unit in window:
            for _ in self._source.read(self._source.chunks()[unit.chunk], self._plan.columns):
                continue

    def _faults(self) -> _Keep:
        return _Keep(self)


class _Keep:
    """Keeps a reader's fault as it was raised; TensorFlow hands on only its text."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, fault: BaseException | None, trace: object) -> None:
        if isinstance(fault, Exception):
            self._turns.fault = self._turns.fault or fault
