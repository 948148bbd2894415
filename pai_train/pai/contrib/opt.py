"""Optimizers of `tf.contrib.opt` that `tf.train` has not: lazy Adam and decoupled weight decay."""

from __future__ import annotations

from typing import Any

from pai_train.pai.gone import absent
from pai_train.pai.v1 import tf

__all__ = ["AdamWOptimizer", "LazyAdamOptimizer", "MomentumWOptimizer", "extend_with_decoupled_weight_decay"]

_Adam: Any = tf.train.AdamOptimizer


class LazyAdamOptimizer(_Adam):  # type: ignore[misc]
    """Adam that leaves the moments of rows without a gradient as they are; dense gradients are Adam's own."""

    def _apply_sparse(self, grad: Any, var: Any) -> Any:
        return self._lazy(grad.values, var, grad.indices)

    def _resource_apply_sparse(self, grad: Any, var: Any, indices: Any) -> Any:
        return self._lazy(grad, var, indices)

    def _lazy(self, gradient: Any, variable: Any, rows: Any) -> Any:
        kind = variable.dtype.base_dtype
        beta1, beta2, epsilon, rate = (
            tf.cast(one, kind) for one in (self._beta1_t, self._beta2_t, self._epsilon_t, self._lr_t)
        )
        power1, power2 = (tf.cast(one, kind) for one in self._get_beta_accumulators())
        m, v = self.get_slot(variable, "m"), self.get_slot(variable, "v")
        m_rows = beta1 * tf.gather(m, rows) + (1 - beta1) * gradient
        v_rows = beta2 * tf.gather(v, rows) + (1 - beta2) * tf.square(gradient)
        step = rate * tf.sqrt(1 - power2) / (1 - power1) * m_rows / (tf.sqrt(v_rows) + epsilon)
        return tf.group(
            tf.scatter_update(m, rows, m_rows), tf.scatter_update(v, rows, v_rows), tf.scatter_sub(variable, rows, step)
        )


def extend_with_decoupled_weight_decay(base_optimizer: Any) -> Any:
    """Returns a class of a `tf.train` optimizer that shrinks variables by `weight_decay` times themselves each step.

    Its first argument is `weight_decay`; `apply_gradients` and `minimize` take `decay_var_list`, the variables that
    shrink, all if none.
    """

    class Decoupled(base_optimizer):  # type: ignore[misc]
        def __init__(self, weight_decay: Any, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self._weight_decay = weight_decay
            self._decayed: Any = None

        def minimize(self, loss: Any, *args: Any, decay_var_list: Any = None, **kwargs: Any) -> Any:
            self._decayed = decay_var_list
            return super().minimize(loss, *args, **kwargs)

        def apply_gradients(
            self, grads_and_vars: Any, global_step: Any = None, name: Any = None, decay_var_list: Any = None
        ) -> Any:
            pairs = list(grads_and_vars)
            chosen = decay_var_list if decay_var_list is not None else self._decayed
            names = None if chosen is None else {one.op.name for one in chosen}
            with tf.control_dependencies([gradient for gradient, _ in pairs if gradient is not None]):
                shrunk = [
                    tf.assign_sub(variable, tf.cast(self._weight_decay, variable.dtype.base_dtype) * variable)
                    for gradient, variable in pairs
                    if gradient is not None and (names is None or variable.op.name in names)
                ]
            with tf.control_dependencies(shrunk):
                return super().apply_gradients(pairs, global_step, name)

    Decoupled.__name__ = f"{base_optimizer.__name__}WithDecoupledWeightDecay"
    return Decoupled


def AdamWOptimizer(  # noqa: N802
    weight_decay: Any,
    learning_rate: Any = 0.001,
    beta1: float = 0.9,
    beta2: float = 0.999,
    epsilon: float = 1e-8,
    use_locking: bool = False,
    name: str = "AdamW",
) -> Any:
    """Returns Adam with decoupled weight decay."""
    kind = extend_with_decoupled_weight_decay(tf.train.AdamOptimizer)
    return kind(weight_decay, learning_rate, beta1, beta2, epsilon, use_locking, name)


def MomentumWOptimizer(  # noqa: N802
    weight_decay: Any,
    learning_rate: Any,
    momentum: Any,
    use_locking: bool = False,
    name: str = "MomentumW",
    use_nesterov: bool = False,
) -> Any:
    """Returns momentum with decoupled weight decay."""
    kind = extend_with_decoupled_weight_decay(tf.train.MomentumOptimizer)
    return kind(weight_decay, learning_rate, momentum, use_locking, name, use_nesterov)


__getattr__ = absent("tf.contrib.opt")
