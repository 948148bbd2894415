"""The loop from a state to its end: limits inside a superbatch, kills between saves, faults nobody meets."""

from __future__ import annotations

from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest

from pai_train.errors import DataError, Interrupted
from pai_train.feed.batches import arrow_superbatches
from pai_train.feed.contracts import FeedPlan, Superbatch
from pai_train.spec.config import CheckpointConfig, TrainConfig
from pai_train.spec.train_config import EarlyStoppingConfig
from pai_train.training.contracts import TrainState
from pai_train.training.fit import Fit, last_metrics
from pai_train.training.totals import Totals
from pai_train.training.tracking import AT_END, INSIDE, OWED
from tests.suites.sources import MemorySource

BEGINNING = TrainState(0, 0, {}, "r", "h")


class Sums:
    """A learner whose loss is the mean id; refuses batches without rows, as the real one does."""

    variables: dict[str, object] = {}  # noqa: RUF012

    def train(self, columns, rows):
        assert all(rows)
        assert sum(rows) == len(columns["id"])
        parts = np.split(columns["id"], np.cumsum(rows)[:-1])
        means = np.array([part.mean() for part in parts])
        counts = np.array(rows)
        return Totals(counts, means, {"correct": counts * 0.5})

    evaluate = train


class Kept:
    """Keeps states in memory."""

    def __init__(self):
        self.states = []

    def save(self, state, write):
        self.states.append(state)
        done = Future()
        done.set_result(SimpleNamespace(url="memory://"))
        return done


class Seen:
    def __init__(self):
        self.epochs = []

    def call(self, *given):
        pass

    def saved(self, url):
        pass

    def epoch(self, call, values, stats, rows):
        self.epochs.append((call.epoch, call.step, call.ended))

    def evaluated(self, call, values):
        self.epochs.append((call.epoch, call.step, values))


@contextmanager
def feed(source, plan, at):
    with arrow_superbatches(source, plan, at) as deliveries:
        yield (Superbatch({"id": d.data.column("id").to_numpy()}, d.rows, d.after) for d in deliveries)


def run(source, plan, *, at=BEGINNING, steps=None, held_out=None, every=None):
    """Returns the last state, all saved ones, and the epochs that were seen."""
    config = TrainConfig(epochs=plan.epochs, steps=steps, checkpoint=CheckpointConfig(every_steps=every))
    kept, seen = Kept(), Seen()
    test = None if held_out is None else partial(feed, held_out, replace(plan, epochs=None))
    fit = Fit(Sums(), partial(feed, source, plan), test, kept, config, 2, seen, lambda: False)
    return fit.run(at), kept.states, seen.epochs


@pytest.mark.parametrize("per_call", [1, 3, 10])
def test_going_on_from_every_save_ends_in_the_same_state(per_call):
    source = MemorySource([25] * 4)
    plan = FeedPlan(("id",), 10, {}, epochs=3, shuffle="block", steps=per_call)
    whole = run(source, plan, steps=13, held_out=MemorySource([7]), every=1)
    assert [(entry["epoch"], entry["step"]) for entry in whole[0].history] == [(0, 10), (1, 13)]
    for state in whole[1]:
        again, _, _ = run(source, plan, at=state, steps=13, held_out=MemorySource([7]), every=1)
        assert again == whole[0]
        assert last_metrics(again) == last_metrics(whole[0])


def test_a_finished_state_is_not_saved_again():
    source, plan = MemorySource([25] * 4), FeedPlan(("id",), 10, {}, epochs=1)
    end, _, _ = run(source, plan)
    assert run(source, plan, at=end) == (end, [], [])


def test_a_limit_inside_the_last_superbatch_ends_no_epoch():
    end, _, epochs = run(MemorySource([25] * 4), FeedPlan(("id",), 10, {}, epochs=1, steps=10), steps=7)
    assert (end.step, end.epoch, epochs) == (7, 0, [(0, 7, False)])


class Broken(MemorySource):
    def read(self, chunk, columns, start=0):
        if chunk.id == 3:
            raise DataError("field cannot be read", where="file.csv:17")
        return super().read(chunk, columns, start)


def test_a_fault_behind_the_last_step_is_nobodys_concern():
    plan = FeedPlan(("id",), 10, {}, epochs=1, lanes=1)
    assert run(Broken([25] * 4), plan, steps=6)[0].step == 6
    with pytest.raises(DataError, match=r"file\.csv:17"):
        run(Broken([25] * 4), plan, steps=9)


class Misjudged(MemorySource):
    """Chunks whose sizes in bytes say little about their rows."""

    def chunks(self):
        sizes = (187, 211, 576, 508)
        return [replace(chunk, bytes=size) for chunk, size in zip(super().chunks(), sizes, strict=True)]


def test_a_batch_without_rows_is_no_step():
    source, plan = Misjudged([18, 63, 57, 50], known=False), FeedPlan(("id",), 9, {}, epochs=2, lanes=8, steps=8)
    with arrow_superbatches(source, plan) as deliveries:
        batches = [rows for delivery in deliveries for rows in delivery.rows]
    assert 0 in batches
    end, _, _ = run(source, plan, held_out=source)
    assert end.step == sum(1 for rows in batches if rows)
    assert last_metrics(end)["train"]["loss"] == last_metrics(end)["test"]["loss"] == sum(range(188)) / 188


class Asked:
    """Asks to stop at one of the questions whether to."""

    def __init__(self, at):
        self.left = at

    def __call__(self):
        self.left -= 1
        return self.left == 0


@pytest.mark.parametrize("best", [False, True], ids=["", "the best is kept"])
@pytest.mark.parametrize(
    ("steps", "patience"), [pytest.param(None, None, marks=pytest.mark.full), (None, 4), (13, None)]
)
@pytest.mark.parametrize("per_call", [pytest.param(1, marks=pytest.mark.full), 4])
def test_stopped_at_every_question_inside_evaluations_too_it_ends_in_the_same_state(per_call, steps, patience, best):
    """There are several superbatches of held-out rows; epochs are told of as often as there are, and once each."""
    plan = FeedPlan(("id",), 10, {}, epochs=2, shuffle="block", steps=per_call)
    watched = EarlyStoppingConfig(metric="test/loss", mode="max", patience=patience, restore_best=False)
    config = TrainConfig(epochs=2, steps=steps, evaluate_every_steps=4, early_stopping=watched)
    test = partial(feed, MemorySource([25, 25]), replace(plan, epochs=None, shuffle="none", steps=1))

    def trained(state, stop):
        kept, seen, told = Kept(), Seen(), []
        noted = SimpleNamespace(stop=False, tell=lambda event, *given, values=None: told.append((event, *given)))
        feeds = partial(feed, MemorySource([25] * 4), plan)
        one = Fit(Sums(), feeds, test, kept, config, 2, seen, stop, worth=lambda state: best, callbacks=noted)
        try:
            return one.run(state), kept.states, seen.epochs, told
        except Interrupted:
            return None, kept.states, seen.epochs, told

    whole, saved, epochs, told = trained(BEGINNING, lambda: False)
    measured = {event[0] for event in told}
    assert {"on_test_begin", "on_test_end", "on_epoch_end"} <= measured
    owed = set()
    for question in range(1, 999):
        first, saved, seen, _ = trained(BEGINNING, Asked(question))
        if first is not None:
            break
        owed.add(saved[-1].tracking.get(OWED))
        last, _, rest, told = trained(saved[-1], lambda: False)
        assert (last, seen + rest) == (whole, epochs), question
        begun = [event[1] for event in told if event[0] == "on_epoch_begin"]
        assert [event[1] for event in told if event[0] == "on_epoch_end"] == begun
    assert owed == {None, INSIDE, AT_END}


class Diverging(Sums):
    """Its loss is NaN from a step on."""

    def __init__(self, bad):
        self.left = bad - 1

    def train(self, columns, rows):
        totals = super().train(columns, rows)
        losses = np.where(np.arange(len(rows)) < self.left, totals.losses, np.nan)
        self.left -= len(rows)
        return replace(totals, losses=losses)


@pytest.mark.parametrize("bad", [16, 20], ids=["inside", "last"])
def test_a_loss_that_is_no_number_names_its_step_and_saves_nothing(bad):
    plan, kept = FeedPlan(("id",), 10, {}, epochs=3, steps=4), Kept()
    config = TrainConfig(epochs=3, checkpoint=CheckpointConfig(every_steps=4))
    feeds = partial(feed, MemorySource([25] * 4), plan)
    state = BEGINNING
    # The second time it goes on from what the first one has saved.
    for _ in range(2):
        fit = Fit(Diverging(bad - state.step), feeds, None, kept, config, 2, Seen(), lambda: False)
        named = f"the loss is nan at step {bad}, in epoch 2, batch {bad - 10} of the epoch"
        with pytest.raises(DataError, match=named) as caught:
            fit.run(state)
        assert "train.learning_rate" in str(caught.value)
        state = kept.states[-1]
        assert 10 < state.step < bad
