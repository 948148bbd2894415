"""What steps add up to: per-step sums of one call, and the running sums of an epoch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

METRIC_SUMS = {"classification": ("correct",), "regression": ("squared_error", "absolute_error")}
"""Names of the sums over rows beside the loss, by task."""


@dataclass(frozen=True)
class Totals:
    """The steps of one call.

    Attributes:
        rows: int64 of shape (steps,): rows of each step's global batch.
        losses: float64 of shape (steps,): mean loss over those rows.
        sums: Per name in METRIC_SUMS of the task, float64 of shape (steps,): sum over those rows.
    """

    rows: NDArray[np.int64]
    losses: NDArray[np.float64]
    sums: Mapping[str, NDArray[np.float64]]

    def metrics(self) -> dict[str, float]:
        """Returns the metrics over all rows of these steps."""
        return metrics(add_totals({}, self))


def add_totals(running: Mapping[str, float], totals: Totals) -> dict[str, float]:
    """Returns running sums with one call's steps added: `rows`, `loss` and the metric sums.

    Steps are added one after the other, so that the result has the same bits however steps were spread over calls.

    Args:
        running: Running sums; {} to begin with.
        totals: What `Learner.train` or `Learner.evaluate` gave.
    """
    parts = {"rows": totals.rows, "loss": totals.losses * totals.rows, **totals.sums}
    added = dict(running)
    for name, values in parts.items():
        total = float(added.get(name, 0.0))
        for value in values.tolist():
            total += value
        added[name] = total
    return added


def metrics(running: Mapping[str, float]) -> dict[str, float]:
    """Returns `loss` with `accuracy`, or with `rmse` and `mae`, where those are known; {} when there are no rows."""
    rows = running.get("rows", 0.0)
    if not rows:
        return {}
    found = {"loss": running["loss"] / rows}
    if "correct" in running:
        found["accuracy"] = running["correct"] / rows
    if "squared_error" in running:
        found["rmse"] = math.sqrt(running["squared_error"] / rows)
        found["mae"] = running["absolute_error"] / rows
    return found
