"""The loss of sequences."""

from __future__ import annotations

from typing import Any

from pai_train.pai.v1 import tf


def sequence_loss(
    logits: Any,
    targets: Any,
    weights: Any,
    average_across_timesteps: bool = True,
    average_across_batch: bool = True,
    softmax_loss_function: Any = None,
    name: str | None = None,
) -> Any:
    """Returns the weighted cross entropy of sequences.

    Args:
        logits: Float [batch, time, classes].
        targets: Integers [batch, time].
        weights: Float [batch, time].
        average_across_timesteps: Whether it is divided by the steps' weights.
        average_across_batch: Whether it is divided by the rows' weights.
        softmax_loss_function: A function of labels and logits in the cross entropy's place.
        name: The scope.

    Returns:
        A scalar where both are averaged, [batch] or [time] where one is, [batch, time] where none is.
    """
    with tf.name_scope(name, "sequence_loss", [logits, targets, weights]):
        loss_of = softmax_loss_function or tf.nn.sparse_softmax_cross_entropy_with_logits
        classes = tf.shape(logits)[2]
        losses = loss_of(labels=tf.reshape(targets, [-1]), logits=tf.reshape(logits, [-1, classes]))
        weighted = tf.reshape(losses, tf.shape(targets)) * weights
        axes = [axis for axis, mean in ((0, average_across_batch), (1, average_across_timesteps)) if mean]
        if not axes:
            return weighted
        axis = None if len(axes) == 2 else axes
        return tf.reduce_sum(weighted, axis) / (tf.reduce_sum(weights, axis) + 1e-12)
