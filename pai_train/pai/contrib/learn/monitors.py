"""`tf.contrib.learn.monitors`: a training evaluated on the way, and stopped when it gets no better."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from pai_train.pai.gone import absent
from pai_train.pai.v1 import tf

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["ValidationMonitor"]

_Hook: Any = tf.train.SessionRunHook


class ValidationMonitor(_Hook):  # type: ignore[misc]
    """Evaluates each new checkpoint, and stops the training when a metric was at its best too long ago.

    Args:
        x: Features in memory.
        y: Their labels.
        input_fn: In the place of both.
        batch_size: Rows of a batch of x, all if none.
        eval_steps: Batches an evaluation reads, all if none.
        every_n_steps: Steps between two looks whether there is a new checkpoint.
        metrics: Further metrics, as `evaluate` takes them.
        hooks: Run around each batch of an evaluation.
        early_stopping_rounds: Steps without a better value after which the training ends; None for never.
        early_stopping_metric: The metric.
        early_stopping_metric_minimize: Whether smaller values are better.
        name: Tells the evaluations' events from others'.
        check_interval_secs: Has no effect.

    Attributes:
        early_stopped: Whether the training was ended.
        best_step: The step of the best value.
        best_value: That value.
        best_metrics: All metrics of that step.
    """

    def __init__(
        self,
        x: Any = None,
        y: Any = None,
        input_fn: Callable[..., Any] | None = None,
        batch_size: int | None = None,
        eval_steps: int | None = None,
        every_n_steps: int = 100,
        metrics: Mapping[Any, Any] | None = None,
        hooks: Sequence[Any] | None = None,
        early_stopping_rounds: int | None = None,
        early_stopping_metric: str = "loss",
        early_stopping_metric_minimize: bool = True,
        name: str | None = None,
        check_interval_secs: float = 5,
    ) -> None:
        if x is None and input_fn is None:
            raise ValueError("ValidationMonitor: wanted x and y, or input_fn")
        self._reads = {"x": x, "y": y, "input_fn": input_fn, "batch_size": batch_size}
        self._how = {"steps": eval_steps, "metrics": metrics, "hooks": hooks, "name": name}
        self._every, self._rounds = every_n_steps, early_stopping_rounds
        self._metric, self._minimize = early_stopping_metric, early_stopping_metric_minimize
        self._estimator: Any = None
        self._looked: int | None = None
        self._checkpoint: str | None = None
        self.early_stopped = False
        self.best_step: int | None = None
        self.best_value: float | None = None
        self.best_metrics: dict[str, Any] | None = None

    def set_estimator(self, estimator: Any) -> None:
        """Says whose checkpoints are evaluated."""
        self._estimator = estimator

    def before_run(self, run_context: Any) -> Any:
        return tf.train.SessionRunArgs(tf.train.get_global_step())

    def after_run(self, run_context: Any, run_values: Any) -> None:
        step = int(run_values.results)
        if self._looked is None:
            self._looked = step
        if step - self._looked < self._every:
            return
        self._looked = step
        checkpoint = tf.train.latest_checkpoint(self._estimator.model_dir)
        if checkpoint is None or checkpoint == self._checkpoint:
            return
        self._checkpoint = checkpoint
        if self._ends(step, self._estimator.evaluate(checkpoint_path=checkpoint, **self._reads, **self._how)):
            self.early_stopped = True
            run_context.request_stop()

    def _ends(self, step: int, found: dict[str, Any]) -> bool:
        """Notes an evaluation; returns whether the best one is too long ago.

        Raises:
            ValueError: It has no such metric.
        """
        if self._rounds is None:
            return False
        if self._metric not in found:
            raise ValueError(f"ValidationMonitor: wanted one of {', '.join(found)} to stop by, got {self._metric!r}")
        value = float(found[self._metric])
        best = math.inf if self._minimize else -math.inf
        best = best if self.best_value is None else self.best_value
        if value < best if self._minimize else value > best:
            self.best_step, self.best_value, self.best_metrics = step, value, found
            return False
        return self.best_step is not None and step - self.best_step >= self._rounds


def hooks_of(monitors: Any, estimator: Any) -> list[Any]:
    """Returns monitors as hooks of an estimator's training."""
    given = monitors if isinstance(monitors, list | tuple) else [monitors] if monitors else []
    for one in given:
        if isinstance(one, ValidationMonitor):
            one.set_estimator(estimator)
    return list(given)


__getattr__ = absent("tf.contrib.learn.monitors")
