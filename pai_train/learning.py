"""From a job and what is known of its rows to a model that learns."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from pai_train.models.load import build
from pai_train.training.step_plan import StepPlan
from pai_train.training.weights import class_weights

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pai_train.job import Job
    from pai_train.models.contracts import ColumnSpec, LabelSpec
    from pai_train.training.learner import Learner


def make_learner(
    job: Job, columns: Sequence[ColumnSpec], label: LabelSpec, count: Callable[[], Sequence[int]]
) -> Learner:
    """Makes the learner of a job, from its seed alone.

    Args:
        job: What to do.
        columns: The features.
        label: What is learned.
        count: Counts the training rows of each class, where that is asked for.

    Raises:
        PaiTrainError: The builder fails, or a weight is for no class.
    """
    from pai_train.training.learner import Learner

    train = job.train
    weights = class_weights(train.class_weight, label.classes, count) if label.classes else None
    return Learner(
        partial(_seeded, train.seed, partial(build, job.model, job.params, columns, label)),
        label,
        optimizer=train.optimizer,
        learning_rate=train.learning_rate,
        devices=job.devices,
        plan=StepPlan.of(train, weights, job.inputs["train"].weight),
    )


def _seeded(seed: int, make: Callable[[], Any]) -> Any:
    """Makes a model from the seed alone; the random pauses of stores have drawn from the same source."""
    import keras

    keras.utils.set_random_seed(seed)
    return make()
