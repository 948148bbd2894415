"""Signals outside the loop, and trainings that go wrong without an error of Python's."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    ("number", "loading"),
    [(signal.SIGTERM, "libarrow"), (signal.SIGHUP, "tensorflow")],
    ids=["libarrow", "tensorflow"],
)
def test_a_stop_before_anything_is_written_leaves_nothing(number, loading, jobs):
    running = jobs.start("+recipe=iris", cold=True)
    deadline = time.monotonic() + 60
    while loading not in Path(f"/proc/{running.pid}/maps").read_text() and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(running.pid, number)
    finished = running.wait()
    assert finished.code == 75, finished
    assert not list(jobs.cwd.iterdir())
    assert "Traceback" not in finished.text


def _rows_and_metadata(jobs):
    """All files of tables and when they were written, but for the pins of a run, which it may go on with."""
    files = [path for path in (jobs.cwd / "data/tables").rglob("*") if path.is_file() and path.parent.name != "pins"]
    return {path: path.stat().st_mtime_ns for path in files}


def test_a_loss_that_is_no_number_ends_the_run_before_an_output_is_replaced(jobs):
    jobs.done("+recipe=iris", "train.epochs=1")
    before = _rows_and_metadata(jobs)
    finished = jobs.run("+recipe=iris", "train.learning_rate=1e30", "train.epochs=3")
    assert finished.code == 1
    assert "the loss is nan at step" in finished.text
    assert "train.learning_rate" in finished.text
    assert _rows_and_metadata(jobs) == before


def test_a_feature_that_is_no_number_ends_the_run(jobs):
    (jobs.cwd / "data").mkdir()
    rows = [f"north,{i % 9},{'nan' if i == 30 else i / 7},card,{i % 2}" for i in range(200)]
    (jobs.cwd / "data" / "csvtest.csv").write_text("\n".join(rows) + "\n")
    finished = jobs.run("+recipe=csvtest", "train.epochs=2")
    assert finished.code == 1
    assert "column 'd3' holds NaN or infinite values" in finished.text
    assert "done" not in finished.text.split()


def test_the_queue_runner_engine_gives_no_advice(jobs):
    finished = jobs.run("+recipe=csvtest", "engine=queue_runner", "train.epochs=1", cold=True)
    assert finished.code == 0
    assert "deprecated" not in finished.text
    assert "WARNING" not in finished.text


def test_an_empty_label_is_said(jobs):
    (jobs.cwd / "data").mkdir()
    rows = [f"{i},{i % 5},1,1,{['a', 'b', ''][i % 3]}" for i in range(90)]
    (jobs.cwd / "data" / "own.csv").write_text("\n".join(rows) + "\n")
    (jobs.cwd / "recipes").mkdir()
    (jobs.cwd / "recipes" / "own.yaml").write_text(
        "# Own.\ninputs: {train: {oss: own.csv, columns: {a: DOUBLE, b: DOUBLE, c: DOUBLE, d: DOUBLE, e: STRING},"
        " label: e}}\ncheckpointDir: ck\n"
    )
    finished = jobs.run("+recipe=own")
    assert finished.code == 1
    assert "the label 'e' is empty in some rows" in finished.text
    assert "own.csv" in finished.text
