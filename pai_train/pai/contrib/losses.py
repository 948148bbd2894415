"""`tf.contrib.losses` over `tf.losses`: predictions stand before labels here."""

from __future__ import annotations

from typing import Any

from pai_train.pai.gone import absent
from pai_train.pai.v1 import tf

__all__ = [
    "absolute_difference", "cosine_distance", "hinge_loss", "log_loss", "mean_pairwise_squared_error",
    "mean_squared_error", "sigmoid_cross_entropy", "softmax_cross_entropy", "sparse_softmax_cross_entropy",
]  # fmt: skip


def absolute_difference(predictions: Any, labels: Any = None, weights: Any = 1.0, scope: Any = None) -> Any:
    """Returns the mean of `|labels - predictions|` over what has a weight, and collects it."""
    return tf.losses.absolute_difference(labels, predictions, weights, scope)


def mean_squared_error(predictions: Any, labels: Any = None, weights: Any = 1.0, scope: Any = None) -> Any:
    """Returns the mean of the squared differences over what has a weight, and collects it."""
    return tf.losses.mean_squared_error(labels, predictions, weights, scope)


def mean_pairwise_squared_error(predictions: Any, labels: Any = None, weights: Any = 1.0, scope: Any = None) -> Any:
    """Returns the mean squared difference of differences within rows, and collects it."""
    return tf.losses.mean_pairwise_squared_error(labels, predictions, weights, scope)


def log_loss(predictions: Any, labels: Any = None, weights: Any = 1.0, epsilon: float = 1e-7, scope: Any = None) -> Any:
    """Returns the log loss of probabilities, and collects it."""
    return tf.losses.log_loss(labels, predictions, weights, epsilon, scope)


def hinge_loss(logits: Any, labels: Any = None, scope: Any = None) -> Any:
    """Returns the hinge loss of each element; labels are 0 or 1."""
    reduction = tf.losses.Reduction.NONE
    return tf.losses.hinge_loss(labels, logits, scope=scope, loss_collection=None, reduction=reduction)


def cosine_distance(
    predictions: Any,
    labels: Any = None,
    axis: int | None = None,
    weights: Any = 1.0,
    scope: Any = None,
    dim: Any = None,
) -> Any:
    """Returns one less the cosine between unit vectors along an axis, and collects it."""
    return tf.losses.cosine_distance(labels, predictions, dim if axis is None else axis, weights, scope)


def sigmoid_cross_entropy(
    logits: Any, multi_class_labels: Any, weights: Any = 1.0, label_smoothing: float = 0, scope: Any = None
) -> Any:
    """Returns the cross entropy of independent classes, and collects it."""
    return tf.losses.sigmoid_cross_entropy(multi_class_labels, logits, weights, label_smoothing, scope)


def softmax_cross_entropy(
    logits: Any, onehot_labels: Any, weights: Any = 1.0, label_smoothing: float = 0, scope: Any = None
) -> Any:
    """Returns the cross entropy of one class among several, given as one-hot codes, and collects it."""
    return tf.losses.softmax_cross_entropy(onehot_labels, logits, weights, label_smoothing, scope)


def sparse_softmax_cross_entropy(logits: Any, labels: Any, weights: Any = 1.0, scope: Any = None) -> Any:
    """Returns the cross entropy of one class among several, given as numbers, and collects it."""
    return tf.losses.sparse_softmax_cross_entropy(labels, logits, weights, scope)


_LOSSES = {
    "add_loss", "compute_weighted_loss", "get_losses", "get_regularization_losses", "get_total_loss",
}  # fmt: skip
_absent = absent("tf.contrib.losses")


def __getattr__(name: str) -> Any:
    return getattr(tf.losses, name) if name in _LOSSES else _absent(name)
