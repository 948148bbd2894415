"""Gangs of real processes that start, fail and restart together."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from pai_train.errors import Interrupted, LaunchError
from pai_train.launch.supervisor import run_gang

WORKER = """
import os, pathlib, signal, sys, time
sys.path.insert(0, os.environ["CODE"])
here = pathlib.Path(os.environ["HERE"])
rank = int(os.environ["PAI_TRAIN_RANK"])
attempt = len(list(here.glob(f"started-{rank}-*")))
(here / f"started-{rank}-{attempt}").write_text(str(os.getpid()))
def ready(): print("pai_train: ready", flush=True)
def deaf(): signal.signal(signal.SIGTERM, signal.SIG_IGN)
"""


@pytest.fixture
def run(tmp_path):
    def call(*bodies: str, restarts: int = 0, start_timeout_s: float = 20, grace_s: float = 0.3, **kwargs) -> None:
        commands = [[sys.executable, "-u", "-c", WORKER + body] for body in bodies]
        env = {**os.environ, "HERE": str(tmp_path), "CODE": str(Path(__file__).parents[2])}
        run_gang(
            commands,
            logs=tmp_path / "logs",
            restarts=restarts,
            start_timeout_s=start_timeout_s,
            grace_s=grace_s,
            env=env,
            **kwargs,
        )

    return call


def pids(folder: Path) -> list[int]:
    return [int(path.read_text()) for path in folder.glob("started-*")]


def nothing_runs(folder: Path) -> bool:
    return not any(Path(f"/proc/{pid}").exists() for pid in pids(folder))


def test_each_worker_has_its_rank_and_its_place(run, tmp_path):
    body = """
ready()
(here / f"said-{rank}").write_text(os.environ["PLACE"])
"""
    run(body, body, places=lambda: [{"PLACE": "first"}, {"PLACE": "second"}])
    assert [(tmp_path / f"said-{rank}").read_text() for rank in (0, 1)] == ["first", "second"]


def test_one_failing_worker_ends_a_deaf_one_and_its_log_is_shown(run, tmp_path):
    with pytest.raises(LaunchError, match="worker 1 of 2 ended with exit code 1") as caught:
        run(
            "deaf(); ready(); time.sleep(600)",
            "ready(); time.sleep(0.2); raise ValueError('worker one has a fault')",
        )
    assert caught.value.fault.got is not None
    assert "worker one has a fault" in caught.value.fault.got
    assert caught.value.fault.where == str(tmp_path / "logs" / "worker-1.log")
    assert nothing_runs(tmp_path)


def test_a_killed_worker_is_restarted_with_the_whole_gang(run, tmp_path, caplog):
    body = """
ready()
(here / f"ready-{rank}-{attempt}").touch()
if attempt == 0:
    while rank and not (here / "ready-0-0").exists(): time.sleep(0.01)
    os.kill(os.getpid(), 9) if rank else time.sleep(600)
"""
    run(body, body, restarts=2)
    assert len(pids(tmp_path)) == 4
    assert "worker 1 of 2 was ended by SIGKILL; starting all workers again (1 of 2)" in caplog.text


def test_restarts_are_counted(run, tmp_path):
    with pytest.raises(LaunchError, match="exit code 3"):
        run("ready(); sys.exit(3)", restarts=2)
    assert len(pids(tmp_path)) == 3


def test_a_refused_configuration_is_not_tried_again(run, tmp_path):
    with pytest.raises(LaunchError, match="exit code 2"):
        run("sys.exit(2)", restarts=2)
    assert len(pids(tmp_path)) == 1


def test_a_worker_that_never_gets_ready_ends_the_gang(run, tmp_path):
    with pytest.raises(LaunchError, match=r"worker 1 was not ready after 1\.5 s"):
        run("ready(); time.sleep(600)", "deaf(); print('still loading'); time.sleep(600)", start_timeout_s=1.5)
    assert nothing_runs(tmp_path)


def test_a_worker_that_was_stopped_lets_the_others_save(run, tmp_path):
    body = """
signal.signal(signal.SIGTERM, lambda *_: sys.exit("a second signal"))
ready()
time.sleep(0.1 if rank else 0.6)
(here / f"saved-{rank}").touch()
sys.exit(75)
"""
    with pytest.raises(Interrupted, match="worker 1 was asked to stop"):
        run(body, body, restarts=3, grace_s=10)
    assert sorted(path.name for path in tmp_path.glob("saved-*")) == ["saved-0", "saved-1"]


def test_a_stop_request_reaches_every_worker(run, tmp_path):
    body = """
def save(*_):
    (here / f"saved-{rank}").touch()
    sys.exit(75)
signal.signal(signal.SIGTERM, save)
ready()
time.sleep(600)
"""
    logs = tmp_path / "logs"

    def all_ready() -> bool:
        return len([log for log in logs.glob("*") if "ready" in log.read_text()]) == 2

    with pytest.raises(Interrupted):
        run(body, body, grace_s=10, stop_requested=all_ready)
    assert len(list(tmp_path.glob("saved-*"))) == 2


def test_a_program_that_does_not_exist_leaves_nothing_behind(tmp_path):
    with pytest.raises(LaunchError, match="could not be started"):
        run_gang(
            [[sys.executable, "-c", "import time; time.sleep(600)"], ["/no/such/program"]],
            logs=tmp_path,
            start_timeout_s=5,
            restarts=0,
            grace_s=1,
        )
