"""`tf.contrib.tpu` without TPUs: an estimator that is told the size of its batches, as scripts for both use it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from pai_train.pai import estimator as _estimator
from pai_train.pai.gone import absent, argument_gone

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["InputPipelineConfig", "RunConfig", "TPUConfig", "TPUEstimator", "TPUEstimatorSpec"]

_NO_TPU = "run it with use_tpu=False: on GPUs or CPUs"


class InputPipelineConfig:
    """Where a TPU's input would be made; without one it has no effect."""

    PER_SHARD_V1, PER_HOST_V1, PER_HOST_V2, BROADCAST, SLICED = 1, 2, 3, 4, 5


class TPUConfig(NamedTuple):
    """How a TPU would be used; without one it has no effect."""

    iterations_per_loop: int = 2
    num_shards: int | None = None
    num_cores_per_replica: int | None = None
    per_host_input_for_training: Any = True
    tpu_job_name: str | None = None
    initial_infeed_sleep_secs: float | None = None
    input_partition_dims: Any = None
    eval_training_input_configuration: int = InputPipelineConfig.PER_HOST_V1
    experimental_host_call_every_n_steps: int = 1


class RunConfig(_estimator.RunConfig):
    """The settings of a run, with what a TPU would need.

    Args:
        tpu_config: How a TPU would be used.
        evaluation_master: The address of a TPU for evaluations: none.
        master: The address of a TPU: none.
        cluster: What finds a TPU: none.
        settings: Those of `tf.estimator.RunConfig`.

    Raises:
        ArgumentGone: A TPU is named.
    """

    def __init__(
        self,
        tpu_config: TPUConfig | None = None,
        evaluation_master: str | None = None,
        master: str | None = None,
        cluster: Any = None,
        **settings: Any,
    ) -> None:
        for name, value in {"evaluation_master": evaluation_master, "master": master, "cluster": cluster}.items():
            if value:
                raise argument_gone("tf.contrib.tpu.RunConfig", f"{name}={value!r}", _NO_TPU)
        super().__init__(**settings)
        self.tpu_config = tpu_config or TPUConfig()


def TPUEstimatorSpec(  # noqa: N802
    mode: str,
    predictions: Any = None,
    loss: Any = None,
    train_op: Any = None,
    eval_metrics: tuple[Callable[..., Mapping[str, Any]], Any] | None = None,
    export_outputs: Mapping[str, Any] | None = None,
    scaffold_fn: Callable[[], Any] | None = None,
    host_call: Any = None,
    training_hooks: Sequence[Any] | None = None,
    evaluation_hooks: Sequence[Any] | None = None,
    prediction_hooks: Sequence[Any] | None = None,
) -> Any:
    """Returns the `tf.estimator.EstimatorSpec` that says the same.

    Args:
        mode: One of `tf.estimator.ModeKeys`.
        predictions: A dict of tensors.
        loss: A scalar tensor.
        train_op: One step.
        eval_metrics: A function, and the tensors, a list or a dict, of which it makes metrics by name.
        export_outputs: By signature.
        scaffold_fn: A function that returns a `tf.train.Scaffold`.
        host_call: A function and its tensors: what a TPU's host would do at each step. It is called here as well.
        training_hooks: Hooks of a training.
        evaluation_hooks: Hooks of an evaluation.
        prediction_hooks: Hooks of a prediction.
    """
    metrics = _call(eval_metrics) if mode == _estimator.ModeKeys.EVAL and eval_metrics is not None else None
    hooks = list(training_hooks or ())
    if host_call is not None and mode == _estimator.ModeKeys.TRAIN:
        hooks.append(_Also(_call(host_call)))
    return _estimator.EstimatorSpec(
        mode=mode, predictions=predictions, loss=loss, train_op=train_op, eval_metric_ops=metrics,
        export_outputs=export_outputs, training_hooks=hooks, scaffold=scaffold_fn() if scaffold_fn else None,
        evaluation_hooks=evaluation_hooks, prediction_hooks=prediction_hooks,
    )  # fmt: skip


def _call(function_and_tensors: tuple[Callable[..., Any], Any]) -> Any:
    function, tensors = function_and_tensors
    return function(**tensors) if isinstance(tensors, dict) else function(*tensors)


class _Also(_estimator.SessionRunHook):  # type: ignore[misc]
    """Runs operations with every step."""

    def __init__(self, fetches: Any) -> None:
        self._fetches = fetches

    def before_run(self, run_context: Any) -> Any:
        return _estimator.SessionRunArgs(self._fetches)


class TPUEstimator(_estimator.Estimator):
    """An estimator whose input and model functions find the size of a batch in `params["batch_size"]`.

    Args:
        model_fn: From features, labels, mode and params to a `TPUEstimatorSpec` or `tf.estimator.EstimatorSpec`.
        model_dir: Where checkpoints and events go.
        config: A `RunConfig` of here.
        params: Hyper-parameters; a dict without `batch_size`.
        use_tpu: False: there are no TPUs here.
        train_batch_size: Rows of a step.
        eval_batch_size: Rows of an evaluation's step.
        predict_batch_size: Rows of a prediction's step.
        batch_axis: Of a TPU; without effect.
        eval_on_tpu: Of a TPU; without effect.
        export_to_tpu: Of a TPU; without effect.
        warm_start_from: As `tf.estimator.Estimator` takes it.

    Raises:
        ArgumentGone: `use_tpu`.
        ValueError: `params` has a `batch_size` of its own.
    """

    def __init__(
        self,
        model_fn: Callable[..., Any],
        model_dir: Any = None,
        config: Any = None,
        params: Any = None,
        use_tpu: bool = True,
        train_batch_size: int | None = None,
        eval_batch_size: int | None = None,
        predict_batch_size: int | None = None,
        batch_axis: Any = None,
        eval_on_tpu: bool = True,
        export_to_tpu: bool = True,
        warm_start_from: Any = None,
        **others: Any,
    ) -> None:
        if use_tpu:
            raise argument_gone("tf.contrib.tpu.TPUEstimator", "use_tpu=True", _NO_TPU)
        if "batch_size" in (params or {}):
            raise ValueError("TPUEstimator: batch_size in params is given by train_batch_size and its like")
        super().__init__(model_fn, model_dir, config, params if params is not None else {}, warm_start_from)
        self._sizes = {
            _estimator.ModeKeys.TRAIN: train_batch_size,
            _estimator.ModeKeys.EVAL: eval_batch_size,
            _estimator.ModeKeys.PREDICT: predict_batch_size,
        }

    def _params_in(self, mode: str) -> Any:
        size = self._sizes[mode]
        return self.params if size is None else {**self.params, "batch_size": size}


__getattr__ = absent("tf.contrib.tpu")
