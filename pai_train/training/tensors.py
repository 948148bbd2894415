"""Small operations on the tensors of a step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tensorflow as tf

if TYPE_CHECKING:
    from collections.abc import Sequence


def not_finite(vectors: Sequence[Any]) -> Any:
    """Returns how many values of each floating vector are NaN or infinite, int64 of shape (floating vectors,)."""
    counts = [tf.math.count_nonzero(~tf.math.is_finite(vector)) for vector in vectors if vector.dtype.is_floating]
    return tf.stack(counts) if counts else tf.zeros([0], tf.int64)


def dense(gradient: Any) -> Any:
    """Returns a gradient as one tensor."""
    # Replicas with unequal shares have unequal numbers of slices, which the collective gather refuses.
    return tf.convert_to_tensor(gradient) if isinstance(gradient, tf.IndexedSlices) else gradient


def tensor_of(values: Any, dtype: Any) -> Any:
    """Returns values as a tensor of a dtype."""
    tensor = values if tf.is_tensor(values) else tf.constant(values)
    return tensor if tensor.dtype == dtype else tf.cast(tensor, dtype)
