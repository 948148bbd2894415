"""`tf.estimator.Estimator`: a model function trained, evaluated, asked and exported."""

from __future__ import annotations

import copy
import os
import tempfile
from typing import TYPE_CHECKING, Any, Self

from pai_train.pai.estimator import evaluation, warm_start
from pai_train.pai.estimator.export import signatures, write_model
from pai_train.pai.estimator.inputs import tensors_of
from pai_train.pai.estimator.model_fn import call_input_fn, call_model_fn, check_model_fn
from pai_train.pai.estimator.predictions import kept, rows_of
from pai_train.pai.estimator.run_config import RunConfig
from pai_train.pai.estimator.spec import EstimatorSpec, ModeKeys
from pai_train.pai.estimator.steps import run_steps, session_config, summarize_loss
from pai_train.pai.v1 import tf

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence


class Estimator:
    """A model function with a folder of checkpoints.

    Args:
        model_fn: From features, and as it likes labels, mode, params and config, to an `EstimatorSpec`.
        model_dir: Where checkpoints and events go; a new temporary folder if neither this nor the settings name one.
        config: The run's settings.
        params: Hyper-parameters for the model function.
        warm_start_from: A checkpoint, a folder of them, an exported model or `WarmStartSettings`, for the first
            training.

    Raises:
        ValueError: Arguments that do not fit each other or the model function.
    """

    def __init__(
        self,
        model_fn: Callable[..., Any],
        model_dir: Any = None,
        config: Any = None,
        params: Any = None,
        warm_start_from: Any = None,
    ) -> None:
        check_model_fn(model_fn, params)
        if config is not None and not isinstance(config, RunConfig):
            raise ValueError(f"Estimator: wanted a tf.estimator.RunConfig as config, got {config!r}")
        config = config or RunConfig()
        folder = None if model_dir is None else os.fspath(model_dir)
        if folder and config.model_dir and folder != config.model_dir:
            raise ValueError(f"Estimator: model_dir is {folder}, and {config.model_dir} in its config")
        folder = folder or config.model_dir
        if not folder:
            folder = tempfile.mkdtemp()
            tf.logging.warning("Estimator: no model_dir, it is %s", folder)
        self._config: RunConfig = config.replace(model_dir=folder)
        self._config.session_config = config.session_config or session_config(config)
        self._model_fn = model_fn
        self._params = copy.deepcopy(params if params is not None else {})
        self._warm_start = warm_start.settings_of(warm_start_from)

    @property
    def model_dir(self) -> str:
        """Where checkpoints and events go."""
        return str(self._config.model_dir)

    @property
    def config(self) -> RunConfig:
        """A copy of the run's settings."""
        return copy.copy(self._config)

    @property
    def params(self) -> Any:
        """A copy of the hyper-parameters."""
        return copy.deepcopy(self._params)

    @property
    def model_fn(self) -> Callable[..., EstimatorSpec]:
        """The model function, of features, labels, mode and config."""
        return lambda features, labels, mode, config: call_model_fn(
            self._model_fn, features, labels, mode, self.params, config
        )

    def latest_checkpoint(self) -> str | None:
        """Returns the last checkpoint, or None."""
        found: str | None = tf.train.latest_checkpoint(self.model_dir)
        return found

    def get_variable_names(self) -> list[str]:
        """Returns the names of the last checkpoint's variables.

        Raises:
            ValueError: There is no checkpoint.
        """
        return [name for name, _ in tf.train.list_variables(self._saved())]

    def get_variable_value(self, name: str) -> Any:
        """Returns a variable's value in the last checkpoint, an array.

        Raises:
            ValueError: There is no checkpoint.
        """
        return tf.train.load_variable(self._saved(), name)

    def eval_dir(self, name: str | None = None) -> str:
        """Returns where an evaluation's events go."""
        return os.path.join(self.model_dir, f"eval_{name}" if name else "eval")

    def train(
        self,
        input_fn: Callable[..., Any],
        hooks: Sequence[Any] | None = None,
        steps: int | None = None,
        max_steps: int | None = None,
        saving_listeners: Sequence[Any] | None = None,
    ) -> Self:
        """Trains until the input ends, a hook stops it, or a number of steps is done; goes on from the last checkpoint.

        Args:
            input_fn: Gives a dataset or tensors of (features, labels).
            hooks: Run around each step.
            steps: Steps to do now.
            max_steps: Steps to have done over all trainings.
            saving_listeners: Told of each checkpoint.

        Raises:
            ValueError: Both numbers of steps, one that is not above 0, or listeners where no checkpoint is made.
        """
        if steps is not None and max_steps is not None:
            raise ValueError("Estimator.train: wanted steps or max_steps, got both")
        for name, number in (("steps", steps), ("max_steps", max_steps)):
            if number is not None and number <= 0:
                raise ValueError(f"Estimator.train: wanted {name} above 0, got {number}")
        if max_steps is not None and self._steps_done() >= max_steps:
            tf.logging.info("Estimator.train: max_steps %d are done already", max_steps)
            return self
        with tf.Graph().as_default() as graph, graph.device(self._device()):
            features, labels, input_hooks = self._begin(input_fn, ModeKeys.TRAIN)
            spec = self._spec(features, labels, ModeKeys.TRAIN)
            if self._warm_start is not None and self.latest_checkpoint() is None:
                warm_start.warm_start(self._warm_start)
            summarize_loss(spec.loss)
            every = self._config.log_step_count_steps
            worker_hooks = [*input_hooks, *(hooks or ()), tf.train.NanTensorHook(spec.loss)]
            if steps is not None or max_steps is not None:
                worker_hooks.append(tf.train.StopAtStepHook(num_steps=steps, last_step=max_steps))
            if every:
                shown = {"loss": spec.loss, "step": tf.train.get_global_step()}
                worker_hooks.append(tf.train.LoggingTensorHook(shown, every_n_iter=every))
            worker_hooks += spec.training_hooks or ()
            run_steps(spec, self._scaffold(spec), self._config, worker_hooks, list(saving_listeners or ()))
        return self

    def evaluate(
        self,
        input_fn: Callable[..., Any],
        steps: int | None = None,
        hooks: Sequence[Any] | None = None,
        checkpoint_path: str | None = None,
        name: str | None = None,
    ) -> dict[str, Any]:
        """Returns the model's metrics over an input, with `loss` and `global_step`.

        Args:
            input_fn: Gives a dataset or tensors of (features, labels).
            steps: Batches to read, all if none.
            hooks: Run around each batch.
            checkpoint_path: The checkpoint, the last one if none; without any, initial values are evaluated.
            name: Tells this evaluation's events from others'.

        Raises:
            ValueError: A number of steps that is not above 0.
        """
        if steps is not None and steps <= 0:
            raise ValueError(f"Estimator.evaluate: wanted steps above 0, got {steps}")
        checkpoint = checkpoint_path or self._saved_or_none()
        with tf.Graph().as_default():
            features, labels, input_hooks = self._begin(input_fn, ModeKeys.EVAL)
            spec = self._spec(features, labels, ModeKeys.EVAL)
            every = [*input_hooks, *(hooks or ()), *(spec.evaluation_hooks or ())]
            scaffold = self._scaffold(spec)
            results = evaluation.evaluate(spec, checkpoint, steps, every, scaffold, self._config)
        evaluation.log(results)
        evaluation.write_events(self.eval_dir(name), results)
        return results

    def predict(
        self,
        input_fn: Callable[..., Any],
        predict_keys: Any = None,
        hooks: Sequence[Any] | None = None,
        checkpoint_path: str | None = None,
        yield_single_examples: bool = True,
    ) -> Iterator[Any]:
        """Yields the predictions of each row: an array, or a dict of arrays.

        Args:
            input_fn: Gives a dataset or tensors of features; labels are passed over.
            predict_keys: Names of predictions to keep.
            hooks: Run around each batch.
            checkpoint_path: The checkpoint, the last one if none.
            yield_single_examples: Whether rows are yielded, else batches.

        Raises:
            ValueError: None of the names is a prediction, or predictions have different numbers of rows.
        """
        checkpoint = checkpoint_path or self._saved_or_none()
        with tf.Graph().as_default():
            features, _, input_hooks = self._begin(input_fn, ModeKeys.PREDICT)
            spec = self._spec(features, None, ModeKeys.PREDICT)
            predictions = kept(spec.predictions, predict_keys)
            creator = tf.train.ChiefSessionCreator(
                scaffold=self._scaffold(spec),
                checkpoint_filename_with_path=checkpoint,
                config=self._config.session_config,
            )
            every = [*input_hooks, *(hooks or ()), *(spec.prediction_hooks or ())]
            opened = tf.train.MonitoredSession(session_creator=creator, hooks=every)
        # The graph is no longer the default one here: a generator may be left in the middle.
        with opened as session:
            while not session.should_stop():
                batch = session.run(predictions)
                yield from rows_of(batch) if yield_single_examples else (batch,)

    def export_saved_model(
        self,
        export_dir_base: Any,
        serving_input_receiver_fn: Callable[[], Any],
        assets_extra: Mapping[str, str] | None = None,
        as_text: bool = False,
        checkpoint_path: str | None = None,
        strip_default_attrs: bool = True,
    ) -> bytes:
        """Writes the last checkpoint, or another, as a model to serve.

        Args:
            export_dir_base: The folder of exports; the model gets a folder there, called after the second.
            serving_input_receiver_fn: Makes what is fed.
            assets_extra: Files to put under `assets.extra`, by their place there.
            as_text: Whether the graph is text.
            checkpoint_path: The checkpoint.
            strip_default_attrs: Whether default attributes are left out of the graph.

        Returns:
            The model's folder, as bytes.

        Raises:
            ValueError: There is no checkpoint, or no output can be served from these inputs.
        """
        checkpoint = checkpoint_path or self._saved()
        with tf.Graph().as_default():
            receiver, spec = self._serving_graph(serving_input_receiver_fn)
            made = signatures(receiver, spec.export_outputs, spec.predictions)
            with tf.Session(config=self._config.session_config) as session:
                local_init = self._restored(session, spec.scaffold, checkpoint, run_local_init=False)
                base = os.fsdecode(export_dir_base)
                folder = write_model(session, base, made, local_init, assets_extra, as_text, strip_default_attrs)
        return folder.encode()

    def export_savedmodel(
        self,
        export_dir_base: Any,
        serving_input_receiver_fn: Callable[[], Any],
        assets_extra: Mapping[str, str] | None = None,
        as_text: bool = False,
        checkpoint_path: str | None = None,
        strip_default_attrs: bool = False,
    ) -> bytes:
        """Returns `export_saved_model`, by its first name."""
        return self.export_saved_model(
            export_dir_base, serving_input_receiver_fn, assets_extra, as_text, checkpoint_path, strip_default_attrs
        )

    def _begin(self, input_fn: Callable[..., Any], mode: str) -> tuple[Any, Any, list[Any]]:
        tf.set_random_seed(self._config.tf_random_seed)
        tf.train.get_or_create_global_step()
        with tf.device("/cpu:0"):
            return tensors_of(call_input_fn(input_fn, mode, self._params_in(mode), self.config))

    def _spec(self, features: Any, labels: Any, mode: str) -> EstimatorSpec:
        return call_model_fn(self._model_fn, features, labels, mode, self._params_in(mode), self.config)

    def _params_in(self, mode: str) -> Any:
        """Returns the hyper-parameters as functions get them in a mode."""
        return self.params

    def _serving_graph(self, serving_input_receiver_fn: Callable[[], Any]) -> tuple[Any, EstimatorSpec]:
        tf.set_random_seed(self._config.tf_random_seed)
        tf.train.get_or_create_global_step()
        receiver = serving_input_receiver_fn()
        return receiver, self._spec(receiver.features, None, ModeKeys.PREDICT)

    def _restored(self, session: Any, scaffold: Any, checkpoint: str | None, run_local_init: bool = True) -> Any:
        if checkpoint is None:
            raise ValueError(f"Estimator: there is no checkpoint in {self.model_dir}")
        saver = getattr(scaffold, "saver", None) or tf.train.Saver(sharded=True)
        saver.restore(session, checkpoint)
        local_init = getattr(scaffold, "local_init_op", None)
        if local_init is None:
            local_init = tf.train.Scaffold.default_local_init_op()
        if run_local_init:
            session.run(local_init)
        return local_init

    def _scaffold(self, spec: EstimatorSpec) -> Any:
        scaffold = spec.scaffold or tf.train.Scaffold()
        if scaffold.saver is None and not tf.get_collection(tf.GraphKeys.SAVERS):
            saver = tf.train.Saver(
                sharded=True,
                max_to_keep=self._config.keep_checkpoint_max,
                keep_checkpoint_every_n_hours=self._config.keep_checkpoint_every_n_hours,
                defer_build=True,
                save_relative_paths=True,
            )
            tf.add_to_collection(tf.GraphKeys.SAVERS, saver)
        return scaffold

    def _device(self) -> Any:
        config = self._config
        if config.device_fn is not None or not config.num_ps_replicas:
            return config.device_fn
        return tf.train.replica_device_setter(
            ps_tasks=config.num_ps_replicas,
            worker_device=f"/job:{config.task_type}/task:{config.task_id}",
            cluster=config.cluster_spec,
        )

    def _saved_or_none(self) -> str | None:
        checkpoint = self.latest_checkpoint()
        if checkpoint is None:
            tf.logging.warning("Estimator: no checkpoint in %s, initial values are used", self.model_dir)
        return checkpoint

    def _saved(self) -> str:
        checkpoint = self.latest_checkpoint()
        if checkpoint is None:
            raise ValueError(f"Estimator: there is no checkpoint in {self.model_dir}")
        return checkpoint

    def _steps_done(self) -> int:
        checkpoint = self.latest_checkpoint()
        return 0 if checkpoint is None else int(tf.train.load_variable(checkpoint, tf.GraphKeys.GLOBAL_STEP))
