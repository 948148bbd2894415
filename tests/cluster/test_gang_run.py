"""Workers that one command starts on this machine, and starts again when one of them is killed."""

from __future__ import annotations

import os
import signal

import pytest

from tests.suites.processes import children, gone_soon, workers

RUN = ("+recipe=uneven", "train.epochs=60", "train.batch_size=64", "train.checkpoint.every_steps=9")


@pytest.mark.full
def test_a_killed_worker_changes_nothing(crews):
    unkilled = crews("unkilled")
    ended = unkilled.crew(2, *RUN).wait()
    assert [one.code for one in ended] == [0, 0], ended
    jobs = crews("killed")
    command = jobs.start(*RUN, "cluster.workers=2", cold=True)
    try:
        command.wait_for(
            lambda: jobs.records() and (jobs.cwd / "data/ck").exists() and list(jobs.cwd.glob("data/ck/*/step-*/*"))
        )
        os.kill(sorted(children(command.pid))[-1], signal.SIGKILL)
        ended = command.wait()
    finally:
        if command.alive:
            os.kill(command.pid, signal.SIGTERM)
            command.process.wait(90)
    assert ended.code == 0, ended
    assert "worker 1 of 2 was ended by SIGKILL; starting all workers again (1 of 3)" in ended.text
    assert "going on behind step" in ended.text
    record, wanted = jobs.last(), unkilled.last()
    assert (record["status"], record["steps"]) == ("done", wanted["steps"])
    assert record["weights_sha256"] == wanted["weights_sha256"]


@pytest.mark.parametrize("begun", ["loading", pytest.param("training", marks=pytest.mark.full)])
def test_workers_end_with_a_killed_command_and_the_same_one_goes_on(crews, begun):
    jobs = crews(begun)
    words = (*RUN, "cluster.workers=2")
    command = jobs.start(*words, cold=True)
    command.wait_for(lambda: len(workers(command.pid)) == 2)
    if begun == "training":
        command.wait_for(lambda: list(jobs.cwd.glob("data/ck/*/step-*/MANIFEST.json")))
    left = list(workers(command.pid).values())
    os.kill(command.pid, signal.SIGKILL)
    command.process.wait(10)
    assert gone_soon(*left, within_s=20)
    if begun == "training":
        again = jobs.run(*words, cold=True)
        assert again.code == 0, again
        assert "going on behind step" in again.text
