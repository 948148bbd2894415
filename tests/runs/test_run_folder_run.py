"""What a run leaves behind, and that its reproduce line is true."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from pathlib import Path

import yaml

QUICK = ["+recipe=iris", "train.epochs=2"]


def test_run_json_says_what_was_run(jobs):
    record = jobs.done("+recipe=iris", "train.epochs=5", "train.batch_size=8")
    assert record["overrides"] == ["+recipe=iris", "train.epochs=5", "train.batch_size=8"]
    assert shlex.split(record["command"])[-3:] == record["overrides"]
    assert record["recipe_file"].endswith("recipes/iris.yaml")
    assert len(record["config_hash"]) == 64
    assert set(record["packages"]) >= {"python", "tensorflow", "pyarrow", "pyiceberg", "pai_train"}
    snapshot = record["inputs"]["train"]["snapshot"]
    assert (snapshot["rows"], record["inputs"]["train"]["rows"], snapshot["bytes"] > 0) == (150, 150, True)
    assert record["seed"] == 17
    assert record["rows_per_s"] > 0
    assert 0 <= record["stall_fraction"] <= 1
    assert record["exit_code"] == 0
    config = yaml.safe_load((Path(record["folder"]) / "config.yaml").read_text())
    assert config["train"]["batch_size"] == 8
    assert (Path(record["folder"]) / "log").read_text()


def test_git_state_is_recorded(jobs):
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.com"]
    subprocess.run([*git, "init", "-q"], cwd=jobs.cwd, check=True)
    (jobs.cwd / "file").write_text("one")
    subprocess.run([*git, "add", "file"], cwd=jobs.cwd, check=True)
    subprocess.run([*git, "commit", "-qm", "one"], cwd=jobs.cwd, check=True)
    assert jobs.done(*QUICK)["git"]["dirty"] is False
    (jobs.cwd / "file").write_text("two")
    assert jobs.done(*QUICK)["git"]["dirty"] is True


def test_the_reproduce_line_gives_the_same_metrics_and_touches_nothing(jobs):
    record = jobs.done(*QUICK, "gpus=2", "train.seed=3")
    before = {path: path.stat().st_mtime_ns for path in (jobs.cwd / "data").rglob("*") if path.is_file()}
    done = subprocess.run(record["reproduce"], shell=True, cwd="/", capture_output=True, text=True, check=False)  # noqa: S602
    assert done.returncode == 0, done.stderr
    again = jobs.last()
    assert again["folder"] != record["folder"]
    assert again["metrics"] == record["metrics"]
    assert again["weights_sha256"] == record["weights_sha256"]
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_a_snapshot_that_is_gone_is_refused(jobs):
    jobs.done("+recipe=csvtest", "train.epochs=1")
    finished = jobs.run("+recipe=csvtest", "train.epochs=1", "inputs.train.snapshot=abc")
    assert finished.code != 0
    assert "snapshot" in finished.text
    assert "Traceback" not in finished.text


def test_two_starts_at_one_moment_get_two_folders(jobs):
    same = "hydra.run.dir=runs/iris/now"
    running = [jobs.start(*QUICK, f"checkpointDir=ck/{i}", f"storage.root=data{i}", same) for i in (0, 1)]
    assert [one.wait().code for one in running] == [0, 0]
    assert [path.parent.name for path in jobs.records()] == ["now", "now-2"]


def test_a_failing_run_says_so_in_its_folder(jobs):
    (jobs.cwd / "data").mkdir()
    (jobs.cwd / "data" / "csvtest.csv").write_text("a,1,1.5,b,0\n" * 9000 + "a,x,1.5,b,0\n" + "a,1,1.5,b,1\n" * 50)
    finished = jobs.run("+recipe=csvtest")
    assert finished.code == 1
    assert "csvtest.csv:9001" in finished.text
    assert "'d2'" in finished.text
    assert "Traceback" not in finished.text
    record = jobs.last()
    assert (record["status"], record["exit_code"]) == ("failed", 1)
    assert "csvtest.csv:9001" in record["error"]


def test_no_environment_variable_reaches_the_folder(jobs):
    os.environ.pop("PLANTED", None)
    finished = jobs.run(*QUICK, "model.name=${oc.env:PLANTED}", env={"PLANTED": "mlp"})
    assert finished.code == 0, finished
    folder = Path(jobs.last()["folder"])
    assert "${oc.env:PLANTED}" in (folder / "config.yaml").read_text()
    json.loads((folder / "run.json").read_text())
