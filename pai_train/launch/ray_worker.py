"""A worker that an actor of a Ray cluster runs, as its supervisor sees it; its log comes here as it is written."""

from __future__ import annotations

import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from pai_train.launch.log import Log
from pai_train.launch.process import describe_exit

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pai_train.errors import LaunchError

POLL_S = 0.05
LOST = -signal.SIGKILL
"""The exit code of a worker whose actor is gone."""


class RayWorker:
    """One worker under way.

    Args:
        ray: The module.
        actor: Runs the worker; see `ray_actor.Host`.
        log: The file here that receives its log, appended to.
        ready: The worker is ready when a line of its output starts with this; None for at once.
        heartbeat_s: Seconds without an answer of the actor after which the worker counts as lost.
        clock: Seconds, monotonic.
        sleep: Sleeps seconds.
    """

    def __init__(
        self,
        ray: Any,
        actor: Any,
        log: Path,
        *,
        ready: str | None,
        heartbeat_s: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._ray = ray
        self._actor = actor
        log.touch()
        self._log = Log(log, log.stat().st_size, ready)
        self._heartbeat_s = heartbeat_s
        self._clock = clock
        self._sleep = sleep
        self._told = 0
        self._asked: Any = None
        self._since = clock()
        self._code: int | None = None
        self._lost: str | None = None

    def poll(self) -> int | None:
        """Returns the exit code, `LOST` without an actor, or None while it runs; its log is brought along."""
        while self._code is None and self._answered():
            try:
                code, text = self._ray.get(self._asked)
            except self._ray.exceptions.RayError as error:
                self._lose(f"was lost with its actor: {_first_line(error)}")
                break
            self._asked, self._since = None, self._clock()
            self._told += len(text)
            if text:
                with self._log.path.open("ab") as file:
                    file.write(text)
            self._code = code
            if not text:
                break
        if self._code is None and self._clock() - self._since > self._heartbeat_s:
            self._lose(f"has given no sign of life for {self._heartbeat_s:g} s")
        return self._code

    def is_ready(self) -> bool:
        return self._log.is_ready()

    def terminate(self) -> None:
        if self.poll() is None:
            self._actor.terminate.remote()

    def end_by(self, deadline: float) -> int:
        while (code := self.poll()) is None:
            if self._clock() >= deadline:
                self.kill()
                return LOST
            self._sleep(POLL_S)
        return code

    def kill(self) -> None:
        """Ends the worker and its actor at once."""
        if self._code is None:
            self._code = LOST
        # The worker ends with its actor too; asked first, it has ended when this returns.
        if self._lost is None:
            with suppress(self._ray.exceptions.RayError):
                self._ray.get(self._actor.kill.remote(), timeout=self._heartbeat_s)
        self._ray.kill(self._actor)

    def ending(self, code: int) -> str:
        return self._lost or describe_exit(code)

    def error(self, what: str) -> LaunchError:
        return self._log.error(what)

    def _answered(self) -> bool:
        if self._asked is None:
            self._asked = self._actor.look.remote(self._told)
        return bool(self._ray.wait([self._asked], timeout=0)[0])

    def _lose(self, why: str) -> None:
        self._code, self._lost = LOST, why


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
