"""Repeats what a store could not do just now: growing random pauses, until the deadline, every repetition counted."""

from __future__ import annotations

import logging
import random
import threading
import time
from typing import TYPE_CHECKING, Any, TypeVar

from pai_train.storage.errors import StoreUnavailable, mapped

if TYPE_CHECKING:
    from collections.abc import Callable

    from pai_train.storage.stats import StoreStats

_T = TypeVar("_T")
_FIRST_S = 0.2
_LONGEST_S = 10.0
_JITTER_S = 0.2
_TRIES_BEFORE_A_WORD = 4

logger = logging.getLogger(__name__)


class Retrier:
    """Runs operations of one store until they succeed, fail for good, or the deadline passes.

    Args:
        deadline_s: Seconds after which an operation that keeps failing is an error.
        stats: Where repetitions are counted.
        counts_requests: Whether the filesystem counts its requests itself; else each try counts as one.
        sleep: Waits for seconds; None to wait in a way that `abandoned` ends.
        clock: Seconds since some moment.
        chance: Makes pauses differ; None for the system's own. Never the shared source that a run has seeded.
    """

    def __init__(
        self,
        deadline_s: float,
        stats: StoreStats,
        *,
        counts_requests: bool = False,
        sleep: Callable[[float], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
        chance: random.Random | None = None,
    ) -> None:
        self._deadline_s = deadline_s
        self._stats = stats
        self._counts_requests = counts_requests
        self._sleep = sleep
        self._clock = clock
        self._chance = chance or random.SystemRandom()

    def __call__(
        self,
        url: str,
        operation: Callable[[], _T],
        *,
        reading: bool = False,
        abandoned: threading.Event | None = None,
    ) -> _T:
        """Returns what the operation returns.

        Args:
            url: What it is about.
            operation: May run several times; it must not mind having run before.
            reading: Whether it reads one known version of an object.
            abandoned: Once set nobody waits any more: the last error is raised without another try.

        Raises:
            StoreUnavailable: It kept failing until the deadline.
            StorageError: It failed in a way that trying again does not mend.
        """
        # The first use pays for the import, not the import of the room.
        from tenacity import Retrying, retry_if_exception_type, wait_exponential

        begin = self._clock()
        ended = abandoned or threading.Event()
        pause = wait_exponential(multiplier=_FIRST_S, max=_LONGEST_S)

        def left_s() -> float:
            return self._deadline_s - (self._clock() - begin)

        def over(_: Any) -> bool:
            return left_s() <= 0 or ended.is_set()

        def rest(seconds: float) -> None:
            if self._sleep is None:
                ended.wait(seconds)
            else:
                self._sleep(seconds)

        def again(state: Any) -> None:
            self._stats.add(retries=1)
            level = logging.WARNING if state.attempt_number == _TRIES_BEFORE_A_WORD else logging.DEBUG
            error = state.outcome.exception()
            logger.log(level, "%s: %s; tried %d times", url, error.fault.what, state.attempt_number)

        def once() -> _T:
            if not self._counts_requests:
                self._stats.add(requests=1)
            with mapped(url, reading=reading):
                return operation()

        def given_up(state: Any) -> _T:
            raise self._failed(url, state.outcome.exception(), state.attempt_number, self._clock() - begin)

        repeat = Retrying(
            sleep=rest,
            stop=over,
            wait=lambda state: max(0.0, min(pause(state) + self._chance.uniform(0, _JITTER_S), left_s())),
            retry=retry_if_exception_type(StoreUnavailable),
            before_sleep=again,
            retry_error_callback=given_up,
        )
        return repeat(once)

    def _failed(self, url: str, last: StoreUnavailable, tries: int, after_s: float) -> StoreUnavailable:
        fault = last.fault
        if tries == 1:
            return last
        failed = StoreUnavailable(
            f"{fault.what}, {tries} times in {after_s:.0f} s",
            where=url,
            got=fault.got,
            wanted=f"an answer within {self._deadline_s:g} s",
            todo=f"{fault.todo}; where the store needs longer, raise storage.deadline_s",
        )
        failed.__cause__ = last
        return failed
