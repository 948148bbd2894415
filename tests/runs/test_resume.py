"""Killed anywhere, the same command goes on; finished, it begins a new generation beside the old one."""

from __future__ import annotations

import json
import os
import signal

import pytest

from tests.runs.test_recipes_run import read_table

SLOW = [
    "+recipe=iris",
    "gpus=2",
    "train.epochs=12",
    "train.steps_per_call=2",
    "train.checkpoint.every_steps=2",
    "+model.params.dropout=0.2",
]


def manifests(jobs, generation="g0001"):
    return sorted((jobs.cwd / "data/checkpoints/iris").glob(f"{generation}-*/step-*/MANIFEST.json"))


def newest_step(jobs):
    return max((int(path.parent.name.split("-")[1]) for path in manifests(jobs)), default=0)


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    from tests.suites.jobs import Jobs

    folder = tmp_path_factory.mktemp("straight") / "work"
    folder.mkdir()
    return Jobs(folder).done(*SLOW)


@pytest.mark.parametrize("engine", ["tf_data", pytest.param("queue_runner", marks=pytest.mark.full)])
def test_three_kills_in_mid_epoch_change_nothing(engine, jobs, straight):
    steps = []
    for kill_at in (12, 40, 66):
        running = jobs.start(*SLOW, f"engine={engine}", cold=kill_at == 40 and engine == "tf_data")
        running.wait_for(lambda at=kill_at: newest_step(jobs) >= at)
        os.kill(running.pid, signal.SIGKILL)
        assert running.wait().code == -signal.SIGKILL
        assert jobs.last()["status"] == "running"
        steps.append(newest_step(jobs))
    finished = jobs.run(*SLOW, f"engine={engine}")
    assert finished.code == 0, finished
    assert "going on behind step" in finished.text
    record = jobs.last()
    assert steps == sorted(set(steps))
    assert all(step % 9 for step in steps) or len({step % 9 for step in steps}) > 1
    assert record["generation"] == 1
    assert record["metrics"] == straight["metrics"]
    assert record["weights_sha256"] == straight["weights_sha256"]
    assert len(read_table(jobs.cwd / "data/tables", "iris_output")) == 150
    log = json.loads((jobs.cwd / record["checkpoint"] / "MANIFEST.json").read_text())
    assert log["extra"]["state"]["step"] == record["steps"] == straight["steps"]


def test_sigterm_saves_and_the_same_command_goes_on(jobs, straight):
    running = jobs.start(*SLOW)
    running.wait_for(lambda: newest_step(jobs) >= 20)
    os.kill(running.pid, signal.SIGTERM)
    stopped = running.wait()
    assert stopped.code == 75, stopped
    assert "the same command goes on" in stopped.text
    assert jobs.last()["status"] == "interrupted"
    record = jobs.done(*SLOW)
    assert (record["metrics"], record["weights_sha256"]) == (straight["metrics"], straight["weights_sha256"])


def test_a_finished_run_is_followed_by_a_new_generation(jobs):
    quick = ["+recipe=iris", "train.epochs=2"]
    first, second = jobs.done(*quick), jobs.done(*quick)
    assert (first["generation"], second["generation"]) == (1, 2)
    assert first["run_id"] != second["run_id"]
    assert first["metrics"] == second["metrics"]
    assert manifests(jobs, "g0001")
    assert manifests(jobs, "g0002")
    assert len(read_table(jobs.cwd / "data/tables", "iris_output")) == 150


def test_resume_never_leaves_an_unfinished_run_alone(jobs):
    running = jobs.start(*SLOW)
    running.wait_for(lambda: newest_step(jobs) >= 4)
    os.kill(running.pid, signal.SIGKILL)
    running.wait()
    before = manifests(jobs)
    record = jobs.done(*SLOW, "train.resume=never")
    assert record["generation"] == 2
    assert manifests(jobs)[-1] == before[-1]


def test_another_configuration_begins_a_new_generation(jobs):
    running = jobs.start(*SLOW)
    running.wait_for(lambda: newest_step(jobs) >= 4)
    os.kill(running.pid, signal.SIGKILL)
    running.wait()
    finished = jobs.run(*SLOW, "train.learning_rate=0.02", "train.epochs=2")
    assert finished.code == 0
    assert jobs.last()["generation"] == 2


def test_fewer_replicas_go_on_with_the_same_run(jobs):
    running = jobs.start(*SLOW)
    running.wait_for(lambda: newest_step(jobs) >= 4)
    os.kill(running.pid, signal.SIGKILL)
    running.wait()
    record = jobs.done(*SLOW, "gpus=0")
    assert (record["generation"], record["replicas"]) == (1, 1)


def test_a_second_writer_is_refused(jobs):
    running = jobs.start(*SLOW, "train.epochs=200")
    running.wait_for(lambda: newest_step(jobs) >= 4)
    second = jobs.run(*SLOW, "train.epochs=200")
    os.kill(running.pid, signal.SIGKILL)
    running.wait()
    assert second.code == 1
    assert str(running.pid) in second.text
    assert "Traceback" not in second.text


def test_data_that_changed_meanwhile_are_named(jobs):
    quick = ["+recipe=csvtest", "train.epochs=40", "train.steps_per_call=1", "train.checkpoint.every_steps=1"]
    running = jobs.start(*quick)
    running.wait_for(lambda: list((jobs.cwd / "data/checkpoints/csvtest").glob("g0001-*/step-*/MANIFEST.json")))
    os.kill(running.pid, signal.SIGKILL)
    running.wait()
    with (jobs.cwd / "data/csvtest.csv").open("a") as file:
        file.write("north,1,2.0,card,1\n")
    finished = jobs.run(*quick)
    assert finished.code == 1
    assert "the data changed since the run began" in finished.text
    assert "train.resume=never" in finished.text
    assert jobs.last()["status"] == "failed"
    assert jobs.run(*quick, "train.epochs=2", "train.resume=never").code == 0


def test_a_run_that_refuses_filled_outputs_knows_its_own_rows(jobs):
    quick = ["+recipe=iris", "train.epochs=1", "+outputs.predictions.write=fail"]
    quick += ["+outputs.files={oss: out, write: fail}"]
    first = jobs.done(*quick)
    refused = jobs.run(*quick)
    assert refused.code == 2
    assert "the table holds rows" in refused.text
    assert "the folder holds objects" in refused.text
    # As a kill between the last commit and the end leaves it.
    (marker,) = (jobs.cwd / "data/checkpoints/iris").glob("g0001-*/finished.json")
    marker.unlink()
    again = jobs.done(*quick)
    assert (again["run_id"], again["outputs"]) == (first["run_id"], first["outputs"])
    marker.unlink()
    # Somebody else's rows are none of its own.
    (jobs.cwd / "data/out/notes.txt").write_text("mine")
    (jobs.cwd / "data/out/MANIFEST.json").unlink()
    foreign = jobs.run(*quick)
    assert foreign.code == 1
    assert "the output folder holds objects" in foreign.text
    assert "epoch" not in foreign.text
