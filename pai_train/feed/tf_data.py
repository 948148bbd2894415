"""The tf_data engine: what tf.data does for a loop, done by threads that decode Arrow, whose memory becomes tensors.

A `tf.data.Dataset` in between cost more than all else behind the decoding: it copies each column, and takes a
superbatch through two functions of a graph. `pai_train.feed.dataset` is the dataset for loops that want one.
"""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import tensorflow as tf

from pai_train.feed.batches import arrow_superbatches
from pai_train.feed.contracts import FeedPlan, Position, Shard, Superbatch
from pai_train.feed.tensors import SEPARATOR, Texts, numpy_column, numpy_dtype, packed, refuse_nulls, row_shape

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pai_train.feed.contracts import Measure
    from pai_train.spec.contracts import Source

_ALIGNED_BYTES = 64
"""What TensorFlow's kernels take for granted of a tensor's address; they end the process where it is not so."""


class TfDataEngine:
    """Reads chunks in parallel, and hands out superbatches of eager tensors on the CPU."""

    def __init__(self, parallel: int | None = None, measure: Measure = nullcontext) -> None:
        self._parallel = parallel
        self._measure = measure

    @contextmanager
    def open(
        self, source: Source, plan: FeedPlan, at: Position | None = None, shard: Shard = Shard()
    ) -> Iterator[Iterator[Superbatch]]:
        """Starts reading; see `pai_train.feed.contracts.Engine`."""
        tensors = Tensors([source.schema.field(name) for name in plan.columns])
        with arrow_superbatches(
            source, plan, at, shard, self._parallel, encoded=True, measure=self._measure
        ) as deliveries:
            yield (Superbatch(tensors(each.data), each.rows, each.after) for each in deliveries)


class Tensors:
    """Makes tensors of batches of one schema.

    Args:
        fields: The columns.

    Raises:
        DataError: A column's type has no tensor form.
    """

    def __init__(self, fields: Sequence[pa.Field]) -> None:
        self._fields = [(field, numpy_dtype(field).hasobject, row_shape(field)) for field in fields]
        self._has_text = any(is_text for _, is_text, _ in self._fields)

    def __call__(self, batch: pa.RecordBatch) -> dict[str, tf.Tensor]:
        """Returns each column as a tensor of shape [rows, *row_shape], of `numpy_dtype`, or of strings.

        Raises:
            DataError: A column holds nulls, which no tensor can.
        """
        columns = list(zip(self._fields, batch.columns, strict=True))
        with tf.device("CPU:0"):
            strings: Iterator[tf.Tensor] = iter(())
            if self._has_text:
                texts = packed([(field, column) for (field, is_text, _), column in columns if is_text])
                strings = _strings(texts, batch.num_rows)
            return {
                field.name: next(strings) if is_text else _numbers(field, column, shape)
                for (field, is_text, shape), column in columns
            }


def _numbers(field: pa.Field, column: pa.Array, shape: tuple[int, ...]) -> tf.Tensor:
    """Returns a column of numbers; Arrow's memory itself where TensorFlow can take it.

    Such a tensor does not own its memory, so that no kernel writes its result there.
    """
    refuse_nulls(field, column)
    values = column.storage.flatten() if shape else column
    if not _is_taken_as_it_is(values):
        return tf.constant(numpy_column(field, column))
    vector = tf.experimental.dlpack.from_dlpack(values.__dlpack__())
    return tf.reshape(vector, [-1, *shape]) if shape else vector


def _is_taken_as_it_is(values: pa.Array) -> bool:
    if not len(values) or pa.types.is_boolean(values.type):
        return False
    start = values.buffers()[1].address + values.offset * values.type.bit_width // 8
    return bool(start % _ALIGNED_BYTES == 0)


def _strings(texts: Texts, rows: int) -> Iterator[tf.Tensor]:
    """Yields the columns of strings: all of one way are made by one call, for a call costs what thousands of values do.

    Each is a slice of what was made, which TensorFlow cuts without a copy where it is aligned.
    """
    made: dict[str, Any] = {}
    for way in set(texts.ways):
        if way == "whole":
            made[way] = tf.constant(texts.whole, tf.string)
        elif way == "split":
            made[way] = _split(texts.split)
        else:
            # GatherNd takes strings in half of Gather's time.
            made[way] = tf.raw_ops.GatherNd(params=_split(texts.dictionaries), indices=texts.places)
    taken = dict.fromkeys(made, 0)
    for way in texts.ways:
        yield tf.raw_ops.Slice(input=made[way], begin=[taken[way]], size=[rows])
        taken[way] += rows


def _split(joined: Any) -> tf.Tensor:
    return tf.raw_ops.StringSplitV2(input=tf.constant(joined, tf.string), sep=SEPARATOR, maxsplit=-1).values
