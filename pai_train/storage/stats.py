"""What a store was asked for and how long it was waited for; counted by every thread, told in the run folder."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from pai_train.storage.forks import renew_after_fork

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@dataclass(frozen=True)
class StoreCounts:
    """Totals of one store.

    Attributes:
        requests: Requests sent, repeated ones too.
        retries: Requests sent again because the one before failed.
        bytes_read: Content received.
        bytes_written: Content sent.
        cached_bytes: Content that came from the local cache instead.
        waiting_s: Seconds that callers waited for the store, added over threads.
    """

    requests: int = 0
    retries: int = 0
    bytes_read: int = 0
    bytes_written: int = 0
    cached_bytes: int = 0
    waiting_s: float = 0.0

    def to_json(self) -> dict[str, int | float]:
        """Returns the totals by name."""
        return asdict(self)


class StoreStats:
    """Adds up what happens; safe for threads, and begins at zero in a forked child.

    Args:
        clock: Seconds since some moment.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.renew()
        renew_after_fork(self)

    def renew(self) -> None:
        """Begins at zero."""
        self._lock = threading.Lock()
        self._counts: dict[str, float] = {}
        self._waiting = threading.local()

    def add(
        self,
        *,
        requests: int = 0,
        retries: int = 0,
        bytes_read: int = 0,
        bytes_written: int = 0,
        cached_bytes: int = 0,
        waiting_s: float = 0.0,
    ) -> None:
        """Adds to the totals."""
        given = {
            "requests": requests,
            "retries": retries,
            "bytes_read": bytes_read,
            "bytes_written": bytes_written,
            "cached_bytes": cached_bytes,
            "waiting_s": waiting_s,
        }
        with self._lock:
            for name, amount in given.items():
                self._counts[name] = self._counts.get(name, 0) + amount

    @contextmanager
    def waited(self) -> Iterator[None]:
        """Counts the time inside as waited for; a wait inside another of the same thread is one wait."""
        if getattr(self._waiting, "inside", False):
            yield
            return
        self._waiting.inside, begin = True, self._clock()
        try:
            yield
        finally:
            self._waiting.inside = False
            self.add(waiting_s=self._clock() - begin)

    def counts(self) -> StoreCounts:
        """Returns the totals so far."""
        with self._lock:
            return StoreCounts(**self._counts)  # type: ignore[arg-type]
