"""What a model function returns: `EstimatorSpec`, the mode keys, and the outputs of an export."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pai_train.pai.v1 import tf

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class ModeKeys:
    """The three uses of a model function."""

    TRAIN = "train"
    EVAL = "eval"
    PREDICT = "infer"


@dataclass(frozen=True)
class EstimatorSpec:
    """A model's tensors and operations in one mode.

    Attributes:
        mode: One of `ModeKeys`.
        predictions: A tensor or a dict of tensors.
        loss: A scalar tensor; wanted in training and evaluation.
        train_op: One step; wanted in training.
        eval_metric_ops: (value, update) pairs by name.
        export_outputs: `PredictOutput` and its like, by signature.
        training_chief_hooks: Hooks of the chief in training.
        training_hooks: Hooks of every worker in training.
        scaffold: The initialisers and the saver.
        evaluation_hooks: Hooks of an evaluation.
        prediction_hooks: Hooks of a prediction.

    Raises:
        ValueError: Something a mode needs is missing, or has another shape.
        TypeError: Something is of another type.
    """

    mode: str
    predictions: Any = None
    loss: Any = None
    train_op: Any = None
    eval_metric_ops: Mapping[str, Any] | None = None
    export_outputs: Mapping[str, Any] | None = None
    training_chief_hooks: Sequence[Any] | None = None
    training_hooks: Sequence[Any] | None = None
    scaffold: Any = None
    evaluation_hooks: Sequence[Any] | None = None
    prediction_hooks: Sequence[Any] | None = None

    def __post_init__(self) -> None:
        if self.mode not in (ModeKeys.TRAIN, ModeKeys.EVAL, ModeKeys.PREDICT):
            raise ValueError(f"EstimatorSpec: wanted a mode of tf.estimator.ModeKeys, got {self.mode!r}")
        needs = {
            ModeKeys.TRAIN: {"loss": self.loss, "train_op": self.train_op},
            ModeKeys.EVAL: {"loss": self.loss},
            ModeKeys.PREDICT: {"predictions": self.predictions},
        }[self.mode]
        missing = [name for name, value in needs.items() if value is None]
        if missing:
            raise ValueError(f"EstimatorSpec: missing {' and '.join(missing)} in mode {self.mode}")
        if self.loss is not None:
            object.__setattr__(self, "loss", _scalar(self.loss))
        for name, value in (self.eval_metric_ops or {}).items():
            if not (isinstance(value, tuple) and len(value) == 2) and not hasattr(value, "update_state"):
                raise TypeError(f"EstimatorSpec: metric {name} is no (value, update) pair: {value!r}")
        if self.export_outputs is not None:
            outputs = dict(self.export_outputs)
            for name, output in outputs.items():
                if not isinstance(output, ExportOutput):
                    raise TypeError(f"EstimatorSpec: export output {name} is no tf.estimator.export output: {output!r}")
            default = tf.saved_model.signature_constants.DEFAULT_SERVING_SIGNATURE_DEF_KEY
            if default not in outputs and len(outputs) > 1:
                raise ValueError(f"EstimatorSpec: several export outputs need one called {default}: {list(outputs)}")
        if self.scaffold is not None and not isinstance(self.scaffold, tf.train.Scaffold):
            raise TypeError(f"EstimatorSpec: wanted a tf.train.Scaffold, got {self.scaffold!r}")
        for name in ("training_chief_hooks", "training_hooks", "evaluation_hooks", "prediction_hooks"):
            hooks = tuple(getattr(self, name) or ())
            for hook in hooks:
                if not isinstance(hook, tf.train.SessionRunHook):
                    raise TypeError(f"EstimatorSpec: {name} holds something that is no hook: {hook!r}")
            object.__setattr__(self, name, hooks)
        object.__setattr__(self, "eval_metric_ops", dict(self.eval_metric_ops or {}))

    def _replace(self, **changes: Any) -> EstimatorSpec:
        return replace(self, **changes)


class ExportOutput:
    """A signature's outputs; see the three kinds."""

    def tensors(self) -> dict[str, Any]:
        """Returns the outputs by name."""
        raise NotImplementedError

    def signature(self, inputs: Mapping[str, Any]) -> Any | None:
        """Returns the signature over these inputs, or None where a server could not call it."""
        raise NotImplementedError


class PredictOutput(ExportOutput):
    """Any outputs: a tensor, called `output`, or a dict of tensors."""

    def __init__(self, outputs: Any) -> None:
        self.outputs = dict(outputs) if isinstance(outputs, dict) else {"output": outputs}

    def tensors(self) -> dict[str, Any]:
        return self.outputs

    def signature(self, inputs: Mapping[str, Any]) -> Any | None:
        return tf.saved_model.signature_def_utils.predict_signature_def(dict(inputs), self.outputs)


class ClassificationOutput(ExportOutput):
    """Scores (float) and classes (text) of `tf.Example` inputs.

    Raises:
        ValueError: Neither is given, or one has another type.
    """

    def __init__(self, scores: Any = None, classes: Any = None) -> None:
        if scores is None and classes is None:
            raise ValueError("ClassificationOutput: wanted scores or classes")
        if scores is not None and not scores.dtype.is_floating:
            raise ValueError(f"ClassificationOutput: wanted float scores, got {scores}")
        if classes is not None and tf.as_dtype(classes.dtype) != tf.string:
            raise ValueError(f"ClassificationOutput: wanted classes as text, got {classes}")
        self.scores, self.classes = scores, classes

    def tensors(self) -> dict[str, Any]:
        named = {"scores": self.scores, "classes": self.classes}
        return {name: one for name, one in named.items() if one is not None}

    def signature(self, inputs: Mapping[str, Any]) -> Any | None:
        examples = _examples(inputs)
        if examples is None:
            return None
        return tf.saved_model.signature_def_utils.classification_signature_def(examples, self.classes, self.scores)


class RegressionOutput(ExportOutput):
    """Values (float) of `tf.Example` inputs.

    Raises:
        ValueError: The values have another type.
    """

    def __init__(self, value: Any) -> None:
        if not value.dtype.is_floating:
            raise ValueError(f"RegressionOutput: wanted float values, got {value}")
        self.value = value

    def tensors(self) -> dict[str, Any]:
        return {"outputs": self.value}

    def signature(self, inputs: Mapping[str, Any]) -> Any | None:
        examples = _examples(inputs)
        if examples is None:
            return None
        return tf.saved_model.signature_def_utils.regression_signature_def(examples, self.value)


def _examples(inputs: Mapping[str, Any]) -> Any | None:
    only = next(iter(inputs.values())) if len(inputs) == 1 else None
    return only if only is not None and only.dtype == tf.string else None


def _scalar(loss: Any) -> Any:
    loss = tf.convert_to_tensor(loss)
    if loss.shape.num_elements() not in (1, None):
        raise ValueError(f"EstimatorSpec: wanted a scalar as loss, got {loss}")
    return tf.reshape(loss, []) if loss.shape.rank != 0 else loss
