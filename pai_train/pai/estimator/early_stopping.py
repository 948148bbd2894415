"""Hooks that end a training when its evaluations have stopped getting better."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

from pai_train.pai.estimator.evaluation import read_events
from pai_train.pai.v1 import tf

if TYPE_CHECKING:
    from collections.abc import Callable

    from pai_train.pai.estimator.estimator import Estimator


def make_early_stopping_hook(
    estimator: Estimator,
    should_stop_fn: Callable[[], bool],
    run_every_secs: float | None = 60,
    run_every_steps: int | None = None,
) -> Any:
    """Returns a hook that ends the training of all workers when a function of the chief's says so.

    Args:
        estimator: The model that is trained.
        should_stop_fn: Asked by the chief.
        run_every_secs: Seconds between questions.
        run_every_steps: Steps between them, in the seconds' place.

    Raises:
        ValueError: Both times, or neither.
        TypeError: The function is none.
    """
    if not callable(should_stop_fn):
        raise TypeError(f"early stopping: wanted a function as should_stop_fn, got {should_stop_fn!r}")
    if (run_every_secs is None) == (run_every_steps is None):
        raise ValueError("early stopping: wanted run_every_secs or run_every_steps")
    return _StopHook(estimator.config.is_chief, should_stop_fn, run_every_secs, run_every_steps)


def stop_if_higher_hook(
    estimator: Estimator,
    metric_name: str,
    threshold: float,
    eval_dir: str | None = None,
    min_steps: int = 0,
    run_every_secs: float | None = 60,
    run_every_steps: int | None = None,
) -> Any:
    """Returns a hook that stops once an evaluation's metric is above a threshold."""
    return _at(operator.gt, estimator, metric_name, threshold, eval_dir, min_steps, run_every_secs, run_every_steps)


def stop_if_lower_hook(
    estimator: Estimator,
    metric_name: str,
    threshold: float,
    eval_dir: str | None = None,
    min_steps: int = 0,
    run_every_secs: float | None = 60,
    run_every_steps: int | None = None,
) -> Any:
    """Returns a hook that stops once an evaluation's metric is below a threshold."""
    return _at(operator.lt, estimator, metric_name, threshold, eval_dir, min_steps, run_every_secs, run_every_steps)


def stop_if_no_increase_hook(
    estimator: Estimator,
    metric_name: str,
    max_steps_without_increase: int,
    eval_dir: str | None = None,
    min_steps: int = 0,
    run_every_secs: float | None = 60,
    run_every_steps: int | None = None,
) -> Any:
    """Returns a hook that stops once a metric has not grown over so many steps."""
    return _stalled(
        operator.gt, estimator, metric_name, max_steps_without_increase, eval_dir, min_steps, run_every_secs,
        run_every_steps,
    )  # fmt: skip


def stop_if_no_decrease_hook(
    estimator: Estimator,
    metric_name: str,
    max_steps_without_decrease: int,
    eval_dir: str | None = None,
    min_steps: int = 0,
    run_every_secs: float | None = 60,
    run_every_steps: int | None = None,
) -> Any:
    """Returns a hook that stops once a metric has not shrunk over so many steps."""
    return _stalled(
        operator.lt, estimator, metric_name, max_steps_without_decrease, eval_dir, min_steps, run_every_secs,
        run_every_steps,
    )  # fmt: skip


def _at(
    passes: Any, estimator: Any, name: str, threshold: float, folder: Any, min_steps: int, secs: Any, steps: Any
) -> Any:
    folder = folder or estimator.eval_dir()

    def should_stop() -> bool:
        found = read_events(folder)
        return any(step >= min_steps and passes(one[name], threshold) for step, one in found.items() if name in one)

    return make_early_stopping_hook(estimator, should_stop, None if steps else secs, steps)


def _stalled(
    better: Any, estimator: Any, name: str, patience: int, folder: Any, min_steps: int, secs: Any, steps: Any
) -> Any:
    folder = folder or estimator.eval_dir()

    def should_stop() -> bool:
        best, best_step = None, 0
        for step, metrics in read_events(folder).items():
            if step < min_steps or name not in metrics:
                continue
            if best is None or better(metrics[name], best):
                best, best_step = metrics[name], step
            elif step - best_step >= patience:
                tf.logging.info("%s has not got better than %s of step %d", name, best, best_step)
                return True
        return False

    return make_early_stopping_hook(estimator, should_stop, None if steps else secs, steps)


_Hook: Any = tf.train.SessionRunHook


class _StopHook(_Hook):  # type: ignore[misc]
    """The chief asks and sets a variable that every worker reads."""

    def __init__(self, chief: bool, should_stop: Callable[[], bool], secs: float | None, steps: int | None) -> None:
        self._chief, self._should_stop = chief, should_stop
        self._timer = tf.train.SecondOrStepTimer(every_secs=secs, every_steps=steps)

    def begin(self) -> None:
        # In no checkpoint: a stopped training can go on, and a trained model can get the hook later. Every worker sets
        # its local variables when it begins, and this one the chief alone: who comes late would take a stop back.
        with tf.variable_scope("signal_early_stopping", reuse=tf.AUTO_REUSE):
            self._stop = tf.get_variable(
                "STOP",
                [],
                tf.bool,
                tf.constant_initializer(False),
                trainable=False,
                collections=[tf.GraphKeys.LOCAL_VARIABLES] if self._chief else [],
            )
            known = tf.is_variable_initialized(self._stop)
            self._is_over = tf.cond(known, lambda: tf.identity(self._stop), lambda: tf.constant(False))
            self._end = self._stop.assign(True)
        self._step = tf.train.get_global_step()

    def before_run(self, run_context: Any) -> Any:
        return tf.train.SessionRunArgs({"stop": self._is_over, "step": self._step})

    def after_run(self, run_context: Any, run_values: Any) -> None:
        if run_values.results["stop"]:
            run_context.request_stop()
            return
        step = run_values.results["step"]
        if self._chief and self._timer.should_trigger_for_step(step):
            self._timer.update_last_triggered_step(step)
            if self._should_stop():
                run_context.session.run(self._end)
                run_context.request_stop()
