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
from pai_train.feed.tensors import SEPARATOR, Way, nothing, numpy_dtype, packed

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
        with arrow_superbatches(source, plan, at, shard, self._parallel, encoded=True) as deliveries:
            handle = next(_handles)
            stream = _streams[handle] = _Stream(deliveries, fields)
            try:
                yield _superbatches(_dataset(handle, fields), stream, fields)
            finally:
                del _streams[handle]


class _Stream:
    """What a dataset pulls from, and what tensors cannot carry: true row counts, positions, faults."""

    def __init__(self, deliveries: Iterator[Delivery[pa.RecordBatch]], fields: Sequence[pa.Field]) -> None:
        self._deliveries = deliveries
        self._fields = fields
        self._nothing = nothing(fields)
        self.sent: deque[tuple[Delivery[pa.RecordBatch], list[Way]]] = deque()
        self.fault: Exception | None = None

    def pull(self) -> list[Any]:
        try:
            delivery = next(self._deliveries, None)
            if delivery is None:
                return [np.False_, *self._nothing]
            parts, ways = packed(self._fields, delivery.data)
        except Exception as fault:
            # Raised again by the consumer: through TensorFlow only its text would arrive.
            self.fault = fault
            return [np.False_, *self._nothing]
        self.sent.append((delivery, ways))
        return [np.True_, *parts]


def _pull(handle: np.int64) -> list[Any]:
    return _streams[int(handle)].pull()


def _dataset(handle: int, fields: Sequence[pa.Field]) -> tf.data.Dataset:
    empty = nothing(fields)
    dtypes = [tf.as_dtype(part.dtype) for part in empty]
    shapes = [[None, *part.shape[1:]] for part in empty]

    def tensors(number: tf.Tensor) -> tuple[tf.Tensor, ...]:
        # One module-level function with the handle as argument: a closure per dataset is never freed by TensorFlow.
        more, *parts = tf.numpy_function(_pull, [number], [tf.bool, *dtypes])
        return tf.ensure_shape(more, []), *map(tf.ensure_shape, parts, shapes)

    options = tf.data.Options()
    # Reading ahead is the host queue's part; a prefetch put in by tf.data would pull from a stream that is closed.
    options.experimental_optimization.inject_prefetch = False
    options.autotune.enabled = False
    dataset = tf.data.Dataset.from_tensors(np.int64(handle)).repeat().map(tensors)
    return dataset.take_while(lambda more, *parts: more).with_options(options)


def _superbatches(dataset: tf.data.Dataset, stream: _Stream, fields: Sequence[pa.Field]) -> Iterator[Superbatch]:
    for _, *parts in dataset:
        delivery, ways = stream.sent.popleft()
        yield Superbatch(_columns(fields, parts, ways, delivery.data.num_rows), delivery.rows, delivery.after)
    if stream.fault is not None:
        raise stream.fault


def _columns(
    fields: Sequence[pa.Field], parts: Sequence[tf.Tensor], ways: Sequence[Way], rows: int
) -> dict[str, tf.Tensor]:
    """Makes columns of an element's parts; eagerly, as a branch for each column would cost seconds to trace."""
    strings = _strings(parts[-4:], ways, rows) if ways else iter(())
    numbers = iter(parts)
    return {field.name: next(strings if numpy_dtype(field).hasobject else numbers) for field in fields}


def _strings(parts: Sequence[tf.Tensor], ways: Sequence[Way], rows: int) -> Iterator[tf.Tensor]:
    """Yields the columns of strings: all of one way are made by one call, for a call costs what thousands of values do.

    Each is a slice of what was made, which TensorFlow cuts without a copy where it is aligned.
    """
    whole, split, dictionaries, places = parts
    made = {"whole": whole}
    if "split" in ways:
        made["split"] = _split(split)
    if "gather" in ways:
        # GatherNd takes strings in half of Gather's time.
        made["gather"] = tf.raw_ops.GatherNd(params=_split(dictionaries), indices=places)
    taken = dict.fromkeys(made, 0)
    for way in ways:
        yield tf.raw_ops.Slice(input=made[way], begin=[taken[way]], size=[rows])
        taken[way] += rows


def _split(texts: tf.Tensor) -> tf.Tensor:
    return tf.raw_ops.StringSplitV2(input=texts, sep=SEPARATOR, maxsplit=-1).values
