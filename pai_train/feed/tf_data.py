"""The tf.data engine: a dataset of superbatches in front of parallel Arrow reads."""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pyarrow as pa
import tensorflow as tf

from pai_train.feed.batches import Delivery, arrow_superbatches
from pai_train.feed.contracts import FeedPlan, Position, Shard, Superbatch
from pai_train.feed.tensors import numpy_columns, numpy_dtype
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
            stream = _streams[handle] = _Stream(deliveries)
            try:
                yield _superbatches(_dataset(handle, fields), stream, plan.columns)
            finally:
                stream.close()
                del _streams[handle]


class _Stream:
    """What a dataset pulls from, and what tensors cannot carry: true row counts, positions, faults."""

    def __init__(self, deliveries: Iterator[Delivery[pa.RecordBatch]]) -> None:
        self._deliveries = deliveries
        self._lock = threading.Lock()
        self._closed = False
        self.sent: deque[Delivery[pa.RecordBatch]] = deque()
        self.fault: BaseException | None = None

    def pull(self) -> list[np.ndarray[Any, Any]]:
        with self._lock:
            if self._closed:
                raise StopIteration
            try:
                delivery = next(self._deliveries)
            except StopIteration:
                raise
            except BaseException as fault:
                self.fault = fault
                raise
            self.sent.append(delivery)
            return numpy_columns(delivery.data)

    def close(self) -> None:
        with self._lock:
            self._closed = True


def _pull(handle: np.int64) -> list[np.ndarray[Any, Any]]:
    return _streams[int(handle)].pull()


def _dataset(handle: int, fields: Sequence[pa.Field]) -> tf.data.Dataset:
    dtypes = [tf.as_dtype(numpy_dtype(field)) for field in fields]

    def tensors(number: tf.Tensor) -> tuple[tf.Tensor, ...]:
        # One module-level function with the handle as argument: a closure per dataset is never freed by TensorFlow.
        columns = tf.numpy_function(_pull, [number], dtypes)
        return tuple(tf.ensure_shape(column, [None]) for column in columns)

    return tf.data.Dataset.from_tensors(np.int64(handle)).repeat().map(tensors)


def _superbatches(dataset: tf.data.Dataset, stream: _Stream, columns: Sequence[str]) -> Iterator[Superbatch]:
    elements = iter(dataset)
    while True:
        try:
            element = next(elements)
        except StopIteration:
            return
        except tf.errors.OpError:
            if stream.fault is not None:
                raise stream.fault from None
            raise
        sent = stream.sent.popleft()
        yield Superbatch(dict(zip(columns, element, strict=True)), sent.rows, sent.after)
