"""From a job and what is known of its rows to a model that learns."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from pai_train.errors import Fault, Refused
from pai_train.models.load import build, made_class
from pai_train.training.step_plan import StepPlan
from pai_train.training.weights import class_weights

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pai_train.job import Job
    from pai_train.models.contracts import ColumnSpec, LabelSpec
    from pai_train.training.callbacks import Callbacks
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
    train = job.train

    def counted() -> Sequence[int]:
        found: list[int] = job.team.from_chief(lambda: list(count()))
        return found

    weights = class_weights(train.class_weight, label.classes, counted) if label.classes else None
    return job.team.learner(
        partial(_seeded, train.seed, partial(build, job.model, job.params, columns, label)),
        label,
        optimizer=train.optimizer,
        learning_rate=train.learning_rate,
        devices=job.devices,
        plan=StepPlan.of(train, weights, job.inputs["train"].weight),
    )


def own_step_fault(name: str, workers: int) -> Fault | None:
    """Returns the fault of a model with a train_step of its own for several workers; None where none is known of yet.

    Args:
        name: The builder's, which is imported.
        workers: How many there are, more than 1.
    """
    if (kind := made_class(name)) is None:
        return None
    from pai_train.training.own_step import defines_step, unsuited

    return unsuited(kind.__name__, [f"{workers} workers"]) if defines_step(kind) else None


def callback_faults(paths: Sequence[str]) -> list[Fault]:
    """Returns what is wrong with the paths of callbacks, which are imported and made for that."""
    if not paths:
        return []
    from pai_train.training.callbacks import load_callbacks

    try:
        load_callbacks(paths)
    except Refused as refused:
        return list(refused.faults)
    return []


def make_callbacks(job: Job, learner: Learner) -> Callbacks | None:
    """Makes the callbacks of a job; None where it has none.

    Raises:
        Refused: A path of the recipe leads to no callback.
        PaiTrainError: A callback cannot be used.
    """
    from pai_train.training.callbacks import Callbacks, load_callbacks

    if not job.train.callbacks and not job.callbacks:
        return None

    def make() -> Callbacks:
        found = [*load_callbacks(job.train.callbacks), *job.callbacks]
        return Callbacks(found, learner, epochs=job.train.epochs)

    return job.team.callbacks(make, learner)


def _seeded(seed: int, make: Callable[[], Any]) -> Any:
    """Makes a model from the seed alone; the random pauses of stores have drawn from the same source."""
    import keras

    keras.utils.set_random_seed(seed)
    return make()
