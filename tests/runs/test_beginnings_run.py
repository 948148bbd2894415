"""Runs that begin from another run's state, or with another model's weights."""

from __future__ import annotations

import json
import os
import signal

IRIS = ["+recipe=iris", "+model.params.dropout=0.2"]
THERE = "data/checkpoints/iris"


def test_begun_from_a_finished_run_it_ends_like_the_straight_one(jobs):
    straight = jobs.done(*IRIS, "train.epochs=4", "checkpointDir=straight")
    first = jobs.done(*IRIS, "train.epochs=2")
    longer = [*IRIS, "train.epochs=4", "checkpointDir=longer", f"train.resume={first['folder']}"]
    running = jobs.start(*longer, "train.steps_per_call=1", "train.checkpoint.every_steps=1")
    running.wait_for(lambda: list((jobs.cwd / "data/longer").glob("g0001-*/step-*/MANIFEST.json")))
    os.kill(running.pid, signal.SIGKILL)
    running.wait()
    # Of another configuration, and so a run of its own.
    record = jobs.done(*longer)
    assert (record["generation"], record["steps"]) == (2, straight["steps"])
    assert record["weights_sha256"] == straight["weights_sha256"]
    assert record["metrics"] == straight["metrics"]
    assert record["begun_from"].endswith(f"{first['checkpoint']}")
    assert "train.resume" in record["reproduce"]
    assert first["run_id"] not in json.dumps(record["outputs"])
    # The same command, killed, goes on with what it began, even when the other run is gone.
    (jobs.cwd / first["checkpoint"] / "MANIFEST.json").unlink()
    again = jobs.done(*longer[:-1], "train.steps_per_call=1", "train.checkpoint.every_steps=1")
    assert (again["generation"], again["weights_sha256"]) == (1, straight["weights_sha256"])


def test_what_does_not_fit_is_refused_and_says_what(jobs):
    jobs.done(*IRIS, "train.epochs=1")
    begin = [*IRIS, "checkpointDir=other", "train.resume=checkpoints/iris"]
    wrong = jobs.run(*begin, "train.resume=checkpoints/irs", "train.warm_start=nowhere")
    assert (wrong.code, wrong.text.count("there is no checkpoint")) == (2, 0), wrong
    assert "the run has two beginnings" in wrong.text
    wrong = jobs.run(*begin, "train.resume=checkpoints/irs")
    assert (wrong.code, wrong.text.count("there is no checkpoint")) == (2, 1), wrong
    assert not (jobs.cwd / "data/other").exists()
    wrong = jobs.run(*begin, "model.params.hidden=[8]")
    assert wrong.code == 1
    assert "model/mlp.hidden.0/bias is float32[16], the model wants float32[8]" in wrong.text
    assert "data/checkpoints/iris/g0001-" in wrong.text
    wrong = jobs.run(*begin, "train.batch_size=5")
    assert wrong.code == 1
    assert "the order of rows changed" in wrong.text
    assert not list((jobs.cwd / "data/other").glob("g*/step-*"))


def test_a_warm_start_is_told_of_and_part_of_the_configuration(jobs):
    first = jobs.done(*IRIS, "train.epochs=1")
    warm = [*IRIS, "train.epochs=1", "gpus=2", "train.warm_start={from: checkpoints/iris, exclude: [mlp.output/*]}"]
    finished = jobs.run(*warm)
    assert finished.code == 0, finished
    assert "warm start from data/checkpoints/iris/g0001-" in finished.text
    assert "4 variables taken" in finished.text
    record = jobs.last()
    assert record["warm_start"]["left_out"] == ["mlp.output/bias", "mlp.output/kernel"]
    assert record["warm_start"]["origin"] == first["checkpoint"]
    assert record["config_hash"] != first["config_hash"]
    assert record["weights_sha256"] != first["weights_sha256"]
