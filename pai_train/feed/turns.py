"""A lane's turns for a queue: what its reader works on, and where in the lane the rows that came out stand."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Any

import numpy as np

from pai_train.errors import DataError
from pai_train.feed.blocks import Unit, joined, no_rows, read_block, read_rows
from pai_train.feed.nulls import fill
from pai_train.feed.order import Int64s, delivery
from pai_train.feed.tensors import numpy_columns

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from pai_train.feed.contracts import FeedPlan
    from pai_train.feed.deal import Dealer
    from pai_train.spec.contracts import Chunk, Source

# TextLineReader drops carriage returns, which are data inside a field: they travel escaped.
_ESCAPES = ((b"\x10", b"\x10\x30"), (b"\r", b"\x10\x31"))

# TF1's producers refuse an empty list: a lane that has nothing left gets one item that yields no row.
_NOTHING = b""

_POLL_S = 0.05

Columns = list[np.ndarray[Any, Any]]


class Turns:
    """The functions a lane's queue pipeline calls, and the ledger of what they handed out."""

    def __init__(self, source: Source, plan: FeedPlan, dealer: Dealer, lane: int, spool: Path) -> None:
        self._source = source
        self._plan = plan
        self._layout = dealer.layout
        self._lane = lane
        self._spool = spool
        self._epoch, (self._ordinal, self._start) = dealer.at.epoch, dealer.at.lanes[lane]
        self._orders: dict[int, tuple[tuple[int, ...], ...]] = {}
        self._ledger: deque[tuple[Unit, Int64s]] = deque()
        self._handed: dict[int, int] = {}
        self._delivered = 0
        self._staged = 0
        self._changed = threading.Condition()
        self.fault: Exception | None = None

    def order(self) -> np.ndarray[Any, Any]:
        """Returns the next epoch's work for a producer, `epoch ordinal start` and a reference per unit, as bytes."""
        epoch, ordinal, start = self._epoch, self._ordinal, self._start
        self._epoch, self._ordinal, self._start = epoch + 1, 0, 0
        ids = self._layout.epoch(self._lane, self._plan, epoch)
        chunks = self._source.chunks()
        work = [
            f"{epoch} {place} {start if place == ordinal else 0} {chunks[ids[place][0]].ref}".encode()
            for place in range(ordinal, len(ids))
        ]
        with self._changed:
            self._orders[epoch] = ids
            self._handed[epoch] = len(work)
            self._changed.notify_all()
        return np.array(work or [_NOTHING], dtype=object)

    def wait(self, epoch: int, rows: int, stopped: Callable[[], bool]) -> int:
        """Waits until this many rows of an epoch are on their way, or all it has; returns how many of them are."""
        with self._changed:
            while True:
                mine = [len(cursors) for unit, cursors in self._ledger if unit.epoch == epoch]
                there = sum(mine) - self._delivered
                if there >= rows or self._handed.get(epoch) == 0 or stopped():
                    return min(there, rows)
                self._changed.wait(_POLL_S)

    def stage(self, item: bytes) -> bytes:
        """Writes a text block's lines in order of delivery to a local file and returns its path."""
        with self._faults():
            if item == _NOTHING:
                path = self._spool / f"{self._lane}-nothing"
                path.touch()
                return str(path).encode()
            unit = self._unit(item)
            chunks = [self._source.chunks()[chunk] for chunk in unit.chunks]
            pieces = [self._lines(chunk) for chunk in chunks]
            order, cursors = delivery(self._plan, unit.epoch, unit.chunks, [*map(len, pieces)], unit.start)
            if self._plan.bad_rows is not None:
                order, cursors = self._good(chunks, order, cursors)
            lines = np.array([line for piece in pieces for line in piece], dtype=object)
            self._staged += 1
            path = self._spool / f"{self._lane}-{self._staged % 4}"
            path.unlink(missing_ok=True)
            path.write_bytes(b"\n".join([*lines[order].tolist(), b""]))
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
                return numpy_columns(fill(batch, self._plan.defaults or {}))
            except DataError:
                self._find(len(lines))
                raise

    def read(self, item: bytes) -> Columns:
        """Reads a block that is not text."""
        with self._faults():
            if item == _NOTHING:
                return numpy_columns(no_rows(self._source, self._plan))
            unit = self._unit(item)
            block = read_block(self._source, self._plan, unit)
            self._enter(unit, block.cursors)
            return numpy_columns(block.batch)

    def advance(self, rows: int) -> tuple[int, int] | None:
        """Counts rows as delivered and returns the cursor behind them, None when there were none."""
        cursor = None
        with self._changed:
            self._delivered += rows
            while rows and self._ledger:
                unit, cursors = self._ledger[0]
                if self._delivered < len(cursors):
                    if self._delivered:
                        cursor = (unit.ordinal, int(cursors[self._delivered - 1]))
                    break
                cursor = (unit.ordinal + 1, 0)
                self._delivered -= len(cursors)
                self._ledger.popleft()
                if not self._delivered:
                    break
        return cursor

    def end_epoch(self, epoch: int) -> None:
        """Forgets an epoch."""
        with self._changed:
            while self._ledger and self._ledger[0][0].epoch <= epoch:
                self._ledger.popleft()
            self._orders.pop(epoch, None)
            self._handed.pop(epoch, None)

    def _unit(self, item: bytes) -> Unit:
        epoch, ordinal, start = (int(word) for word in item.split(b" ", 3)[:3])
        return Unit(epoch, ordinal, self._orders[epoch][ordinal], start)

    def _enter(self, unit: Unit, cursors: Int64s) -> None:
        with self._changed:
            self._ledger.append((unit, cursors))
            self._handed[unit.epoch] -= 1
            self._changed.notify_all()

    def _find(self, rows: int) -> None:
        """Reads the blocks the next lines came from again, which raises their fault with its place."""
        with self._changed:
            window, seen = [], -self._delivered
            for unit, cursors in self._ledger:
                if seen >= rows:
                    break
                window.append(unit)
                seen += len(cursors)
        for unit in window:
            read_block(self._source, self._plan, unit)

    def _good(self, chunks: Sequence[Chunk], order: Int64s, cursors: Int64s) -> tuple[Int64s, Int64s]:
        """Leaves out the lines that no row is made of."""
        good = joined([read_rows(self._source, chunk, self._plan) for chunk in chunks]).good
        return (order, cursors) if good is None else (order[good[order]], cursors[good[order]])

    def _lines(self, chunk: Chunk) -> list[bytes]:
        text: bytes = self._source.lines(chunk)  # type: ignore[attr-defined]
        for raw, escaped in _ESCAPES:
            text = text.replace(raw, escaped)
        return text.split(b"\n")[:-1]

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
