"""Repetition: what is repeated, how long and how often, what is counted, and what is said in the end."""

from __future__ import annotations

import logging
import random
import threading
from typing import Any

import pytest

from pai_train.errors import StorageError
from pai_train.storage import AccessRefused, ObjectMissing, StoreUnavailable
from pai_train.storage.retry import Retrier
from pai_train.storage.stats import StoreStats
from tests.storage.shaky import Clock

URL = "s3://bucket/key"


class Failing:
    """Fails with the given errors, one after another, then works; each try takes a second."""

    def __init__(self, clock: Clock, *errors: Exception, forever: bool = False) -> None:
        self.clock, self.errors, self.forever, self.tries = clock, list(errors), forever, 0

    def __call__(self) -> str:
        self.tries += 1
        self.clock.now += 1
        if self.errors:
            raise self.errors[0] if self.forever else self.errors.pop(0)
        return "done"


def retrier(clock: Clock, stats: StoreStats, **how: Any) -> Retrier:
    return Retrier(120, stats, sleep=clock.sleep, clock=clock, **how)


def test_what_is_transient_is_repeated_and_counted() -> None:
    clock, stats = Clock(), StoreStats()
    failing = Failing(clock, ConnectionResetError(104, "reset"), TimeoutError(), BrokenPipeError(32, "pipe"))
    assert retrier(clock, stats)(URL, failing) == "done"
    assert (stats.counts().requests, stats.counts().retries) == (4, 3)
    assert len(clock.pauses) == 3


def test_requests_are_not_counted_twice() -> None:
    clock, stats = Clock(), StoreStats()
    assert retrier(clock, stats, counts_requests=True)(URL, Failing(clock, TimeoutError())) == "done"
    assert (stats.counts().requests, stats.counts().retries) == (0, 1)


@pytest.mark.parametrize(
    ("error", "family"),
    [
        (FileNotFoundError(2, "gone"), ObjectMissing),
        (PermissionError(13, "no"), AccessRefused),
        (OSError(22, "what?"), StorageError),
        (TypeError("a mistake of ours"), TypeError),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ],
)
def test_what_trying_again_does_not_mend_is_not_repeated(error: BaseException, family: type[BaseException]) -> None:
    clock, stats = Clock(), StoreStats()
    failing = Failing(clock, error)
    with pytest.raises(family):
        retrier(clock, stats)(URL, failing)
    assert (failing.tries, stats.counts().retries, clock.pauses) == (1, 0, [])


def test_pauses_grow_differ_and_end_at_the_deadline() -> None:
    firsts = set()
    for _ in range(20):
        clock, stats = Clock(), StoreStats()
        failing = Failing(clock, ConnectionResetError(104, "reset"), forever=True)
        with pytest.raises(StoreUnavailable):
            retrier(clock, stats)(URL, failing)
        assert 120 <= clock.now <= 122  # the last try may begin at the deadline
        assert all(later > earlier for earlier, later in zip(clock.pauses[:5], clock.pauses[1:6], strict=True))
        assert max(clock.pauses) <= 10.2
        assert len(clock.pauses) == stats.counts().retries == failing.tries - 1
        firsts.add(clock.pauses[0])
    assert len(firsts) > 10


def test_pauses_draw_nothing_from_the_source_that_a_run_has_seeded() -> None:
    random.seed(7)
    before = random.getstate()
    pauses = []
    for _ in range(2):
        clock = Clock()
        failing = Failing(clock, *[TimeoutError()] * 5)
        assert retrier(clock, StoreStats(), chance=random.Random(3))(URL, failing) == "done"
        pauses.append(clock.pauses)
    assert pauses[0] == pauses[1]
    assert retrier(clock, StoreStats())(URL, Failing(clock, TimeoutError())) == "done"
    assert random.getstate() == before


def test_the_error_after_the_deadline_says_everything() -> None:
    clock, stats = Clock(), StoreStats()
    last = ConnectionRefusedError(111, "Connection refused")
    failing = Failing(clock, last, forever=True)
    with pytest.raises(StoreUnavailable) as caught:
        retrier(clock, stats)(URL, failing)
    fault = caught.value.fault
    assert fault.where == URL
    assert fault.what == (f"the store cannot be reached, or hung up, {failing.tries} times in {clock.now:.0f} s")
    assert "Connection refused" in fault.got
    assert "within 120 s" in fault.wanted
    assert "storage.endpoint" in fault.todo
    assert "storage.deadline_s" in fault.todo
    assert caught.value.__cause__.__cause__ is last


def test_one_long_try_is_no_repetition() -> None:
    clock, stats = Clock(), StoreStats()

    def hang() -> None:
        clock.now += 130
        raise TimeoutError

    with pytest.raises(StoreUnavailable, match="no answer") as caught:
        retrier(clock, stats)(URL, hang)
    assert caught.value.fault.what == "no answer in time"
    assert stats.counts().retries == 0


def test_what_was_abandoned_is_not_repeated() -> None:
    abandoned = threading.Event()
    tries = []

    def fail() -> None:
        tries.append(1)
        if len(tries) == 2:
            abandoned.set()
        raise ConnectionResetError(104, "reset")

    with pytest.raises(StoreUnavailable):
        Retrier(120, StoreStats())(URL, fail, abandoned=abandoned)
    assert len(tries) == 2


def test_a_store_that_stays_away_is_told_to_the_log_once(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    with caplog.at_level(logging.WARNING, "pai_train.storage"), pytest.raises(StoreUnavailable):
        retrier(clock, StoreStats())(URL, Failing(clock, TimeoutError(), forever=True))
    assert [record.getMessage() for record in caplog.records] == [f"{URL}: no answer in time; tried 4 times"]
