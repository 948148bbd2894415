"""A feed as a `tf.data.Dataset`: superbatches are read ahead and cut into batches without a function call for each."""

from __future__ import annotations

import itertools
import weakref
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import tensorflow as tf

from pai_train.errors import PaiTrainError, StorageError
from pai_train.feed.passes import filled
from pai_train.feed.tensors import TEXT_SEPARATOR, joined_text, numpy_column, row_shape
from pai_train.spec.contracts import EncodedSource

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pai_train.feed.contracts import Position
    from pai_train.feed.feed import Feed
    from pai_train.feed.passes import Pass
    from pai_train.feed.stats import Stats

_feeds: dict[int, Feed] = {}
_readings: dict[int, _Reading] = {}
_numbers = itertools.count()

_EMPTY = {pa.string(): "", pa.large_string(): "", pa.binary(): b"", pa.bool_(): False}


def dataset(feed: Feed) -> Any:
    """Returns the batches of a feed; see `Feed.dataset`."""
    handle = next(_numbers)
    columns = _Columns.of(feed)
    # TensorFlow never frees what a function of a graph closes over: these know feed and pass by their numbers.
    passes = tf.data.Dataset.from_tensors(np.int64(handle)).flat_map(_as_is(lambda number: _pass(number, columns)))
    count = tf.data.INFINITE_CARDINALITY if feed.endless else feed.batches
    if count is not None and (feed.endless or feed.left == count):
        passes = passes.apply(tf.data.experimental.assert_cardinality(count))
    options = tf.data.Options()
    # A prefetch behind the last step would take the last batch of a pass before anybody asked for it.
    options.experimental_optimization.inject_prefetch = False
    options.autotune.enabled = False
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    passes = passes.with_options(options)
    lease = _Lease()
    passes._pai_train_lease = lease
    _feeds[handle] = feed
    weakref.finalize(lease, _release, handle, feed)
    return passes


class _Lease:
    """Lives as long as a dataset, and what is derived from it."""


def _release(handle: int, feed: Feed) -> None:
    _feeds.pop(handle, None)
    _forget(feed)
    feed.close()


def _forget(feed: Feed) -> None:
    for number, reading in list(_readings.items()):
        if reading.feed is feed:
            _readings.pop(number, None)


@dataclass(frozen=True)
class _Columns:
    """How columns travel.

    Attributes:
        fields: The columns.
        encoded: Whether texts come as values and indices.
        label: The column given apart.
        size: Rows of every batch; None where they differ.
    """

    fields: tuple[pa.Field, ...]
    encoded: bool
    label: str | None
    size: int | None

    @classmethod
    def of(cls, feed: Feed) -> _Columns:
        size = feed.plan.batch_size if feed.always_full else None
        return cls(tuple(feed.schema), isinstance(feed.source, EncodedSource), feed.label, size)

    def parts(self, batch: pa.RecordBatch) -> list[np.ndarray[Any, Any]]:
        """Returns the arrays that a batch travels as."""
        parts: list[np.ndarray[Any, Any]] = []
        for field, column in zip(self.fields, batch.columns, strict=True):
            if _is_text(field):
                text, indices = joined_text(field, column)
                parts.append(text)
                if self.encoded:
                    parts.append(np.arange(len(column), dtype=np.int32) if indices is None else indices)
            else:
                parts.append(numpy_column(field, column))
        return parts

    def nothing(self) -> list[np.ndarray[Any, Any]]:
        """Returns arrays that stand for no batch, and have the shape of one."""
        columns = [_empty(field.type, self.size or 1) for field in self.fields]
        return self.parts(pa.RecordBatch.from_arrays(columns, schema=pa.schema(self.fields)))

    def shapes(self) -> list[list[int | None]]:
        """Returns the shape of each array that a batch travels as, None for its rows."""
        shapes: list[list[int | None]] = []
        for field in self.fields:
            shapes.append([None, *row_shape(field)])
            if _is_text(field) and self.encoded:
                shapes.append([None])
        return shapes

    def tensors(self, parts: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        """Adds to a graph what makes columns of these arrays, each of shape [rows]."""
        left, made = iter(parts), []
        for field in self.fields:
            part = next(left)
            if _is_text(field):
                part = tf.raw_ops.StringSplitV2(input=part, sep=TEXT_SEPARATOR, maxsplit=-1).values
                if self.encoded:
                    # GatherNd takes strings in half of Gather's time.
                    part = tf.raw_ops.GatherNd(params=part, indices=next(left)[:, tf.newaxis])
            made.append(part)
        return made

    def element(self, columns: Sequence[tf.Tensor]) -> Any:
        """Returns what a consumer gets."""
        by_name = {field.name: column for field, column in zip(self.fields, columns, strict=True)}
        if self.label is None:
            return by_name
        label = by_name.pop(self.label)
        return by_name, label


class _Wait:
    """What a consumer waited for, told to the stats round by round; the first round, which warms up, is left out."""

    def __init__(self, stats: Stats) -> None:
        self._stats = stats
        self._rounds = 0
        self._asked = self._given = 0.0

    def begin(self) -> None:
        """The consumer asks."""
        now = perf_counter()
        if self._rounds > 1:
            self._stats.step(self._given - self._asked, now - self._given)
        self._asked = now

    def end(self) -> None:
        """The consumer is given what it asked for."""
        self._rounds += 1
        self._given = perf_counter()


class _Reading:
    """One pass as arrays: runs of batches of one length, and apart from them the last batch of the pass."""

    def __init__(self, feed: Feed, columns: _Columns) -> None:
        self.feed = feed
        self._columns = columns
        self._nothing = [np.False_, np.int64(columns.size or 1), *columns.nothing()]
        self.wait = _Wait(feed.stats)
        self._pass: Pass = feed.begin(encoded=columns.encoded)
        self._runs = self._cut()
        self._last: tuple[pa.RecordBatch, Position] | None = None

    def run(self) -> list[Any]:
        """Returns the next run: whether there is one, the rows of each of its batches, and its arrays."""
        with _faults(self.feed):
            self._pass.check()
            return next(self._runs, self._nothing)

    def last(self) -> list[Any]:
        """Returns the pass's last batch, as a run, and notes the pass as done."""
        with _faults(self.feed):
            self._pass.check()
            if self._last is None:
                return self._nothing
            batch, after = self._last
            self.feed.complete(after)
            return [np.True_, np.int64(batch.num_rows), *self._columns.parts(batch)]

    def _cut(self) -> Iterator[list[Any]]:
        while (delivery := self._pass.next()) is not None:
            self.feed.hand(delivery)
            batch, lengths, first = delivery.data, [delivery.rows[number] for number in filled(delivery)], 0
            if self._pass.ends_with(delivery):
                last = lengths.pop()
                self._last = (batch.slice(batch.num_rows - last), delivery.after)
            for length, alike in itertools.groupby(lengths):
                rows = length * len(list(alike))
                yield [np.True_, np.int64(length), *self._columns.parts(batch.slice(first, rows))]
                first += rows


class _faults:  # noqa: N801 - a context manager, used as a function
    """Keeps a fault as it was raised, and hands TensorFlow one whose text it passes on."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, fault: BaseException | None, trace: object) -> None:
        if isinstance(fault, Exception):
            self._feed.fault = fault
        if isinstance(fault, PaiTrainError):
            # Arrives as UnknownError where the store is at fault, else as InvalidArgumentError.
            raise (RuntimeError if isinstance(fault, StorageError) else ValueError)(str(fault)) from fault


def _pass(handle: tf.Tensor, columns: _Columns) -> tf.data.Dataset:
    """Adds one pass to a graph: it is begun when the first batch is asked for."""
    number = tf.ensure_shape(tf.numpy_function(_begin, [handle], tf.int64), [])
    dtypes = [tf.as_dtype(part.dtype) for part in columns.nothing()]

    def tensors(function: Callable[..., list[Any]], number: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, list[tf.Tensor]]:
        more, length, *parts = tf.numpy_function(function, [number], [tf.bool, tf.int64, *dtypes])
        made = columns.tensors([tf.ensure_shape(*pair) for pair in zip(parts, columns.shapes(), strict=True)])
        return tf.ensure_shape(more, []), tf.ensure_shape(length, []), made

    def run(number: tf.Tensor) -> tuple[tf.Tensor, Any]:
        more, length, made = tensors(_run, number)
        cut = []
        for field, column in zip(columns.fields, made, strict=True):
            one = row_shape(field)
            rows = tf.reshape(column, tf.stack([-1, length, *one]))
            cut.append(tf.ensure_shape(rows, [None, columns.size, *one]))
        return more, columns.element(cut)

    def last(number: tf.Tensor) -> tuple[tf.Tensor, Any]:
        more, _, made = tensors(_last, number)
        shapes = [[columns.size, *row_shape(field)] for field in columns.fields]
        return more, columns.element([tf.ensure_shape(*pair) for pair in zip(made, shapes, strict=True)])

    runs = tf.data.Dataset.from_tensors(number).repeat().map(_as_is(run))
    ends = tf.data.Dataset.from_tensors(number).map(_as_is(last))
    return _metered(number, _while_more(runs).prefetch(1)).unbatch().concatenate(_while_more(ends))


def _metered(number: tf.Tensor, runs: tf.data.Dataset) -> tf.data.Dataset:
    """Tells a pass when its consumer asks for a run, and when it is given one; of each run, not of each batch."""

    def given(asked: tf.Tensor, element: Any) -> Any:
        with tf.control_dependencies([tf.numpy_function(_given, [asked], tf.int64)]):
            return tf.nest.map_structure(tf.identity, element)

    # Of datasets that are zipped the first is asked first.
    asked = (
        tf.data.Dataset.from_tensors(number).repeat().map(_as_is(lambda n: tf.numpy_function(_asked, [n], tf.int64)))
    )
    return tf.data.Dataset.zip((asked, runs)).map(_as_is(given))


def _while_more(elements: tf.data.Dataset) -> tf.data.Dataset:
    return elements.take_while(_as_is(lambda more, _: more)).map(_as_is(lambda _, element: element))


def _as_is(function: Callable[..., Any]) -> Any:
    # AutoGraph has no Python to rewrite here.
    return tf.autograph.experimental.do_not_convert(function)


def _empty(kind: pa.DataType, rows: int) -> pa.Array:
    if isinstance(kind, pa.FixedShapeTensorType):
        flat = pa.array(np.zeros(rows * kind.storage_type.list_size, kind.value_type.to_pandas_dtype()))
        return pa.ExtensionArray.from_storage(kind, pa.FixedSizeListArray.from_arrays(flat, type=kind.storage_type))
    return pa.array([_EMPTY.get(kind, 0)] * rows, kind)


def _is_text(field: pa.Field) -> bool:
    return bool(pa.types.is_string(field.type) or pa.types.is_large_string(field.type))


def _begin(handle: np.int64) -> np.int64:
    feed = _feeds[int(handle)]
    number = next(_numbers)
    with _faults(feed):
        reading = _Reading(feed, _Columns.of(feed))
        _forget(feed)
        _readings[number] = reading
    return np.int64(number)


def _run(number: np.int64) -> list[Any]:
    return _reading(number).run()


def _asked(number: np.int64) -> np.int64:
    _reading(number).wait.begin()
    return number


def _given(number: np.int64) -> np.int64:
    _reading(number).wait.end()
    return number


def _last(number: np.int64) -> list[Any]:
    return _reading(number).last()


def _reading(number: np.int64) -> _Reading:
    reading = _readings.get(int(number))
    if reading is None:
        raise ValueError("this pass over the feed was ended: another one has begun, or the feed was closed")
    return reading
