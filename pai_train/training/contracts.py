"""The state of a training between two steps, and the store that keeps it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from pai_train.errors import CheckpointError, DataError
from pai_train.feed.contracts import Position

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from concurrent.futures import Future
    from contextlib import AbstractContextManager
    from pathlib import Path

    from pai_train.storage import Manifest

FORMAT = 1


@dataclass(frozen=True)
class TrainState:
    """All that a resumed run needs beside the variables; JSON, with floats that come back bit for bit.

    Attributes:
        step: Steps done since the run began.
        epoch: The epoch the next step belongs to, from 0.
        positions: Where each input stands, by input name.
        run_id: The run this state belongs to.
        config_hash: Hash of the run's resolved configuration.
        totals: Running sums of the epoch that is under way, by name.
        tokens: The write token of each output, by output name.
        best: What was measured when the watched metric was best so far, by metric; {} when none is watched.
        tracking: Where watching that metric stands, by the names that `tracking` gives.
        history: The metrics of each finished epoch, in order.
        versions: Versions of the packages that wrote it, by package.
        ids: Which ids the texts of the training rows have, by column: their `Ids.identity`.
    """

    step: int
    epoch: int
    positions: Mapping[str, Position]
    run_id: str
    config_hash: str
    totals: Mapping[str, float] = field(default_factory=dict)
    tokens: Mapping[str, str] = field(default_factory=dict)
    best: Mapping[str, float] = field(default_factory=dict)
    tracking: Mapping[str, float] = field(default_factory=dict)
    history: tuple[Mapping[str, float], ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    ids: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Returns a dict of JSON types."""
        return {
            "format": FORMAT,
            "step": self.step,
            "epoch": self.epoch,
            "positions": {name: position.to_json() for name, position in self.positions.items()},
            "run_id": self.run_id,
            "config_hash": self.config_hash,
            "totals": _numbers_to_json(self.totals),
            "tokens": dict(self.tokens),
            "best": _numbers_to_json(self.best),
            "tracking": _numbers_to_json(self.tracking),
            "history": [_numbers_to_json(epoch) for epoch in self.history],
            "versions": dict(self.versions),
            "ids": dict(self.ids),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> TrainState:
        """Reads what `to_json` gave.

        Raises:
            CheckpointError: It was written in another format, or is not a state.
        """
        if value.get("format") != FORMAT:
            raise CheckpointError(
                "the checkpoint's state has a format this version does not read",
                got=repr(value.get("format")),
                wanted=repr(FORMAT),
                todo="go on with the version that wrote it, or start anew with train.resume=never",
            )
        try:
            return cls(
                step=int(value["step"]),
                epoch=int(value["epoch"]),
                positions={name: Position.from_json(position) for name, position in value["positions"].items()},
                run_id=value["run_id"],
                config_hash=value["config_hash"],
                totals=_numbers_from_json(value["totals"]),
                tokens=dict(value["tokens"]),
                best=_numbers_from_json(value["best"]),
                tracking=_numbers_from_json(value.get("tracking", {})),
                history=tuple(_numbers_from_json(epoch) for epoch in value["history"]),
                versions=dict(value["versions"]),
                ids=dict(value.get("ids", {})),
            )
        except (KeyError, TypeError, ValueError, AttributeError, DataError) as error:
            raise CheckpointError("the checkpoint's state cannot be read", got=repr(error)) from error


def _numbers_to_json(numbers: Mapping[str, float]) -> dict[str, float | str]:
    # JSON has no nan and no infinities; Python writes the shortest digits that give the same float back.
    return {name: float(value) if math.isfinite(value) else str(float(value)) for name, value in numbers.items()}


def _numbers_from_json(numbers: Mapping[str, float | str]) -> dict[str, float]:
    return {name: float(value) for name, value in numbers.items()}


class HeldLease(Protocol):
    """The right to write into one run."""

    @property
    def lost(self) -> bool:
        """Whether another process has taken over, so that nothing may be written any more."""
        ...


class CheckpointStore(Protocol):
    """Keeps the states of one run."""

    def lease(self, run_id: str) -> AbstractContextManager[HeldLease]:
        """Takes the right to write into this run, until the context ends.

        Raises:
            CheckpointError: Another process holds it.
        """
        ...

    def save(self, state: TrainState, write: Callable[[Path], None]) -> Future[Manifest]:
        """Writes the variables by `write` into a local folder now, and publishes them with the state in the background.

        Raises:
            CheckpointError: The save before this one failed.
            StorageError: The save before this one failed in the store.
        """
        ...

    def latest(self) -> Manifest | None:
        """Returns the newest complete checkpoint, or None when none has ever been completed."""
        ...

    def fetch(self, manifest: Manifest, to: Path) -> TrainState:
        """Brings a checkpoint's files into an empty local folder, verified, and returns its state.

        Raises:
            CheckpointError: The content is not what the manifest says.
        """
        ...
