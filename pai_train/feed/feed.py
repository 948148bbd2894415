"""A feed: rows of any source as batches for somebody else's loop, with a position to save and to go on from."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Self, TypeVar

import pyarrow as pa

from pai_train.feed.ahead import ahead
from pai_train.feed.contracts import FeedPlan, Position, Shard
from pai_train.feed.order import beginning, check_position, lay_out
from pai_train.feed.passes import Arrow, Ledger, Pass, Reader, filled
from pai_train.feed.stats import Stats
from pai_train.feed.tensors import numpy_columns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import TracebackType

    import numpy as np
    import tensorflow as tf

    from pai_train.spec.contracts import Snapshot, Source

SUPERBATCH_ROWS = 8192
"""Rows that are put in order and handed over at once; positions are exact to the batch all the same."""

_AHEAD = 2

T = TypeVar("T")
Arrays = dict[str, "np.ndarray[Any, Any]"]


class Feed:
    """Batches of one worker, as TensorFlow, numpy or Arrow has them.

    A pass over the feed, an iteration over what `dataset`, `numpy` or `arrow` returns, delivers `passes` epochs. The
    next pass delivers the epochs after them; a pass that is left before its last batch is begun anew by the next. One
    pass is under way at a time: beginning another ends it.

    Args:
        source: The rows.
        plan: What to deliver; its `epochs` and `steps` are the feed's own matter.
        epochs: Epochs of one pass; None for a pass that never ends.
        label: The column that `dataset` gives apart from the others; None for none.
        shard: Which worker's rows.
        engine: 'tf_data' or 'queue_runner'.
        parallel: Chunks read at once; None for the number of cores.
        position: Where to begin, as `position` gave it; None for the beginning.
        name: What the rows are, for `stats`.

    Attributes:
        source: The rows.
        plan: What is delivered.
        label: The column that `dataset` gives apart.
        stats: What reading cost, and how long was waited: of a dataset as long as its consumer, or what prefetches for
            that, waited for superbatches.
        fault: What ended a pass over `dataset`, as it was raised; TensorFlow hands on only its text.

    Raises:
        DataError: The position belongs to other data or another order.
    """

    def __init__(
        self,
        source: Source,
        plan: FeedPlan,
        *,
        epochs: int | None = 1,
        label: str | None = None,
        shard: Shard = Shard(),
        engine: str = "tf_data",
        parallel: int | None = None,
        position: Mapping[str, Any] | None = None,
        name: str = "the input",
    ) -> None:
        self.source = source
        self.plan = replace(plan, steps=max(1, SUPERBATCH_ROWS // plan.batch_size), epochs=None)
        self.label = label
        self.stats = Stats(engine)
        self.fault: Exception | None = None
        self._epochs = epochs
        self._shard = shard
        self._name = name
        self._reader = Reader(source, self.plan, shard, engine, parallel, partial(self.stats.reading, name))
        self._layout = lay_out(source.chunks(), self.plan)
        self._pass: Pass | None = None
        self._go_to(beginning(source.snapshot, self.plan, self._layout))
        if position is not None:
            self.restore(position)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def schema(self) -> pa.Schema:
        """The columns, in the order of delivery."""
        return pa.schema([self.source.schema.field(name) for name in self.plan.columns])

    @property
    def snapshot(self) -> Snapshot:
        """The identity of the data."""
        return self.source.snapshot

    @property
    def batches(self) -> int | None:
        """Batches of a whole pass, where they are known without reading; None for a pass that never ends, too."""
        return None if self._epochs is None else self._of_epochs(self._epochs)

    @property
    def left(self) -> int | None:
        """Batches of the next pass: fewer than `batches` where the feed stands inside a pass."""
        whole, end = self._of_epochs(1), self._end(self._next)
        if whole is None or end is None:
            return None
        return (end - self._next.epoch) * whole - min(self._next.batch, whole)

    @property
    def endless(self) -> bool:
        """Whether a pass never ends."""
        return self._epochs is None

    @property
    def always_full(self) -> bool:
        """Whether every batch holds `batch_size` rows."""
        return self.plan.drop_remainder and self._shard.count == 1

    def dataset(self) -> tf.data.Dataset:
        """Returns the batches as a `tf.data.Dataset`, for `fit` or any other loop.

        An element is a dict of tensors of shape [rows] by column; with a label, (that dict without it, the label).
        Its cardinality is set where it is known and the same for all passes to come: infinite for one that never
        ends; unknown where rows are not counted, or the feed stands inside a pass.
        """
        from pai_train.feed.dataset import dataset

        return dataset(self)

    def numpy(self) -> Iterator[Arrays]:
        """Yields a pass as arrays of shape [rows] by column; texts are objects of type bytes.

        Raises:
            DataError: A row cannot be read, or another pass has begun.
        """

        def columns(batch: pa.RecordBatch) -> Arrays:
            return dict(zip(batch.schema.names, numpy_columns(batch), strict=True))

        def cut(arrays: Arrays, first: int, rows: int) -> Arrays:
            return {name: array[first : first + rows] for name, array in arrays.items()}

        return self._walk(columns, cut)

    def arrow(self) -> Iterator[pa.RecordBatch]:
        """Yields a pass as Arrow record batches.

        Raises:
            DataError: A row cannot be read, or another pass has begun.
        """
        return self._walk(lambda batch: batch, lambda batch, first, rows: batch.slice(first, rows))

    @property
    def position(self) -> dict[str, Any]:
        """The position behind the last batch that `numpy` or `arrow` yielded, or the last whole pass over `dataset`."""
        return self.position_after(self._taken)

    def position_after(self, batches: int) -> dict[str, Any]:
        """Returns the position behind so many batches, which a consumer of `dataset` counts itself: reading runs ahead.

        Args:
            batches: Batches consumed since the feed was opened or restored, over all passes. Those of a pass that was
                left early no longer count once the next one begins.

        Returns:
            JSON types, for `restore`.

        Raises:
            DataError: So many batches were not handed out, or many more since.
        """
        return self._ledger.position(batches).to_json()

    def restore(self, position: Mapping[str, Any]) -> None:
        """Goes to a position. The next pass begins there and ends where the one that was left would have ended.

        Raises:
            DataError: It belongs to other data or another order.
        """
        at = Position.from_json(position)
        check_position(at, self.source.snapshot, self.plan, self._layout)
        self.close()
        self._go_to(at)

    @property
    def waited_for(self) -> str:
        """One sentence about what the loop waited for."""
        return self.stats.sentence(self._name)

    def close(self) -> None:
        """Ends the pass that is under way."""
        if self._pass is not None:
            self._pass.close()
            self._pass = None

    def begin(self, *, encoded: bool = False) -> Pass:
        """Begins the next pass and ends the one under way; for what hands batches out.

        Args:
            encoded: Whether strings may come dictionary encoded.
        """
        self.close()
        self._ledger.cut(self._counted)
        self._taken = self._counted
        end = self._end(self._next)
        self._pass = Pass(self._reader.superbatches(self._next, end, encoded=encoded), end)
        return self._pass

    def hand(self, delivery: Arrow) -> None:
        """Notes a superbatch as handed out; for what hands batches out."""
        self._ledger.add(delivery)
        self.stats.delivered(sum(delivery.rows), len(filled(delivery)))

    def complete(self, after: Position) -> None:
        """Notes the pass under way as done, with its last batch; for what hands batches out."""
        self._next, self._counted = after, self._ledger.count
        self._taken = self._counted

    def _walk(self, convert: Callable[[pa.RecordBatch], T], cut: Callable[[T, int, int], T]) -> Iterator[T]:
        reading = self.begin()

        def converted() -> Iterator[tuple[Arrow, T]]:
            while (delivery := reading.next()) is not None:
                yield delivery, convert(delivery.data)

        try:
            with ahead(converted, _AHEAD, self.stats, name=self._name) as elements:
                for delivery, data in elements:
                    self.hand(delivery)
                    first, numbers = 0, filled(delivery)
                    for number in numbers:
                        reading.check()
                        self._taken += 1
                        if number == numbers[-1] and reading.ends_with(delivery):
                            self.complete(delivery.after)
                        rows = delivery.rows[number]
                        yield cut(data, first, rows)
                        first += rows
        finally:
            reading.close()

    def _go_to(self, at: Position) -> None:
        self._next, self._ledger = at, Ledger(at)
        self._counted = self._taken = 0

    def _end(self, at: Position) -> int | None:
        return None if self._epochs is None else (at.epoch // self._epochs + 1) * self._epochs

    def _of_epochs(self, epochs: int) -> int | None:
        count = self._layout.batches(self.plan)
        if not count:
            return count
        lanes = range(self._shard.index, len(self._layout.lanes), self._shard.count)
        # Of the last batch of an epoch some worker may have no row.
        return epochs * (count if any(self._last_rows(lane, count) for lane in lanes) else count - 1) if lanes else 0

    def _last_rows(self, lane: int, batches: int) -> int:
        bounds = self._layout.bounds
        before = int(self._layout.shares([lane], self.plan.batch_size, 0, batches - 1).sum()) if batches > 1 else 0
        return bounds[lane + 1] - bounds[lane] - before
