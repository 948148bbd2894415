"""Which checkpoints of a run stay: the newest, the best by a metric, and one in each span of time."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pai_train.errors import CheckpointError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pai_train.spec.checkpoints import CheckpointConfig
    from pai_train.training.contracts import TrainState

# Metrics that are better the larger they are; all others are losses and errors.
_LARGER = ("acc", "accuracy", "auc", "precision", "recall", "f1", "r2")


@dataclass(frozen=True)
class Saved:
    """A complete checkpoint, as far as retention asks.

    Attributes:
        step: Steps done before it.
        again: How often the step had been saved before.
        url: Its folder.
        at: When it was saved, in seconds since 1970; None where that is not known.
        measured: What its own weights were measured at, such as `test/loss`; {} between two evaluations.
    """

    step: int
    again: int
    url: str
    at: float | None = None
    measured: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Best:
    """The best checkpoints by a metric; of equal ones the earlier.

    Attributes:
        metric: Set of rows and name, such as `test/loss`.
        keep: How many, at least 1.
        largest: Whether larger values are better.
    """

    metric: str
    keep: int
    largest: bool

    @classmethod
    def of(cls, metric: str, keep: int, mode: str = "auto") -> Best:
        """Reads `mode`, where auto takes accuracies and the like to be better when larger."""
        larger = metric.rpartition("/")[2].rpartition("_")[2].lower() in _LARGER
        return cls(metric, keep, larger if mode == "auto" else mode == "max")

    def ranked(self, measured: Sequence[Mapping[str, float]]) -> list[int]:
        """Returns the indices of the best, best first; a value that is no finite number is none."""
        values = [one.get(self.metric, math.nan) for one in measured]
        sign = -1 if self.largest else 1
        order = sorted(
            (at for at, value in enumerate(values) if math.isfinite(value)), key=lambda at: sign * values[at]
        )
        return order[: self.keep]

    def improved_by(self, state: TrainState) -> bool:
        """Tells whether what was measured at this very state is among the best of its run so far.

        Raises:
            CheckpointError: An evaluation gave no such metric.
        """
        if not measured_at(state):
            return False
        known = [name for name in state.history[-1] if "/" in name]
        if self.metric not in known:
            raise CheckpointError(
                f"there is no metric {self.metric!r}",
                where="train.checkpoint.keep_best.metric",
                wanted=", ".join(sorted(known)),
                todo=did_you_mean(self.metric, known),
            )
        return len(state.history) - 1 in self.ranked(state.history)


@dataclass(frozen=True)
class Retention:
    """Rules of which a checkpoint stays that meets one.

    Attributes:
        last: How many of the newest stay, at least 1: going on needs the newest.
        best: The best by a metric.
        every_seconds: The first one stays, and then each that is at least so many seconds younger than the one before
            it that stays for this rule.
    """

    last: int
    best: Best | None = None
    every_seconds: float | None = None

    def __post_init__(self) -> None:
        if self.last < 1:
            raise ValueError(f"keep_last must be at least 1, not {self.last}")

    @classmethod
    def of(cls, config: CheckpointConfig) -> Retention:
        """Returns the rules that a recipe gives."""
        best = config.keep_best
        wanted = None if best is None else Best.of(best.metric, best.keep, best.mode)
        return cls(config.keep_last, wanted, config.keep_every_seconds)

    @property
    def asks_content(self) -> bool:
        """Whether times and metrics are needed, and not the steps alone."""
        return self.best is not None or self.every_seconds is not None

    def worth(self, state: TrainState) -> bool:
        """Tells whether a state is to be saved for what it was measured at.

        Raises:
            CheckpointError: An evaluation gave no such metric.
        """
        return self.best is not None and self.best.improved_by(state)

    def doomed(self, saved: Sequence[Saved]) -> list[Saved]:
        """Returns the checkpoints that no rule keeps.

        Of a step that was saved again only the newest counts: it is complete, and the others are the same.

        Args:
            saved: All complete ones, in the order of saving.
        """
        distinct = list({one.step: one for one in saved}.values())
        kept = distinct[-self.last :]
        if self.best is not None:
            kept += [distinct[at] for at in self.best.ranked([one.measured for one in distinct])]
        if self.every_seconds is not None:
            kept += _spaced(distinct, self.every_seconds)
        urls = {one.url for one in kept}
        return [one for one in saved if one.url not in urls]


def measured_at(state: TrainState) -> Mapping[str, float]:
    """Returns what a state's own weights were measured at; {} where the last evaluation was of earlier weights."""
    last = state.history[-1] if state.history else {}
    return last if last.get("step") == state.step else {}


def _spaced(saved: Sequence[Saved], seconds: float) -> list[Saved]:
    kept: list[Saved] = []
    last = -math.inf
    for one in saved:
        # A clock that was set back begins anew.
        if one.at is not None and not last <= one.at < last + seconds:
            kept.append(one)
            last = one.at
    return kept
