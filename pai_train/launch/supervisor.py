"""Starts a gang of processes, ends all of them when one fails, and starts it again from the last checkpoint."""

from __future__ import annotations

import logging
import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pai_train.errors import EXIT_DONE, EXIT_FAILED, EXIT_INTERRUPTED, EXIT_REFUSED, Interrupted, LaunchError
from pai_train.launch.process import Child, start, stop_all
from pai_train.launch.star import EXIT_LEFT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from pai_train.launch.contracts import Worker

logger = logging.getLogger(__name__)

RANK = "PAI_TRAIN_RANK"
"""The variable that tells a worker that it is one, and which, from 0."""
READY = "pai_train: ready"
WORKER_LOG = "worker-{}.log"
POLL_S = 0.05
CAUSE_S = 5.0
"""Seconds that are waited for the worker at fault, when one has ended because of it."""


class _AttemptError(Exception):
    """One attempt ended without success; `again` tells whether another one can help."""

    def __init__(self, error: LaunchError, *, again: bool = True) -> None:
        super().__init__(str(error))
        self.error = error
        self.again = again


def run_gang(
    commands: Sequence[Sequence[str]],
    *,
    logs: Path,
    start_timeout_s: float,
    restarts: int,
    grace_s: float,
    ready: str | None = READY,
    env: Mapping[str, str] | None = None,
    places: Callable[[], Sequence[Mapping[str, str]]] | None = None,
    stop_requested: Callable[[], bool] = lambda: False,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Runs one process per command until all have ended with 0.

    A worker that fails, or is not ready in time, ends the whole gang. Where another attempt can help, the gang is then
    started again, up to `restarts` times: not where a worker ended with a fault in words (exit codes 1 and 2), which
    the next one would meet too, or never came up.

    Each finds its rank in the environment.

    Args:
        commands: Program and arguments by rank.
        logs: Folder of `worker-<rank>.log`; attempts append.
        start_timeout_s: Within how many seconds all workers must be ready.
        restarts: How often the gang is started again after a failure.
        grace_s: Seconds between SIGTERM and SIGKILL.
        ready: A worker is ready when a line of its output starts with this; None for at once.
        env: The workers' environment; None for this process's.
        places: Gives more of it by rank, anew for each attempt.
        stop_requested: Asked continually; true sends SIGTERM to all workers.
        clock: Seconds, monotonic.
        sleep: Sleeps seconds.

    Raises:
        LaunchError: A worker failed in the last attempt, with the end of its log, or refused its configuration.
        Interrupted: A stop was requested, here or of a worker.
    """
    base = os.environ if env is None else env

    @contextmanager
    def attempt() -> Iterator[Sequence[Worker]]:
        children: list[Child] = []
        try:
            more = places() if places is not None else [{}] * len(commands)
            for rank, command in enumerate(commands):
                log = logs / WORKER_LOG.format(rank)
                worker = {**base, RANK: str(rank), **more[rank]}
                children.append(start(command, log=log, env=worker, ready=ready, tied=True))
            yield children
        finally:
            # Whatever happens, interrupts included, nothing that was started stays.
            for child in children:
                child.kill()

    supervise(
        attempt,
        start_timeout_s=start_timeout_s,
        restarts=restarts,
        grace_s=grace_s,
        stop_requested=stop_requested,
        clock=clock,
        sleep=sleep,
    )


def supervise(
    attempt: Callable[[], AbstractContextManager[Sequence[Worker]]],
    *,
    start_timeout_s: float,
    restarts: int,
    grace_s: float,
    stop_requested: Callable[[], bool],
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Runs a gang as `run_gang` does, wherever its workers are.

    Args:
        attempt: Starts all workers, and leaves none of them when it is left.
        start_timeout_s: Within how many seconds all workers must be ready, once they are started.
        restarts: How often the gang is started again after a failure.
        grace_s: Seconds between asking a worker to stop and killing it.
        stop_requested: Asked continually; true asks all workers to stop.
        clock: Seconds, monotonic; the workers' own.
        sleep: Sleeps seconds.

    Raises:
        LaunchError: A worker failed in the last attempt, with the end of its log, or refused its configuration.
        Interrupted: A stop was requested, here or of a worker.
    """
    for number in range(restarts + 1):
        try:
            with attempt() as workers:
                _watch(
                    workers,
                    start_timeout_s=start_timeout_s,
                    grace_s=grace_s,
                    stop_requested=stop_requested,
                    clock=clock,
                    sleep=sleep,
                )
            return
        except _AttemptError as failed:
            if number == restarts or not failed.again:
                raise failed.error from None
            logger.warning("%s; starting all workers again (%d of %d)", failed.error.fault.what, number + 1, restarts)


def _watch(
    children: Sequence[Worker],
    *,
    start_timeout_s: float,
    grace_s: float,
    stop_requested: Callable[[], bool],
    clock: Callable[[], float],
    sleep: Callable[[float], None],
) -> None:
    deadline = clock() + start_timeout_s
    while True:
        codes = [child.poll() for child in children]
        if any(code not in (None, EXIT_DONE) for code in codes):
            _end(children, codes, grace_s, clock)
        if all(code == EXIT_DONE for code in codes):
            return
        if stop_requested():
            stop_all(children, grace_s)
            raise Interrupted("the workers were asked to stop", todo="the same command goes on")
        late = [rank for rank, child in enumerate(children) if codes[rank] is None and not child.is_ready()]
        if late and clock() >= deadline:
            stop_all(children, grace_s)
            error = children[late[0]].error(f"worker {late[0]} was not ready after {start_timeout_s:g} s")
            raise _AttemptError(error, again=False)
        sleep(POLL_S)


def _end(children: Sequence[Worker], codes: Sequence[int | None], grace_s: float, clock: Callable[[], float]) -> None:
    deadline = clock() + CAUSE_S
    while all(code in (None, EXIT_DONE, EXIT_LEFT) for code in codes) and None in codes and clock() < deadline:
        time.sleep(POLL_S)
        codes = [child.poll() for child in children]
    failed = [(rank, code) for rank, code in enumerate(codes) if code not in (None, EXIT_DONE)]
    # Workers that left because another one did are no cause.
    rank, code = min(failed, key=lambda one: (one[1] == EXIT_LEFT, one[0]))
    if code == EXIT_INTERRUPTED:
        # The others were told of the stop by this worker and are saving; a SIGTERM now would be their second signal.
        deadline = clock() + grace_s
        for child in children:
            child.end_by(deadline)
        raise Interrupted(f"worker {rank} was asked to stop", todo="the same command goes on")
    stop_all(children, grace_s)
    what = f"worker {rank} of {len(children)} {children[rank].ending(code or 0)}"
    raise _AttemptError(children[rank].error(what), again=code not in (EXIT_FAILED, EXIT_REFUSED))
