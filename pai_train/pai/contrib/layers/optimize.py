"""`optimize_loss`: gradients, their clipping and the step in one call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pai_train.pai.gone import argument_gone
from pai_train.pai.v1 import tf

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_OPTIMIZERS = {
    "Adagrad": "AdagradOptimizer",
    "Adam": "AdamOptimizer",
    "Ftrl": "FtrlOptimizer",
    "Momentum": "MomentumOptimizer",
    "RMSProp": "RMSPropOptimizer",
    "SGD": "GradientDescentOptimizer",
}


def optimizer_of(optimizer: Any, learning_rate: Any) -> Any:
    """Returns an optimizer from its name, its class, a function from a learning rate, or itself.

    Raises:
        ValueError: An unknown name, or no optimizer.
    """
    if isinstance(optimizer, str):
        if optimizer not in _OPTIMIZERS:
            raise ValueError(f"wanted an optimizer's name, one of {', '.join(_OPTIMIZERS)}, got {optimizer}")
        further = {"momentum": 0.9} if optimizer == "Momentum" else {}
        return getattr(tf.train, _OPTIMIZERS[optimizer])(learning_rate=learning_rate, **further)
    if isinstance(optimizer, type):
        return optimizer(learning_rate=learning_rate)
    if isinstance(optimizer, tf.train.Optimizer):
        return optimizer
    if callable(optimizer):
        return optimizer() if learning_rate is None else optimizer(learning_rate)
    raise ValueError(f"wanted an optimizer, its class or its name, got {optimizer!r}")


def optimize_loss(
    loss: Any,
    global_step: Any,
    learning_rate: Any,
    optimizer: Any,
    gradient_noise_scale: float | None = None,
    gradient_multipliers: Mapping[Any, Any] | None = None,
    clip_gradients: Any = None,
    learning_rate_decay_fn: Callable[[Any, Any], Any] | None = None,
    update_ops: Sequence[Any] | None = None,
    variables: Sequence[Any] | None = None,
    name: str | None = None,
    summaries: Sequence[str] | None = None,
    colocate_gradients_with_ops: bool = False,
    increment_global_step: bool = True,
) -> Any:
    """Returns the loss as a tensor whose run makes one step of training.

    Args:
        loss: A scalar.
        global_step: The step counter, the graph's if none.
        learning_rate: A number, a tensor, or None where the optimizer knows its own.
        optimizer: A name (SGD, Adam, Adagrad, Ftrl, Momentum, RMSProp), a class, an instance or a function.
        gradient_noise_scale: Not given here.
        gradient_multipliers: Factors of gradients, by variable or its name.
        clip_gradients: The largest global norm, or a function over (gradient, variable) pairs.
        learning_rate_decay_fn: From (learning rate, step) to a learning rate.
        update_ops: What runs before the loss counts; the collection UPDATE_OPS if none.
        variables: What is trained; the trainable variables if none.
        name: The scope, `OptimizeLoss` if none.
        summaries: Any of learning_rate, loss, gradients, gradient_norm, global_gradient_norm.
        colocate_gradients_with_ops: As in `Optimizer.compute_gradients`.
        increment_global_step: Whether the step is counted.
    """
    if gradient_noise_scale is not None:
        raise argument_gone(
            "tf.contrib.layers.optimize_loss", f"gradient_noise_scale={gradient_noise_scale}",
            "add tf.random_normal to the gradients of Optimizer.compute_gradients",
        )  # fmt: skip
    with tf.variable_scope(name, "OptimizeLoss", [loss, global_step]):
        step = tf.train.get_or_create_global_step() if global_step is None else global_step
        updates = tf.get_collection(tf.GraphKeys.UPDATE_OPS) if update_ops is None else list(update_ops)
        if updates:
            with tf.control_dependencies(updates):
                loss = tf.identity(loss)
        if learning_rate is not None and not tf.is_tensor(learning_rate) and not hasattr(learning_rate, "initializer"):
            learning_rate = tf.get_variable(
                "learning_rate", [], trainable=False, initializer=tf.constant_initializer(float(learning_rate))
            )
        if learning_rate is not None and learning_rate_decay_fn is not None:
            learning_rate = learning_rate_decay_fn(learning_rate, step)
        chosen = optimizer_of(optimizer, learning_rate)
        pairs = chosen.compute_gradients(
            loss,
            variables if variables is not None else tf.trainable_variables(),
            colocate_gradients_with_ops=colocate_gradients_with_ops,
        )
        pairs = [(_scaled(gradient, variable, gradient_multipliers or {}), variable) for gradient, variable in pairs]
        wanted = ("loss", "learning_rate") if summaries is None else tuple(summaries)
        if "global_gradient_norm" in wanted or "gradient_norm" in wanted:
            tf.summary.scalar("global_norm/gradient_norm", tf.global_norm([one for one, _ in pairs]))
        if callable(clip_gradients):
            pairs = clip_gradients(pairs)
        elif clip_gradients is not None:
            pairs = clipped(pairs, float(clip_gradients))
        if "loss" in wanted:
            tf.summary.scalar("loss", loss)
        if "learning_rate" in wanted and learning_rate is not None:
            tf.summary.scalar("learning_rate", learning_rate)
        if "gradients" in wanted:
            for gradient, variable in pairs:
                if gradient is not None:
                    values = gradient.values if isinstance(gradient, tf.IndexedSlices) else gradient
                    tf.summary.histogram(f"gradients/{variable.op.name}", values)
        stepped = chosen.apply_gradients(pairs, global_step=step if increment_global_step else None, name="train")
        with tf.control_dependencies([stepped]):
            return tf.identity(loss)


def clipped(pairs: Sequence[tuple[Any, Any]], norm: float) -> list[tuple[Any, Any]]:
    """Returns (gradient, variable) pairs whose gradients together are no longer than a norm."""
    gradients, _ = tf.clip_by_global_norm([gradient for gradient, _ in pairs], norm)
    return list(zip(gradients, [variable for _, variable in pairs], strict=True))


def _scaled(gradient: Any, variable: Any, multipliers: Mapping[Any, Any]) -> Any:
    for key, factor in multipliers.items():
        if gradient is not None and (key is variable or key == variable.op.name):
            if isinstance(gradient, tf.IndexedSlices):
                return tf.IndexedSlices(gradient.values * factor, gradient.indices, gradient.dense_shape)
            return gradient * factor
    return gradient
