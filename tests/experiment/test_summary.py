"""The final block: short, aligned, without colour, and whole where a line is to be copied."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pai_train.errors import DataError
from pai_train.experiment.record import OutputRecord, Record
from pai_train.experiment.summary import summary

START = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)


def finished(tmp_path, seconds=12.34, error=None, **known):
    times = iter([START, START + timedelta(seconds=seconds)])
    record = Record.start(tmp_path, argv=["x"], now=lambda: next(times), **known)
    record.finish(error)
    record.folder = Path("/runs/iris/1")
    return record


def test_a_whole_run(tmp_path):
    record = finished(
        tmp_path,
        recipe="iris",
        epochs=60,
        steps=1500,
        metrics={"train": {"loss": 1.0}, "test": {"loss": 0.08123, "accuracy": 29 / 30}},
        rows_per_s=12345.6,
        waited_for="compute-bound: input waited on 0.4 % of the time",
        checkpoint="checkpoints/iris",
        outputs={"predictions": OutputRecord("odps://pai_train/tables/iris_output", 150)},
        reproduce="cd /work && python -m pai_train +recipe=iris",
    )
    assert summary(record).splitlines() == [
        "done         iris: 60 epochs, 1,500 steps in 12.3 s",
        "test         loss 0.08123  accuracy 0.9667",
        "speed        12,346 rows/s",
        "input        compute-bound: input waited on 0.4 % of the time",
        "checkpoint   checkpoints/iris",
        "predictions  odps://pai_train/tables/iris_output (150 rows)",
        "run folder   /runs/iris/1",
        "reproduce    cd /work && python -m pai_train +recipe=iris",
    ]


def test_a_failed_run_says_why_and_leaves_out_what_it_has_not(tmp_path):
    error = DataError("5 fields wanted", where="a.csv:3", todo="declare the columns")
    assert summary(finished(tmp_path, 3661, error, run_id="r1", epochs=1, steps=1)).splitlines() == [
        "failed      r1: 1 epoch, 1 step in 1 h 1 min",
        "            a.csv:3: 5 fields wanted",
        "                to do: declare the columns",
        "run folder  /runs/iris/1",
    ]


@pytest.mark.parametrize(
    ("epochs", "steps", "part", "said"),
    [
        (0, 0, False, "0 epochs, 0 steps"),
        (0, 20, True, "part of epoch 1, 20 steps"),
        (0, 20, False, "part of epoch 1, 20 steps"),
        (1, 13, False, "1 epoch, 13 steps"),
        (2, 30, True, "2 epochs and part of epoch 3, 30 steps"),
    ],
)
def test_epochs_are_whole_ones(tmp_path, epochs, steps, part, said):
    record = finished(tmp_path, recipe="iris", epochs=epochs, steps=steps, part_of_epoch=part)
    assert f"iris: {said} in" in summary(record)


def test_without_held_out_rows_the_training_metrics_are_shown(tmp_path):
    text = summary(finished(tmp_path, 61, metrics={"train": {"loss": float("nan")}}))
    assert "train       loss nan" in text
    assert "1 min 1 s" in text


def test_it_stays_short_whatever_there_is(tmp_path):
    record = finished(
        tmp_path,
        recipe="big",
        metrics={"test": {f"metric_{number}": number for number in range(50)}},
        outputs={f"out{number}": OutputRecord(f"t{number}") for number in range(9)},
        rows_per_s=1.0,
        waited_for="x",
        checkpoint="c",
        reproduce="r " * 300,
    )
    lines = summary(record).splitlines()
    assert len(lines) == 11
    assert "            and 6 more" in lines
    assert all("\x1b" not in line for line in lines)
    assert lines[-1].endswith("r " * 300)
