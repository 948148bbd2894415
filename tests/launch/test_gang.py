"""Workers that agree through files, and gangs that start, fail and restart together."""

from __future__ import annotations

import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pai_train.errors import Interrupted, LaunchError
from pai_train.launch.gang import LocalGang, SoloGang, gang_from_env
from pai_train.launch.supervisor import run_gang


def each(gangs, call):
    with ThreadPoolExecutor(len(gangs)) as pool:
        return list(pool.map(call, gangs))


def gang_of(size: int, folder: Path, **kwargs) -> list[LocalGang]:
    return [LocalGang(rank, size, folder, **kwargs) for rank in range(size)]


def test_solo_gang():
    gang = SoloGang()
    assert (gang.rank, gang.size) == (0, 1)
    assert gang.any(True) is True
    assert gang.any(False) is False
    gang.barrier("anything", 0)


def test_all_workers_get_the_same_answer_round_after_round(tmp_path):
    gangs = gang_of(3, tmp_path)
    asked = [(False, False, False), (True, False, False), (False, False, True), (True, True, True)] * 10
    answers = each(gangs, lambda gang: [gang.any(flags[gang.rank]) for flags in asked])
    assert answers == [[any(flags) for flags in asked]] * 3


def test_the_folder_does_not_grow(tmp_path):
    gangs = gang_of(2, tmp_path)
    each(gangs, lambda gang: [gang.any(False) for _ in range(50)])
    assert len(list(tmp_path.iterdir())) == 2


def test_nobody_leaves_a_barrier_before_all_have_come(tmp_path):
    gangs = gang_of(2, tmp_path)
    left = threading.Event()

    def early():
        gangs[0].barrier("saved", 10)
        left.set()

    thread = threading.Thread(target=early)
    thread.start()
    assert not left.wait(0.2)
    gangs[1].barrier("saved", 10)
    thread.join(10)
    assert left.is_set()


def test_a_worker_that_does_not_come_is_named(tmp_path):
    now = [0.0]
    gang = LocalGang(0, 2, tmp_path, clock=lambda: now[0], sleep=lambda s: now.__setitem__(0, now[0] + s))
    with pytest.raises(LaunchError, match="worker 1 of 2 did not come to barrier 'saved' within 5 s"):
        gang.barrier("saved", 5)
    assert now[0] == pytest.approx(5, abs=0.1)


def test_workers_at_different_points_are_told_so(tmp_path):
    gangs = gang_of(2, tmp_path)

    def call(gang):
        with pytest.raises(LaunchError, match="not at the same point"):
            gang.any(True) if gang.rank else gang.barrier("saved", 10)
        return True

    assert each(gangs, call) == [True, True]


def test_a_folder_used_before_is_refused(tmp_path):
    LocalGang(0, 1, tmp_path).any(True)
    with pytest.raises(LaunchError, match="already been used"):
        LocalGang(0, 1, tmp_path).any(True)


def test_the_environment_names_the_gang(tmp_path):
    assert isinstance(gang_from_env({}), SoloGang)
    names = {"PAI_TRAIN_RANK": "1", "PAI_TRAIN_SIZE": "2", "PAI_TRAIN_GANG": str(tmp_path)}
    gang = gang_from_env(names)
    assert (gang.rank, gang.size) == (1, 2)
    del names["PAI_TRAIN_SIZE"]
    with pytest.raises(LaunchError, match="incomplete"):
        gang_from_env(names)


# ---- whole gangs of real processes

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


def test_workers_find_each_other(run, tmp_path):
    body = """
from pai_train.launch.gang import gang_from_env
gang = gang_from_env(os.environ)
ready()
gang.barrier("begin", 20)
(here / f"said-{gang.rank}").write_text(f"{gang.any(gang.rank == 1)} {gang.any(False)} {gang.size}")
"""
    run(body, body)
    assert [(tmp_path / f"said-{rank}").read_text() for rank in (0, 1)] == ["True False 2", "True False 2"]


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
(here / f"folder-{rank}-{attempt}").write_text(os.environ["PAI_TRAIN_GANG"])
if attempt == 0:
    while rank and not (here / "folder-0-0").exists(): time.sleep(0.01)
    os.kill(os.getpid(), 9) if rank else time.sleep(600)
"""
    run(body, body, restarts=2)
    assert len(pids(tmp_path)) == 4
    assert len({path.read_text() for path in tmp_path.glob("folder-*")}) == 2
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
