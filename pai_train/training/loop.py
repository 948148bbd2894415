"""The loop: superbatches in, steps done, running sums and positions out. Knows no files and no screen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from pai_train.errors import DataError
from pai_train.feed.align import OWN
from pai_train.training import bad_batch
from pai_train.training.totals import Totals, add_totals, metrics

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from contextlib import AbstractContextManager

    from pai_train.feed.contracts import Position, Superbatch


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
        whole: Whether they end their superbatch, so that `after` is where the next step reads.
    """

    step: int
    epoch: int
    rows: int
    running: Mapping[str, float]
    after: Position
    ended: bool
    whole: bool = True


def train_steps(
    learner: Steps,
    batches: Iterable[Superbatch],
    *,
    step: int = 0,
    batch: int = 0,
    running: Mapping[str, float] | None = None,
    max_steps: int | None = None,
    cut: int | None = None,
) -> Iterator[Call]:
    """Trains on superbatches until they or the steps end.

    Args:
        learner: Takes the steps.
        batches: From the position on that `step` and `running` belong to.
        step: Steps done before.
        batch: Number in its epoch of the next batch, from 0.
        running: The epoch's running sums before.
        max_steps: Stop after this many steps, counted from the run's beginning.
        cut: No call goes across a multiple of this many steps, for what is to happen just there.

    Raises:
        DataError: A step's loss is NaN or infinite; its call is not yielded, so that nobody saves what it left.
    """
    sums = dict(running or {})
    if step == max_steps:
        return
    for superbatch in batches:
        last = superbatch.after.batch == 0
        epoch = superbatch.after.epoch - (1 if last else 0)
        begun, left, ended = step, sum(superbatch.rows), False
        for columns, rows in _parts(superbatch, step, max_steps, cut):
            taken = bad_batch.Steps(columns, rows, step, epoch, batch + step - begun)
            try:
                totals = learner.train(columns, rows)
            except DataError as error:
                raise taken.refused(error) from None
            taken.check(totals.losses)
            step += len(rows)
            left -= sum(rows)
            sums = add_totals(sums, totals)
            ended = last and not left
            whole = not left or step == max_steps
            yield Call(step, epoch, sum(rows), sums, superbatch.after, ended, whole)
        # Before the next superbatch is asked for: it may fail, and nobody needs it.
        if step == max_steps:
            return
        batch = superbatch.after.batch
        if ended:
            sums = {}


def _parts(
    superbatch: Superbatch, step: int, max_steps: int | None, cut: int | None
) -> Iterator[tuple[Mapping[str, Any], tuple[int, ...]]]:
    """Yields what each call is given of a superbatch whose first step is the one behind `step`."""
    filled, columns = _filled(superbatch.rows), superbatch.columns
    # Of several workers' batches the columns hold the rows of this one.
    own = columns.get(OWN, filled)
    rows = filled[: None if max_steps is None else max_steps - step]
    done = begin = 0
    while done < len(rows):
        steps = len(rows) - done if cut is None else min(len(rows) - done, cut - (step + done) % cut)
        last = done + steps
        end = begin + int(sum(own[done:last]))
        if steps == len(filled):
            yield columns, rows
        else:
            part = {name: column[begin:end] for name, column in columns.items() if name != OWN}
            yield part | ({OWN: own[done:last]} if OWN in columns else {}), rows[done:last]
        done, begin = last, end


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

    def measure(self, stop: Callable[[], bool] = lambda: False) -> dict[str, float] | None:
        """Returns loss and metrics over all rows; {} when there are none.

        Args:
            stop: Asked between superbatches whether to break off, after which this evaluator is of no use any more.

        Returns:
            None where it was broken off.
        """
        running: dict[str, float] = {}
        for superbatch in self._batches:
            running = add_totals(running, self._learner.evaluate(superbatch.columns, _filled(superbatch.rows)))
            if superbatch.after.batch == 0:
                break
            if stop():
                return None
        return metrics(running)
