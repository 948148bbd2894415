"""From the gradients of batches to updates of the weights: summed over replicas and batches, clipped, applied once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tensorflow as tf

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pai_train.training.step_plan import StepPlan


class Updates:
    """Applies gradients of the whole global batch, which clipping and accumulating need.

    Gradients are summed over the replicas first, so that what is clipped and kept does not depend on their number. Of
    several batches the gradients are added as sums over rows and divided by the rows of all of them: the update is
    that of one batch with all these rows.

    Args:
        optimizer: A Keras optimizer that is built for the variables.
        variables: The trainable variables, by name.
        strategy: The tf.distribute.Strategy.
        plan: How to clip and accumulate.
        device: Where sums of gradients are kept.

    Attributes:
        state: The variables that a resumed training needs, by name; none unless batches are accumulated.
    """

    state: dict[str, Any]

    def __init__(
        self, optimizer: Any, variables: Mapping[str, Any], strategy: Any, plan: StepPlan, device: str
    ) -> None:
        self._optimizer = optimizer
        self._variables = list(variables.values())
        self._strategy = strategy
        self._plan = plan
        self.state = {}
        if plan.accumulate > 1:
            with tf.device(device):
                for name, variable in variables.items():
                    zeros = tf.zeros(variable.shape, variable.dtype)
                    self.state[f"accumulated/{name}"] = tf.Variable(zeros, trainable=False)
                self._rows = tf.Variable(0, trainable=False, dtype=tf.int64)
                self._batches = tf.Variable(0, trainable=False, dtype=tf.int64)
            self._sums = list(self.state.values())
            self.state |= {"accumulated_rows": self._rows, "accumulated_batches": self._batches}

    def scaled(self, loss: Any) -> Any:
        """Returns what gradients are taken of: with mixed_float16 the loss times a scale that keeps them above 0."""
        return self._optimizer.scale_loss(loss) if self._plan.precision == "mixed_float16" else loss

    def take(self, gradients: Sequence[Any], rows: Any) -> None:
        """Takes the gradients of one global batch, outside of the replicas.

        Args:
            gradients: Per variable, one per replica; their sum is the gradient of the mean over the global rows.
            rows: Rows of the global batch.
        """
        summed = [self._strategy.reduce("SUM", gradient, axis=None) for gradient in gradients]
        if self._plan.accumulate == 1:
            self._apply(summed)
            return
        weight = tf.cast(rows, tf.float32)
        for total, gradient in zip(self._sums, summed, strict=True):
            total.assign_add(gradient * tf.cast(weight, gradient.dtype))
        self._rows.assign_add(rows)
        full = self._batches.assign_add(1) >= self._plan.accumulate
        tf.cond(full, self._apply_sums, lambda: tf.constant(0))

    def _apply_sums(self) -> Any:
        rows = self._rows.read_value()
        self._apply([total.read_value() / tf.cast(rows, total.dtype) for total in self._sums])
        for total in self._sums:
            total.assign(tf.zeros_like(total))
        self._rows.assign(tf.zeros_like(self._rows))
        self._batches.assign(tf.zeros_like(self._batches))
        return tf.constant(0)

    def _apply(self, gradients: Sequence[Any]) -> None:
        clipped = self._clipped(gradients)

        def replica() -> None:
            given = clipped
            if self._strategy.num_replicas_in_sync > 1:
                # The optimizer sums over the replicas: one brings the gradients, the others nothing. An overflow is
                # one on all, each of which decides for itself whether to leave the update out.
                first = tf.equal(tf.distribute.get_replica_context().replica_id_in_sync_group, 0)
                given = [
                    tf.where(first | ~tf.math.is_finite(gradient), gradient, tf.zeros_like(gradient))
                    for gradient in clipped
                ]
            self._optimizer.apply_gradients(zip(given, self._variables, strict=True))

        self._strategy.run(replica)

    def _clipped(self, gradients: Sequence[Any]) -> list[Any]:
        scale = self.scaled(tf.constant(1.0))
        if self._plan.clip_norm is not None:
            clipped, _ = tf.clip_by_global_norm(list(gradients), self._plan.clip_norm * scale)
            return list(clipped)
        if self._plan.clip_value is not None:
            limit = self._plan.clip_value * scale
            # An overflow must stay one: the optimizer leaves such an update out and lowers its scale.
            return [
                tf.where(tf.math.is_finite(gradient), tf.clip_by_value(gradient, -limit, limit), gradient)
                for gradient in gradients
            ]
        return list(gradients)
