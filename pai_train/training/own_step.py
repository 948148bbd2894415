"""A model with a train_step of its own: it takes the steps, we count rows and keep the state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from pai_train.errors import Fault, PaiTrainError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pai_train.training.step_plan import StepPlan


def has_own_step(model: Any) -> bool:
    """Tells whether a model's class defines `train_step`."""
    return defines_step(type(model))


def defines_step(kind: Any) -> bool:
    """Tells whether a class is one of models that defines `train_step`."""
    return issubclass(kind, keras.Model) and kind.train_step is not keras.Model.train_step


def refuse_unsuited(model: Any, plan: StepPlan, replicas: int) -> None:
    """Refuses what only a step of ours can do.

    Raises:
        PaiTrainError: Something of that is asked for.
    """
    asked = [
        *([f"{replicas} replicas"] if replicas > 1 else []),
        *(["train.accumulate_steps"] if plan.accumulate > 1 else []),
        *(["train.clip_norm"] if plan.clip_norm is not None else []),
        *(["train.clip_value"] if plan.clip_value is not None else []),
        *(["train.precision=mixed_float16"] if plan.precision == "mixed_float16" else []),
        *(["train.class_weight"] if plan.class_weights is not None else []),
        *(["a model that its builder compiled"] if model.compiled else []),
    ]
    if asked:
        fault = unsuited(type(model).__name__, asked)
        raise PaiTrainError(fault.what, where=fault.where, got=fault.got, wanted=fault.wanted, todo=fault.todo)


def unsuited(name: str, asked: Sequence[str]) -> Fault:
    """Returns the fault of a model whose train_step cannot be combined with what is asked for."""
    return Fault(
        f"the model {name} has a train_step of its own, which cannot be combined with this",
        where="model.name",
        got=", ".join(asked),
        wanted="one replica, and the loss and optimizer as the recipe gives them to the model's compile",
        todo="leave it out, do it in train_step, or leave train_step out",
    )


class OwnStep:
    """Calls a model's own train_step, batch by batch.

    Args:
        model: A compiled model.
    """

    def __init__(self, model: Any) -> None:
        self._model = model

    def take(self, inputs: Any, target: Any, weights: Any) -> Any:
        """Takes a step inside a graph; returns its loss, float64 of shape (1,).

        Raises:
            PaiTrainError: The step returns no loss.
        """
        # Keras's own trackers give means since their last reset; a mean of this step is wanted.
        for metric in self._model.metrics:
            metric.reset_state()
        logs = self._model.train_step((inputs, target) if weights is None else (inputs, target, weights))
        if not isinstance(logs, dict) or "loss" not in logs:
            raise PaiTrainError(
                f"train_step of {type(self._model).__name__} returns no loss",
                where="model.name",
                got=", ".join(map(str, logs)) if isinstance(logs, dict) else type(logs).__name__,
                wanted="a dict with `loss`, the mean over the rows of the batch",
            )
        return tf.reshape(tf.cast(logs["loss"], tf.float64), [1])
