"""A new model's weights taken from another model's checkpoint, by name, with an account of what fitted."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from pai_train.errors import CheckpointError, did_you_mean
from pai_train.training.state import SHOWN, kinds, read_some, show, stored_kinds

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

MODEL = "model/"
RANDOM = "seed_generator_state"
"""Ends the names of the states of random generators, which are this run's own."""


@dataclass(frozen=True)
class WarmStart:
    """What became of a model's variables; names without the leading `model/`, sorted.

    Attributes:
        origin: The checkpoint.
        taken: Have the checkpoint's values.
        missing: Are not in the checkpoint, and keep their initial values.
        reshaped: Have another shape or dtype there, and keep their initial values; both, by name.
        left_out: Were not asked for by `include` and `exclude`.
        unused: Are in the checkpoint and not in the model.
    """

    origin: str
    taken: tuple[str, ...]
    missing: tuple[str, ...]
    reshaped: Mapping[str, str]
    left_out: tuple[str, ...]
    unused: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Returns a dict of JSON types."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    def lines(self) -> list[str]:
        """Returns what a person is told, most important first."""
        parts = {
            "missing in it, left as initialised": self.missing,
            "of another shape, left as initialised": [f"{name} ({how})" for name, how in self.reshaped.items()],
            "left out as asked": self.left_out,
            "in it and not in the model": self.unused,
        }
        head = f"warm start from {self.origin}: {len(self.taken)} variables taken"
        return [head, *(f"  {len(names)} {what}: {_listed(names)}" for what, names in parts.items() if names)]


def warm_start(
    variables: Mapping[str, Any],
    folder: Path,
    origin: str,
    *,
    include: Sequence[str] | None = None,
    exclude: Sequence[str] = (),
    ignore_mismatch: bool = False,
) -> WarmStart:
    """Assigns the values of a checkpoint to the model's variables of the same names.

    Optimizer and random generators stay as they are.

    Args:
        variables: A learner's variables.
        folder: Holds the checkpoint's files.
        origin: The checkpoint, for people.
        include: Shell patterns of the names to take, without `model/`; None for all.
        exclude: Shell patterns of the names to leave as they are.
        ignore_mismatch: Whether variables of another shape or dtype are left as they are, and not refused.

    Raises:
        CheckpointError: Nothing fits, a pattern names nothing, or a shape or dtype differs; no variable has changed.
    """
    account = match(variables, folder, origin, include=include, exclude=exclude, ignore_mismatch=ignore_mismatch)
    read_some({MODEL + name: variables[MODEL + name] for name in account.taken}, folder)
    return account


def match(
    variables: Mapping[str, Any],
    folder: Path,
    origin: str,
    *,
    include: Sequence[str] | None = None,
    exclude: Sequence[str] = (),
    ignore_mismatch: bool = False,
) -> WarmStart:
    """Returns what `warm_start` would do, which needs the checkpoint's file of names alone.

    Raises:
        CheckpointError: As `warm_start` does.
    """
    wanted = {name: kind for name, kind in kinds(_of_model(variables)).items() if not name.endswith(RANDOM)}
    stored = {name: kind for name, kind in _of_model(stored_kinds(folder)).items() if not name.endswith(RANDOM)}
    for key, patterns in (("include", include or ()), ("exclude", exclude)):
        _check_patterns(key, patterns, wanted)
    asked = {name for name in wanted if (include is None or _matches(name, include)) and not _matches(name, exclude)}
    shared = sorted(asked & stored.keys())
    reshaped = {
        name: f"{show(stored[name])} there, {show(wanted[name])} here"
        for name in shared
        if stored[name] != wanted[name]
    }
    taken = tuple(name for name in shared if name not in reshaped)
    if reshaped and not ignore_mismatch:
        raise CheckpointError(
            "variables have another shape in the checkpoint to start from",
            where=origin,
            got=_listed([f"{name} is {how}" for name, how in reshaped.items()]),
            todo="exclude them by train.warm_start.exclude, or leave them as initialised by"
            " train.warm_start.ignore_mismatch=true",
        )
    if not taken:
        raise CheckpointError(
            "the checkpoint to start from has no variable that fits the model",
            where=origin,
            got=_listed(sorted(stored)),
            wanted=_listed(sorted(asked)),
        )
    return WarmStart(
        origin=origin,
        taken=taken,
        missing=tuple(sorted(asked - stored.keys())),
        reshaped=reshaped,
        left_out=tuple(sorted(wanted.keys() - asked)),
        unused=tuple(sorted(stored.keys() - wanted.keys())),
    )


def _of_model(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name.removeprefix(MODEL): value for name, value in values.items() if name.startswith(MODEL)}


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _check_patterns(key: str, patterns: Sequence[str], names: Mapping[str, Any]) -> None:
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise CheckpointError(
                "the pattern names no variable of the model",
                where=f"train.warm_start.{key}",
                got=pattern,
                wanted=_listed(sorted(names)),
                todo=did_you_mean(pattern, names),
            )


def _listed(names: Sequence[str]) -> str:
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f", and {more} more" if more > 0 else "")
