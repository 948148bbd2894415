"""What the keys of `train` ask of each other, and of the inputs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pai_train.errors import Fault, did_you_mean
from pai_train.spec.config import InputConfig, LabelConfig

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pai_train.spec.config import JobConfig
    from pai_train.spec.train_config import ScheduleConfig

# What each schedule needs, and what it takes besides.
_NEEDS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "constant": ((), ()),
    "cosine": (("decay_steps",), ("end",)),
    "warmup_cosine": (("warmup_steps", "decay_steps"), ("end",)),
    "exponential": (("decay_steps", "decay_rate"), ("staircase",)),
    "inverse_time": (("decay_steps", "decay_rate"), ("staircase",)),
    "polynomial": (("decay_steps",), ("end", "power")),
    "piecewise": (("boundaries", "values"), ()),
}
_KEYS = ("decay_steps", "warmup_steps", "decay_rate", "staircase", "end", "power", "boundaries", "values")
METRICS = {"classification": ("loss", "accuracy"), "regression": ("loss", "rmse", "mae")}
"""What is measured, by task."""
_ALL = ("loss", "accuracy", "rmse", "mae")


def training_faults(config: JobConfig) -> Iterator[Fault]:
    """Checks how steps are taken, what weighs rows, and what ends a training."""
    train = config.train
    if train.learning_rate_schedule is not None:
        yield from _schedule("train.learning_rate_schedule", train.learning_rate_schedule)
    if train.clip_norm is not None and train.clip_value is not None:
        what, todo = "gradients are clipped by their norm already", "leave out clip_norm or clip_value"
        yield Fault(what, where="train.clip_value", got=f"{train.clip_value:g}", todo=todo)
    yield from _weights(config)
    yield from _stopping(config)
    for at, path in enumerate(train.callbacks):
        if not all(part.isidentifier() for part in path.split(".")) or "." not in path:
            wanted = "a dotted path, such as mine.Stopper or keras.callbacks.TerminateOnNaN"
            yield Fault("not the path of a callback", where=f"train.callbacks[{at}]", got=path, wanted=wanted)


def _schedule(key: str, schedule: ScheduleConfig) -> Iterator[Fault]:
    needed, taken = _NEEDS[schedule.name]
    for name in _KEYS:
        value = getattr(schedule, name)
        if name in needed and value is None:
            yield Fault(f"schedule {schedule.name} needs {name}", where=f"{key}.{name}", wanted=f"a value of {name}")
        elif name not in (*needed, *taken) and value not in (None, False):
            of = [one for one, (first, second) in _NEEDS.items() if name in (*first, *second)]
            todo = f"leave it out, or choose {key}.name={of[0]}"
            yield Fault(f"schedule {schedule.name} has no {name}", where=f"{key}.{name}", todo=todo)
    boundaries, values = schedule.boundaries, schedule.values
    if schedule.name == "piecewise" and boundaries is not None and values is not None:
        if not boundaries or sorted(set(boundaries)) != boundaries:
            wanted = "one step or more, ascending"
            yield Fault("not the boundaries of pieces", where=f"{key}.boundaries", got=str(boundaries), wanted=wanted)
        if len(values) != len(boundaries) + 1:
            wanted = f"{len(boundaries) + 1} values, one more than boundaries"
            yield Fault("a value per piece", where=f"{key}.values", got=f"{len(values)} values", wanted=wanted)


def _weights(config: JobConfig) -> Iterator[Fault]:
    weights = config.train.class_weight
    for named, rows in config.inputs.items():
        if rows.weight is None:
            continue
        key = f"inputs.{named}.weight"
        if named != "train":
            yield Fault("only training rows have weights", where=key, got=rows.weight, todo="leave it out")
        elif rows.columns and rows.weight not in rows.columns:
            yield Fault(f"no column {rows.weight!r}", where=key, todo=did_you_mean(rows.weight, rows.columns))
        elif rows.weight == _column(rows):
            yield Fault("the label is not a weight too", where=key, got=rows.weight, wanted="a column of its own")
        elif rows.weight in (rows.features or []):
            todo = f"remove it from inputs.{named}.features"
            yield Fault("a weight is not a feature too", where=key, got=rows.weight, todo=todo)
    train = config.inputs.get("train")
    label = train.label if train is not None else None
    if weights is None or not isinstance(label, LabelConfig):
        return
    if label.task == "regression":
        yield Fault("regression has no classes", where="train.class_weight", todo="weigh rows by inputs.train.weight")
    elif isinstance(weights, dict) and label.classes:
        known = [str(value) for value in label.classes]
        for name in weights:
            if name.lower() not in {text.lower() for text in known}:
                near = did_you_mean(name, known)
                yield Fault(f"no class {name!r}", where="train.class_weight", wanted=", ".join(known), todo=near)


def _column(rows: InputConfig) -> str | None:
    return rows.label.column if isinstance(rows.label, LabelConfig) else rows.label


def _stopping(config: JobConfig) -> Iterator[Fault]:
    train, inputs = config.train, config.inputs
    tested = "test" in inputs or ("train" in inputs and inputs["train"].split is not None)
    todo = "hold rows out by inputs.train.split={test: 0.2}, or give inputs.test"
    if train.evaluate_every_steps is not None and not tested:
        yield Fault("there are no rows to evaluate on", where="train.evaluate_every_steps", todo=todo)
    stopping = train.early_stopping
    if stopping is None:
        return
    key = "train.early_stopping.metric"
    part, _, name = stopping.metric.partition("/")
    every = [f"{part}/{name}" for part in ("test", "train") for name in _ALL]
    label = inputs["train"].label if "train" in inputs else None
    task = label.task if isinstance(label, LabelConfig) else "auto"
    measured = METRICS.get(task, _ALL)
    if stopping.metric not in every:
        near = did_you_mean(stopping.metric, every)
        yield Fault("not a metric", where=key, got=stopping.metric, wanted=", ".join(every), todo=near)
    elif name not in measured:
        wanted = ", ".join(f"{part}/{one}" for one in measured)
        yield Fault(f"a {task} has no such metric", where=key, got=stopping.metric, wanted=wanted)
    elif part == "test" and not tested:
        yield Fault("there are no rows to evaluate on", where=key, got=stopping.metric, todo=f"{todo}; or watch train/")
