"""Processes that start in milliseconds: forked from a server that has imported what they need, and no TensorFlow."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).parents[2]


class Zygote:
    """The server, as a context manager; every process it starts leads a process group of its own.

    Args:
        folder: Where the processes' output goes.
        modules: What is imported before they start.
    """

    def __init__(self, folder: Path, *modules: str) -> None:
        self._folder = folder
        command = [sys.executable, "-m", __name__, *modules]
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        self._server = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1, env=env
        )

    def start(self, function: str, *arguments: Any, env: dict[str, str] | None = None) -> int:
        """Starts `module:function` with arguments of JSON types; returns the process id."""
        return int(self._ask({"call": function, "arguments": arguments, "env": env or {}, "log": str(self._log)}))

    def wait(self, pid: int, timeout_s: float = 60) -> int:
        """Returns the exit code of a process, negative for the signal that ended it."""
        code = self._ask({"wait": pid, "timeout_s": timeout_s})
        assert code is not None, f"process {pid} does not end\n{self.output}"
        return int(code)

    @property
    def output(self) -> str:
        """What the processes have written."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    @property
    def _log(self) -> Path:
        return self._folder / "zygote.log"

    def _ask(self, order: dict[str, Any]) -> Any:
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps(order) + "\n")
        return json.loads(self._server.stdout.readline())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.stdin.close()
        self._server.stdout.close()
        self._server.wait(30)


def _serve() -> None:
    for module in sys.argv[1:]:
        importlib.import_module(module)
    for line in sys.stdin:
        order = json.loads(line)
        answer = _fork(order) if "call" in order else _wait(order["wait"], order["timeout_s"])
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def _fork(order: dict[str, Any]) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        os.setsid()
        log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for descriptor in (1, 2):
            os.dup2(log, descriptor)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.environ.update(order["env"])
        module, _, name = order["call"].partition(":")
        getattr(importlib.import_module(module), name)(*order["arguments"])
        code = 0
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(code)


def _wait(pid: int, timeout_s: float) -> int | None:
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    return None


if __name__ == "__main__":
    _serve()
