"""Keras's optimizers and learning-rate schedules, made from plain values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras

from pai_train.errors import did_you_mean

if TYPE_CHECKING:
    from pai_train.spec.train_config import ScheduleConfig
    from pai_train.training.step_plan import Precision

OPTIMIZERS = {
    "adam": keras.optimizers.Adam,
    "adamw": keras.optimizers.AdamW,
    "rmsprop": keras.optimizers.RMSprop,
    "sgd": keras.optimizers.SGD,
}


def make_optimizer(name: str, learning_rate: float, schedule: ScheduleConfig | None, precision: Precision) -> Any:
    """Returns a Keras optimizer that is not built yet; of mixed_float16 one that scales the loss.

    Args:
        name: A name in OPTIMIZERS.
        learning_rate: Above 0.
        schedule: How it goes; None for a constant one. It counts updates of the weights.
        precision: What layers compute in.
    """
    if name not in OPTIMIZERS:
        raise ValueError(f"no optimizer {name!r}; {did_you_mean(name, OPTIMIZERS)}")
    rate = learning_rate if schedule is None else learning_rates(schedule, learning_rate)
    optimizer = OPTIMIZERS[name](learning_rate=rate)
    return keras.optimizers.LossScaleOptimizer(optimizer) if precision == "mixed_float16" else optimizer


def learning_rates(schedule: ScheduleConfig, learning_rate: float) -> Any:
    """Returns a Keras schedule, or the learning rate itself where it is constant.

    It is a function of the optimizer's count of updates, so that nothing but that count has to be restored.
    """
    schedules, end = keras.optimizers.schedules, schedule.end or 0.0
    match schedule.name:
        case "cosine":
            return schedules.CosineDecay(learning_rate, schedule.decay_steps, alpha=end / learning_rate)
        case "warmup_cosine":
            return schedules.CosineDecay(
                0.0,
                schedule.decay_steps,
                alpha=end / learning_rate,
                warmup_target=learning_rate,
                warmup_steps=schedule.warmup_steps,
            )
        case "exponential":
            return schedules.ExponentialDecay(
                learning_rate, schedule.decay_steps, schedule.decay_rate, staircase=schedule.staircase
            )
        case "inverse_time":
            return schedules.InverseTimeDecay(
                learning_rate, schedule.decay_steps, schedule.decay_rate, staircase=schedule.staircase
            )
        case "polynomial":
            return schedules.PolynomialDecay(
                learning_rate, schedule.decay_steps, end_learning_rate=end, power=schedule.power or 1.0
            )
        case "piecewise":
            return schedules.PiecewiseConstantDecay(schedule.boundaries, schedule.values)
        case _:
            return learning_rate
