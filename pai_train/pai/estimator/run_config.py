"""Where and how often an estimator saves, and its part in a cluster: `RunConfig`, from TF_CONFIG."""

from __future__ import annotations

import copy
import json
import os
from typing import Any

from pai_train.pai.gone import argument_gone
from pai_train.pai.protocols import plain
from pai_train.pai.v1 import tf

_UNSET: Any = object()


class TaskType:
    """The parts of a cluster."""

    MASTER = "master"
    PS = "ps"
    WORKER = "worker"
    CHIEF = "chief"
    EVALUATOR = "evaluator"


class RunConfig:
    """The settings of a run; the cluster comes from the environment's TF_CONFIG.

    Args:
        model_dir: Where checkpoints and events go.
        tf_random_seed: The graph's seed; 1 as ever, so that a training repeats itself.
        save_summary_steps: Steps between summaries, None for none.
        save_checkpoints_steps: Steps between checkpoints.
        save_checkpoints_secs: Seconds between checkpoints, 600 where neither is given; both None for none.
        session_config: A `tf.ConfigProto`.
        keep_checkpoint_max: How many checkpoints are kept, 0 or None for all.
        keep_checkpoint_every_n_hours: One more is kept for each such time.
        log_step_count_steps: Steps between the logged speed, None for none.
        train_distribute: A strategy of one copy of the model; it changes nothing.
        device_fn: From an operation to a device.
        protocol: The servers' protocol, grpc if none.
        eval_distribute: As `train_distribute`.
        experimental_distribute: Not given here.
        experimental_max_worker_delay_secs: The longest a worker waits before it starts; none waits unless told.
        session_creation_timeout_secs: How long a worker waits for the chief.
        checkpoint_save_graph_def: Taken; the graph is always saved.

    Raises:
        ValueError: Both kinds of time between checkpoints, a negative number, or a TF_CONFIG that does not hold
            together.
    """

    def __init__(
        self,
        model_dir: Any = None,
        tf_random_seed: int | None = 1,
        save_summary_steps: int | None = 100,
        save_checkpoints_steps: Any = _UNSET,
        save_checkpoints_secs: Any = _UNSET,
        session_config: Any = None,
        keep_checkpoint_max: int | None = 5,
        keep_checkpoint_every_n_hours: float = 10000,
        log_step_count_steps: int | None = 100,
        train_distribute: Any = None,
        device_fn: Any = None,
        protocol: str | None = None,
        eval_distribute: Any = None,
        experimental_distribute: Any = None,
        experimental_max_worker_delay_secs: float | None = None,
        session_creation_timeout_secs: float = 7200,
        checkpoint_save_graph_def: bool = True,
        **unknown: Any,
    ) -> None:
        for name, value in {
            "train_distribute": train_distribute,
            "eval_distribute": eval_distribute,
            "experimental_distribute": experimental_distribute,
        }.items():
            # One copy of the model is what an estimator trains without a strategy.
            if value is not None and getattr(value, "num_replicas_in_sync", 0) != 1:
                raise argument_gone(
                    "tf.estimator.RunConfig", f"{name}={value!r}",
                    "run ps and workers (a TF_CONFIG with a cluster), or leave it out for one device",
                )  # fmt: skip
        if unknown:
            raise argument_gone("tf.estimator.RunConfig", ", ".join(sorted(unknown)), "leave them out")
        if save_checkpoints_steps is _UNSET:
            save_checkpoints_steps = None
            save_checkpoints_secs = 600 if save_checkpoints_secs is _UNSET else save_checkpoints_secs
        elif save_checkpoints_secs is _UNSET:
            save_checkpoints_secs = None
        self.save_checkpoints_steps, self.save_checkpoints_secs = save_checkpoints_steps, save_checkpoints_secs
        self.tf_random_seed, self.save_summary_steps = tf_random_seed, save_summary_steps
        self.session_config, self.device_fn, self.protocol = session_config, device_fn, plain(protocol)
        self.keep_checkpoint_max = keep_checkpoint_max
        self.keep_checkpoint_every_n_hours = keep_checkpoint_every_n_hours
        self.log_step_count_steps = log_step_count_steps
        self.max_worker_delay_secs = experimental_max_worker_delay_secs
        self.session_creation_timeout_secs = session_creation_timeout_secs
        self.checkpoint_save_graph_def = checkpoint_save_graph_def
        self.train_distribute, self.eval_distribute = train_distribute, eval_distribute
        self._tf_config = json.loads(os.environ.get("TF_CONFIG") or "{}")
        self._place()
        chosen = model_dir if model_dir is not None else self._tf_config.get("model_dir")
        self.model_dir = None if chosen is None else os.fspath(chosen)
        self._check()

    def _check(self) -> None:
        if self.save_checkpoints_steps is not None and self.save_checkpoints_secs is not None:
            raise ValueError("RunConfig: wanted save_checkpoints_steps or save_checkpoints_secs, got both")
        for name in ("save_summary_steps", "save_checkpoints_steps", "save_checkpoints_secs", "keep_checkpoint_max"):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise ValueError(f"RunConfig: wanted {name} of 0 or more, got {value}")
        if self.session_config is not None and not isinstance(self.session_config, tf.ConfigProto):
            raise ValueError(f"RunConfig: wanted a tf.ConfigProto as session_config, got {self.session_config!r}")

    def _place(self) -> None:
        cluster = {name: list(hosts) for name, hosts in (self._tf_config.get("cluster") or {}).items() if hosts}
        task = self._tf_config.get("task") or {}
        self.cluster_spec = tf.train.ClusterSpec(cluster)
        self.task_type = task.get("type", TaskType.WORKER)
        self.task_id = int(task.get("index", 0))
        self.service = self._tf_config.get("service")
        self.num_ps_replicas = len(cluster.get(TaskType.PS, ()))
        heads = [name for name in (TaskType.CHIEF, TaskType.MASTER) if cluster.get(name)]
        if len(heads) > 1 or any(len(cluster[name]) > 1 for name in heads):
            raise ValueError("TF_CONFIG: wanted one chief, or one master")
        self.num_worker_replicas = len(cluster.get(TaskType.WORKER, ())) + len(heads) if cluster else 1
        if self.task_id < 0:
            raise ValueError(f"TF_CONFIG: wanted a task index of 0 or more, got {self.task_id}")
        if not cluster:
            if self.task_type == TaskType.EVALUATOR:
                self.num_worker_replicas = 0
            self.is_chief = self.task_type != TaskType.EVALUATOR and self.task_id == 0
            self.master = self.evaluation_master = ""
            return
        known = self.task_type == TaskType.EVALUATOR or self.task_id < len(cluster.get(self.task_type, ()))
        if not known:
            raise ValueError(f"TF_CONFIG: the cluster has no {self.task_type} {self.task_id}: {cluster}")
        # PAI's clusters name no chief: there, worker 0 is it.
        self.is_chief = self.task_type in heads or (
            not heads and self.task_type == TaskType.WORKER and not self.task_id
        )
        alone = self.task_type == TaskType.EVALUATOR or sum(map(len, cluster.values())) == 1
        address = "" if alone else cluster[self.task_type][self.task_id]
        self.master = f"{self.protocol or 'grpc'}://{address}" if address else ""
        self.evaluation_master = ""

    @property
    def global_id_in_cluster(self) -> int | None:
        """The task's number among chief, workers and ps, in this order; None for an evaluator."""
        if self.task_type == TaskType.EVALUATOR:
            return None
        before = 0
        for name in (TaskType.CHIEF, TaskType.MASTER, TaskType.WORKER, TaskType.PS):
            if name == self.task_type:
                return before + self.task_id
            before += len(self.cluster_spec.as_dict().get(name, ()))
        return before

    def replace(self, **changes: Any) -> RunConfig:
        """Returns a copy with other settings.

        Raises:
            ValueError: A setting that is unknown or comes from TF_CONFIG.
        """
        allowed = {
            "model_dir", "tf_random_seed", "save_summary_steps", "save_checkpoints_steps", "save_checkpoints_secs",
            "session_config", "keep_checkpoint_max", "keep_checkpoint_every_n_hours", "log_step_count_steps",
            "device_fn", "protocol", "session_creation_timeout_secs",
        }  # fmt: skip
        if set(changes) - allowed:
            raise ValueError(f"RunConfig: {', '.join(sorted(set(changes) - allowed))} cannot be replaced")
        other = copy.copy(self)
        if "save_checkpoints_steps" in changes:
            changes.setdefault("save_checkpoints_secs", None)
        elif "save_checkpoints_secs" in changes:
            changes.setdefault("save_checkpoints_steps", None)
        for name, value in changes.items():
            setattr(other, name, value)
        other._check()
        return other
