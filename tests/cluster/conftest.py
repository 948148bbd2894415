from __future__ import annotations

import json
import socket
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.suites.jobs import Jobs
from tests.suites.processes import loopback

__all__ = ["loopback"]

RECIPE = """# Uneven.
inputs:
  train:
    oss: rows.csv
    columns: {a: DOUBLE, b: STRING, c: DOUBLE, y: BIGINT}
    label: {column: y, classes: [0, 1, 2]}
    split: {test: 0.15}
checkpointDir: ck
model: {name: mlp, params: {hidden: [8]}}
"""
ROWS = 641
LONGEST_S = 300


class Workers:
    """Commands that train together, each in a process of its own."""

    def __init__(self, addresses, running):
        self.addresses = addresses
        self.running = running

    def wait(self):
        """Returns how each ended, by rank."""
        end = time.monotonic() + LONGEST_S
        return [one.wait(max(1, end - time.monotonic())) for one in self.running]

    def kill(self):
        for one in self.running:
            if one.alive:
                one.process.kill()
                one.process.join(10)


class Crews(Jobs):
    """Starts workers, as a scheduler that sets TF_CONFIG does, in one folder."""

    def __init__(self, cwd):
        super().__init__(cwd)
        self._stack = ExitStack()

    def crew(self, count, *arguments, missing=()):
        """Starts `count` workers but for those that are missing."""
        addresses = [f"127.0.0.1:{port}" for port in free_ports(count)]
        running = []
        for rank in range(count):
            if rank in missing:
                continue
            running.append(self.worker(addresses, rank, *arguments))
        workers = Workers(addresses, running)
        self._stack.callback(workers.kill)
        return workers

    def worker(self, addresses, rank, *arguments):
        task = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": rank}}
        return self.start(*arguments, "cluster=tf_config", env={"TF_CONFIG": json.dumps(task)})

    def close(self):
        self._stack.close()

    def losses(self):
        """Returns epoch, step, set of rows and loss of each line of the newest run that ends an epoch."""
        lines = [json.loads(line) for line in (self.records()[-1].parent / "metrics.jsonl").read_text().splitlines()]
        return [
            (line["epoch"], line["step"], line["kind"], line["values"]["loss"])
            for line in lines
            if line["kind"] != "step"
        ]


def free_ports(count):
    with ExitStack() as stack:
        doors = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [door.getsockname()[1] for door in doors]


def rows(folder: Path, count: int = ROWS) -> None:
    (folder / "data").mkdir()
    lines = [f"{i * 7919 % 977 / 977},{'xyz'[i % 3]},{i % 31 / 31},{i * i % 7 % 3}" for i in range(count)]
    (folder / "data" / "rows.csv").write_text("\n".join(lines) + "\n")
    (folder / "recipes").mkdir()
    (folder / "recipes" / "uneven.yaml").write_text(RECIPE)


@pytest.fixture
def crews(tmp_path):
    made = []

    def make(name):
        folder = tmp_path / name
        folder.mkdir()
        rows(folder)
        made.append(Crews(folder))
        return made[-1]

    yield make
    for one in made:
        one.close()
