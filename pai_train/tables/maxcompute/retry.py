"""Repeats what MaxCompute could not do just now: growing random pauses, until the deadline."""

from __future__ import annotations

import logging
import random
import time
from typing import TYPE_CHECKING, Any, TypeVar

from tenacity import Retrying, retry_if_exception, wait_exponential

from pai_train.tables.maxcompute.errors import FOREIGN, EmptyAnswer, explained, is_transient

if TYPE_CHECKING:
    from collections.abc import Callable

_T = TypeVar("_T")
_FIRST_S = 0.2
_LONGEST_S = 10.0
_JITTER_S = 0.2
_TRIES_BEFORE_A_WORD = 4
_EMPTY_ANSWERS = 5

logger = logging.getLogger(__name__)


class Repeat:
    """Runs operations until they succeed, fail for good, or the deadline passes.

    Args:
        deadline_s: Seconds after which an operation that keeps failing is an error.
        sleep: Waits for seconds.
        clock: Seconds since some moment.
        chance: Makes pauses differ; None for the system's own. Never the shared source that a run has seeded.
    """

    def __init__(
        self,
        deadline_s: float,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
        chance: random.Random | None = None,
    ) -> None:
        self._deadline_s = deadline_s
        self._sleep = sleep
        self._clock = clock
        self._chance = chance or random.SystemRandom()

    def __call__(self, where: str, operation: Callable[[], _T]) -> _T:
        """Returns what the operation returns.

        Args:
            where: What it is about, for people.
            operation: May run several times; it must not mind having run before.

        Raises:
            EmptyAnswer: Every answer was empty.
            StoreUnavailable: It kept failing until the deadline.
            PaiTrainError: It failed in a way that trying again does not mend.
        """
        begin = self._clock()
        pause = wait_exponential(multiplier=_FIRST_S, max=_LONGEST_S)
        empty = 0

        def left_s() -> float:
            return self._deadline_s - (self._clock() - begin)

        def over(state: Any) -> bool:
            return left_s() <= 0 or empty >= _EMPTY_ANSWERS

        def once() -> _T:
            nonlocal empty
            try:
                return operation()
            except EmptyAnswer:
                empty += 1
                raise

        def again(state: Any) -> None:
            level = logging.WARNING if state.attempt_number == _TRIES_BEFORE_A_WORD else logging.DEBUG
            error = explained(state.outcome.exception(), where)
            logger.log(level, "%s: %s; tried %d times", where, error.fault.what, state.attempt_number)

        def given_up(state: Any) -> _T:
            last = state.outcome.exception()
            if isinstance(last, EmptyAnswer):
                raise last
            raise explained(last, where, tries=state.attempt_number, after_s=self._clock() - begin) from last

        repeat = Retrying(
            sleep=self._sleep,
            stop=over,
            wait=lambda state: max(0.0, min(pause(state) + self._chance.uniform(0, _JITTER_S), left_s())),
            retry=retry_if_exception(is_transient),
            before_sleep=again,
            retry_error_callback=given_up,
        )
        try:
            return repeat(once)
        except EmptyAnswer:
            raise
        except FOREIGN as error:
            raise explained(error, where) from error
