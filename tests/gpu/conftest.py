"""Where the tests of this folder compute: on GPUs with `make test-gpu`; on the CPU, which shows that they work."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass

import pytest

from tests.suites.jobs import Jobs


@dataclass(frozen=True)
class Place:
    """Where a test computes.

    Attributes:
        gpus: How many GPUs there are; 0 on the CPU.
        env: Variables of what it starts.
    """

    gpus: int
    env: dict[str, str]

    def replicas(self, count: int) -> list[str]:
        """Returns the keys that ask for so many replicas."""
        if self.gpus:
            return [f"gpus={count}", "on_missing_gpu=fail"]
        return [f"gpus={count if count > 1 else 0}", "on_missing_gpu=logical_cpu"]

    @property
    def how(self) -> dict[str, object]:
        """How commands are started: those that use GPUs share no process with others."""
        return {"cold": bool(self.gpus), "env": self.env}


def smi(*words: str) -> list[str]:
    """Returns the lines that nvidia-smi prints; none where there is no driver."""
    if shutil.which("nvidia-smi") is None:
        return []
    return subprocess.run(["nvidia-smi", *words], capture_output=True, text=True, check=False).stdout.splitlines()


def memory_mib() -> tuple[int, int]:
    """Returns the memory of the first GPU that is in use, and all of it, in MiB."""
    line = smi("--query-gpu=memory.used,memory.total", "--format=csv,noheader,nounits", "--id=0")[0]
    used, total = line.split(",")
    return int(used), int(total)


@pytest.fixture(params=[pytest.param("cpu", marks=pytest.mark.full), pytest.param("gpu", marks=pytest.mark.gpu)])
def place(request) -> Place:
    if request.param == "cpu":
        return Place(0, {"CUDA_VISIBLE_DEVICES": ""})
    count = sum(line.startswith("GPU ") for line in smi("-L"))
    if not count:
        pytest.skip("no GPU: nvidia-smi lists none; nothing of GPUs was checked")
    return Place(count, {})


@pytest.fixture
def two(place):
    """A place with two devices: logical CPUs, or GPUs."""
    if place.gpus == 1:
        pytest.skip("one GPU: NCCL and several replicas were not checked")
    return place


@pytest.fixture
def jobs(tmp_path):
    folder = tmp_path / "work"
    folder.mkdir()
    return Jobs(folder)
