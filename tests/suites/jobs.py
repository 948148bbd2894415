"""Whole commands in processes of their own: warm ones forked from a server that has TensorFlow, or cold ones."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

PRELOAD = ["tests.suites.preload"]


class Finished:
    """How a command ended, and what it printed."""

    def __init__(self, code: int, text: str) -> None:
        self.code = code
        self.text = text

    def __repr__(self) -> str:
        return f"exit {self.code}\n{self.text}"


class Running:
    """A command under way in a process of its own."""

    def __init__(self, process: Any, out: Path) -> None:
        self.process = process
        self.pid = process.pid
        self._out = out

    @property
    def text(self) -> str:
        return self._out.read_text(errors="replace")

    @property
    def alive(self) -> bool:
        if isinstance(self.process, subprocess.Popen):
            return self.process.poll() is None
        return self.process.is_alive()

    def send(self, number: int) -> None:
        """Sends a signal, at any moment: the process may have ended by itself just now."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def wait(self, timeout_s: float = 120) -> Finished:
        if isinstance(self.process, subprocess.Popen):
            code = self.process.wait(timeout_s)
        else:
            self.process.join(timeout_s)
            code = self.process.exitcode
            if code is None:
                self.process.kill()
                raise TimeoutError(self.text)
        return Finished(code, self.text)

    def wait_for(self, condition: Any, timeout_s: float = 60) -> None:
        """Waits until the condition holds while the process lives."""
        end = time.monotonic() + timeout_s
        while not condition():
            if not self.alive or time.monotonic() > end:
                raise TimeoutError(f"the condition never held: {self.text}")
            time.sleep(0.005)


def _stand_still_behind(step: int) -> None:
    """Lets no checkpoint follow the first one of at least `step` steps, so that who is to be killed is met alive."""
    from pai_train.training.checkpoints import Checkpoints

    publish = Checkpoints._publish

    def publish_and_stand(self: Any, state: Any, folder: Path) -> Any:
        manifest = publish(self, state, folder)
        if state.step >= step:
            time.sleep(600)
        return manifest

    Checkpoints._publish = publish_and_stand  # type: ignore[method-assign]


def _child(arguments: list[str], cwd: str, out: str, env: dict[str, str], stand_behind: int | None) -> None:
    os.chdir(cwd)
    os.environ.update(env)
    # What the server has imported may have looked for the folder of temporary files before.
    tempfile.tempdir = None
    descriptor = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    sys.argv = ["pai_train", *arguments]
    sys.path.insert(0, cwd)
    if stand_behind is not None:
        _stand_still_behind(stand_behind)
    from pai_train.__main__ import main

    sys.exit(main(arguments))


class Jobs:
    """Starts `python -m pai_train …` in a folder."""

    def __init__(self, cwd: Path) -> None:
        self.cwd = cwd
        self._count = 0
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(PRELOAD)

    def start(
        self,
        *arguments: str,
        cold: bool = False,
        env: dict[str, str] | None = None,
        before: Sequence[str] = (),
        stand_behind: int | None = None,
    ) -> Running:
        """Starts a command, cold behind the words `before`; its output goes to a file beside the folder.

        A warm one stands still once it has published a checkpoint of at least `stand_behind` steps, to be killed.
        """
        self._count += 1
        out = self.cwd.parent / f"{self.cwd.name}-{self._count}.out"
        out.touch()
        if cold or before:
            command = [*before, sys.executable, "-m", "pai_train", *arguments]
            with out.open("w") as file:
                process = subprocess.Popen(
                    command, cwd=self.cwd, stdout=file, stderr=file, env={**os.environ, **(env or {})}
                )
            return Running(process, out)
        given = (list(arguments), str(self.cwd), str(out), env or {}, stand_behind)
        warm = self._context.Process(target=_child, args=given)
        warm.start()
        return Running(warm, out)

    def run(self, *arguments: str, cold: bool = False, env: dict[str, str] | None = None) -> Finished:
        """Runs a command to its end."""
        return self.start(*arguments, cold=cold, env=env).wait()

    def done(self, *arguments: str, **how: Any) -> dict[str, Any]:
        """Runs a command that must succeed and returns its run.json."""
        before = set(self.records())
        finished = self.run(*arguments, **how)
        assert finished.code == 0, finished
        new = [record for record in self.records() if record not in before]
        assert len(new) == 1, new
        return json.loads(new[0].read_text())

    def records(self) -> list[Path]:
        """Lists the run.json files, oldest first."""
        return sorted(self.cwd.glob("runs/**/run.json"))

    def last(self) -> dict[str, Any]:
        """Returns the newest run.json."""
        return json.loads(self.records()[-1].read_text())
