"""One pass over a feed, and the positions behind the batches that passes handed out last."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from pai_train.errors import DataError
from pai_train.feed.batches import Delivery, arrow_superbatches

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pai_train.feed.contracts import FeedPlan, Measure, Position, Shard
    from pai_train.spec.contracts import Source

KEPT = 64
"""Superbatches handed out last, inside which positions are known."""

Arrow = Delivery[pa.RecordBatch]


@dataclass(frozen=True)
class Reader:
    """How a pass reads; plain values.

    Attributes:
        source: The rows.
        plan: What to deliver.
        shard: Which worker's rows.
        engine: 'tf_data' or 'queue_runner'.
        parallel: Chunks read at once; None for the number of cores.
        measure: Measures the reading of a block.
    """

    source: Source
    plan: FeedPlan
    shard: Shard
    engine: str
    parallel: int | None
    measure: Measure

    def superbatches(self, at: Position, epochs: int | None, *, encoded: bool) -> Iterator[Arrow]:
        """Yields Arrow superbatches from a position to the end of the last of so many epochs, counted from the first.

        Raises:
            DataError: A row cannot be read.
        """
        plan = replace(self.plan, epochs=epochs)
        if self.engine == "queue_runner":
            yield from self._through_queues(plan, at)
            return
        with arrow_superbatches(
            self.source, plan, at, self.shard, self.parallel, encoded=encoded, measure=self.measure
        ) as deliveries:
            yield from deliveries

    def _through_queues(self, plan: FeedPlan, at: Position) -> Iterator[Arrow]:
        from pai_train.feed.queue_runner import queue_superbatches

        schema = pa.schema([self.source.schema.field(name) for name in plan.columns])
        with queue_superbatches(self.source, plan, at, self.shard, self.measure) as deliveries:
            for found in deliveries:
                columns = [_column(found.data[field.name], field.type) for field in schema]
                batch = pa.RecordBatch.from_arrays(columns, schema=schema)
                yield Delivery(found.rows, batch, found.after, found.trail)


def _column(values: np.ndarray[Any, Any], kind: pa.DataType) -> pa.Array:
    if isinstance(kind, pa.FixedShapeTensorType):
        flat = pa.array(np.ascontiguousarray(values).reshape(-1), kind.value_type)
        return pa.ExtensionArray.from_storage(kind, pa.FixedSizeListArray.from_arrays(flat, type=kind.storage_type))
    return pa.array(values, pa.binary()).cast(kind) if values.dtype.hasobject else pa.array(values, kind)


class Pass:
    """One pass, read by one consumer; may be ended by another thread.

    Args:
        deliveries: What is read.
        end: The epoch that it ends before; None for never.
    """

    def __init__(self, deliveries: Iterator[Arrow], end: int | None) -> None:
        self._deliveries = deliveries
        self._end = end
        self._lock = Lock()
        self._closed = False

    def next(self) -> Arrow | None:
        """Returns the next superbatch, None behind the last.

        Raises:
            DataError: A row cannot be read, or another pass has begun.
        """
        with self._lock:
            self.check()
            return next(self._deliveries, None)

    def ends_with(self, delivery: Arrow) -> bool:
        """Tells whether a superbatch is the last."""
        return self._end is not None and delivery.after.epoch >= self._end

    def check(self) -> None:
        """Refuses to go on with a pass that was ended.

        Raises:
            DataError: Another pass has begun.
        """
        if self._closed:
            raise DataError(
                "this pass over the feed was ended: another one has begun, or the feed was closed",
                todo="open a feed for each of two passes at a time",
            )

    def close(self) -> None:
        """Ends it, once the read under way is done."""
        with self._lock:
            self._closed = True
            close = getattr(self._deliveries, "close", None)
            if close is not None:
                close()


def filled(delivery: Arrow) -> list[int]:
    """Returns the numbers of a superbatch's batches that hold rows on this worker."""
    return [number for number, rows in enumerate(delivery.rows) if rows]


@dataclass(frozen=True)
class _Handed:
    first: int
    batches: list[int]
    delivery: Delivery[None]

    @property
    def count(self) -> int:
        return self.first + len(self.batches)


class Ledger:
    """Which batches were handed out, counted through all passes.

    Args:
        start: The position before the first.
    """

    def __init__(self, start: Position) -> None:
        self._start, self._first = start, 0
        self._handed: deque[_Handed] = deque()
        self._lock = Lock()

    @property
    def count(self) -> int:
        """Batches handed out."""
        return self._handed[-1].count if self._handed else self._first

    def add(self, delivery: Arrow) -> None:
        """Notes a superbatch; the oldest is forgotten where there are many."""
        # Without its rows, which the consumer may let go.
        bare: Delivery[None] = Delivery(delivery.rows, None, delivery.after, delivery.trail)
        with self._lock:
            self._handed.append(_Handed(self.count, filled(delivery), bare))
            if len(self._handed) > KEPT:
                gone = self._handed.popleft()
                self._start, self._first = gone.delivery.after, gone.count

    def cut(self, count: int) -> None:
        """Forgets what was handed out behind so many batches, of a pass that was left."""
        with self._lock:
            while self._handed and self._handed[-1].first >= count:
                self._handed.pop()

    def position(self, batches: int) -> Position:
        """Returns the position behind so many batches.

        Raises:
            DataError: It is not known.
        """
        with self._lock:
            if batches == self._first:
                return self._start
            for handed in self._handed:
                if handed.first < batches <= handed.count:
                    return handed.delivery.position(handed.batches[batches - handed.first - 1] + 1)
        raise DataError(
            "the position behind so many batches is not known",
            got=f"{batches} batches",
            wanted=f"{self._first} to {self.count}, what was handed out last",
            todo="ask for it soon after the batches were consumed; count those since the feed was opened or restored",
        )
