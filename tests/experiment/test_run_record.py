"""run.json and metrics.jsonl: true at every moment, valid JSON whatever happened, and no word of the environment."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pai_train.errors import DataError, Fault, Interrupted, Refused
from pai_train.experiment import environment
from pai_train.experiment.metrics import Metrics
from pai_train.experiment.plain import plain
from pai_train.experiment.record import InputRecord, OutputRecord, Record
from pai_train.spec.contracts import Snapshot

START = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)

FIELDS = {
    *("status", "run_id", "generation", "command", "recipe", "recipe_file", "overrides", "config_hash", "git"),
    *("packages", "devices", "replicas", "host", "pid", "started", "ended", "inputs", "outputs", "seed", "metrics"),
    *("epochs", "steps", "rows_per_s", "stall_fraction", "waited_for", "checkpoint", "exit_code", "error"),
    *("reproduce", "weights_sha256"),
}


def strict(text):
    """Reads JSON as a strict parser would, without NaN."""

    def refuse(name):
        raise ValueError(f"{name} is not JSON")

    return json.loads(text, parse_constant=refuse)


def read(folder):
    return strict((folder / "run.json").read_text())


class Clock:
    def __init__(self):
        self.now = START

    def __call__(self):
        self.now += timedelta(seconds=1.5)
        return self.now


@pytest.fixture
def record(tmp_path):
    return Record.start(
        tmp_path,
        argv=["python", "-m", "pai_train", "+recipe=iris", "model.params={a: 1}"],
        now=Clock(),
        cwd=tmp_path,
        recipe="iris",
        run_id="r1",
        generation=1,
        seed=17,
        overrides=["+recipe=iris"],
        config_hash="abc",
    )


def test_the_file_is_there_from_the_start_with_every_field(record, tmp_path):
    content = read(tmp_path)
    assert set(content) >= FIELDS
    assert content["status"] == "running"
    assert content["command"] == "python -m pai_train +recipe=iris 'model.params={a: 1}'"
    assert content["started"] == "2026-11-23T08:00:01.500+00:00"
    assert content["ended"] is content["exit_code"] is content["git"] is None
    assert content["packages"]["numpy"] == np.__version__
    assert set(content["packages"]) == {"python", *environment.PACKAGES}
    assert content["folder"] == str(tmp_path)


def test_a_run_from_start_to_end(record, tmp_path):
    snapshot = Snapshot("123", 150, 4000)
    record.inputs["train"] = InputRecord("odps://p/tables/iris", snapshot.to_json(), 150)
    record.devices = ["/logical:CPU:0", "/logical:CPU:1"]
    record.replicas = 2
    record.save()
    assert read(tmp_path)["inputs"] == {
        "train": {
            "address": "odps://p/tables/iris",
            "snapshot": snapshot.to_json(),
            "rows": 150,
            "bad_rows": None,
            "rows_read": None,
            "quarantine": None,
        }
    }
    record.epoch(epochs=1, steps=8, metrics={"train": {"loss": np.float32(0.5)}}, rows_per_s=99.5, stall_fraction=0.1)
    content = read(tmp_path)
    assert (content["epochs"], content["steps"], content["metrics"]) == (1, 8, {"train": {"loss": 0.5}})
    assert content["status"] == "running"
    record.metrics["test"] = {"accuracy": 0.9}
    record.outputs["predictions"] = OutputRecord("odps://p/tables/iris_output", 150)
    assert record.finish() == 0
    content = read(tmp_path)
    assert (content["status"], content["exit_code"], content["error"]) == ("done", 0, None)
    assert content["metrics"] == {"train": {"loss": 0.5}, "test": {"accuracy": 0.9}}
    assert content["outputs"]["predictions"]["rows"] == 150
    assert record.seconds == 1.5
    assert [entry.name for entry in tmp_path.iterdir()] == ["run.json"]


@pytest.mark.parametrize(
    ("error", "ending"),
    [
        (Interrupted("stopped by SIGTERM"), ("interrupted", 75, "stopped by SIGTERM")),
        (KeyboardInterrupt(), ("interrupted", 130, "KeyboardInterrupt")),
        (
            Refused([Fault("bad key", where="iris.yaml:3 lr")]),
            ("refused", 2, "1 fault, nothing was touched:\n  iris.yaml:3 lr: bad key"),
        ),
        (DataError("bad row", where="a.csv:3"), ("failed", 1, "a.csv:3: bad row")),
        (ZeroDivisionError("by zero"), ("failed", 1, "ZeroDivisionError: by zero")),
    ],
    ids=lambda value: type(value).__name__,
)
def test_how_a_run_ends(record, tmp_path, error, ending):
    assert record.finish(error) == ending[1]
    content = read(tmp_path)
    assert (content["status"], content["exit_code"], content["error"]) == ending
    assert content["ended"] > content["started"]


def test_a_diverged_run_is_still_valid_json(record, tmp_path):
    record.epoch(epochs=1, steps=1, metrics={"train": {"loss": float("nan"), "norm": np.float64("inf")}})
    assert read(tmp_path)["metrics"]["train"] == {"loss": "NaN", "norm": "Infinity"}


def test_a_killed_run_leaves_what_it_had_noted_last(tmp_path):
    code = (
        "import os, pathlib, signal, sys\n"
        "from pai_train.experiment.record import Record\n"
        "record = Record.start(pathlib.Path(sys.argv[1]), argv=sys.argv)\n"
        "for epoch in range(3): record.epoch(epochs=epoch, steps=epoch, metrics={})\n"
        "record.steps = 99\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([sys.executable, "-c", code, tmp_path], check=False).returncode == -9
    content = read(tmp_path)
    assert (content["status"], content["steps"]) == ("running", 2)


def test_the_environment_stays_out(tmp_path, monkeypatch):
    monkeypatch.setenv("OSS_SECRET", "SEKRET-4711")
    record = Record.start(tmp_path, argv=["x"])
    record.finish()
    assert "SEKRET-4711" not in (tmp_path / "run.json").read_text()


def run_git(cwd, *arguments):
    identity = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    subprocess.run(["git", *identity, *arguments], cwd=cwd, check=True, capture_output=True)


def test_git_state(tmp_path):
    assert environment.git(tmp_path) is None
    run_git(tmp_path, "init", "-q")
    assert environment.git(tmp_path) == {"commit": None, "dirty": True}
    (tmp_path / "a.py").write_text("1\n")
    run_git(tmp_path, "add", "a.py")
    run_git(tmp_path, "commit", "-qm", "first")
    clean = environment.git(tmp_path)
    assert len(clean["commit"]) == 40
    assert clean == {"commit": clean["commit"], "dirty": False}
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "untracked").write_text("")
    assert environment.git(tmp_path / "runs") == clean
    states = []
    for content in ("2\n", "3\n", "2\n"):
        (tmp_path / "a.py").write_text(content)
        states.append(environment.git(tmp_path))
    assert all(state["dirty"] and len(state["diff_sha256"]) == 64 for state in states)
    assert states[0] == states[2] != states[1]


@pytest.mark.parametrize("git", ["exit 1", "sleep 20", None], ids=["broken", "slow", "absent"])
def test_a_git_that_does_not_answer_is_fine(tmp_path, monkeypatch, git):
    folder = tmp_path / "bin"
    folder.mkdir()
    if git is not None:
        (folder / "git").write_text(f"#!/bin/sh\nexec /bin/sh -c '{git}'\n")
        (folder / "git").chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:/bin:/usr/bin")
    else:
        monkeypatch.setenv("PATH", str(folder))
    assert environment.git(tmp_path, timeout_s=0.2) is None


def test_metrics_are_lines_on_disk_as_they_happen(tmp_path):
    with Metrics(tmp_path, clock=lambda: 12.5) as metrics:
        metrics.write("step", epoch=1, step=10, values={"loss": np.float32(0.25), "nan": float("nan")})
        lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
        assert [strict(line) for line in lines] == [
            {"kind": "step", "epoch": 1, "step": 10, "time": 12.5, "values": {"loss": 0.25, "nan": "NaN"}}
        ]
        metrics.write("epoch", epoch=1, step=12, values={})
    with Metrics(tmp_path) as metrics:
        metrics.write("eval", epoch=1, step=12, values={"naïve": 1})
    metrics.close()
    kinds = [strict(line)["kind"] for line in (tmp_path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    assert kinds == ["step", "epoch", "eval"]


@settings(deadline=None, max_examples=100)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.tuples(inner) | st.dictionaries(st.text(), inner),
        max_leaves=8,
    )
)
def test_anything_plain_is_strict_json(value):
    strict(json.dumps(plain(value), allow_nan=False))


def test_plain_of_scalars_paths_and_what_has_no_json():
    assert plain({"a": np.int64(3), "b": np.bool_(True), "c": Path("x/y"), 4: (np.float64("-inf"),)}) == {
        "a": 3,
        "b": True,
        "c": "x/y",
        "4": ["-Infinity"],
    }
    with pytest.raises(TypeError, match="no JSON for a value of type object"):
        plain([object()])
