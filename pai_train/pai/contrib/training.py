"""`tf.contrib.training` over `tf.compat.v1`: hyper-parameters, the training operation and its gradients, buckets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pai_train.pai.contrib import hparams
from pai_train.pai.contrib.bucketing import bucket, bucket_by_sequence_length
from pai_train.pai.contrib.hparams import HParams, parse_values
from pai_train.pai.contrib.ps_strategy import GreedyLoadBalancingStrategy, byte_size_load_fn
from pai_train.pai.gone import absent
from pai_train.pai.v1 import tf

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Pairs = list[tuple[Any, Any]]

__all__ = [
    "GreedyLoadBalancingStrategy", "HParams", "add_gradients_summaries", "bucket", "bucket_by_sequence_length",
    "byte_size_load_fn", "clip_gradient_norms", "clip_gradient_norms_fn", "create_train_op", "multiply_gradients",
    "parse_values",
]  # fmt: skip

USE_GLOBAL_STEP: Any = "the graph's"


def add_gradients_summaries(grads_and_vars: Sequence[tuple[Any, Any]]) -> list[Any]:
    """Adds a histogram of each gradient and of its norm."""
    summaries = []
    for gradient, variable in grads_and_vars:
        if gradient is not None:
            values = gradient.values if isinstance(gradient, tf.IndexedSlices) else gradient
            summaries.append(tf.summary.histogram(f"{variable.op.name}_gradient", values))
            summaries.append(tf.summary.scalar(f"{variable.op.name}_gradient_norm", tf.global_norm([values])))
    return summaries


def clip_gradient_norms(gradients_to_variables: Sequence[tuple[Any, Any]], max_norm: float) -> Pairs:
    """Returns the pairs with each gradient's own norm cut to the largest."""
    pairs: Pairs = []
    for gradient, variable in gradients_to_variables:
        if isinstance(gradient, tf.IndexedSlices):
            values = tf.clip_by_norm(gradient.values, max_norm)
            gradient = tf.IndexedSlices(values, gradient.indices, gradient.dense_shape)  # noqa: PLW2901
        elif gradient is not None:
            gradient = tf.clip_by_norm(gradient, max_norm)  # noqa: PLW2901
        pairs.append((gradient, variable))
    return pairs


def clip_gradient_norms_fn(max_norm: float) -> Callable[[Sequence[tuple[Any, Any]]], Pairs]:
    """Returns `clip_gradient_norms` with its norm."""
    return lambda pairs: clip_gradient_norms(pairs, max_norm)


def multiply_gradients(grads_and_vars: Sequence[tuple[Any, Any]], gradient_multipliers: Mapping[Any, Any]) -> Pairs:
    """Returns the pairs with gradients multiplied by the factors of their variables, given by variable or name."""
    factors = {getattr(getattr(key, "op", None), "name", key): factor for key, factor in gradient_multipliers.items()}
    pairs: Pairs = []
    for gradient, variable in grads_and_vars:
        factor = factors.get(variable.op.name)
        if factor is not None and isinstance(gradient, tf.IndexedSlices):
            scaled = gradient.values * tf.cast(factor, gradient.dtype)
            gradient = tf.IndexedSlices(scaled, gradient.indices, gradient.dense_shape)  # noqa: PLW2901
        elif factor is not None and gradient is not None:
            gradient = gradient * tf.cast(factor, gradient.dtype)  # noqa: PLW2901
        pairs.append((gradient, variable))
    return pairs


def create_train_op(
    total_loss: Any,
    optimizer: Any,
    global_step: Any = USE_GLOBAL_STEP,
    update_ops: Sequence[Any] | None = None,
    variables_to_train: Sequence[Any] | None = None,
    transform_grads_fn: Callable[[Any], Any] | None = None,
    summarize_gradients: bool = False,
    gate_gradients: Any = 1,
    aggregation_method: Any = None,
    colocate_gradients_with_ops: bool = False,
    check_numerics: bool = True,
) -> Any:
    """Returns the loss as a tensor whose run makes one step, after the updates of UPDATE_OPS or of the given ones."""
    step = tf.train.get_or_create_global_step() if isinstance(global_step, str) else global_step
    updates = tf.get_collection(tf.GraphKeys.UPDATE_OPS) if update_ops is None else list(update_ops)
    if updates:
        with tf.control_dependencies(updates):
            total_loss = tf.identity(total_loss)
    pairs = optimizer.compute_gradients(
        total_loss,
        variables_to_train if variables_to_train is not None else tf.trainable_variables(),
        gate_gradients=gate_gradients,
        aggregation_method=aggregation_method,
        colocate_gradients_with_ops=colocate_gradients_with_ops,
    )
    if transform_grads_fn is not None:
        pairs = transform_grads_fn(pairs)
    if summarize_gradients:
        add_gradients_summaries(pairs)
    stepped = optimizer.apply_gradients(pairs, global_step=step)
    with tf.control_dependencies([stepped]):
        total_loss = (
            tf.check_numerics(total_loss, "the loss is inf or nan") if check_numerics else tf.identity(total_loss)
        )
    tf.add_to_collection(tf.GraphKeys.TRAIN_OP, total_loss)
    return total_loss


_TRAIN = {"checkpoints_iterator"}
_absent = absent("tf.contrib.training")


def __getattr__(name: str) -> Any:
    if name == "hparam":
        return hparams
    return getattr(tf.train, name) if name in _TRAIN else _absent(name)
