"""Retention: the newest, the best and one in each span of time, all at once, and never the one a resume needs."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

import pai_train
from pai_train.errors import CheckpointError, Refused
from pai_train.storage import join, open_store
from pai_train.training.checkpoints import Checkpoints
from pai_train.training.contracts import TrainState
from pai_train.training.retention import Best, Retention, Saved

LOSS = Best("test/loss", 2, largest=False)


def saved(*rows: tuple[int, float | None, float | None]) -> list[Saved]:
    """Checkpoints of (step, time, loss)."""
    return [Saved(step, 0, f"u{step}", at, {} if loss is None else {"test/loss": loss}) for step, at, loss in rows]


def kept(rules: Retention, found: list[Saved]) -> list[int]:
    doomed = rules.doomed(found)
    return [one.step for one in found if one not in doomed]


def test_all_rules_at_once():
    found = saved((1, 0, 0.5), (2, 10, None), (3, 20, 0.9), (4, 30, 0.4), (5, 60, math.nan), (6, 70, 0.6), (7, 80, 0.7))
    assert kept(Retention(1), found) == [7]
    assert kept(Retention(2), found) == [6, 7]
    assert kept(Retention(1, LOSS), found) == [1, 4, 7]
    assert kept(Retention(1, None, 30.0), found) == [1, 4, 5, 7]
    assert kept(Retention(2, LOSS, 25.0), found) == [1, 4, 5, 6, 7]
    assert kept(Retention(1, replace(LOSS, largest=True, keep=1)), found) == [3, 7]


def test_of_a_step_saved_again_only_the_newest_counts():
    found = [Saved(4, again, f"u4-{again}", float(again), {"test/loss": 0.1}) for again in range(3)]
    assert [one.again for one in found if one not in Retention(2, LOSS, 1.0).doomed(found)] == [2]


def test_a_clock_that_was_set_back_keeps_on_keeping():
    found = saved((1, 1e9, None), (2, 5, None), (3, 6, None), (4, 16, None), (5, 17, None))
    assert kept(Retention(1, None, 10.0), found) == [1, 2, 4, 5]


rows = st.lists(
    st.tuples(st.none() | st.floats(0, 100), st.none() | st.floats(allow_nan=True, allow_infinity=True)), max_size=25
)
rules = st.builds(
    Retention,
    last=st.integers(1, 4),
    best=st.none() | st.builds(Best, metric=st.just("test/loss"), keep=st.integers(1, 3), largest=st.booleans()),
    every_seconds=st.none() | st.floats(0.5, 60),
)


@given(rows, rules)
def test_saved_one_by_one_it_keeps_what_it_keeps_of_all_of_them(given, rules):
    """What was removed meanwhile is never missed later: the last ones, the best of all and the spaced ones stay."""
    every = saved(*((step, at, loss) for step, (at, loss) in enumerate(given)))
    there: list[Saved] = []
    for one in every:
        there.append(one)
        doomed = rules.doomed(there)
        assert one not in doomed
        there = [other for other in there if other not in doomed]
    assert there == [one for one in every if one not in rules.doomed(every)]


@pytest.mark.parametrize(
    ("metric", "largest"),
    [("test/loss", False), ("test/rmse", False), ("test/accuracy", True), ("train/val_acc", True), ("test/AUC", True)],
)
def test_auto_knows_which_values_are_better(metric, largest):
    assert Best.of(metric, 1).largest is largest
    assert Best.of(metric, 1, "min").largest is False
    assert Best.of(metric, 1, "max").largest is True


def state(step: int, *losses: float, at_end: bool = True) -> TrainState:
    """A state whose epochs of 10 steps had these losses; its own weights have the last one, or none."""
    history = tuple({"epoch": float(n), "step": 10.0 * (n + 1), "test/loss": loss} for n, loss in enumerate(losses))
    return TrainState(step if not at_end else 10 * len(losses), len(losses), {}, "r", "h", history=history)


def test_a_state_is_worth_saving_when_it_is_among_the_best():
    worth = Retention(1, LOSS).worth
    assert worth(state(0, 0.5))
    assert worth(state(0, 0.5, 0.9))
    assert not worth(state(0, 0.5, 0.6, 0.9))
    assert worth(state(0, 0.5, 0.6, 0.55))
    assert not worth(state(0, 0.5, math.nan))
    assert not worth(state(25, 0.5, 0.4, at_end=False))
    assert not worth(TrainState(0, 0, {}, "r", "h"))
    assert not Retention(1).worth(state(0, 0.5))


def test_a_metric_that_no_evaluation_gives_is_named():
    with pytest.raises(CheckpointError, match="there is no metric 'test/los'") as caught:
        Retention(1, Best("test/los", 1, largest=False)).worth(state(0, 0.5))
    assert "test/loss" in str(caught.value)


def steps(store, url: str) -> list[int]:
    return sorted({int(info.url.removeprefix(url).split("/")[1].split("-")[1]) for info in store.list(url)})


@pytest.mark.parametrize("anew", [False, True], ids=["one process", "a process for each save"])
def test_on_a_store_times_and_metrics_are_those_of_the_manifests(tmp_path, anew):
    url = join(f"memory://{tmp_path}", "run")
    store, now = open_store(url), [1000.0]
    losses = [0.5, 0.9, 0.3, 0.8, 0.7, 0.6]

    def opened() -> Checkpoints:
        rules = Retention(1, replace(LOSS, keep=1), 25.0)
        return Checkpoints(store, url, keep=rules, clock=lambda: now[0])

    checkpoints = opened()
    for count in range(1, len(losses) + 1):
        checkpoints.save(state(0, *losses[:count]), lambda folder: (folder / "v").touch()).result()
        now[0] += 10
        if anew:
            checkpoints.close()
            checkpoints = opened()
    latest = checkpoints.latest()
    assert latest is not None
    assert latest.url.endswith("step-000000060")
    checkpoints.close()
    # 10 and 40 for the time, 30 for its loss, 60 for being the newest.
    assert steps(store, url) == [10, 30, 40, 60]


def test_a_damaged_one_is_left_alone(tmp_path, caplog):
    url = join(f"memory://{tmp_path}", "run")
    store = open_store(url)
    for step in (10, 20):
        store.put(join(url, f"step-{step:09d}", "MANIFEST.json"), b"{" if step == 10 else b'{"files": {}}')
    with Checkpoints(store, url, keep=Retention(1, LOSS)) as checkpoints:
        checkpoints.save(state(0, 0.5, 0.4, 0.3), lambda folder: (folder / "v").touch()).result()
    assert steps(store, url) == [10, 20, 30]
    assert caplog.text.count("is left alone") == 2


@pytest.mark.parametrize("metric", ["loss", "tests/loss", "test/", "test/loss"])
def test_a_metric_of_nothing_is_a_fault_of_the_configuration(metric):
    overrides = [f"+train.checkpoint.keep_best.metric={metric}"]
    if metric == "test/loss":
        overrides.append("~inputs.train.split")
    with pytest.raises(Refused) as caught:
        pai_train.compose("iris", overrides)
    assert [str(fault.where) for fault in caught.value.faults] == [f"override {overrides[0]}"]


def test_retention_changes_no_identity():
    base = pai_train.compose("iris").config_hash
    ours = ["train.checkpoint.keep_best={metric: test/loss, keep: 2}", "train.checkpoint.keep_every_seconds=3600"]
    assert pai_train.compose("iris", ours).config_hash == base
