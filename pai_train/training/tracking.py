"""Watching one metric: the best value so far, and whether to go on; a pure function of state and measurement."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from pai_train.errors import DataError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pai_train.spec.train_config import EarlyStoppingConfig
    from pai_train.training.contracts import TrainState

VALUE, STEP = "value", "step"
"""In `TrainState.tracking`: the metric's last value, and the step behind which it was measured."""
BEST, BEST_STEP, WAITED = "best", "best_step", "waited"
STOPPED, RESTORED = "stopped", "restored"
OWED, INSIDE, AT_END = "owed", 1.0, 2.0
"""Of an evaluation that was broken off behind the last step: whether it was one inside an epoch or at its end."""


def flat(values: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Returns metrics by set of rows as one mapping, such as `test/loss`."""
    return {f"{part}/{name}": value for part, found in values.items() for name, value in found.items()}


def track(watched: EarlyStoppingConfig, state: TrainState, values: Mapping[str, float]) -> TrainState:
    """Takes a measurement into the state; twice behind one step is once.

    Args:
        watched: The metric, and what to do.
        state: Where the training stands; its weights are those that were measured.
        values: All that was measured, by names such as `test/loss`. A metric of train is not there inside an epoch.

    Raises:
        DataError: A metric of test is not there: no row was held out.
    """
    found = dict(state.tracking)
    value = values.get(watched.metric)
    if found.get(STEP) == state.step or (value is None and watched.metric.startswith("train/")):
        return state
    if value is None:
        raise DataError(
            f"{watched.metric} was not measured",
            where="train.early_stopping.metric",
            got=", ".join(sorted(values)) or "no row was evaluated",
            todo=did_you_mean(watched.metric, values) or "hold out more rows, or watch train/loss",
        )
    found |= {VALUE: value, STEP: float(state.step)}
    if is_better(watched, value, found.get(BEST)):
        found |= {BEST: value, BEST_STEP: float(state.step), WAITED: 0.0}
        return replace(state, tracking=found, best=dict(values))
    found[WAITED] = found.get(WAITED, 0.0) + 1
    if watched.patience is not None and found[WAITED] >= watched.patience:
        found[STOPPED] = 1.0
    return replace(state, tracking=found)


def is_better(watched: EarlyStoppingConfig, value: float, best: float | None) -> bool:
    """Tells whether a value is better than the best one so far by more than `min_delta`."""
    if math.isnan(value):
        return False
    more = watched.mode == "max" or (watched.mode == "auto" and watched.metric.endswith("accuracy"))
    if best is None:
        return True
    return value > best + watched.min_delta if more else value < best - watched.min_delta
