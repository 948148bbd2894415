"""One training from a state to its end: feed, loop, evaluation, checkpoints and the stop signal together."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from pai_train.errors import Interrupted
from pai_train.feed.ahead import ahead
from pai_train.feed.stats import Stats
from pai_train.training.loop import Call, Evaluator, train_steps
from pai_train.training.state import write_variables
from pai_train.training.totals import metrics

if TYPE_CHECKING:
    from concurrent.futures import Future

    from pai_train.feed.contracts import Position, Superbatch
    from pai_train.spec.config import TrainConfig
    from pai_train.storage import Manifest
    from pai_train.training.contracts import CheckpointStore, TrainState
    from pai_train.training.learner import Learner

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
        input: Name of the training input in the state.
        source: Where its rows are, for `stats`; None for unnamed.
        clock: Seconds, monotonic.
        worth: Whether a state just measured is saved, however short ago the last one was.
        stats: What the input cost.
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

    def run(self, state: TrainState) -> TrainState:
        """Trains from a state to the end and saves it there.

        Raises:
            Interrupted: It was asked to stop, and the state is saved.
            CheckpointError: A state could not be saved.
        """
        with ExitStack() as stack:
            evaluator = None
            if self.held_out is not None:
                evaluator = stack.enter_context(Evaluator(self.learner, partial(self.held_out, None)))
            stream = stack.enter_context(self.feed(state.positions.get(self.input)))
            batches = stack.enter_context(ahead(stream, self.depth, self.stats, name=self.source))
            return self._train(state, batches, evaluator)

    def _train(self, state: TrainState, batches: Iterator[Superbatch], evaluator: Evaluator | None) -> TrainState:
        rows, saved_at, saved = 0, self.clock(), state
        upload: Future[Manifest] | None = None
        for call in train_steps(
            self.learner, batches, step=state.step, running=state.totals, max_steps=self.config.steps
        ):
            rows += call.rows
            self.stats.delivered(call.rows, call.step - state.step)
            self.watcher.call(call, self.stats, rows)
            state = self._after(state, call)
            if call.ended:
                state = self._end_epoch(state, call, evaluator, rows)
            if self.stop():
                self._saved(self.checkpoints.save(state, self._write))
                raise Interrupted(
                    f"asked to stop, saved behind step {state.step}", todo="the same command goes on from there"
                )
            every = self.config.checkpoint.every_steps
            due = every is not None and state.step // every > saved.step // every
            due = due or (call.ended and self.worth(state))
            if due or self.clock() - saved_at >= self.config.checkpoint.every_seconds:
                upload = self.checkpoints.save(state, self._write)
                saved_at, saved = self.clock(), state
        if state.totals:
            # The steps ended inside an epoch, maybe in an earlier start that was killed before it came here.
            at = state.positions[self.input]
            last = Call(state.step, state.epoch, 0, state.totals, at, ended=False)
            state = replace(self._end_epoch(state, last, evaluator, rows), totals={})
        if state is not saved or not state.step:
            upload = self.checkpoints.save(state, self._write)
        if upload is not None:
            self._saved(upload)
        return state

    def _after(self, state: TrainState, call: Call) -> TrainState:
        return replace(
            state,
            step=call.step,
            epoch=call.epoch + (1 if call.ended else 0),
            positions={**state.positions, self.input: call.after},
            totals={} if call.ended else dict(call.running),
        )

    def _end_epoch(self, state: TrainState, call: Call, evaluator: Evaluator | None, rows: int) -> TrainState:
        values = {"train": metrics(call.running)}
        if evaluator is not None:
            measured = evaluator.measure()
            if measured:
                values["test"] = measured
        self.watcher.epoch(call, values, self.stats, rows)
        flat = {f"{part}/{name}": value for part, found in values.items() for name, value in found.items()}
        return replace(state, history=(*state.history, {"epoch": float(call.epoch), "step": float(call.step), **flat}))

    def _saved(self, upload: Future[Manifest]) -> None:
        self.watcher.saved(upload.result().url)

    def _write(self, folder: Any) -> None:
        write_variables(self.learner.variables, folder)


def last_metrics(state: TrainState) -> dict[str, dict[str, float]]:
    """Returns the metrics of the last epoch by set of rows; {} when there is none."""
    found: dict[str, dict[str, float]] = {}
    for key, value in (state.history[-1] if state.history else {}).items():
        part, slash, name = key.partition("/")
        if slash:
            found.setdefault(part, {})[name] = value
    return found
