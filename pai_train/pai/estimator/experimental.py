"""`tf.estimator.experimental`: early stopping."""

from __future__ import annotations

from pai_train.pai.estimator.early_stopping import (
    make_early_stopping_hook,
    stop_if_higher_hook,
    stop_if_lower_hook,
    stop_if_no_decrease_hook,
    stop_if_no_increase_hook,
)
from pai_train.pai.gone import absent

__all__ = [
    "make_early_stopping_hook", "stop_if_higher_hook", "stop_if_lower_hook", "stop_if_no_decrease_hook",
    "stop_if_no_increase_hook",
]  # fmt: skip

__getattr__ = absent("tf.estimator.experimental")
