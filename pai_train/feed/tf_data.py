"""The tf.data engine: a dataset of superbatches in front of parallel Arrow reads."""

from __future__ import annotations

import itertools
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from pai_train.feed.batches import Delivery, arrow_superbatches
from pai_train.feed.contracts import FeedPlan, Position, Shard, Superbatch
from pai_train.feed.tensors import numpy_columns, numpy_dtype

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pyarrow as pa

    from pai_train.spec.contracts import Source

_streams: dict[int, _Stream] = {}
_handles = itertools.count()


class TfDataEngine:
    """Reads through one `tf.data.Dataset` per opening, whose elements are superbatches."""

    def __init__(self, parallel: int | None = None) -> None:
        self._parallel = parallel

    @contextmanager
    def open(
        self, source: Source, plan: FeedPlan, at: Position | None = None, shard: Shard = Shard()
    ) -> Iterator[Iterator[Superbatch]]:
        """Starts reading; see `pai_train.feed.contracts.Engine`."""
        fields = [source.schema.field(name) for name in plan.columns]
        with arrow_superbatches(source, plan, at, shard, self._parallel) as deliveries:
            handle = next(_handles)
            stream = _streams[handle] = _Stream(deliveries, [numpy_dtype(field) for field in fields])
            try:
                yield _superbatches(_dataset(handle, fields), stream, plan.columns)
            finally:
                del _streams[handle]


class _Stream:
    """What a dataset pulls from, and what tensors cannot carry: true row counts, positions, faults."""

    def __init__(self, deliveries: Iterator[Delivery[pa.RecordBatch]], dtypes: Sequence[np.dtype[Any]]) -> None:
        self._deliveries = deliveries
        self._nothing = [np.zeros(0, dtype) for dtype in dtypes]
        self.sent: deque[Delivery[pa.RecordBatch]] = deque()
        self.fault: Exception | None = None

    def pull(self) -> list[Any]:
        try:
            delivery = next(self._deliveries, None)
            columns = self._nothing if delivery is None else numpy_columns(delivery.data)
        except Exception as fault:
            # Raised again by the consumer: through TensorFlow only its text would arrive.
            self.fault = fault
            return [np.False_, *self._nothing]
        if delivery is None:
            return [np.False_, *columns]
        self.sent.append(delivery)
        return [np.True_, *columns]


def _pull(handle: np.int64) -> list[Any]:
    return _streams[int(handle)].pull()


def _dataset(handle: int, fields: Sequence[pa.Field]) -> tf.data.Dataset:
    dtypes = [tf.bool, *(tf.as_dtype(numpy_dtype(field)) for field in fields)]

    def tensors(number: tf.Tensor) -> tuple[tf.Tensor, ...]:
        # One module-level function with the handle as argument: a closure per dataset is never freed by TensorFlow.
        more, *columns = tf.numpy_function(_pull, [number], dtypes)
        return tf.ensure_shape(more, []), *(tf.ensure_shape(column, [None]) for column in columns)

    options = tf.data.Options()
    # Reading ahead is the host queue's part; a prefetch put in by tf.data would pull from a stream that is closed.
    options.experimental_optimization.inject_prefetch = False
    options.autotune.enabled = False
    dataset = tf.data.Dataset.from_tensors(np.int64(handle)).repeat().map(tensors)
    return dataset.take_while(lambda more, *columns: more).with_options(options)


def _superbatches(dataset: tf.data.Dataset, stream: _Stream, columns: Sequence[str]) -> Iterator[Superbatch]:
    for _, *element in dataset:
        sent = stream.sent.popleft()
        yield Superbatch(dict(zip(columns, element, strict=True)), sent.rows, sent.after)
    if stream.fault is not None:
        raise stream.fault
