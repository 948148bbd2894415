"""Raw label values to what the loss takes, and the error that names the values that are no label."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from pai_train.errors import DataError

if TYPE_CHECKING:
    from pai_train.models.contracts import LabelSpec

SHOWN = 5
_NO_CLASS = np.iinfo(np.int64).min


class Labels:
    """Encodes a label column.

    Args:
        label: What is learned.

    Attributes:
        dtype: What `tensor` gives: tf.string or tf.int64 for classes, tf.float64 for values.
    """

    def __init__(self, label: LabelSpec) -> None:
        self._label = label
        self._texts = bool(label.classes) and isinstance(label.classes[0], str)
        self._table: Any = None
        if label.task == "regression":
            self.dtype = tf.float64
            return
        self.dtype = tf.string if self._texts else tf.int64
        keys = list(label.classes) if self._texts else [int(value) for value in label.classes]
        with tf.device("/cpu:0"):
            entries = tf.lookup.KeyValueTensorInitializer(
                tf.constant(keys, self.dtype), tf.range(len(keys), dtype=tf.int64)
            )
            self._table = tf.lookup.StaticHashTable(entries, default_value=-1)

    def tensor(self, values: Any) -> Any:
        """Returns raw labels of shape (rows,) as a tensor of `dtype`.

        Raises:
            DataError: Strings were given for numeric classes, or numbers for string classes.
        """
        tensor = values if tf.is_tensor(values) else tf.constant(values)
        if (tensor.dtype == tf.string) != (self.dtype == tf.string):
            wanted = self._known() if self._table is not None else "numbers"
            raise DataError(
                f"label {self._label.column!r} holds values of type {tensor.dtype.name}",
                wanted=wanted,
                todo="declare the column's type, or label.classes, so that they agree",
            )
        if tensor.dtype == self.dtype:
            return tensor
        cast = tf.cast(tensor, self.dtype)
        if tensor.dtype.is_floating and self.dtype == tf.int64:
            return tf.where(tf.cast(cast, tensor.dtype) == tensor, cast, _NO_CLASS)
        return cast

    def encode(self, tensor: Any) -> tuple[Any, Any]:
        """Returns, inside a graph, int32 class indices or float32 values, and how many rows have no known class."""
        if self._table is None:
            return tf.cast(tensor, tf.float32), tf.constant(0, tf.int64)
        index = self._table.lookup(tensor)
        return tf.cast(index, tf.int32), tf.math.count_nonzero(index < 0)

    def unknown(self, values: Any) -> DataError:
        """Returns the error for raw labels among which some have no known class."""
        raw = values.numpy() if tf.is_tensor(values) else np.asarray(values)
        index = self._table.lookup(self.tensor(values)).numpy()
        found, first, counts = np.unique(raw[index < 0], return_index=True, return_counts=True)
        order = np.argsort(first)
        shown = ", ".join(_written(found[i]) for i in order[:SHOWN])
        more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
        rows = int(counts.sum())
        return DataError(
            f"{rows} row{'s' if rows > 1 else ''} of label {self._label.column!r} have no known class",
            got=shown + more,
            wanted=self._known(),
            todo="list every value in label.classes, or leave these rows out of the input",
        )

    def _known(self) -> str:
        classes = self._label.classes
        more = f" and {len(classes) - 20} more" if len(classes) > 20 else ""
        return f"one of {', '.join(repr(value) for value in classes[:20])}{more}"


def _written(value: Any) -> str:
    if isinstance(value, bytes):
        return repr(value.decode(errors="replace"))
    return repr(value.item() if isinstance(value, np.generic) else value)
