"""What a step is inside a graph: the loss of rows, its gradients, and steps one after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import tensorflow as tf

from pai_train.training.objective import row_losses, row_metrics, shaped
from pai_train.training.tensors import dense

if TYPE_CHECKING:
    from collections.abc import Callable

    from pai_train.models.contracts import Task
    from pai_train.training.updates import Updates


class Rows(NamedTuple):
    """What one replica is told of its rows of a batch beside the features.

    Attributes:
        target: int32 class indices, or float32 values, of shape (rows,).
        weights: What their losses are multiplied by, float32 of shape (rows,); None for 1 each.
        count: 1 for rows of the batch, float32; 0 for a row that only stands for none.
        whole: Rows of the whole global batch.
    """

    target: Any
    weights: Any
    count: Any
    whole: Any


class Learning(NamedTuple):
    """What learns.

    Attributes:
        task: What is learned.
        model: The Keras model.
        optimizer: Built for its variables.
        updates: Takes the gradients of the whole batch; None where the optimizer takes those of each replica.
        replicas: How many replicas share a batch.
    """

    task: Task
    model: Any
    optimizer: Any
    updates: Updates | None
    replicas: int

    def step(self, outputs_of: Callable[[], Any], rows: Rows, *, training: bool) -> Any:
        """Runs one replica's share of one batch; its results, and gradients, add up over the replicas.

        Args:
            outputs_of: Calls the model on the rows' features.
            rows: The rows.
            training: Whether to learn from them, too.

        Returns:
            float64 (1 + metric sums,); with `updates`, in training, also the gradients by trainable variable.
        """
        with tf.GradientTape() as tape:
            outputs = shaped(self.task, outputs_of())
            losses = row_losses(self.task, rows.target, outputs)
            if rows.weights is not None:
                losses *= rows.weights
            loss = rows.count * tf.reduce_sum(losses) / tf.cast(rows.whole, tf.float32)
            if self.model.losses:
                loss += tf.add_n([tf.cast(extra, tf.float32) for extra in self.model.losses]) / self.replicas
            scaled = loss if self.updates is None else self.updates.scaled(loss)
        gradients: list[Any] = []
        if training:
            variables = self.model.trainable_variables
            gradients = [dense(gradient) for gradient in tape.gradient(scaled, variables)]
            if self.updates is None:
                self.optimizer.apply_gradients(zip(gradients, variables, strict=True))
            else:
                pairs = zip(gradients, variables, strict=True)
                gradients = [tf.zeros(one.shape, one.dtype) if found is None else found for found, one in pairs]
        sums = [tf.reduce_sum(tf.cast(values, tf.float64)) for values in row_metrics(self.task, rows.target, outputs)]
        found = tf.stack([tf.cast(loss, tf.float64), *(tf.cast(rows.count, tf.float64) * value for value in sums)])
        return found if not training or self.updates is None else (found, gradients)


def repeated(step: Callable[[Any], Any], steps: Any, room: Any, width: int) -> Any:
    """Runs steps one after the other.

    Args:
        step: Takes the index of a step and returns float64 of shape (width,).
        steps: How many.
        room: For how many there is room in the result, at least as many.
        width: Values that each returns.

    Returns:
        float64 of shape (room, width).
    """
    found = tf.TensorArray(tf.float64, size=room, element_shape=[width])
    _, found = tf.while_loop(
        lambda index, _: index < steps,
        lambda index, found: (index + 1, found.write(index, step(index))),
        (0, found),
        parallel_iterations=1,
    )
    return found.stack()
