"""`tf.contrib.learn`'s estimators, which `fit`: a model function's, and what they share with the canned ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

from pai_train.pai import estimator as core
from pai_train.pai.contrib.learn.feeding import fed
from pai_train.pai.contrib.learn.metric_spec import metric_ops
from pai_train.pai.contrib.learn.monitors import hooks_of
from pai_train.pai.estimator.model_fn import names_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


class ModelFnOps(NamedTuple):
    """What a model function makes of one batch.

    Attributes:
        mode: One of `ModeKeys`.
        predictions: A tensor, or a dict of them.
        loss: A scalar.
        train_op: One step.
        eval_metric_ops: (value, update) by name.
        output_alternatives: Has no effect.
        training_chief_hooks: Run around each step of the chief.
        training_hooks: Run around each step.
        scaffold: A `tf.train.Scaffold`.
    """

    mode: str
    predictions: Any = None
    loss: Any = None
    train_op: Any = None
    eval_metric_ops: Any = None
    output_alternatives: Any = None
    training_chief_hooks: Any = None
    training_hooks: Any = None
    scaffold: Any = None


class BaseEstimator:
    """An estimator of `tf.estimator` with the methods of `tf.contrib.learn`.

    Attributes:
        model_dir: Where checkpoints and events go.
        config: The run's settings.
        params: The hyper-parameters.
    """

    def __init__(self, model_fn: Callable[..., Any], model_dir: Any, config: Any, params: Any = None) -> None:
        self._fn = model_fn
        self._core = core.Estimator(model_fn, model_dir, config, params)

    @property
    def model_dir(self) -> str:
        return self._core.model_dir

    @property
    def config(self) -> Any:
        return self._core.config

    @property
    def params(self) -> Any:
        return self._core.params

    def get_variable_names(self) -> list[str]:
        """Returns the names of the last checkpoint's variables."""
        return self._core.get_variable_names()

    def get_variable_value(self, name: str) -> Any:
        """Returns a variable's value in the last checkpoint, an array."""
        return self._core.get_variable_value(name)

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        input_fn: Callable[..., Any] | None = None,
        steps: int | None = None,
        batch_size: int | None = None,
        monitors: Sequence[Any] | None = None,
        max_steps: int | None = None,
    ) -> Self:
        """Trains, from the last checkpoint on.

        Args:
            x: Features in memory.
            y: Their labels.
            input_fn: In the place of both.
            steps: Steps to do now.
            batch_size: Rows of a batch of x, all if none.
            monitors: Hooks, `ValidationMonitor` among them.
            max_steps: Steps to have done over all trainings.
        """
        self._core.train(
            fed(x, y, input_fn, batch_size, train=True), hooks_of(monitors, self), steps=steps, max_steps=max_steps
        )
        return self

    def partial_fit(
        self,
        x: Any = None,
        y: Any = None,
        input_fn: Callable[..., Any] | None = None,
        steps: int | None = 1,
        batch_size: int | None = None,
        monitors: Sequence[Any] | None = None,
    ) -> Self:
        """Trains with some of the rows; see `fit`."""
        return self.fit(x, y, input_fn, steps, batch_size, monitors)

    def evaluate(
        self,
        x: Any = None,
        y: Any = None,
        input_fn: Callable[..., Any] | None = None,
        feed_fn: Any = None,
        batch_size: int | None = None,
        steps: int | None = None,
        metrics: Mapping[Any, Any] | None = None,
        name: str | None = None,
        checkpoint_path: str | None = None,
        hooks: Sequence[Any] | None = None,
        log_progress: bool = True,
    ) -> dict[str, Any]:
        """Returns the metrics over an input, with `loss` and `global_step`.

        Args:
            x: Features in memory.
            y: Their labels.
            input_fn: In the place of both.
            feed_fn: Is not used.
            batch_size: Rows of a batch of x, all if none.
            steps: Batches to read, all if none.
            metrics: Further metrics: `MetricSpec` by name.
            name: Tells this evaluation's events from others'.
            checkpoint_path: The checkpoint, the last one if none.
            hooks: Run around each batch.
            log_progress: Is not used.
        """
        found = self._core
        if metrics is not None:
            found = core.Estimator(self._measured(metrics), None, self.config, self.params)
        reads = fed(x, y, input_fn, batch_size, train=False)
        return found.evaluate(reads, steps, hooks, checkpoint_path or self._core.latest_checkpoint(), name)

    def predict(
        self,
        x: Any = None,
        input_fn: Callable[..., Any] | None = None,
        batch_size: int | None = None,
        outputs: Sequence[str] | None = None,
        as_iterable: bool = True,
        iterate_batches: bool = False,
    ) -> Any:
        """Returns the predictions of each row: an iterator of them, or arrays of all.

        Args:
            x: Features in memory.
            input_fn: In their place.
            batch_size: Rows of a batch of x, all if none.
            outputs: Names of predictions, all if none.
            as_iterable: Whether an iterator is returned.
            iterate_batches: Whether it gives batches and not rows.
        """
        reads = fed(x, None, input_fn, batch_size, train=False)
        found = self._core.predict(reads, outputs, yield_single_examples=not (iterate_batches or not as_iterable))
        return found if as_iterable else _joined(list(found))

    def export_savedmodel(
        self,
        export_dir_base: Any,
        serving_input_fn: Callable[[], Any],
        default_output_alternative_key: str | None = None,
        assets_extra: Mapping[str, str] | None = None,
        as_text: bool = False,
        checkpoint_path: str | None = None,
        **_: Any,
    ) -> bytes:
        """Writes the last checkpoint as a model to serve, and returns its folder.

        Args:
            export_dir_base: The folder of exports.
            serving_input_fn: Makes what is fed: features, labels and what they are made of.
            default_output_alternative_key: Has no effect.
            assets_extra: Files to put beside it.
            as_text: Whether the graph is text.
            checkpoint_path: The checkpoint.
        """

        def receiver() -> Any:
            made = serving_input_fn()
            if isinstance(made, core.export.ServingInputReceiver):
                return made
            features, _, inputs = made
            return core.export.ServingInputReceiver(features, inputs)

        return self._core.export_savedmodel(export_dir_base, receiver, assets_extra, as_text, checkpoint_path)

    def _measured(self, metrics: Mapping[Any, Any]) -> Callable[..., Any]:
        """Returns the model function with further metrics."""

        def model_fn(features: Any, labels: Any, mode: str, params: Any, config: Any) -> Any:
            spec = self._fn(features=features, labels=labels, mode=mode, params=params, config=config)
            if mode != core.ModeKeys.EVAL:
                return spec
            more = metric_ops(metrics, features, labels, spec.predictions)
            return spec._replace(eval_metric_ops={**(spec.eval_metric_ops or {}), **more})

        return model_fn


class Estimator(BaseEstimator):
    """A model function's estimator.

    Args:
        model_fn: Of features and labels, and as it likes mode, params, config and model_dir; returns `ModelFnOps`, an
            `EstimatorSpec`, or predictions, loss and one step.
        model_dir: Where checkpoints and events go.
        config: The run's settings.
        params: Hyper-parameters for the model function.
        feature_engineering_fn: From features and labels to others, before the model function.
    """

    def __init__(
        self,
        model_fn: Callable[..., Any],
        model_dir: Any = None,
        config: Any = None,
        params: Any = None,
        feature_engineering_fn: Callable[..., Any] | None = None,
    ) -> None:
        names = names_of(model_fn)

        def spec(features: Any, labels: Any, mode: str, params: Any, config: Any) -> Any:
            if feature_engineering_fn is not None:
                features, labels = feature_engineering_fn(features, labels)
            offered = {"mode": mode, "params": params, "config": config, "model_dir": config.model_dir}
            given = {name: value for name, value in offered.items() if name in names}
            return _spec(mode, model_fn(features, labels, **given))

        super().__init__(spec, model_dir, config, params)


class SKCompat:
    """An estimator with scikit-learn's methods, for rows in memory.

    Args:
        estimator: One of `tf.contrib.learn`.
    """

    def __init__(self, estimator: BaseEstimator) -> None:
        self._estimator = estimator

    def fit(
        self, x: Any, y: Any, batch_size: int = 128, steps: int | None = None, max_steps: int | None = None,
        monitors: Any = None,
    ) -> Self:  # fmt: skip
        """Trains."""
        self._estimator.fit(x, y, None, steps, batch_size, monitors, max_steps)
        return self

    def score(
        self, x: Any, y: Any, batch_size: int = 128, steps: int | None = None, metrics: Any = None,
        name: str | None = None,
    ) -> dict[str, Any]:  # fmt: skip
        """Returns the metrics."""
        return self._estimator.evaluate(x, y, batch_size=batch_size, steps=steps, metrics=metrics, name=name)

    def predict(self, x: Any, batch_size: int = 128, outputs: Sequence[str] | None = None) -> Any:
        """Returns the predictions of all rows: arrays."""
        return BaseEstimator.predict(self._estimator, x, None, batch_size, outputs, as_iterable=False)


def _spec(mode: str, made: Any) -> Any:
    """Returns what a model function made as an `EstimatorSpec`.

    Raises:
        ValueError: It made something else.
    """
    if isinstance(made, core.EstimatorSpec):
        return made
    if not isinstance(made, ModelFnOps):
        if not isinstance(made, tuple) or len(made) != 3:
            raise ValueError(f"model_fn: wanted ModelFnOps, or predictions, loss and train_op, got {made!r}")
        made = ModelFnOps(mode, *made)
    hooks = [*(made.training_hooks or ()), *(made.training_chief_hooks or ())]
    return core.EstimatorSpec(
        mode,
        predictions=made.predictions,
        loss=made.loss,
        train_op=made.train_op,
        eval_metric_ops=made.eval_metric_ops,
        training_hooks=hooks or None,
        scaffold=made.scaffold,
    )


def _joined(batches: list[Any]) -> Any:
    """Returns the rows of all batches together."""
    if not isinstance(batches[0], dict):
        return np.concatenate(batches)
    return {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}
