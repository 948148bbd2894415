"""The loop: superbatches in, steps done, running sums and positions out. Knows no files and no screen."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from pai_train.errors import DataError
from pai_train.training.totals import Totals, add_totals, metrics

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from contextlib import AbstractContextManager

    from pai_train.feed.contracts import Position, Superbatch


logger = logging.getLogger(__name__)


class Steps(Protocol):
    """What the loop needs of a learner."""

    def train(self, columns: Mapping[str, Any], rows: tuple[int, ...]) -> Totals:
        """Runs one optimizer step per batch."""
        ...

    def evaluate(self, columns: Mapping[str, Any], rows: tuple[int, ...]) -> Totals:
        """Measures batches and changes nothing."""
        ...


@dataclass(frozen=True)
class Call:
    """Where the training stands after one call into TensorFlow.

    Attributes:
        step: Steps done since the run began.
        epoch: The epoch these steps belong to, from 0.
        rows: Global rows of this call.
        running: The epoch's running sums, these steps included.
        after: The input's position behind them.
        ended: Whether they end the epoch; not where the last steps allowed end inside its last superbatch.
    """

    step: int
    epoch: int
    rows: int
    running: Mapping[str, float]
    after: Position
    ended: bool


def train_steps(
    learner: Steps,
    batches: Iterable[Superbatch],
    *,
    step: int = 0,
    running: Mapping[str, float] | None = None,
    max_steps: int | None = None,
) -> Iterator[Call]:
    """Trains on superbatches until they or the steps end.

    Args:
        learner: Takes the steps.
        batches: From the position on that `step` and `running` belong to.
        step: Steps done before.
        running: The epoch's running sums before.
        max_steps: Stop after this many steps, counted from the run's beginning.
    """
    sums = dict(running or {})
    odd: frozenset[str] = frozenset()
    if step == max_steps:
        return
    for superbatch in batches:
        columns, rows = _first(superbatch, None if max_steps is None else max_steps - step)
        totals = learner.train(columns, rows)
        _check_finite(totals, columns, step)
        odd |= _warn_of_odd(columns, odd)
        step += len(rows)
        sums = add_totals(sums, totals)
        last = superbatch.after.batch == 0
        epoch = superbatch.after.epoch - (1 if last else 0)
        ended = last and sum(rows) == sum(superbatch.rows)
        yield Call(step, epoch, sum(rows), sums, superbatch.after, ended)
        # Before the next superbatch is asked for: it may fail, and nobody needs it.
        if step == max_steps:
            return
        if ended:
            sums = {}


def _check_finite(totals: Totals, columns: Mapping[str, Any], step: int) -> None:
    """Ends a training whose loss is no number any more: what follows would be garbage, and would be saved."""
    bad = np.flatnonzero(~np.isfinite(totals.losses))
    if not len(bad):
        return
    counts = {name: _not_finite(values) for name, values in columns.items()}
    named = ", ".join(f"{count} values of {name} that are not finite" for name, count in counts.items() if count)
    raise DataError(
        f"the loss is {totals.losses[bad[0]]} at step {step + int(bad[0]) + 1}",
        got=named or "finite values in all columns of these steps",
        todo="correct these values, or give them a default" if named else "lower train.learning_rate",
    )


def _warn_of_odd(columns: Mapping[str, Any], known: frozenset[str]) -> frozenset[str]:
    """Warns once of each column that holds nan or inf: a model seldom means them, and hardly learns from them."""
    found = {name: count for name, values in columns.items() if name not in known and (count := _not_finite(values))}
    for name, count in found.items():
        logger.warning("column %s holds nan or inf, %d in these steps: the model is trained on them", name, count)
    return frozenset(found)


def _not_finite(values: Any) -> int:
    array = np.asarray(values)
    return int((~np.isfinite(array)).sum()) if array.dtype.kind == "f" else 0


def _first(superbatch: Superbatch, steps: int | None) -> tuple[Mapping[str, Any], tuple[int, ...]]:
    rows = _filled(superbatch.rows)[:steps]
    count = sum(rows)
    if count == sum(superbatch.rows):
        return superbatch.columns, rows
    return {name: column[:count] for name, column in superbatch.columns.items()}, rows


def _filled(rows: tuple[int, ...]) -> tuple[int, ...]:
    # Lanes of estimated weight do not end together: the last one may have no row for every batch.
    return tuple(count for count in rows if count)


class Evaluator:
    """Measures a model on held-out rows, as often as wanted, over one opened feed.

    Args:
        learner: The model.
        feed: Opens an endless feed, whose epochs are the passes over the rows.
    """

    def __init__(self, learner: Steps, feed: Callable[[], AbstractContextManager[Iterator[Superbatch]]]) -> None:
        self._learner = learner
        self._feed = feed()

    def __enter__(self) -> Evaluator:
        self._batches = self._feed.__enter__()
        return self

    def __exit__(self, *exc: Any) -> None:
        self._feed.__exit__(*exc)

    def measure(self) -> dict[str, float]:
        """Returns loss and metrics over all rows; {} when there are none."""
        running: dict[str, float] = {}
        for superbatch in self._batches:
            running = add_totals(running, self._learner.evaluate(superbatch.columns, _filled(superbatch.rows)))
            if superbatch.after.batch == 0:
                break
        return metrics(running)
