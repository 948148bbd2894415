"""Whole runs killed while they write predictions: however often, the table holds every row once for each run."""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from contextlib import suppress

import pytest

from tests.runs.test_recipes_run import read_table

QUICK = ["+recipe=iris", "train.epochs=1", "gpus=0", "+outputs.predictions.write=append"]
# What lies in the table's folder when a write has come so far.
STAGES = {
    "begun": "data/*/slice-*.json",
    "staged": "data/*/part-*.parquet",
    "committing": "metadata/*.avro",
    "published": "metadata/v2.metadata.json",
}


def killed(jobs, stage, after_s):
    """Starts the command and kills it so long after the write has come so far; returns whether it was still there."""
    there = found(jobs, stage)
    running = jobs.start(*QUICK)
    end = time.monotonic() + 60
    while running.alive and not found(jobs, stage) - there:
        assert time.monotonic() < end, running.text
        time.sleep(0.001)
    time.sleep(after_s)
    running.send(signal.SIGKILL)
    return running.wait().code == -signal.SIGKILL


def found(jobs, stage):
    """Lists what is there of a stage, by name and time."""
    folder = jobs.cwd / "data/tables/pai_train/iris_output"
    seen = set()
    for path in folder.glob(STAGES[stage]):
        with suppress(FileNotFoundError):
            seen.add((path, path.stat().st_mtime_ns))
    return seen


def rows_of(jobs):
    """Counts the rows of the output by the measurements in them."""
    return Counter(row[:4] for row in read_table(jobs.cwd / "data/tables", "iris_output"))


@pytest.mark.parametrize("stage", ["staged", "published", pytest.param("committing", marks=pytest.mark.full)])
def test_killed_while_predictions_are_written(jobs, stage):
    assert killed(jobs, stage, 0)
    assert jobs.done(*QUICK)["generation"] == 1
    once = rows_of(jobs)
    assert once.total() == 150
    if stage == "published":
        assert jobs.done(*QUICK)["generation"] == 2
        assert rows_of(jobs) == once + once


@pytest.mark.full
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("seed", range(4))
def test_killed_again_and_again(jobs, seed):
    chances = random.Random(seed)
    kills = 0
    while kills < 15:
        kills += killed(jobs, chances.choice(["begun", "staged", "committing"]), chances.uniform(0, 0.2))
        if chances.random() < 0.5 and kills < 15:
            continue
        generations = jobs.done(*QUICK)["generation"]
        counts = rows_of(jobs)
        assert counts.total() == 150 * generations
        assert all(count % generations == 0 for count in counts.values())
