"""Workers on actors of a real Ray cluster, in a network that has nothing but its loopback."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time

import pytest

from tests.suites.processes import descendants, gone_soon, parent, workers

SHORT = ("+recipe=uneven", "train.epochs=2", "train.batch_size=64", "train.steps_per_call=4")
LONG = ("+recipe=uneven", "train.epochs=60", "train.batch_size=64", "train.checkpoint.every_steps=9")
RAY = ("cluster=ray", "cluster.workers=2")
LONGEST_S = 240


@pytest.fixture
def start(loopback):
    """Starts commands; what is left of them in the end is killed."""
    started = []

    def call(jobs, *arguments):
        started.append(jobs.start(*arguments, before=loopback))
        return started[-1]

    yield call
    for one in started:
        if one.alive:
            os.kill(one.pid, signal.SIGKILL)


@pytest.fixture
def head(loopback, tmp_path):
    """A cluster that runs already, with a network of its own; gives the words before a command that is to be there."""
    # Ray's sockets are in there, whose names must be short.
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp") as folder, (tmp_path / "head.log").open("w+") as log:
        words = ["start", "--head", "--block", "--port=6399", "--num-cpus=3", f"--temp-dir={folder}"]
        words += ["--include-dashboard=false", f"--object-store-memory={100 * 2**20}", "--disable-usage-stats"]
        command = [*loopback, sys.executable, "-m", "ray.scripts.scripts", *words]
        with subprocess.Popen(command, stdout=log, stderr=log) as process:
            try:
                deadline = time.monotonic() + LONGEST_S
                while "Ray runtime started" not in (tmp_path / "head.log").read_text():
                    assert process.poll() is None, (tmp_path / "head.log").read_text()
                    assert time.monotonic() < deadline
                    time.sleep(0.1)
                yield ["nsenter", f"--net=/proc/{process.pid}/ns/net"]
                assert process.poll() is None
            finally:
                process.terminate()


def saved(jobs):
    return len(list(jobs.cwd.glob("data/ck/*/step-*/MANIFEST.json")))


def test_two_actors_train_what_two_processes_do(crews, start):
    jobs, plain = crews("ray"), crews("plain")
    ended = start(jobs, *SHORT, *RAY).wait(LONGEST_S)
    assert ended.code == 0, ended
    assert "Traceback" not in ended.text
    folder = jobs.records()[0].parent
    names = {"config.yaml", "log", "metrics.jsonl", "run.json", "worker-0.log", "worker-1.log"}
    assert {path.name for path in folder.iterdir()} == names
    assert "epoch 2/2" in (folder / "worker-0.log").read_text()
    assert "done: 18 steps" in (folder / "worker-1.log").read_text()
    assert re.search(r"^done +uneven: 2 epochs, 18 steps", ended.text, re.MULTILINE)
    assert [one.code for one in plain.crew(2, *SHORT).wait()] == [0, 0]
    record, wanted = jobs.last(), plain.last()
    assert (record["status"], record["replicas"], record["steps"]) == ("done", 2, 18)
    assert record["weights_sha256"] == wanted["weights_sha256"]


def test_a_machine_without_room_is_refused_at_once(crews, start):
    jobs = crews("large")
    ended = start(jobs, *SHORT, *RAY, "cluster.cpus=1000", "cluster.start_timeout_s=600").wait(LONGEST_S)
    assert ended.code == 2, ended
    assert "cluster: this machine has no room for 2 workers" in ended.text
    assert re.search(r"got: CPU \d+\n +wanted: 2 times CPU 1000\n", ended.text), ended
    assert not (jobs.cwd / "runs").exists()
    assert not saved(jobs)


@pytest.mark.parametrize("address", ["127.0.0.1:9", pytest.param("auto", marks=pytest.mark.full)])
def test_a_cluster_that_is_not_there_is_told_soon(crews, start, address):
    ended = start(crews("absent"), *SHORT, *RAY, f"cluster.address={address}").wait(60)
    assert ended.code == 1, ended
    assert "cluster.address: the Ray cluster could not be joined" in ended.text
    assert f"got: {address}: " in ended.text
    assert "Traceback" not in ended.text


@pytest.mark.full
def test_lost_actors_change_nothing(crews, start):
    unkilled, jobs = crews("unkilled"), crews("lost")
    assert [one.code for one in unkilled.crew(2, *LONG).wait()] == [0, 0]
    command = start(jobs, *LONG, *RAY, "cluster.heartbeat_s=10")
    command.wait_for(lambda: saved(jobs), LONGEST_S)
    worker = workers(command.pid)[1]
    os.kill(parent(worker), signal.SIGKILL)
    assert gone_soon(worker, within_s=10)
    command.wait_for(lambda: "going on behind step" in command.text, LONGEST_S)
    frozen = parent(workers(command.pid)[0])
    os.kill(frozen, signal.SIGSTOP)
    ended = command.wait(LONGEST_S)
    assert ended.code == 0, ended
    assert re.search(r"worker 1 of 2 was lost with its actor: .*; starting all workers again \(1 of 3\)", ended.text)
    assert "worker 0 of 2 has given no sign of life for 10 s; starting all workers again (2 of 3)" in ended.text
    assert not os.path.exists(f"/proc/{frozen}")
    assert jobs.last()["steps"] == unkilled.last()["steps"]
    assert jobs.last()["weights_sha256"] == unkilled.last()["weights_sha256"]


@pytest.mark.full
def test_a_stopped_command_stops_all_and_goes_on(crews, start):
    jobs = crews("stopped")
    command = start(jobs, *LONG, *RAY)
    command.wait_for(lambda: saved(jobs), LONGEST_S)
    left = descendants(command.pid)
    assert len(left) > 4
    os.kill(command.pid, signal.SIGTERM)
    ended = command.wait(LONGEST_S)
    assert ended.code == 75, ended
    assert gone_soon(*left, within_s=20)
    record = jobs.last()
    assert record["status"] == "interrupted"
    assert 0 < record["steps"] < 60 * 9
    # The same run, without Ray.
    ended = jobs.run(*LONG)
    assert ended.code == 0, ended
    assert f"going on behind step {record['steps']} " in ended.text


@pytest.mark.full
def test_workers_and_actors_end_with_a_killed_command(crews, start):
    jobs = crews("killed")
    command = start(jobs, *LONG, *RAY)
    command.wait_for(lambda: saved(jobs), LONGEST_S)
    found = workers(command.pid).values()
    left = [*found, *map(parent, found)]
    assert len(set(left)) == 4
    os.kill(command.pid, signal.SIGKILL)
    # Agents of Ray's own outlive its node by a minute or two.
    assert gone_soon(*left, within_s=30)


@pytest.mark.full
def test_a_running_cluster_is_joined_and_left(crews, head):
    jobs = crews("joined")
    words = (*SHORT, *RAY, "cluster.address=127.0.0.1:6399")
    refused = jobs.start(*words, before=head, env={"RAY_AUTH_MODE": "disabled"}).wait(LONGEST_S)
    assert refused.code == 1, refused
    assert "got: 127.0.0.1:6399: it asks for a token" in refused.text
    token = {"RAY_AUTH_MODE": "token"}
    # What the first one held is free for the second.
    for epochs in (2, 3):
        ended = jobs.start(*words, f"train.epochs={epochs}", before=head, env=token).wait(LONGEST_S)
        assert ended.code == 0, ended
    assert [json.loads(path.read_text())["steps"] for path in jobs.records()] == [18, 27]
    words = (*words, "cluster.workers=4", "cluster.start_timeout_s=12")
    large = jobs.start(*words, before=head, env=token).wait(LONGEST_S)
    assert large.code == 1, large
    assert "the Ray cluster had no room for 4 workers within 12 s" in large.text
    assert "waiting for room for 4 workers, " in large.text
    assert "wanted: 4 times CPU 1, each on one node" in large.text
    assert "got: the cluster has 1 node; CPU 3, " in large.text
