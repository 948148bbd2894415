"""The queue-runner engine: TF1 queues, readers and a Coordinator, delivering what the tf.data engine delivers."""

from __future__ import annotations

import logging
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import tensorflow as tf

from pai_train.feed.batches import Delivery, deal_lanes, start
from pai_train.feed.contracts import FeedPlan, Position, Shard, Superbatch
from pai_train.feed.tensors import no_rows, numpy_dtype, row_shape
from pai_train.feed.turns import Turns
from pai_train.spec.contracts import Source, TextSource
from pai_train.storage import Scratch

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from pai_train.feed.contracts import Measure
    from pai_train.feed.deal import Dealer
    from pai_train.feed.runs import Runs
    from pai_train.feed.trail import Stretch

tf1 = tf.compat.v1
logger = logging.getLogger(__name__)

READ_UP_TO = 1024
"""Lines a reader takes at once, and rows that a queue holds per batch wanted."""


GRACE_S = 10
"""Seconds that closing waits for readers."""


class QueueRunnerEngine:
    """Reads through one TF1 graph per opening, and one session."""

    def __init__(self, measure: Measure = nullcontext) -> None:
        self._measure = measure

    @contextmanager
    def open(
        self, source: Source, plan: FeedPlan, at: Position | None = None, shard: Shard = Shard()
    ) -> Iterator[Iterator[Superbatch]]:
        """Starts reading; see `pai_train.feed.contracts.Engine`."""
        with queue_superbatches(source, plan, at, shard, self._measure) as deliveries:
            yield (Superbatch(delivery.data, delivery.rows, delivery.after) for delivery in deliveries)


@contextmanager
def queue_superbatches(
    source: Source,
    plan: FeedPlan,
    at: Position | None = None,
    shard: Shard = Shard(),
    measure: Measure = nullcontext,
) -> Iterator[Iterator[Delivery[Mapping[str, np.ndarray[Any, Any]]]]]:
    """Reads a source as superbatches of numpy columns.

    Raises:
        DataError: The position belongs to other data or another order, or a row cannot be read.
    """
    dealer = start(source, plan, at, shard)
    with Scratch() as spool:
        lanes = QueueLanes(source, plan, dealer, spool, measure)
        try:
            yield deal_lanes(lanes, dealer, plan)
        finally:
            lanes.close()


@dataclass(frozen=True)
class QueueRows:
    """Rows of all own lanes as one vector per column."""

    given: Mapping[int, int]
    cursors: Mapping[int, tuple[int, int]]
    columns: Mapping[str, np.ndarray[Any, Any]]
    stretches: Mapping[int, Sequence[Stretch]]

    def rows(self, order: Runs | None, count: int) -> Mapping[str, np.ndarray[Any, Any]]:
        if order is None:
            return {name: column[:count] for name, column in self.columns.items()}
        return {name: column[order.places[:count]] for name, column in self.columns.items()}


class QueueLanes:
    """A graph with a pipeline of queues per lane; its `QUEUE_RUNNERS` fill them, one session long."""

    def __init__(
        self, source: Source, plan: FeedPlan, dealer: Dealer, spool: Path, measure: Measure = nullcontext
    ) -> None:
        self._plan = plan
        self._nothing = [no_rows(source.schema.field(name)) for name in plan.columns]
        self._turns = {lane: Turns(source, plan, dealer, lane, spool, measure) for lane in dealer.lanes}
        epochs = None if plan.epochs is None else max(1, plan.epochs - dealer.at.epoch)
        self.graph = tf.Graph()
        with self.graph.as_default(), _without_advice():
            self._counts = {lane: tf1.placeholder(tf.int32, [], f"rows_{lane}") for lane in self._turns}
            self._rows = {
                lane: _lane_pipeline(source, plan, turns, self._counts[lane], epochs)
                for lane, turns in self._turns.items()
            }
            init = [tf1.global_variables_initializer(), tf1.local_variables_initializer()]
            self._session = tf1.Session(graph=self.graph)
            self._session.run(init)
            self._coordinator = _Coordinator()
            self._threads = tf1.train.start_queue_runners(self._session, self._coordinator)

    def take(self, epoch: int, wanted: Mapping[int, int]) -> QueueRows:
        """Dequeues up to the wanted rows of each lane.

        Raises:
            DataError: Whatever a reader met, handed over by the Coordinator.
        """
        stopped = self._coordinator.should_stop
        given = {lane: self._turns[lane].wait(epoch, count, stopped) for lane, count in wanted.items()}
        if stopped():
            self._raise(None)
        asked = {lane: count for lane, count in given.items() if count}
        try:
            found = self._session.run(
                {lane: self._rows[lane] for lane in asked}, {self._counts[lane]: asked[lane] for lane in asked}
            )
        except tf.errors.OpError as error:
            self._raise(error)
        pieces = [found[lane] for lane in asked] or [self._nothing]
        passed = {lane: self._turns[lane].advance(given[lane]) for lane in wanted}
        stretches = {lane: found for lane, (found, _) in passed.items()}
        cursors = {lane: at for lane, (_, at) in passed.items() if at is not None}
        if not asked:
            for turns in self._turns.values():
                turns.end_epoch(epoch)
        columns = {name: np.concatenate([piece[i] for piece in pieces]) for i, name in enumerate(self._plan.columns)}
        return QueueRows(given, cursors, columns, stretches)

    def close(self) -> None:
        """Stops the queue runners."""
        self._coordinator.request_stop()
        try:
            self._join()
        except tf.errors.OpError as error:
            logger.debug("a reader that is no longer needed stopped with: %s", error)
        if any(thread.is_alive() for thread in self._threads):
            # A reader inside a call to the store cannot be interrupted, and still needs the session to end.
            logger.warning("a reader is still reading after %d s; it ends with that read", GRACE_S)
        else:
            self._session.close()

    def _join(self) -> None:
        self._coordinator.join(self._threads, stop_grace_period_secs=GRACE_S, ignore_live_threads=True)

    def _raise(self, error: tf.errors.OpError | None) -> NoReturn:
        """Raises what stopped the Coordinator, or else what was met here, as it was raised in Python."""
        if self._coordinator.should_stop():
            try:
                self._join()
            except tf.errors.OpError as first:
                error = first
        fault = next((turns.fault for turns in self._turns.values() if turns.fault is not None), error)
        raise fault or RuntimeError("the queue runners stopped without an error") from None


@contextmanager
def _without_advice() -> Iterator[None]:
    """Keeps TensorFlow's advice to use tf.data off the screen: queues are what was asked for."""
    tf_logger = tf.get_logger()
    level = tf_logger.level
    tf_logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        tf_logger.setLevel(level)


class _Coordinator(tf.compat.v1.train.Coordinator):  # type: ignore[misc]
    """TF1's Coordinator, whose threads may fail after it was joined: nobody is there to be told any more."""

    def request_stop(self, ex: Any = None) -> None:
        if self.joined:
            logger.debug("a reader that is no longer needed stopped with: %s", ex)
            return
        super().request_stop(ex)


def _lane_pipeline(
    source: Source, plan: FeedPlan, turns: Turns, count: tf.Tensor, epochs: int | None
) -> list[tf.Tensor]:
    """Builds one lane's queues and returns the columns of `count` rows."""
    dtypes = [tf.as_dtype(numpy_dtype(source.schema.field(name))) for name in plan.columns]
    capacity = max(READ_UP_TO, 2 * plan.batch_size * plan.steps)
    order = tf.numpy_function(turns.order, [], tf.string)
    order.set_shape([None])
    if isinstance(source, TextSource):
        chunks = tf1.train.string_input_producer(order, num_epochs=epochs, shuffle=False)
        files = tf.queue.FIFOQueue(1, [tf.string], [[]])
        staged = tf.numpy_function(turns.stage, [chunks.dequeue()], tf.string)
        _run_queue(files, files.enqueue(tf.ensure_shape(staged, [])))
        _, lines = tf1.TextLineReader().read_up_to(files, READ_UP_TO)
        queue = tf.queue.FIFOQueue(capacity, [tf.string], [[]])
        _run_queue(queue, queue.enqueue_many([lines]))
        columns = tf.numpy_function(turns.decode, [queue.dequeue_many(count)], dtypes)
        return [tf.ensure_shape(column, [None]) for column in columns]
    chunks = tf1.train.input_producer(order, element_shape=[], num_epochs=epochs, shuffle=False)
    columns = tf.numpy_function(turns.read, [chunks.dequeue()], dtypes)
    shapes = [row_shape(source.schema.field(name)) for name in plan.columns]
    if any(shapes):
        # Of rows of images a few fill the memory that thousands of numbers take.
        capacity = 2 * plan.batch_size * plan.steps
    queue = tf.queue.FIFOQueue(capacity, dtypes, shapes)
    _run_queue(
        queue, queue.enqueue_many([tf.ensure_shape(c, [None, *s]) for c, s in zip(columns, shapes, strict=True)])
    )
    rows = queue.dequeue_many(count)
    return list(rows) if isinstance(rows, (list, tuple)) else [rows]


def _run_queue(queue: Any, enqueue: tf.Operation) -> None:
    tf1.train.add_queue_runner(tf1.train.QueueRunner(queue, [enqueue]))
