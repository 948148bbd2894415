"""Training with evaluations between, on one machine or as one task of a cluster: `train_and_evaluate`."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from pai_train.pai.estimator.run_config import TaskType
from pai_train.pai.trained import wait
from pai_train.pai.v1 import tf

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pai_train.pai.estimator.estimator import Estimator


class TrainSpec:
    """What is trained.

    Args:
        input_fn: Gives the training data.
        max_steps: Steps over all trainings; until the input ends if none.
        hooks: Run around each step.
        saving_listeners: Told of each checkpoint.

    Raises:
        ValueError: A number of steps that is not above 0.
    """

    def __init__(
        self,
        input_fn: Callable[..., Any],
        max_steps: int | None = None,
        hooks: Sequence[Any] | None = None,
        saving_listeners: Sequence[Any] | None = None,
    ) -> None:
        if max_steps is not None and max_steps <= 0:
            raise ValueError(f"TrainSpec: wanted max_steps above 0, got {max_steps}")
        self.input_fn, self.max_steps = input_fn, max_steps
        self.hooks, self.saving_listeners = tuple(hooks or ()), tuple(saving_listeners or ())


class EvalSpec:
    """What is evaluated, and what is exported after it.

    Args:
        input_fn: Gives the evaluation's data.
        steps: Batches an evaluation reads, None for all.
        name: Tells this evaluation's events from others'.
        hooks: Run around each batch.
        exporters: One exporter or several of different names.
        start_delay_secs: What an evaluator of a cluster waits at first.
        throttle_secs: The least time between two evaluations.

    Raises:
        ValueError: Numbers out of range, or exporters of one name.
    """

    def __init__(
        self,
        input_fn: Callable[..., Any],
        steps: int | None = 100,
        name: str | None = None,
        hooks: Sequence[Any] | None = None,
        exporters: Any = None,
        start_delay_secs: float = 120,
        throttle_secs: float = 600,
    ) -> None:
        if steps is not None and steps <= 0:
            raise ValueError(f"EvalSpec: wanted steps above 0, got {steps}")
        if start_delay_secs < 0 or throttle_secs < 0:
            raise ValueError("EvalSpec: wanted start_delay_secs and throttle_secs of 0 or more")
        exporters = list(exporters) if isinstance(exporters, (list, tuple, set)) else [exporters] if exporters else []
        names = [one.name for one in exporters]
        if len(set(names)) < len(names):
            raise ValueError(f"EvalSpec: exporters of one name: {names}")
        self.input_fn, self.steps, self.name, self.hooks = input_fn, steps, name, tuple(hooks or ())
        self.exporters, self.start_delay_secs, self.throttle_secs = exporters, start_delay_secs, throttle_secs


def train_and_evaluate(
    estimator: Estimator, train_spec: TrainSpec, eval_spec: EvalSpec
) -> tuple[dict[str, Any], list[Any]] | None:
    """Trains and evaluates; in a cluster, does the part that TF_CONFIG gives this process.

    Args:
        estimator: The model.
        train_spec: What is trained.
        eval_spec: What is evaluated, and exported.

    Returns:
        On one machine, the last evaluation and what the exporters returned; in a cluster, None.

    Raises:
        ValueError: A part that is none of chief, master, worker, ps, evaluator.
    """
    config = estimator.config
    evaluations = _Evaluations(estimator, train_spec, eval_spec)
    if config.task_type == TaskType.EVALUATOR:
        evaluations.follow()
        return None
    if not config.master:
        return evaluations.train()
    parts = (TaskType.CHIEF, TaskType.MASTER, TaskType.WORKER, TaskType.PS)
    if config.task_type not in parts:
        raise ValueError(f"TF_CONFIG: wanted one of {', '.join(parts)} or evaluator as task, got {config.task_type}")
    server = start_server(config)
    if config.task_type == TaskType.PS:
        server.join()
    elif config.task_type == TaskType.MASTER:
        evaluations.train()
    else:
        if config.task_type == TaskType.WORKER and config.max_worker_delay_secs:
            time.sleep(min(config.max_worker_delay_secs, 5.0 * (config.task_id + 1)))
        estimator.train(
            train_spec.input_fn, train_spec.hooks, None, train_spec.max_steps, train_spec.saving_listeners
        )  # fmt: skip
    return None


def start_server(config: Any) -> Any:
    """Starts this process's server of a cluster, and returns it."""
    hosts = {name: list(places) for name, places in config.cluster_spec.as_dict().items() if name != "evaluator"}
    return tf.train.Server(
        tf.train.ClusterSpec(hosts), config.task_type, config.task_id, protocol=config.protocol or "grpc"
    )


class _Evaluations:
    """The evaluations of one training, each checkpoint once, and their exports."""

    def __init__(self, estimator: Estimator, train_spec: TrainSpec, eval_spec: EvalSpec) -> None:
        self._estimator, self._train_spec, self._spec = estimator, train_spec, eval_spec
        self._last: str | None = None
        self._result: dict[str, Any] = {}

    def train(self) -> tuple[dict[str, Any], list[Any]]:
        """Trains here, evaluates checkpoints on the way and the last one at the end."""
        train = self._train_spec
        listeners = [*train.saving_listeners, _Listener(self, self._spec.throttle_secs)]
        self._estimator.train(train.input_fn, train.hooks, None, train.max_steps, listeners)
        return self.evaluate(final=True)

    def evaluate(self, final: bool) -> tuple[dict[str, Any], list[Any]]:
        """Evaluates the last checkpoint unless it was, and exports."""
        checkpoint = self._estimator.latest_checkpoint()
        if checkpoint is None:
            raise ValueError(f"train_and_evaluate: there is no checkpoint in {self._estimator.model_dir} to evaluate")
        new = checkpoint != self._last
        if new:
            spec = self._spec
            self._result = self._estimator.evaluate(spec.input_fn, spec.steps, spec.hooks, checkpoint, spec.name)
            self._last = checkpoint
        exported = []
        for exporter in self._spec.exporters:
            if new or final:
                folder = os.path.join(self._estimator.model_dir, "export", exporter.name)
                exported.append(exporter.export(self._estimator, folder, checkpoint, dict(self._result), final))
        return self._result, exported

    def follow(self) -> None:
        """Evaluates another process's checkpoints until its last step, or until training is said to be over."""
        over = wait(self._spec.start_delay_secs)
        while True:
            began = time.monotonic()
            checkpoint = self._estimator.latest_checkpoint()
            final = over
            if checkpoint is not None and checkpoint != self._last:
                last = self._train_spec.max_steps
                done = int(tf.train.load_variable(checkpoint, tf.GraphKeys.GLOBAL_STEP))
                final = final or (last is not None and done >= last)
            if checkpoint is not None and (final or checkpoint != self._last):
                self.evaluate(final)
            if final:
                return
            over = wait(max(self._spec.throttle_secs - (time.monotonic() - began), 1.0))


_SaverListener: Any = tf.train.CheckpointSaverListener


class _Listener(_SaverListener):  # type: ignore[misc]
    """Evaluates a checkpoint when it is made, but for the first one and those that come too soon."""

    def __init__(self, evaluations: _Evaluations, throttle_secs: float) -> None:
        self._evaluations, self._throttle = evaluations, throttle_secs
        self._began: float | None = None

    def after_save(self, session: Any, global_step_value: int) -> None:
        now = time.monotonic()
        if self._began is None:
            self._began = now
        elif now - self._began >= self._throttle:
            self._evaluations.evaluate(final=False)
            self._began = time.monotonic()
