"""Killed at random moments, saving and uploading included, on local disk and on S3: the same weights in the end."""

from __future__ import annotations

import random
import signal
import sys
import time
from glob import glob

import pytest

from tests.suites.jobs import Jobs

COMMAND = [
    *["+recipe=iris", "gpus=2", "+model.params.dropout=0.2", "train.epochs=6", "train.steps_per_call=1"],
    *["train.checkpoint.every_steps=1", "train.checkpoint.keep_best={metric: test/loss}"],
]
FULL = (pytest.mark.full, pytest.mark.timeout(6000))
# So many kills before a start is left to run on; a life that saves every step gets far in few of them.
MOST_IN_A_ROW = 12
PATIENCE_S = 600


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    folder = tmp_path_factory.mktemp("straight") / "work"
    folder.mkdir()
    return Jobs(folder).done(*COMMAND)


def killed(running, wait, after_s, number=signal.SIGKILL):
    """Kills a start so long after what was waited for; returns whether it was still there."""
    end = time.monotonic() + PATIENCE_S
    while running.alive and not wait():
        assert time.monotonic() < end, running.text
        time.sleep(0.001)
    time.sleep(after_s)
    running.send(number)
    finished = running.wait(PATIENCE_S)
    assert finished.code in (0, -number, 75), finished
    return finished.code != 0


def begun(running):
    """Tells of a start whether it has made its run folder."""
    return lambda: "generation" in running.text or "epoch" in running.text


def survives(jobs, straight, command, env, kills, seed):
    """Half of the kills come at any moment, the others soon after the start has begun to save."""
    chances, done, hit = random.Random(seed), 0, 0
    scratch = jobs.cwd.parent / "scratch"
    scratch.mkdir()
    env = {**(env or {}), "TMPDIR": str(scratch)}

    def saving():
        # Unlike Path.glob it does not mind folders that go meanwhile.
        return set(glob(f"{scratch}/*/pai-checkpoint-*"))

    while done < kills:
        for _ in range(min(chances.randint(2, MOST_IN_A_ROW), kills - done)):
            before = saving()
            running = jobs.start(*command, env=env)
            if chances.random() < 0.5:
                done += killed(running, begun(running), chances.uniform(0, 0.8))
            else:
                done += killed(running, lambda before=before: saving() - before, chances.choice([0, 0.003, 0.3]))
            # What is being saved, uploaded or verified by retention lies there until that is done.
            hit += bool(saving() - before)
        finished = jobs.start(*command, env=env).wait(PATIENCE_S)
        assert finished.code == 0, finished
        record = jobs.last()
        assert record["weights_sha256"] == straight["weights_sha256"]
        assert record["metrics"] == straight["metrics"]
        assert (record["steps"], record["outputs"]["predictions"]["rows"]) == (straight["steps"], 150)
    sys.stdout.write(f"{done} kills, of which {hit} inside saving or uploading\n")
    assert hit > done // 10


@pytest.mark.parametrize("engine", ["tf_data", pytest.param("queue_runner", marks=FULL)])
@pytest.mark.parametrize("kills", [5, pytest.param(60, marks=FULL)])
def test_on_local_disk(jobs, straight, kills, engine):
    survives(jobs, straight, [*COMMAND, f"engine={engine}"], None, kills, kills)


@pytest.mark.parametrize("served", ["s3"], indirect=True)
@pytest.mark.parametrize("kills", [5, pytest.param(60, marks=FULL)])
def test_on_s3(jobs, straight, served, kills):
    root = served.root()
    command = [*COMMAND, *served.overrides, f"storage.root={root}"]
    staged = jobs.run(*command, "mode=stage", env=served.env)
    assert staged.code == 0, staged
    survives(jobs, straight, command, served.env, kills, kills)


@pytest.mark.full
@pytest.mark.parametrize("seed", range(6))
def test_stopped_at_a_random_moment_it_goes_on(jobs, straight, seed):
    """Looking at the input, the first compilation, evaluation and predicting are among the moments."""
    chances = random.Random(seed)
    for _ in range(3):
        running = jobs.start(*COMMAND)
        killed(running, begun(running), chances.uniform(0, 1.5), signal.SIGTERM)
    jobs.done(*COMMAND, "train.resume=auto")
    assert jobs.last()["weights_sha256"] == straight["weights_sha256"]
