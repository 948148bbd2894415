"""Children that end with the process that started them, however that ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from pai_train.launch.process import start
from pai_train.launch.tether import tied
from tests.suites.processes import alive, gone_soon

WORKER = """
import os, pathlib, signal, subprocess, sys, time
from pai_train.launch.tether import tied
signal.signal(signal.SIGTERM, signal.SIG_IGN)
assert tied(os.environ)
below = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(600)"])
out = pathlib.Path(os.environ["HERE"], os.environ["PAI_TRAIN_RANK"])
out.with_suffix(".tmp").write_text(f"{os.getpid()} {below.pid}")
out.with_suffix(".tmp").rename(out)
time.sleep(600)
"""
LAUNCHER = """
import os, pathlib, sys
from pai_train.launch.supervisor import run_gang
here = pathlib.Path(os.environ["HERE"])
run_gang([[sys.executable, "-c", sys.argv[1]]] * 2, logs=here, start_timeout_s=100, restarts=3, grace_s=1, ready=None)
"""


@pytest.fixture
def gang(tmp_path):
    """A launcher whose two workers run, each with a process of its own."""
    environ = {**os.environ, "HERE": str(tmp_path)}
    with subprocess.Popen([sys.executable, "-c", LAUNCHER, WORKER], env=environ) as launcher:
        try:
            deadline = time.monotonic() + 60
            while not all((tmp_path / str(rank)).exists() for rank in (0, 1)):
                assert launcher.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.01)
            yield launcher, [int(pid) for rank in (0, 1) for pid in (tmp_path / str(rank)).read_text().split()]
        finally:
            launcher.kill()


def test_workers_end_when_their_launcher_is_killed(gang, tmp_path):
    launcher, pids = gang
    assert len(pids) == 4
    assert all(map(alive, pids))
    os.kill(launcher.pid, signal.SIGKILL)
    assert gone_soon(*pids, within_s=10)
    assert "the process that started this worker is gone" in (tmp_path / "worker-1.log").read_text()


def test_a_child_that_has_ended_leaves_no_open_file(tmp_path):
    before = set(os.listdir("/proc/self/fd"))
    with start([sys.executable, "-S", "-c", ""], log=tmp_path / "log", tied=True) as child:
        child.wait(30)
    assert set(os.listdir("/proc/self/fd")) == before


def test_a_process_that_nobody_started_so_is_not_tied():
    assert tied({}) is False
