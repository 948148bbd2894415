"""Inputs from memory: `numpy_input_fn` and `pandas_input_fn`, and what an input function may return."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pai_train.pai.v1 import tf

if TYPE_CHECKING:
    from collections.abc import Callable


def numpy_input_fn(
    x: Any,
    y: Any = None,
    batch_size: int = 128,
    num_epochs: int | None = 1,
    shuffle: bool | None = None,
    queue_capacity: int = 1000,
    num_threads: int = 1,
) -> Callable[[], Any]:
    """Returns an input function over arrays.

    Args:
        x: An array, or a dict of arrays, of one length.
        y: The labels, likewise; none for features alone.
        batch_size: Rows a batch; batches run over the ends of epochs.
        num_epochs: How often the rows come, None for ever.
        shuffle: Whether in another order each epoch; to be said.
        queue_capacity: Among how many rows they are mixed.
        num_threads: Taken; one reads.

    Raises:
        ValueError: `shuffle` is not said, arrays of different lengths, none at all, or labels named as features.
    """
    if shuffle not in (True, False):
        raise ValueError(f"numpy_input_fn: wanted shuffle=True or shuffle=False, got {shuffle!r}")

    def input_fn() -> Any:
        features = {name: np.asarray(one) for name, one in x.items()} if isinstance(x, dict) else np.asarray(x)
        parts = [features] if y is None else [features, _arrays(y)]
        arrays = tf.nest.flatten(parts)
        if not arrays:
            raise ValueError("numpy_input_fn: no arrays")
        lengths = {len(one) for one in arrays}
        if len(lengths) > 1:
            raise ValueError(f"numpy_input_fn: arrays of different lengths: {sorted(lengths)}")
        tensors = _batches(arrays, lengths.pop(), batch_size, num_epochs, bool(shuffle), queue_capacity)
        packed = tf.nest.pack_sequence_as(parts, tensors)
        return packed[0] if y is None else tuple(packed)

    return input_fn


def pandas_input_fn(
    x: Any,
    y: Any = None,
    batch_size: int = 128,
    num_epochs: int | None = 1,
    shuffle: bool | None = None,
    queue_capacity: int = 1000,
    num_threads: int = 1,
    target_column: str = "target",
) -> Callable[[], Any]:
    """Returns an input function over a data frame's columns, and a series or a frame of labels.

    Raises:
        ValueError: The label is called like a column, or has another index; else as `numpy_input_fn`.
    """
    if y is not None:
        if target_column in x:
            raise ValueError(f"pandas_input_fn: the frame has a column called {target_column}, as the labels are")
        if not np.array_equal(x.index, y.index):
            raise ValueError("pandas_input_fn: the labels have another index than the frame")
    columns = {name: x[name].to_numpy() for name in x.columns}
    labels = None
    if y is not None:
        labels = {name: y[name].to_numpy() for name in y.columns} if hasattr(y, "columns") else y.to_numpy()
    return numpy_input_fn(columns, labels, batch_size, num_epochs, shuffle, queue_capacity, num_threads)


def tensors_of(result: Any) -> tuple[Any, Any, list[Any]]:
    """Returns the features, the labels (or None) and hooks of what an input function returned.

    Args:
        result: Features, (features, labels), or a dataset of one of them.

    Raises:
        ValueError: A tuple of another length.
    """
    hooks: list[Any] = []
    if isinstance(result, tf.data.Dataset) or hasattr(result, "_variant_tensor"):
        iterator = tf.data.make_initializable_iterator(result)
        hooks.append(_IteratorHook(iterator))
        result = iterator.get_next()
    if isinstance(result, (list, tuple)):
        if len(result) != 2:
            raise ValueError(f"input_fn: wanted features or (features, labels), got {len(result)} parts")
        return result[0], result[1], hooks
    return result, None, hooks


def _arrays(y: Any) -> Any:
    return {name: np.asarray(one) for name, one in y.items()} if isinstance(y, dict) else np.asarray(y)


def _batches(
    arrays: list[Any], rows: int, batch_size: int, num_epochs: int | None, shuffle: bool, capacity: int
) -> list[Any]:
    # The rows stay in numpy and are taken a batch at a time: as constants they would be in the graph and its file.
    dataset = tf.data.Dataset.range(rows)
    if shuffle:
        dataset = dataset.shuffle(max(capacity, 2 * batch_size))
    dataset = dataset.repeat(num_epochs).batch(batch_size)
    places = [np.asarray(one, object) if one.dtype.kind in "US" else one for one in arrays]
    kinds = [tf.string if one.dtype == object else tf.as_dtype(one.dtype) for one in places]

    def take(index: Any) -> list[Any]:
        return [one[index] for one in places]

    dataset = dataset.map(lambda index: tuple(tf.numpy_function(take, [index], kinds)))
    tensors = list(_initialized(dataset.prefetch(1)).get_next())
    for tensor, array in zip(tensors, places, strict=True):
        tensor.set_shape([None, *array.shape[1:]])
    return tensors


def _initialized(dataset: Any) -> Any:
    iterator = tf.data.make_initializable_iterator(dataset)
    tf.add_to_collection(tf.GraphKeys.TABLE_INITIALIZERS, iterator.initializer)
    return iterator


_Hook: Any = tf.train.SessionRunHook


class _IteratorHook(_Hook):  # type: ignore[misc]
    """Starts a dataset's iterator once the session is there and its tables are filled."""

    def __init__(self, iterator: Any) -> None:
        self._iterator = iterator

    def after_create_session(self, session: Any, coord: Any) -> None:
        session.run(self._iterator.initializer)
