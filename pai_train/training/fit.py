"""One training from a state to its end: feed, loop, evaluation, checkpoints and the stop signal together."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from pai_train.errors import Interrupted
from pai_train.feed.ahead import ahead
from pai_train.feed.stats import Stats
from pai_train.training.loop import Call, Evaluator, train_steps
from pai_train.training.state import refuse_not_finite, write_variables
from pai_train.training.totals import metrics
from pai_train.training.tracking import AT_END, BEST, BEST_STEP, INSIDE, OWED, RESTORED, STOPPED, flat, track

if TYPE_CHECKING:
    from concurrent.futures import Future

    from pai_train.feed.contracts import Position, Superbatch
    from pai_train.spec.config import TrainConfig
    from pai_train.storage import Manifest
    from pai_train.training.callbacks import Callbacks
    from pai_train.training.contracts import CheckpointStore, TrainState
    from pai_train.training.learner import Learner

Values = Mapping[str, Mapping[str, float]]
"""Metrics by set of rows."""

Feed = Callable[["Position | None"], AbstractContextManager["Iterator[Superbatch]"]]
"""Opens a feed at a position, or at its beginning."""


class Watcher(Protocol):
    """Is told how a training goes; what it shows and where is its own matter."""

    def call(self, call: Call, stats: Stats, rows: int) -> None:
        """One call into TensorFlow is done; `rows` counts those since this process began."""
        ...

    def epoch(self, call: Call, values: Mapping[str, Mapping[str, float]], stats: Stats, rows: int) -> None:
        """An epoch is done, or the last steps are; `values` are metrics by set of rows."""
        ...

    def evaluated(self, call: Call, values: Mapping[str, Mapping[str, float]]) -> None:
        """Rows were evaluated inside an epoch; `values` are metrics by set of rows."""
        ...

    def saved(self, url: str) -> None:
        """A checkpoint was published."""
        ...


@dataclass
class Fit:
    """What a training is made of.

    Attributes:
        learner: The model.
        feed: Opens the training rows.
        held_out: Opens the rows to evaluate on, endlessly; None without any.
        checkpoints: Where states are kept; its lease is held.
        config: How to train.
        depth: Superbatches kept ready in front of the loop.
        watcher: Is told how it goes.
        stop: Whether the run is asked to stop.
        align: Puts superbatches beside those of other workers, up to so many batches.
        input: Name of the training input in the state.
        source: Where its rows are, for `stats`; None for unnamed.
        clock: Seconds, monotonic.
        worth: Whether a state just measured is saved, however short ago the last one was.
        stats: What the input cost.
        callbacks: Are told how it goes, and may ask to stop; None for nobody.
        agree: Gives every worker what the chief has measured, so that all decide alike.
    """

    learner: Learner
    feed: Feed
    held_out: Feed | None
    checkpoints: CheckpointStore
    config: TrainConfig
    depth: int
    watcher: Watcher
    stop: Callable[[], bool]
    input: str = "train"
    source: str | None = None
    clock: Callable[[], float] = time.monotonic
    worth: Callable[[TrainState], bool] = lambda state: False
    stats: Stats = field(default_factory=Stats)
    align: Callable[[Iterator[Superbatch], int | None], Iterator[Superbatch]] = lambda batches, limit: batches
    callbacks: Callbacks | None = None
    agree: Callable[[Mapping[str, float]], Mapping[str, float]] = lambda values: values

    def run(self, state: TrainState) -> TrainState:
        """Trains from a state to the end and saves it there.

        Raises:
            Interrupted: It was asked to stop, and the state is saved.
            CheckpointError: A state could not be saved.
            DataError: A loss, or a weight that was to be saved, is NaN or infinite.
        """
        with ExitStack() as stack:
            evaluator = None
            if self.held_out is not None:
                evaluator = stack.enter_context(Evaluator(self.learner, partial(self.held_out, None)))
            stream = stack.enter_context(self.feed(state.positions.get(self.input)))
            batches = stack.enter_context(ahead(stream, self.depth, self.stats, name=self.source))
            left = None if self.config.steps is None else self.config.steps - state.step
            return self._train(state, self.align(batches, left), evaluator)

    def _train(self, state: TrainState, batches: Iterator[Superbatch], evaluator: Evaluator | None) -> TrainState:
        rows, saved_at, saved = 0, self.clock(), state
        upload: Future[Manifest] | None = None
        every = self.config.checkpoint.every_steps
        state, batch = self._begin(state, evaluator)
        if OWED in saved.tracking and self.worth(state):
            upload = self._save(state)
            saved = state
        for call in self._calls(state, batches, batch):
            rows += call.rows
            self.stats.delivered(call.rows, call.step - state.step)
            self.watcher.call(call, self.stats, rows)
            steps = call.step - state.step
            state = self._after(state, call)
            batch += steps
            self._tell("on_train_batch_end", batch - 1, values={"train": metrics(call.running)})
            state = self._behind(state, call, evaluator, rows)
            if state.tracking.get(STOPPED):
                break
            batch = self._next(state, call, batch)
            if not call.whole:
                continue
            if self.stop():
                self._interrupt(state)
            due = every is not None and state.step // every > saved.step // every
            due = due or (call.ended and self.worth(state))
            if due or self.clock() - saved_at >= self.config.checkpoint.every_seconds:
                upload = self._save(state)
                saved_at, saved = self.clock(), state
        if state.totals:
            # The steps ended inside an epoch, maybe in an earlier start that was killed before it came here.
            at = state.positions[self.input]
            last = Call(state.step, state.epoch, 0, state.totals, at, ended=False)
            measured = self._measured(evaluator, self.stop)
            if measured is None:
                self._interrupt(state)
            state = replace(self._end_epoch(state, last, measured, rows), totals={})
        self._tell("on_train_end", values={"train": dict(last_metrics(state).get("train", {}))})
        state = self._restored(state)
        if state is not saved or not state.step:
            upload = self._save(state)
        if upload is not None:
            self._saved(upload)
        return state

    def _calls(self, state: TrainState, batches: Iterator[Superbatch], batch: int) -> Iterator[Call]:
        """Yields the calls that are left; none of a training that was stopped before its last step."""
        if state.tracking.get(STOPPED):
            return iter(())
        return train_steps(
            self.learner,
            batches,
            step=state.step,
            batch=batch,
            running=state.totals,
            max_steps=self.config.steps,
            cut=self.config.evaluate_every_steps,
        )

    def _evaluates(self, step: int) -> bool:
        every = self.config.evaluate_every_steps
        return every is not None and step % every == 0

    def _begin(self, state: TrainState, evaluator: Evaluator | None) -> tuple[TrainState, int]:
        """Begins with what is owed, and tells the callbacks; returns the number in its epoch of the next batch too."""
        owed = state.tracking.get(OWED)
        over = state.tracking.get(STOPPED) or state.epoch >= self.config.epochs or state.step == self.config.steps
        at = state.positions.get(self.input)
        batch = 0 if at is None or at.epoch != state.epoch else at.batch
        ended = owed == AT_END
        self._tell("on_train_begin")
        if not over or owed or state.totals:
            self._tell("on_epoch_begin", state.epoch - ended)
        if owed is None or at is None:
            if not over:
                self._tell("on_train_batch_begin", batch)
            return state, batch
        call = Call(state.step, state.epoch - ended, 0, state.totals, at, ended)
        tracking = {name: value for name, value in state.tracking.items() if name != OWED}
        state = replace(state, tracking=tracking, totals={} if ended else state.totals)
        state = self._behind(state, call, evaluator, 0)
        return state, 0 if state.tracking.get(STOPPED) else self._next(state, call, batch)

    def _behind(self, state: TrainState, call: Call, evaluator: Evaluator | None, rows: int) -> TrainState:
        """Measures behind a call where that is due, and takes into the state what follows from it.

        Raises:
            Interrupted: It was asked to stop meanwhile; what is saved owes the measurement.
        """
        inside = not call.ended and self._evaluates(call.step)
        # What is saved inside a superbatch could not be gone on with.
        measured = self._measured(evaluator, self.stop if call.whole else None) if call.ended or inside else {}
        if measured is None:
            owed = {**state.tracking, OWED: AT_END if call.ended else INSIDE}
            self._interrupt(self._asked(replace(state, tracking=owed, totals=dict(call.running))))
        if call.ended:
            state = self._end_epoch(state, call, measured, rows)
        elif inside:
            state = self._evaluated(state, call, measured)
        return self._asked(state)

    def _asked(self, state: TrainState) -> TrainState:
        """Takes into the state whether a callback asked to stop the training."""
        if self.callbacks is None or not self.callbacks.stop:
            return state
        return replace(state, tracking={**state.tracking, STOPPED: 1.0})

    def _interrupt(self, state: TrainState) -> NoReturn:
        self._saved(self._save(state))
        raise Interrupted(f"asked to stop, saved behind step {state.step}", todo="the same command goes on from there")

    def _next(self, state: TrainState, call: Call, batch: int) -> int:
        """Tells the callbacks what comes behind a call, unless that was the last; returns the next batch's number."""
        if state.epoch >= self.config.epochs or state.step == self.config.steps:
            return batch
        if call.ended:
            batch = 0
            self._tell("on_epoch_begin", state.epoch)
        self._tell("on_train_batch_begin", batch)
        return batch

    def _tell(self, event: str, *given: Any, values: Mapping[str, Mapping[str, float]] | None = None) -> None:
        if self.callbacks is not None:
            self.callbacks.tell(event, *given, values=values)

    def _after(self, state: TrainState, call: Call) -> TrainState:
        return replace(
            state,
            step=call.step,
            epoch=call.epoch + (1 if call.ended else 0),
            positions={**state.positions, self.input: call.after},
            totals={} if call.ended else dict(call.running),
        )

    def _end_epoch(self, state: TrainState, call: Call, measured: Values, rows: int) -> TrainState:
        values = {"train": metrics(call.running), **measured}
        self.watcher.epoch(call, values, self.stats, rows)
        self._tell("on_epoch_end", call.epoch, values=values)
        state = self._tracked(state, flat(values))
        entry = {"epoch": float(call.epoch), "step": float(call.step), **flat(values)}
        return replace(state, history=(*state.history, entry))

    def _evaluated(self, state: TrainState, call: Call, measured: Values) -> TrainState:
        if measured:
            self.watcher.evaluated(call, measured)
        return self._tracked(state, flat(measured))

    def _measured(self, evaluator: Evaluator | None, stop: Callable[[], bool] | None) -> Values | None:
        """Returns the metrics of the held-out rows; None where `stop` broke it off."""
        if evaluator is None:
            return {}
        self._tell("on_test_begin")
        found = evaluator.measure(stop or (lambda: False))
        if found is None:
            return None
        self._tell("on_test_end", values={"test": found})
        return {"test": found} if found else {}

    def _tracked(self, state: TrainState, values: Mapping[str, float]) -> TrainState:
        watched = self.config.early_stopping
        if watched is None:
            return state
        state = track(watched, state, self.agree(values))
        if watched.restore_best and state.tracking.get(BEST_STEP) == state.step:
            self.learner.keep_best()
        return state

    def _restored(self, state: TrainState) -> TrainState:
        """Makes the best weights the result, at the end of a training that watches a metric."""
        watched = self.config.early_stopping
        if watched is None or not watched.restore_best or BEST not in state.tracking or state.tracking.get(RESTORED):
            return state
        self.learner.restore_best()
        return replace(state, tracking={**state.tracking, RESTORED: 1.0})

    def _saved(self, upload: Future[Manifest]) -> None:
        self.watcher.saved(upload.result().url)

    def _save(self, state: TrainState) -> Future[Manifest]:
        refuse_not_finite(self.learner.variables, state.step)
        return self.checkpoints.save(state, partial(write_variables, self.learner.variables))


def last_metrics(state: TrainState) -> dict[str, dict[str, float]]:
    """Returns the metrics of the last epoch, or of the best weights, by set of rows; {} when there are none."""
    found: dict[str, dict[str, float]] = {}
    last = state.history[-1] if state.history else {}
    for key, value in (state.best if state.tracking.get(RESTORED) else last).items():
        part, slash, name = key.partition("/")
        if slash:
            found.setdefault(part, {})[name] = value
    return found
