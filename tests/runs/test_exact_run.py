"""Batch norm, dropout, accumulation and every order of rows: killed twice, on either engine, the same weights."""

from __future__ import annotations

import itertools
import os
import signal
from functools import cache

import pytest

from tests.runs.test_resume import newest_step
from tests.suites.jobs import Jobs

KEYS = [
    *["+recipe=iris", "train.epochs=2", "train.batch_size=14"],
    *["+model.params.dropout=0.2", "+model.params.batch_norm=true"],
]
SAVING = ["train.steps_per_call=2", "train.checkpoint.every_steps=2"]

QUICK = [(0, "queue_runner", "window", 3), (2, "tf_data", "window", 1)]
ALL = list(itertools.product((0, 2), ("tf_data", "queue_runner"), ("block", "window", "none"), (1, 3)))
REST = [pytest.param(*one, marks=pytest.mark.full) for one in ALL if one not in QUICK]


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """The record of a run that was never interrupted, by replicas, order and accumulation."""
    folder = tmp_path_factory.mktemp("straight") / "work"
    folder.mkdir()

    @cache
    def on(gpus, shuffle, accumulate):
        return Jobs(folder).done(*keys(gpus, shuffle, accumulate), "train.resume=never")

    return on


def keys(gpus, shuffle, accumulate):
    return [*KEYS, f"gpus={gpus}", f"+inputs.train.shuffle={shuffle}", f"train.accumulate_steps={accumulate}"]


@pytest.mark.parametrize(("gpus", "engine", "shuffle", "accumulate"), [*QUICK, *REST])
def test_killed_twice_it_ends_in_the_same_weights(gpus, engine, shuffle, accumulate, jobs, straight):
    command = [*keys(gpus, shuffle, accumulate), *SAVING, f"engine={engine}"]
    for kill_at in (3, 12):
        running = jobs.start(*command)
        running.wait_for(lambda at=kill_at: newest_step(jobs) >= at, 200)
        os.kill(running.pid, signal.SIGKILL)
        assert running.wait().code == -signal.SIGKILL
    finished = jobs.run(*command)
    assert finished.code == 0, finished
    assert "going on behind step" in finished.text
    record, wanted = jobs.last(), straight(gpus, shuffle, accumulate)
    assert record["generation"] == 1
    for name in ("weights_sha256", "metrics", "steps"):
        assert record[name] == wanted[name], name
