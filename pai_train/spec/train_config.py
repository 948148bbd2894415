"""The keys of `train` that say how a step is taken and when to stop; all of them may be left out."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt
from typing_extensions import Doc

ScheduleName = Literal["constant", "cosine", "warmup_cosine", "exponential", "inverse_time", "polynomial", "piecewise"]


@dataclass(frozen=True, kw_only=True)
class ScheduleConfig:
    """How the learning rate goes, by Keras's schedules; a step is an update of the weights."""

    name: Annotated[
        ScheduleName,
        Doc("Which schedule; warmup_cosine rises from 0 to train.learning_rate first, the others begin there."),
    ]
    decay_steps: Annotated[
        int | None,
        Ge(1),
        Doc("cosine, polynomial: steps until `end`; exponential, inverse_time: steps of one `decay_rate`."),
    ] = None
    warmup_steps: Annotated[int | None, Ge(1), Doc("warmup_cosine: steps of the rise.")] = None
    decay_rate: Annotated[float | None, Gt(0), Doc("exponential, inverse_time: by how much it falls.")] = None
    staircase: Annotated[bool, Doc("exponential, inverse_time: fall every decay_steps, not a little each step.")] = (
        False
    )
    end: Annotated[float | None, Ge(0), Doc("cosine, warmup_cosine, polynomial: the last rate; null for 0.")] = None
    power: Annotated[float | None, Gt(0), Doc("polynomial: its power; null for 1, a straight line.")] = None
    boundaries: Annotated[
        list[Annotated[int, Ge(1)]] | None, Doc("piecewise: the last step of each value but the last, ascending.")
    ] = None
    values: Annotated[
        list[Annotated[float, Gt(0)]] | None, Doc("piecewise: learning rates, one more than boundaries.")
    ] = None


@dataclass(frozen=True, kw_only=True)
class EarlyStoppingConfig:
    """When to stop before the last epoch, and which model is the best."""

    metric: Annotated[str, Doc("What is watched: test/loss, test/accuracy, test/rmse, test/mae, or train/…")] = (
        "test/loss"
    )
    mode: Annotated[
        Literal["auto", "min", "max"], Doc("Whether less or more is better; auto: more of accuracy, less of others.")
    ] = "auto"
    patience: Annotated[
        int | None, Ge(1), Doc("Stop after so many measurements in a row without a better one; null for never.")
    ] = None
    min_delta: Annotated[float, Ge(0), Doc("What is better by no more than this does not count.")] = 0.0
    restore_best: Annotated[
        bool, Doc("Whether the weights of the best measurement are the result; they are kept in each checkpoint.")
    ] = True


@dataclass(frozen=True, kw_only=True)
class StepConfig:
    """How a step is taken, what is measured on the way, and when to stop."""

    learning_rate_schedule: ScheduleConfig | None = None
    clip_norm: Annotated[
        float | None, Gt(0), Doc("Scale the gradients of a step down to this norm over all variables; null for not.")
    ] = None
    clip_value: Annotated[
        float | None, Gt(0), Doc("Cut each element of the gradients to plus or minus this; null for not.")
    ] = None
    accumulate_steps: Annotated[
        int,
        Ge(1),
        Doc("Batches whose gradients are added up, each row alike, before the weights change."),
    ] = 1
    class_weight: Annotated[
        Literal["balanced"] | dict[str, Annotated[float, Ge(0)]] | None,
        Doc("Weight of a row's loss by its class, 1 where a class is not named; balanced: the rarer, the heavier."),
    ] = None
    precision: Annotated[
        Literal["float32", "mixed_bfloat16", "mixed_float16"],
        Doc("What layers compute in; the variables, the last layer and the loss stay float32."),
    ] = "float32"
    evaluate_every_steps: Annotated[
        int | None, Ge(1), Doc("Evaluate inside an epoch too, each time after so many steps; null for not.")
    ] = None
    early_stopping: EarlyStoppingConfig | None = None
    callbacks: Annotated[
        list[str], Doc("Keras callbacks: dotted paths to classes or functions that take no arguments, or to objects.")
    ] = field(default_factory=list)


def without_unused(tree: dict[str, Any]) -> dict[str, Any]:
    """Takes keys out of a tree that are as if they were not there, so that its hash is that of versions before them.

    Args:
        tree: A whole configuration; changed.
    """
    train = tree.get("train", {})
    for one in dataclasses.fields(StepConfig):
        default = one.default_factory() if one.default_factory is not dataclasses.MISSING else one.default
        if one.name in train and train[one.name] == default:
            del train[one.name]
    for rows in tree.get("inputs", {}).values():
        if rows.get("weight", "") is None:
            del rows["weight"]
    return tree
