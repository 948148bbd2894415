"""What is minimised and what is measured, row by row, by task."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pai_train.models.contracts import Task


def row_losses(task: Task, target: Any, outputs: Any) -> Any:
    """Returns the loss of each row, float32 of shape (rows,): cross-entropy of logits, or the squared error.

    Args:
        task: What is learned.
        target: int32 class indices, or float32 values, of shape (rows,).
        outputs: float32 logits of shape (rows, n classes), or values of shape (rows,).
    """
    if task == "classification":
        return tf.nn.sparse_softmax_cross_entropy_with_logits(labels=target, logits=outputs)
    return tf.square(outputs - target)


def shaped(task: Task, outputs: Any) -> Any:
    """Returns a model's outputs as float32 logits of shape (rows, n classes), or values of shape (rows,)."""
    outputs = tf.cast(outputs, tf.float32)
    return outputs if task == "classification" else tf.reshape(outputs, [-1])


def predicted(task: Task, outputs: Any) -> Any:
    """Returns a model's outputs as probabilities of shape (rows, n classes), or values of shape (rows,)."""
    outputs = shaped(task, outputs)
    return tf.nn.softmax(outputs) if task == "classification" else outputs


def for_compile(task: Task) -> tuple[Any, list[Any]]:
    """Returns the loss and the metrics as Keras's `compile` takes them."""
    if task == "classification":
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        return loss, [keras.metrics.SparseCategoricalAccuracy(name="accuracy")]
    metrics = keras.metrics
    return keras.losses.MeanSquaredError(), [
        metrics.RootMeanSquaredError(name="rmse"),
        metrics.MeanAbsoluteError(name="mae"),
    ]


def row_metrics(task: Task, target: Any, outputs: Any) -> list[Any]:
    """Returns each row's part of the sums in METRIC_SUMS."""
    if task == "classification":
        return [tf.equal(tf.argmax(outputs, axis=-1, output_type=tf.int32), target)]
    return [tf.square(outputs - target), tf.abs(outputs - target)]


def row_factors(class_weights: Sequence[float] | None, targets: Any, weights: Sequence[Any]) -> Any:
    """Returns, inside a graph, what each row's loss is multiplied by, float32 of shape (rows,); None for 1.

    Args:
        class_weights: Weight of each class; None for 1 each.
        targets: Class numbers, of shape (rows,); below 0 for a label that is no class, of which no step runs.
        weights: Vectors of shape (rows,).
    """
    factors = [tf.cast(vector, tf.float32) for vector in weights]
    if class_weights is not None:
        factors.append(tf.gather(tf.constant(class_weights, tf.float32), tf.maximum(targets, 0)))
    return math.prod(factors[1:], start=factors[0]) if factors else None
