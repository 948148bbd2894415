"""Penalties on weights: L1, L2, their sum, and their application to a graph's weights."""

from __future__ import annotations

import numbers
from typing import TYPE_CHECKING, Any

from pai_train.pai.v1 import tf

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Regularizer = Callable[[Any], Any]


def l1_regularizer(scale: float, scope: str | None = None) -> Regularizer:
    """Returns a function from weights to `scale * sum(|w|)`, or to None where the scale is 0.0."""
    return _scaled("l1_regularizer", scale, scope, lambda weights: tf.reduce_sum(tf.abs(weights)))


def l2_regularizer(scale: float, scope: str | None = None) -> Regularizer:
    """Returns a function from weights to `scale * sum(w ** 2) / 2`, or to None where the scale is 0.0."""
    return _scaled("l2_regularizer", scale, scope, lambda weights: tf.nn.l2_loss(weights))  # noqa: PLW0108


def l1_l2_regularizer(scale_l1: float = 1.0, scale_l2: float = 1.0, scope: str | None = None) -> Regularizer:
    """Returns the sum of an L1 and an L2 penalty."""
    name = scope or "l1_l2_regularizer"
    return sum_regularizer([l1_regularizer(scale_l1), l2_regularizer(scale_l2)], scope=name)


def sum_regularizer(regularizer_list: Sequence[Regularizer | None], scope: str | None = None) -> Regularizer | Any:
    """Returns a function from weights to the sum of several penalties; None for a list of nothing."""
    regularizers = [one for one in regularizer_list if one is not None]
    if not regularizers:
        return None

    def summed(weights: Any) -> Any:
        with tf.name_scope(scope, "sum_regularizer", [weights]) as name:
            penalties = [penalty for one in regularizers if (penalty := one(weights)) is not None]
            return tf.add_n(penalties, name=name) if penalties else None

    return summed


def apply_regularization(regularizer: Regularizer, weights_list: Sequence[Any] | None = None) -> Any:
    """Adds up a penalty over weights and puts each into the collection of regularization losses.

    Args:
        regularizer: A function from weights to a scalar or None.
        weights_list: The weights; the graph's collection WEIGHTS if none.

    Returns:
        The sum, a scalar tensor.

    Raises:
        ValueError: The penalty is not a scalar.
    """
    weights = weights_list or tf.get_collection(tf.GraphKeys.WEIGHTS)
    with tf.name_scope("get_regularization_penalty", values=list(weights)) as name:
        penalties = [penalty if (penalty := regularizer(one)) is not None else tf.constant(0.0) for one in weights]
        for penalty in penalties:
            if penalty.shape.rank not in (0, None):
                raise ValueError("apply_regularization: the regularizer's result is not a scalar")
            tf.add_to_collection(tf.GraphKeys.REGULARIZATION_LOSSES, penalty)
        return tf.add_n(penalties, name=name) if penalties else tf.no_op(name=name)


def _scaled(what: str, scale: float, scope: str | None, norm: Regularizer) -> Regularizer:
    if isinstance(scale, numbers.Integral) or not isinstance(scale, numbers.Real) or scale < 0:
        raise ValueError(f"{what}: wanted a scale that is a float of 0.0 or more, got {scale!r}")
    if scale == 0.0:
        return lambda _: None

    def penalty(weights: Any) -> Any:
        with tf.name_scope(scope, what, [weights]) as name:
            return tf.multiply(tf.convert_to_tensor(scale, weights.dtype.base_dtype), norm(weights), name=name)

    return penalty
