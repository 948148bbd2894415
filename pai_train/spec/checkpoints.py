"""The keys of saving and keeping states, and what they ask of others."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Literal

from annotated_types import Ge, Gt
from typing_extensions import Doc

from pai_train.errors import Fault, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pai_train.spec.config import JobConfig

_PARTS = ("train", "test")


@dataclass(frozen=True, kw_only=True)
class KeepBestConfig:
    """Which checkpoints are kept for what they were measured at."""

    metric: Annotated[
        str, Doc("Set of rows and metric: test/loss, test/accuracy, test/rmse, test/mae, or the same of train.")
    ]
    mode: Annotated[
        Literal["auto", "min", "max"], Doc("Which values are better; auto: max for accuracy and the like, else min.")
    ] = "auto"
    keep: Annotated[int, Ge(1), Doc("How many of the best are kept; each is saved when it is measured.")] = 1


@dataclass(frozen=True, kw_only=True)
class CheckpointConfig:
    """When the state is saved."""

    every_steps: Annotated[int | None, Ge(1), Doc("Save after this many steps; null for by time alone.")] = None
    every_seconds: Annotated[float, Gt(0), Doc("Save when this many seconds have passed since the last save.")] = 60.0
    keep_last: Annotated[int, Ge(1), Doc("How many of a generation's newest checkpoints are kept.")] = 2
    keep_best: Annotated[KeepBestConfig | None, Doc("Which others are kept for their metrics.")] = None
    keep_every_seconds: Annotated[
        float | None, Gt(0), Doc("Seconds between others that are kept for good; null for none.")
    ] = None


@dataclass(frozen=True, kw_only=True)
class WarmStartConfig:
    """Which weights of another model a new run begins with."""

    from_: Annotated[
        str,
        Doc("A checkpoint, a run or a checkpointDir of another model, relative to storage.root, or a full URL."),
    ] = field(metadata={"alias": "from"})
    include: Annotated[
        list[str] | None, Doc("Shell patterns of the variables to take, such as mlp.hidden.*; null for all.")
    ] = None
    exclude: Annotated[list[str], Doc("Shell patterns of variables to leave as initialised.")] = field(
        default_factory=list
    )
    ignore_mismatch: Annotated[
        bool, Doc("Whether variables of another shape are left as initialised, and not refused.")
    ] = False


def resume_path(config: JobConfig) -> str | None:
    """Returns the path that `train.resume` names; None for auto and never."""
    asked = config.train.resume
    return None if asked in ("auto", "never") else asked


def warm_start_of(config: JobConfig) -> WarmStartConfig | None:
    """Returns what `train.warm_start` asks for, its short form written out."""
    asked = config.train.warm_start
    return WarmStartConfig(from_=asked) if isinstance(asked, str) else asked


def checkpoint_faults(config: JobConfig) -> Iterator[Fault]:
    """Checks keys against each other; `where` is the dotted key that each fault belongs to."""
    if not config.train.resume:
        yield Fault("is empty", where="train.resume", wanted="auto, never or a checkpoint")
    elif resume_path(config) is not None and config.train.warm_start is not None:
        what, got = "the run has two beginnings", f"train.resume={config.train.resume} and train.warm_start"
        yield Fault(what, where="train.resume", got=got, wanted="one of them")
    best = config.train.checkpoint.keep_best
    if best is not None:
        yield from _metric_faults(best, config)


def _metric_faults(best: KeepBestConfig, config: JobConfig) -> Iterator[Fault]:
    where = "train.checkpoint.keep_best.metric"
    part, slash, name = best.metric.partition("/")
    if not slash or not name or part not in _PARTS:
        todo = did_you_mean(best.metric, [f"{one}/loss" for one in _PARTS])
        wanted = "a set of rows and a metric, such as test/loss"
        yield Fault("not a metric", where=where, got=best.metric, wanted=wanted, todo=todo)
    elif part == "test" and "test" not in config.inputs and all(one.split is None for one in config.inputs.values()):
        todo = "give inputs.train.split or inputs.test, or take a metric of train"
        yield Fault("no rows are held out to measure it", where=where, got=best.metric, todo=todo)
