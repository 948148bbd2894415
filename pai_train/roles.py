"""Which columns of an input are learned, and which the model sees."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pai_train.errors import Fault, did_you_mean
from pai_train.job import LabelPlan
from pai_train.spec.config import InputConfig, LabelConfig
from pai_train.spec.images import ImageType
from pai_train.spec.training import METRICS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pai_train.spec.config import TrainConfig
    from pai_train.spec.types import MaxComputeType

CLASS_TYPES = ("STRING", "VARCHAR", "CHAR", "BIGINT", "INT", "SMALLINT", "TINYINT", "BOOLEAN")
NUMBER_TYPES = ("DOUBLE", "FLOAT", "BIGINT", "INT", "SMALLINT", "TINYINT")
FEATURE_TYPES = (*CLASS_TYPES, "DOUBLE", "FLOAT", "IMAGE")


def learned(
    key: str, config: InputConfig, types: Mapping[str, MaxComputeType | ImageType]
) -> tuple[LabelPlan | None, list[Fault]]:
    """Returns the column to predict with its task; None where none is named, or where it is a fault."""
    if config.label is None:
        return None, []
    label = LabelConfig(column=config.label) if isinstance(config.label, str) else config.label
    key = f"{key}.label"
    if label.column not in types:
        return None, [
            Fault("no column has the label's name", key, got=label.column, todo=did_you_mean(label.column, types))
        ]
    kind = _kind(types[label.column])
    task = label.task
    if task == "auto":
        task = "classification" if kind in CLASS_TYPES else "regression"
    wanted = CLASS_TYPES if task == "classification" else NUMBER_TYPES
    if kind not in wanted:
        return None, [
            Fault(
                f"the label's type does not go with {task}",
                key,
                got=f"{label.column} {types[label.column]}",
                wanted=f"a column of type {', '.join(wanted)}",
                todo="name another column, or give label.task",
            )
        ]
    return LabelPlan(label.column, task, tuple(label.classes) if label.classes else None), []


def seen(
    key: str, config: InputConfig, types: Mapping[str, MaxComputeType | ImageType], label: LabelPlan | None
) -> tuple[list[str], list[Fault]]:
    """Returns the columns the model sees: those that are named, or all but the label and the weight."""
    names = config.features
    if names is None:
        taken = {config.weight, None if label is None else label.column}
        names = [name for name in types if name not in taken]
        # Of an image its label and its address say what is to be learned.
        names = [name for name in names if isinstance(types[name], ImageType)] or names
    faults = [
        Fault("no column has a feature's name", f"{key}.features", got=name, todo=did_you_mean(name, types))
        for name in names
        if name not in types
    ]
    faults += [
        Fault(
            f"column {name!r} cannot be a feature",
            f"{key}.features",
            got=str(types[name]),
            wanted=", ".join(FEATURE_TYPES[:-1]),
            todo="list the columns the model sees in features",
        )
        for name in names
        if name in types and _kind(types[name]) not in FEATURE_TYPES
    ]
    if not names:
        faults.append(Fault("the input has no feature columns", f"{key}.features", todo="name at least one"))
    return names, faults


def weighed(key: str, config: InputConfig, types: Mapping[str, MaxComputeType | ImageType]) -> list[Fault]:
    """Returns what is wrong with the column that weighs the rows."""
    name, key = config.weight, f"{key}.weight"
    if name is None:
        return []
    if name not in types:
        return [Fault("no column has the weight's name", key, got=name, todo=did_you_mean(name, types))]
    if _kind(types[name]) not in NUMBER_TYPES:
        return [Fault("a weight is a number", key, got=f"{name} {types[name]}", wanted=", ".join(NUMBER_TYPES))]
    return []


def defaults_of(config: InputConfig, names: Sequence[str]) -> dict[str, Any]:
    """Returns the value that stands for null, by column."""
    defaults = config.record_defaults
    if defaults is None:
        return {}
    return dict(defaults) if isinstance(defaults, dict) else dict(zip(names, defaults, strict=True))


def suited(config: TrainConfig, label: LabelPlan | None) -> list[Fault]:
    """Returns which keys of `train` do not go with what is learned."""
    if label is None:
        return []
    faults = []
    if config.class_weight is not None and label.task == "regression":
        todo = "weigh rows by a column: inputs.train.weight"
        faults.append(Fault("regression has no classes", "train.class_weight", got=str(config.class_weight), todo=todo))
    stopping = config.early_stopping
    if stopping is not None and stopping.metric.partition("/")[2] not in METRICS[label.task]:
        wanted = ", ".join(f"{part}/{name}" for part in ("test", "train") for name in METRICS[label.task])
        key = "train.early_stopping.metric"
        faults.append(Fault(f"a {label.task} has no such metric", key, got=stopping.metric, wanted=wanted))
    return faults


def _kind(declared: MaxComputeType | ImageType) -> str:
    return str(declared).partition("(")[0].partition("<")[0]
