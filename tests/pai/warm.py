"""Scripts in processes that are forked from one that has TensorFlow, behind the same interface as cold ones."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

from pai_train.launch.log import Log
from pai_train.launch.process import Child
from tests.suites.zygote import Zygote


def serve(argv: list[str], log: str, env: dict[str, str], cwd: str) -> None:
    """Is called in the forked process: becomes what `python -m pai_train.pai.script` would be."""
    file = os.open(log, os.O_WRONLY | os.O_APPEND)
    for descriptor in (1, 2):
        os.dup2(file, descriptor)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    sys.stdout.reconfigure(line_buffering=True)
    from pai_train.pai import script

    code = script.main(argv)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


class Forked:
    """What `Child` needs of a process."""

    def __init__(self, zygote: Zygote, pid: int) -> None:
        self._zygote, self.pid = zygote, pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None:
            self.returncode = self._zygote._ask({"wait": self.pid, "timeout_s": 0.003})
        return self.returncode


class Warm:
    """Stands for `launch.process.start`."""

    def __init__(self, zygote: Zygote) -> None:
        self._zygote = zygote
        self.children: list[Child] = []

    def __call__(self, argv: list[str], *, log: Path, env: Any, cwd: Path) -> Child:
        assert argv[1:4] == ["-P", "-m", "pai_train.pai.script"]
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            begin = output.tell()
        pid = self._zygote.start("tests.pai.warm:serve", argv[4:], str(log), dict(env), str(cwd))
        child = Child(
            Forked(self._zygote, pid),
            name=log.stem,
            log=Log(log, begin, None),
            tether=None,
            clock=time.monotonic,
            sleep=time.sleep,
        )
        self.children.append(child)
        return child
