"""One child process with everything it starts: its own process group, a log file, a ready line, an end that is sure."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

from pai_train.errors import LaunchError
from pai_train.launch.log import Log
from pai_train.launch.tether import VARIABLE as TETHER

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pai_train.launch.contracts import Worker

POLL_S = 0.02
GRACE_S = 10.0


class Child:
    """A started process and its process group.

    The group is killed at the moment its leader is found to have ended, so nothing the leader started outlives it.
    After that the group's id may belong to somebody else and is not signalled again. As a context manager it stops the
    child.

    Attributes:
        log: The file that receives stdout and stderr, appended to.
    """

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        *,
        name: str,
        log: Log,
        tether: int | None,
        clock: Callable[[], float],
        sleep: Callable[[float], None],
    ) -> None:
        self.log = log.path
        self._process = process
        self._name = name
        self._log = log
        self._tether = tether
        self._clock = clock
        self._sleep = sleep

    def __repr__(self) -> str:
        return f"Child({self._name!r}, pid={self.pid})"

    @property
    def pid(self) -> int:
        """Process id, which is also the id of its group."""
        return self._process.pid

    def poll(self) -> int | None:
        """Returns the exit code, negative for a signal, or None while the child runs."""
        if self._process.returncode is None and self._process.poll() is not None:
            self._signal_group(signal.SIGKILL)
            tether, self._tether = self._tether, None
            if tether is not None:
                os.close(tether)
        return self._process.returncode

    def is_ready(self) -> bool:
        """Returns whether a line that starts with the ready text has been written; true without such a text."""
        return self._log.is_ready()

    def wait_ready(self, timeout_s: float) -> None:
        """Waits until the child is ready.

        Raises:
            LaunchError: It ended before that, or `timeout_s` seconds have passed; with the end of the log.
        """
        deadline = self._clock() + timeout_s
        while not self.is_ready():
            code = self.poll()
            if code is not None and not self.is_ready():
                raise self.error(f"{self._name} {describe_exit(code)} before it was ready")
            if self._clock() >= deadline:
                raise self.error(f"{self._name} was not ready after {timeout_s:g} s")
            self._sleep(POLL_S)

    def wait(self, timeout_s: float | None = None) -> int:
        """Waits for the end and returns the exit code, negative for a signal.

        Raises:
            LaunchError: It still runs after `timeout_s` seconds; it is left running.
        """
        deadline = None if timeout_s is None else self._clock() + timeout_s
        while (code := self.poll()) is None:
            if deadline is not None and self._clock() >= deadline:
                raise self.error(f"{self._name} still runs after {timeout_s:g} s")
            self._sleep(POLL_S)
        return code

    def terminate(self) -> None:
        """Sends SIGTERM to the whole group, if the child still runs."""
        if self.poll() is None:
            self._signal_group(signal.SIGTERM)

    def stop(self, grace_s: float = GRACE_S) -> int:
        """Sends SIGTERM to the group, SIGKILL when the child runs `grace_s` seconds later; returns its exit code."""
        self.terminate()
        return self.end_by(self._clock() + grace_s)

    def end_by(self, deadline: float) -> int:
        """Waits for the end until `deadline` on the child's clock, then kills the group; returns the exit code."""
        while self.poll() is None and self._clock() < deadline:
            self._sleep(POLL_S)
        return self.kill()

    def kill(self) -> int:
        """Sends SIGKILL to the whole group and returns the exit code."""
        if self.poll() is None:
            self._signal_group(signal.SIGKILL)
        return self.wait()

    def tail(self) -> str:
        """Returns the end of what this child has written to the log."""
        return self._log.tail()

    def ending(self, code: int) -> str:
        """Returns how this child ended, in words."""
        return describe_exit(code)

    def error(self, what: str) -> LaunchError:
        """Returns a LaunchError that carries the end of the log."""
        return self._log.error(what)

    def _signal_group(self, number: signal.Signals) -> None:
        # macOS answers EPERM for a group of which only zombies are left.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()


def start(
    argv: Sequence[str],
    *,
    log: Path,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    ready: str | None = None,
    tied: bool = False,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Child:
    """Starts a process in a group of its own, without a shell and without stdin.

    Args:
        argv: Program and arguments.
        log: Receives stdout and stderr; its folder is created, an existing file is appended to.
        env: The whole environment; None for this process's.
        cwd: Working folder; None for this process's.
        ready: The child is ready when a line of its output starts with this.
        tied: Tell the child how it can notice that this process is gone; see `launch.tether`.
        clock: Seconds, monotonic.
        sleep: Sleeps seconds.

    Raises:
        LaunchError: The program cannot be started.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        begin = output.tell()
        theirs, ours = os.pipe() if tied else (None, None)
        try:
            process = subprocess.Popen(
                list(argv),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=env if theirs is None else {**(os.environ if env is None else env), TETHER: str(theirs)},
                cwd=cwd,
                start_new_session=True,
                pass_fds=() if theirs is None else (theirs,),
            )
        except OSError as error:
            if ours is not None:
                os.close(ours)
            raise LaunchError(
                "a program could not be started",
                where=shlex.join(argv),
                got=f"{type(error).__name__}: {error.strerror}",
                todo="check that the program and the working folder exist",
            ) from error
        finally:
            if theirs is not None:
                os.close(theirs)
    name = Path(argv[0]).name
    return Child(process, name=name, log=Log(log, begin, ready), tether=ours, clock=clock, sleep=sleep)


def stop_all(children: Sequence[Worker], grace_s: float, clock: Callable[[], float] = time.monotonic) -> None:
    """Stops children together: one SIGTERM to each, and SIGKILL to those that run `grace_s` seconds later."""
    for child in children:
        child.terminate()
    deadline = clock() + grace_s
    for child in children:
        child.end_by(deadline)


def describe_exit(code: int) -> str:
    """Returns an exit code in words."""
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"
