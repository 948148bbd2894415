"""`tf.contrib.data` over `tf.data` and `tf.data.experimental`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pai_train.pai.gone import absent
from pai_train.pai.v1 import tf

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "batch_and_drop_remainder", "padded_batch_and_drop_remainder", "prefetch_to_device", "read_batch_features",
    "unbatch",
]  # fmt: skip

_EXPERIMENTAL = {
    "AUTOTUNE", "Counter", "CsvDataset", "Optional", "RandomDataset", "SqlDataset", "TFRecordWriter",
    "bucket_by_sequence_length", "choose_from_datasets", "copy_to_device", "dense_to_sparse_batch",
    "enumerate_dataset", "get_next_as_optional", "get_single_element", "group_by_reducer", "group_by_window",
    "ignore_errors", "make_batched_features_dataset", "make_csv_dataset", "make_saveable_from_iterator",
    "map_and_batch", "parallel_interleave", "parse_example_dataset", "rejection_resample", "sample_from_datasets",
    "scan", "shuffle_and_repeat", "unique",
}  # fmt: skip
_DATA = {"Dataset", "FixedLengthRecordDataset", "Iterator", "TFRecordDataset", "TextLineDataset"}


def batch_and_drop_remainder(batch_size: Any) -> Callable[[Any], Any]:
    """Returns a transformation into batches that are all full."""
    return lambda dataset: dataset.batch(batch_size, drop_remainder=True)


def padded_batch_and_drop_remainder(
    batch_size: Any, padded_shapes: Any, padding_values: Any = None
) -> Callable[[Any], Any]:
    """Returns a transformation into padded batches that are all full."""
    return lambda dataset: dataset.padded_batch(batch_size, padded_shapes, padding_values, drop_remainder=True)


def prefetch_to_device(device: str, buffer_size: int | None = None) -> Callable[[Any], Any]:
    """Returns a transformation that reads ahead; the session moves what it reads to the device that uses it."""
    return lambda dataset: dataset.prefetch(1 if buffer_size is None else buffer_size)


def unbatch() -> Callable[[Any], Any]:
    """Returns a transformation of batches into their rows."""
    return lambda dataset: dataset.unbatch()


def read_batch_features(
    file_pattern: Any,
    batch_size: int,
    features: Any,
    reader: Any = None,
    reader_args: Any = None,
    randomize_input: bool = True,
    num_epochs: int | None = None,
    capacity: int = 10000,
) -> Any:
    """Returns the parsed features of the next batch of TFRecord files, a dict of tensors."""
    dataset = tf.data.experimental.make_batched_features_dataset(
        file_pattern,
        batch_size,
        features,
        reader or tf.data.TFRecordDataset,
        reader_args=reader_args,
        shuffle=randomize_input,
        num_epochs=num_epochs,
        shuffle_buffer_size=capacity,
    )
    return tf.data.make_one_shot_iterator(dataset).get_next()


_absent = absent("tf.contrib.data")


def __getattr__(name: str) -> Any:
    if name in _EXPERIMENTAL:
        return getattr(tf.data.experimental, name)
    return getattr(tf.data, name) if name in _DATA else _absent(name)
