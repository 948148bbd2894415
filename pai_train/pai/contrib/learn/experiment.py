"""`tf.contrib.learn.Experiment` and `learn_runner`: an estimator with its inputs, and what a task does with it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from pai_train.pai import estimator as core
from pai_train.pai.contrib.learn.estimators import BaseEstimator
from pai_train.pai.contrib.learn.monitors import ValidationMonitor
from pai_train.pai.estimator.train_and_evaluate import start_server
from pai_train.pai.gone import argument_gone
from pai_train.pai.v1 import tf

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["Experiment", "run"]


class Experiment:
    """An estimator, what it is trained and evaluated on, and for how long.

    Args:
        estimator: One of `tf.contrib.learn`, or of `tf.estimator`.
        train_input_fn: Gives the training data.
        eval_input_fn: Gives the evaluation's.
        eval_metrics: Further metrics, for estimators of `tf.contrib.learn`.
        train_steps: Steps over all trainings; until the input ends if none.
        eval_steps: Batches an evaluation reads, None for all.
        train_monitors: Hooks of the training.
        eval_hooks: Hooks of an evaluation.
        local_eval_frequency: Is `min_eval_frequency` by its first name.
        eval_delay_secs: What an evaluation beside a training waits at first.
        continuous_eval_throttle_secs: The least time between two of these.
        min_eval_frequency: Steps between two evaluations of `train_and_evaluate`; at the end alone if none.
        delay_workers_by_global_step: Has no effect.
        export_strategies: Are not taken: export by `tf.estimator.train_and_evaluate`.

    Raises:
        ValueError: There are metrics for an estimator of `tf.estimator`, which has its own.
    """

    def __init__(
        self,
        estimator: Any,
        train_input_fn: Callable[..., Any],
        eval_input_fn: Callable[..., Any],
        eval_metrics: Mapping[Any, Any] | None = None,
        train_steps: int | None = None,
        eval_steps: int | None = 100,
        train_monitors: Sequence[Any] | None = None,
        eval_hooks: Sequence[Any] | None = None,
        local_eval_frequency: int | None = None,
        eval_delay_secs: float = 120,
        continuous_eval_throttle_secs: float = 60,
        min_eval_frequency: int | None = None,
        delay_workers_by_global_step: bool = False,
        export_strategies: Any = None,
        train_steps_per_iteration: int | None = None,
    ) -> None:
        if export_strategies:
            todo = "tf.estimator.train_and_evaluate with exporters, or estimator.export_savedmodel behind the run"
            raise argument_gone("tf.contrib.learn.Experiment", "export_strategies", todo)
        if eval_metrics is not None and not isinstance(estimator, BaseEstimator):
            raise ValueError("Experiment: eval_metrics are for estimators of tf.contrib.learn; others have their own")
        self.estimator, self.train_steps = estimator, train_steps
        self._train_input, self._eval_input = train_input_fn, eval_input_fn
        self._metrics, self._eval_steps = eval_metrics, eval_steps
        self._monitors, self._eval_hooks = list(train_monitors or ()), eval_hooks
        self._delay, self._throttle = eval_delay_secs, continuous_eval_throttle_secs
        self._every = min_eval_frequency or local_eval_frequency

    def train(self, delay_secs: float | None = None) -> Any:
        """Trains until `train_steps`; as a task of a cluster, beside its other tasks."""
        if self._is_distributed():
            start_server(self.estimator.config)
        time.sleep(delay_secs or 0)
        return self._train(self._monitors, self.train_steps)

    def evaluate(self, delay_secs: float | None = None, name: str | None = None) -> dict[str, Any]:
        """Returns the metrics of the last checkpoint."""
        time.sleep(delay_secs or 0)
        return self._evaluate(name)

    def train_and_evaluate(self) -> tuple[dict[str, Any], list[Any]]:
        """Trains with evaluations between, and returns the last one, and no exports."""
        monitors = [*self._monitors]
        if self._every:
            between = ValidationMonitor(
                input_fn=self._eval_input,
                eval_steps=self._eval_steps,
                every_n_steps=self._every,
                metrics=self._metrics,
                hooks=self._eval_hooks,
            )
            if not isinstance(self.estimator, BaseEstimator):
                between.set_estimator(_Evaluated(self))
            monitors.append(between)
        if self._is_distributed():
            start_server(self.estimator.config)
        self._train(monitors, self.train_steps)
        return self._evaluate(None), []

    def continuous_eval(self, delay_secs: float | None = None, throttle_delay_secs: float | None = None) -> Any:
        """Evaluates each checkpoint of a training elsewhere, until its last step; returns the last evaluation."""
        time.sleep(self._delay if delay_secs is None else delay_secs)
        pause = self._throttle if throttle_delay_secs is None else throttle_delay_secs
        seen, found = None, None
        while True:
            checkpoint = tf.train.latest_checkpoint(self.estimator.model_dir)
            if checkpoint is not None and checkpoint != seen:
                seen, found = checkpoint, self._evaluate("continuous")
                if self.train_steps is None or int(found["global_step"]) >= self.train_steps:
                    return found
            time.sleep(max(pause, 0.1))

    def run_std_server(self) -> None:
        """Serves as a parameter server, until it is ended."""
        start_server(self.estimator.config).join()

    def test(self) -> tuple[dict[str, Any], list[Any]]:
        """Makes one step and one evaluation."""
        self._train(self._monitors, 1)
        self._eval_steps = 1
        return self._evaluate(None), []

    def local_run(self) -> tuple[dict[str, Any], list[Any]]:
        """Is `train_and_evaluate` by its first name."""
        return self.train_and_evaluate()

    def _train(self, hooks: Sequence[Any], steps: int | None) -> Any:
        if isinstance(self.estimator, BaseEstimator):
            return self.estimator.fit(input_fn=self._train_input, monitors=hooks, max_steps=steps)
        return self.estimator.train(self._train_input, list(hooks), max_steps=steps)

    def _evaluate(self, name: str | None) -> dict[str, Any]:
        how: dict[str, Any] = {"steps": self._eval_steps, "hooks": self._eval_hooks, "name": name}
        if isinstance(self.estimator, BaseEstimator):
            how["metrics"] = self._metrics
        found: dict[str, Any] = self.estimator.evaluate(input_fn=self._eval_input, **how)
        return found

    def _is_distributed(self) -> bool:
        config = self.estimator.config
        return bool(config.master) and config.task_type is not None


class _Evaluated:
    """What a monitor needs of an estimator, of one that is `tf.estimator`'s."""

    def __init__(self, experiment: Experiment) -> None:
        self.model_dir = experiment.estimator.model_dir
        self._experiment = experiment

    def evaluate(self, **_: Any) -> dict[str, Any]:
        return self._experiment._evaluate(None)


def run(
    experiment_fn: Callable[..., Experiment],
    output_dir: str | None = None,
    schedule: str | None = None,
    run_config: Any = None,
    hparams: Any = None,
) -> Any:
    """Makes an experiment and runs the part of it that is this process's.

    Args:
        experiment_fn: From a folder, or from the run's settings and hyper-parameters, to an `Experiment`.
        output_dir: That folder.
        schedule: The name of the method; if none, that of the task in TF_CONFIG, or `train_and_evaluate`.
        run_config: Those settings.
        hparams: Those hyper-parameters.

    Raises:
        ValueError: Both are given, neither is, or there is no such method.
    """
    if (output_dir is None) == (run_config is None):
        raise ValueError("learn_runner.run: wanted output_dir, or run_config with a model_dir")
    experiment = experiment_fn(run_config, hparams) if run_config is not None else experiment_fn(output_dir)
    chosen = schedule or _schedule(experiment.estimator.config)
    method = getattr(experiment, chosen, None)
    if chosen.startswith("_") or not callable(method):
        raise ValueError(f"learn_runner.run: an Experiment has no method {chosen!r}")
    return method()


def _schedule(config: Any) -> str:
    # An evaluator is no part of the training's cluster, and has no server to reach.
    task = config.task_type if config.master or config.task_type == core.TaskType.EVALUATOR else ""
    by_task = {
        core.TaskType.PS: "run_std_server",
        core.TaskType.WORKER: "train",
        core.TaskType.CHIEF: "train",
        core.TaskType.EVALUATOR: "continuous_eval",
    }
    return by_task.get(task, "train_and_evaluate")
