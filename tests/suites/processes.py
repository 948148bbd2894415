"""Looks at processes of this machine, and gives a network of their own to some."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

import pytest

LOOPBACK = ["unshare", "--net", "bash", "-c", 'ip link set lo up && exec "$@"', "-"]
"""Words before a command that then has a network of its own, in which there is nothing but its loopback."""


def alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def gone_soon(*pids: int, within_s: float = 5) -> bool:
    """Waits until none of the processes runs any more; false when one still does."""
    deadline = time.monotonic() + within_s
    while any(map(alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.01)
    return not any(map(alive, pids))


def children(pid: int) -> list[int]:
    try:
        return [int(text) for text in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def descendants(pid: int) -> list[int]:
    """Lists the processes that a process has started, and those that these have; parents first."""
    found = children(pid)
    return [*found, *(below for child in found for below in descendants(child))]


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def workers(pid: int) -> dict[int, int]:
    """Returns the workers that a process has started, directly or not: process ids by rank."""
    found = {}
    for one in descendants(pid):
        try:
            words = Path(f"/proc/{one}/cmdline").read_bytes().split(b"\0")
            names = Path(f"/proc/{one}/environ").read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError):
            continue
        rank = [name.partition(b"=")[2] for name in names if name.startswith(b"PAI_TRAIN_RANK=")]
        if rank and words[1:3] == [b"-m", b"pai_train"]:
            found[int(rank[0])] = one
    return found


@pytest.fixture
def loopback() -> list[str]:
    """Gives `LOOPBACK`, where this machine lets a process have a network of its own."""
    # Without one, Ray takes the address of the default route, which other machines reach.
    if shutil.which("unshare") is None or shutil.which("ip") is None:
        pytest.skip("Ray runs in a network namespace here, and the programs unshare and ip are not installed")
    tried = subprocess.run([*LOOPBACK, "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"Ray runs in a network namespace here, and this machine allows none: {tried.stderr.strip()}")
    return LOOPBACK
