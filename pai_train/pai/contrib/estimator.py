"""`tf.contrib.estimator` over `tf.estimator`: early stopping, added metrics, clipped gradients, forwarded features."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pai_train.pai.contrib.layers.optimize import clipped
from pai_train.pai.estimator import Estimator, EstimatorSpec
from pai_train.pai.estimator.added import add_metrics, forward_features
from pai_train.pai.estimator.early_stopping import (
    make_early_stopping_hook,
    stop_if_higher_hook,
    stop_if_lower_hook,
    stop_if_no_decrease_hook,
    stop_if_no_increase_hook,
)
from pai_train.pai.gone import absent

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "Estimator", "EstimatorSpec", "add_metrics", "clip_gradients_by_norm", "forward_features",
    "make_early_stopping_hook", "stop_if_higher_hook", "stop_if_lower_hook", "stop_if_no_decrease_hook",
    "stop_if_no_increase_hook",
]  # fmt: skip


def clip_gradients_by_norm(optimizer: Any, clip_norm: float) -> Any:
    """Returns the optimizer with the gradients' global norm cut before they are applied."""
    apply = optimizer.apply_gradients

    def apply_gradients(grads_and_vars: Sequence[Any], *args: Any, **kwargs: Any) -> Any:
        return apply(clipped(list(grads_and_vars), clip_norm), *args, **kwargs)

    optimizer.apply_gradients = apply_gradients
    return optimizer


__getattr__ = absent("tf.contrib.estimator")
