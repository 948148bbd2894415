"""`tf.contrib.metrics` over `tf.metrics`: streaming metrics, predictions before labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pai_train.pai.gone import absent
from pai_train.pai.v1 import tf

if TYPE_CHECKING:
    from collections.abc import Callable

# Where tf.metrics has (labels, predictions, weights, …), these had (predictions, labels, weights, …).
_SWAPPED = {
    "accuracy", "auc", "false_negatives", "false_positives", "mean_absolute_error", "mean_squared_error", "precision",
    "recall", "root_mean_squared_error", "true_negatives", "true_positives", "sparse_average_precision_at_k",
    "sparse_precision_at_k", "recall_at_k",
}  # fmt: skip
_SAME = {"mean", "percentage_below"}
_RENAMED = {"percentage_less": "percentage_below", "sparse_recall_at_k": "recall_at_k", "mean_tensor": "mean_tensor"}


def accuracy(predictions: Any, labels: Any, weights: Any = None, name: str | None = None) -> Any:
    """Returns the share of equal values in this batch, a scalar."""
    with tf.name_scope(name, "accuracy", [predictions, labels]):
        equal = tf.cast(tf.equal(predictions, labels), tf.float32)
        if weights is None:
            return tf.reduce_mean(equal)
        weights = tf.cast(weights, tf.float32)
        return tf.reduce_sum(equal * weights) / tf.reduce_sum(tf.broadcast_to(weights, tf.shape(equal)))


def confusion_matrix(
    labels: Any, predictions: Any, num_classes: int | None = None, dtype: Any = "int32", name: Any = None,
    weights: Any = None,
) -> Any:  # fmt: skip
    """Returns how often each label, by row, was predicted as each class, by column."""
    return tf.math.confusion_matrix(labels, predictions, num_classes, tf.as_dtype(dtype), name, weights)


def streaming_mean_iou(
    predictions: Any, labels: Any, num_classes: int, weights: Any = None, metrics_collections: Any = None,
    updates_collections: Any = None, name: str | None = None,
) -> Any:  # fmt: skip
    """Returns the mean over classes of intersection over union so far, and its update."""
    return tf.metrics.mean_iou(
        labels, predictions, num_classes, weights, metrics_collections, updates_collections, name
    )


def streaming_pearson_correlation(
    predictions: Any, labels: Any, weights: Any = None, metrics_collections: Any = None,
    updates_collections: Any = None, name: str | None = None,
) -> Any:  # fmt: skip
    """Returns Pearson's correlation so far, and its update."""
    with tf.variable_scope(name, "pearson_r", [predictions, labels]):
        x, y = (tf.cast(tf.convert_to_tensor(one), tf.float64) for one in (predictions, labels))
        means = [tf.metrics.mean(one, weights) for one in (x, y, x * y, x * x, y * y)]

        def correlation(x: Any, y: Any, xy: Any, xx: Any, yy: Any) -> Any:
            x, y, xy, xx, yy = (tf.cast(one, tf.float64) for one in (x, y, xy, xx, yy))
            result = (xy - x * y) / tf.sqrt((xx - x * x) * (yy - y * y))
            return tf.cast(result, tf.float32)

        value = correlation(*(one for one, _ in means))
        update = correlation(*(one for _, one in means))
        tf.add_to_collections(metrics_collections or (), value)
        tf.add_to_collections(updates_collections or (), update)
        return value, update


def aggregate_metrics(*value_update_tuples: tuple[Any, Any]) -> tuple[list[Any], list[Any]]:
    """Returns the values and the updates of (value, update) pairs."""
    return [value for value, _ in value_update_tuples], [update for _, update in value_update_tuples]


def aggregate_metric_map(names_to_tuples: dict[str, tuple[Any, Any]]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns the values and the updates of (value, update) pairs, by name."""
    values = {name: value for name, (value, _) in names_to_tuples.items()}
    return values, {name: update for name, (_, update) in names_to_tuples.items()}


def _swapped(metric: str) -> Callable[..., Any]:
    def streaming(predictions: Any, labels: Any, *args: Any, **kwargs: Any) -> Any:
        return getattr(tf.metrics, metric)(labels, predictions, *args, **kwargs)

    streaming.__name__ = f"streaming_{metric}"
    return streaming


_absent = absent("tf.contrib.metrics")


def __getattr__(name: str) -> Any:
    metric = name.removeprefix("streaming_")
    metric = _RENAMED.get(metric, metric)
    if name.startswith("streaming_") and metric in _SWAPPED:
        return _swapped(metric)
    if name.startswith("streaming_") and metric in _SAME:
        return getattr(tf.metrics, metric)
    return _absent(name)
