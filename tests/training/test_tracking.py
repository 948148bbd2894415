"""The watched metric: what is better, when to stop, and that a training that was cut off decides alike."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from pai_train.errors import DataError
from pai_train.feed.contracts import FeedPlan
from pai_train.spec.config import CheckpointConfig, TrainConfig
from pai_train.spec.train_config import EarlyStoppingConfig
from pai_train.training.contracts import TrainState
from pai_train.training.fit import Fit, last_metrics
from pai_train.training.totals import Totals
from pai_train.training.tracking import track
from tests.suites.sources import MemorySource
from tests.training.test_fit import BEGINNING, Kept, Seen, feed


def tracked(values, **watched):
    """Returns best value, waited and stopped after measurements, one per step."""
    state = BEGINNING
    for step, value in enumerate(values, start=1):
        found = {watched.get("metric", "test/loss"): value}
        state = track(EarlyStoppingConfig(**watched), replace(state, step=step), found)
        assert state.tracking["value"] == value or np.isnan(value)
    return state.tracking.get("best"), state.tracking["waited"], state.tracking.get("stopped", 0)


@pytest.mark.parametrize(
    ("values", "watched", "expected"),
    [
        ((3.0, 2.0, 2.5, 2.0), {"patience": 2}, (2.0, 2, 1)),
        ((3.0, 2.0, 2.5, 1.0), {"patience": 2}, (1.0, 0, 0)),
        ((3.0, 2.95, 2.9), {"patience": 3, "min_delta": 0.2}, (3.0, 2, 0)),
        ((0.5, 0.9, 0.7), {"metric": "test/accuracy"}, (0.9, 1, 0)),
        ((0.5, 0.9, 0.7), {"metric": "test/accuracy", "mode": "min"}, (0.5, 2, 0)),
        ((2.0, float("nan"), 1.0), {"patience": 2}, (1.0, 0, 0)),
        ((1.0, 2.0, 3.0, 4.0), {"mode": "max", "patience": 1}, (4.0, 0, 0)),
    ],
    ids=["patience", "better-in-time", "delta", "more-accuracy", "mode", "nan", "max"],
)
def test_what_is_better(values, watched, expected):
    assert tracked(values, **watched) == expected


def test_a_metric_that_was_not_measured_is_named():
    watched = EarlyStoppingConfig(metric="test/acuracy")
    with pytest.raises(DataError, match="test/acuracy was not measured"):
        track(watched, BEGINNING, {"test/loss": 1.0})
    # Inside an epoch nothing of train is measured.
    assert track(EarlyStoppingConfig(metric="train/loss"), BEGINNING, {"test/loss": 1.0}) == BEGINNING


def test_a_state_keeps_what_is_tracked():
    state = replace(BEGINNING, tracking={"best": 0.1, "value": float("nan")}, best={"test/loss": 0.1})
    again = TrainState.from_json(state.to_json())
    assert (again.best, again.tracking["best"]) == (state.best, 0.1)
    assert np.isnan(again.tracking["value"])
    before = {name: value for name, value in BEGINNING.to_json().items() if name != "tracking"}
    assert TrainState.from_json(before) == BEGINNING


class Valley:
    """A learner whose loss on held-out rows falls until a step and rises behind it."""

    def __init__(self, bottom, step=0):
        self.bottom, self.step, self.best, self.measured = bottom, step, step, []
        self.variables = {}

    def train(self, columns, rows):
        self.step += len(rows)
        counts = np.array(rows)
        return Totals(counts, np.ones(len(rows)), {"correct": counts * 0.5})

    def evaluate(self, columns, rows):
        self.measured.append(self.step)
        counts = np.array(rows)
        return Totals(counts, np.full(len(rows), 1.0 + abs(self.step - self.bottom)), {"correct": counts * 0.5})

    def keep_best(self):
        self.best = self.step

    def restore_best(self):
        self.step = self.best


class Told(Seen):
    def __init__(self):
        super().__init__()
        self.inside = []

    def evaluated(self, call, values):
        self.inside.append((call.step, values["test"]["loss"]))


def run(per_call, *, at=BEGINNING, valley=None, epochs=4, **watched):
    """Trains ten steps an epoch, evaluating every four; returns state, what was saved, the learner, what was told."""
    plan = FeedPlan(("id",), 10, {}, epochs=epochs, steps=per_call)
    stopping = EarlyStoppingConfig(**watched) if watched else None
    config = TrainConfig(
        epochs=epochs,
        evaluate_every_steps=4,
        early_stopping=stopping,
        checkpoint=CheckpointConfig(every_steps=1),
    )
    kept, told, one = Kept(), Told(), valley or Valley(bottom=14)
    test = partial(feed, MemorySource([7]), replace(plan, epochs=None))
    fit = Fit(one, partial(feed, MemorySource([25] * 4), plan), test, kept, config, 2, told, lambda: False)
    return fit.run(at), kept.states, one, told


@pytest.mark.parametrize("per_call", [1, 3, 4, 10])
def test_evaluation_is_behind_the_same_steps_whatever_a_call_runs(per_call):
    state, _, one, told = run(per_call)
    assert one.measured == [4, 8, 10, 12, 16, 20, 24, 28, 30, 32, 36, 40]
    assert [step for step, _ in told.inside] == [4, 8, 12, 16, 24, 28, 32, 36]
    assert [entry["step"] for entry in state.history] == [10, 20, 30, 40]


@pytest.mark.parametrize("per_call", [1, 3, 10])
def test_it_stops_and_goes_back_to_the_best_also_from_every_save(per_call):
    state, saved, one, _ = run(per_call, patience=2)
    # The best of the measurements is behind step 12 (loss 3); 16 is as good, and 20 is worse.
    assert (state.step, one.step) == (20, 12)
    assert (state.best["test/loss"], state.tracking["best_step"]) == (3.0, 12)
    assert last_metrics(state)["test"]["loss"] == 3.0
    for at in saved:
        valley = Valley(14, at.step)
        valley.best = int(at.tracking.get("best_step", 0))
        if at.tracking.get("restored"):
            valley.step = valley.best
        again, _, resumed, _ = run(per_call, at=at, valley=valley, patience=2)
        assert again == state
        assert resumed.step == 12


def test_a_stop_inside_a_superbatch_is_final():
    state, saved, one, _ = run(10, patience=1)
    assert (state.step, one.step, saved[-1]) == (16, 12, state)
    assert state.history[-1]["step"] == 16
    again, states, _, _ = run(10, at=state, patience=1)
    assert (again, states) == (state, [])


def test_the_last_weights_stay_where_the_best_are_not_asked_for():
    state, _, one, _ = run(3, patience=2, restore_best=False)
    assert (state.step, one.step) == (20, 20)
    assert last_metrics(state)["test"]["loss"] == 7.0


def test_without_patience_only_the_best_is_kept():
    state, _, one, _ = run(3, metric="test/loss")
    assert (state.step, one.step) == (40, 12)
