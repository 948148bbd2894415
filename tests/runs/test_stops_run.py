"""Asked to stop in every part of a run, by real signals to real processes: saved, exit 75, and the same weights."""

from __future__ import annotations

import json
import os
import signal
import time
from functools import cache

import pytest

from tests.runs.test_recipes_run import read_table
from tests.suites.jobs import Jobs

# Sends the process one SIGTERM in the part of its run that the class is named after, once in a folder.
SENDS = """
import os, signal
from pathlib import Path
import keras

class Sends(keras.callbacks.Callback):
    after = 0

    def send(self):
        self.after -= 1
        if self.after < 0 and not Path("sent").exists():
            Path("sent").touch()
            os.kill(os.getpid(), signal.SIGTERM)

class Compiling(Sends):
    def on_train_batch_begin(self, batch, logs=None):
        self.send()

class Evaluating(Sends):
    after = 2

    def on_test_begin(self, logs=None):
        self.send()

class Predicting(Sends):
    def on_train_end(self, logs=None):
        self.send()

class Begun(keras.callbacks.Callback):
    def on_train_batch_begin(self, batch, logs=None):
        Path("begun").touch()
"""

# Held-out rows that take several calls, each after 4 steps and at the end of an epoch of 10.
COMMAND = [
    "+recipe=csvtest",
    *["inputs.train.oss=rows.csv", "~inputs.train.split", "+inputs.test={oss: test.csv}"],
    *["+inputs.test.columns=${inputs.train.columns}", "+inputs.test.record_defaults=${inputs.train.record_defaults}"],
    "+outputs.scored={table: scored, ddl: 'create table scored(d3 DOUBLE, d5 BIGINT)'}",
    *["+model.params.dropout=0.2", "+model.params.batch_norm=true", "train.epochs=2"],
    *["train.steps_per_call=1", "train.evaluate_every_steps=4", "train.accumulate_steps=3"],
    *["train.early_stopping={metric: test/loss}", "train.checkpoint.keep_best={metric: test/loss}"],
]
MANY = [pytest.param(2, "queue_runner", marks=pytest.mark.full, id="2-queue_runner")]


def rows(count, of):
    return "".join(
        f"{'nsew'[i * of % 4]},{i * of % 9},{i * of % 7 / 7},{'ab'[i % 2]},{i * of % 11 % 2}\n" for i in range(count)
    )


@pytest.fixture
def jobs(tmp_path):
    return with_rows(tmp_path / "work")


def with_rows(folder):
    (folder / "data").mkdir(parents=True)
    (folder / "data/rows.csv").write_text(rows(320, 3))
    (folder / "data/test.csv").write_text(rows(900, 5))
    (folder / "sends.py").write_text(SENDS)
    return Jobs(folder)


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    jobs = with_rows(tmp_path_factory.mktemp("straight") / "work")

    @cache
    def on(gpus):
        return jobs.done(*COMMAND, f"gpus={gpus}", "train.resume=never")

    return on


def goes_on(jobs, command, straight):
    record = jobs.done(*command)
    assert record["generation"] == 1
    for name in ("weights_sha256", "metrics", "steps", "epochs"):
        assert record[name] == straight[name], name
    assert record["outputs"]["scored"]["rows"] == 320
    return record


def state_of(jobs, record):
    return json.loads((jobs.cwd / record["checkpoint"] / "MANIFEST.json").read_text())["extra"]["state"]


@pytest.mark.parametrize(("gpus", "engine"), [(0, "tf_data"), *MANY])
@pytest.mark.parametrize("part", ["Compiling", "Evaluating", "Predicting"])
def test_a_stop_in_each_part_is_saved_and_gone_on_from(part, gpus, engine, jobs, straight):
    command = [*COMMAND, f"train.callbacks=[sends.{part}]", f"gpus={gpus}", f"engine={engine}"]
    stopped = jobs.run(*command)
    assert stopped.code == 75, stopped
    assert "the same command goes on" in stopped.text
    assert "Traceback" not in stopped.text
    record = jobs.last()
    assert record["status"] == "interrupted"
    state = state_of(jobs, record)
    steps = {"Compiling": 1, "Evaluating": 10, "Predicting": straight(gpus)["steps"]}[part]
    assert (state["step"], state["tracking"].get("owed")) == (steps, 2.0 if part == "Evaluating" else None)
    # Before the table is replaced all rows are there, or none.
    assert not (jobs.cwd / "data/tables/pai_train/scored/data").exists() or not read_table(
        jobs.cwd / "data/tables", "scored"
    )
    goes_on(jobs, command, straight(gpus))
    assert (jobs.cwd / "sent").exists()


def test_a_stop_while_rows_are_put_in_place_and_looked_at_begins_anew(jobs):
    iris = ["+recipe=iris", "train.epochs=1"]
    straight = jobs.done(*iris, "train.resume=never", "tables.root=elsewhere")
    running = jobs.start(*iris)
    running.wait_for(lambda: "putting the sample" in running.text)
    os.kill(running.pid, signal.SIGTERM)
    stopped = running.wait()
    assert stopped.code == 75, stopped
    assert jobs.done(*iris)["weights_sha256"] == straight["weights_sha256"]


@pytest.mark.parametrize("cold", [False, pytest.param(True, marks=pytest.mark.full)], ids=["warm", "cold"])
def test_a_second_stop_ends_at_once_what_is_inside_tensorflow(jobs, cold):
    (jobs.cwd / "data/rows.csv").write_text(rows(200_000, 3))
    command = [*COMMAND, "train.batch_size=1", "train.epochs=1", "train.callbacks=[sends.Begun]"]
    command = [word for word in command if not word.startswith(("train.steps_per", "train.evaluate_every"))]
    command += ["train.steps_per_call=200000", "train.checkpoint.every_seconds=3600"]
    running = jobs.start(*command, cold=cold)
    running.wait_for((jobs.cwd / "begun").exists)
    time.sleep(1)
    os.kill(running.pid, signal.SIGTERM)
    time.sleep(0.5)
    assert running.alive, running.text
    begin = time.monotonic()
    os.kill(running.pid, signal.SIGTERM)
    assert running.wait(20).code in (128 + signal.SIGTERM, -signal.SIGTERM)
    assert time.monotonic() - begin < 5
