"""The host queue: one thread makes elements ahead of the loop, and the loop's waiting is measured."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import Empty, Queue
from threading import Thread
from time import perf_counter
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from pai_train.feed.stats import Stats

log = logging.getLogger(__name__)

T = TypeVar("T")


@contextmanager
def ahead(
    source: Callable[[], Iterator[T]] | Iterator[T],
    depth: int,
    stats: Stats,
    *,
    name: str | None = None,
    clock: Callable[[], float] = perf_counter,
    patience_s: float = 5.0,
) -> Iterator[Iterator[T]]:
    """Runs an iterator in a thread of its own, `depth` elements ahead of its consumer.

    The end of the data and every exception reach the consumer after the elements before them, the exception with its
    own type. Leaving the context stops the thread, closes the iterator in that thread and waits for it.

    Args:
        source: An iterator, or what makes one; a factory is called in the thread, with that thread's device scopes.
        depth: Elements kept ready. One more is held by the thread while the queue is full.
        stats: Gets the consumer's waiting and busy seconds. The first round, from the first request to the second, is
            left out as warm-up, and so is the wait for the end of the data.
        name: The source whose `queue` seconds in `stats` are this thread's waits for room; None for none.
        clock: Seconds, monotonic.
        patience_s: How long leaving waits for a thread that is inside a call to the iterator, which cannot be
            interrupted; past that it is left to end by itself. A thread blocked on the full queue ends at once.

    Yields:
        The elements, for one consumer.

    Raises:
        ValueError: `depth` is below 1.
    """
    if depth < 1:
        raise ValueError(f"depth must be at least 1, got {depth}")
    host = _HostQueue(source, depth, stats, clock, name)
    host.start()
    try:
        yield host
    finally:
        host.close(patience_s)


class _End:
    """Travels over the queue behind the last element."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


class _HostQueue(Generic[T], Iterator[T]):
    def __init__(
        self,
        source: Callable[[], Iterator[T]] | Iterator[T],
        depth: int,
        stats: Stats,
        clock: Callable[[], float],
        name: str | None,
    ) -> None:
        self._source = source
        self._name = name
        self._queue: Queue[Any] = Queue(depth)
        self._stats = stats
        self._clock = clock
        self._given_at = 0.0
        self._last_wait: float | None = None
        self._warm = False
        self._stopped = False
        self._ended = False
        self._thread = Thread(target=self._produce, name="feed-ahead", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def __next__(self) -> T:
        if self._stopped:
            raise RuntimeError("the feed was closed; open it again to read on")
        if self._ended:
            raise StopIteration
        asked_at = self._clock()
        element = self._queue.get()
        given_at = self._clock()
        # A round is counted when the next request ends it, so that busy and waiting always belong together.
        if self._last_wait is not None:
            self._stats.step(self._last_wait, asked_at - self._given_at)
        if type(element) is _End:
            self._ended = True
            if element.error is not None:
                raise element.error
            raise StopIteration
        if self._warm:
            self._last_wait = given_at - asked_at
        self._warm = True
        self._given_at = given_at
        return element  # type: ignore[no-any-return]

    def close(self, patience_s: float) -> None:
        self._stopped = True
        # After this the thread's one outstanding put finds room, and it sees the flag before the next.
        self._drain()
        self._thread.join(patience_s)
        self._drain()
        if self._thread.is_alive():
            log.warning("the input's thread is still reading after %.0f s; it ends with that read", patience_s)

    def _drain(self) -> None:
        try:
            while True:
                self._queue.get_nowait()
        except Empty:
            return

    def _produce(self) -> None:
        error = self._run()
        if not self._stopped:
            self._queue.put(_End(error))
        elif error is not None:
            log.warning("the input failed while it was being closed: %s", error, exc_info=error)

    def _run(self) -> BaseException | None:
        """Fills the queue until the end or the stop; returns what was raised on the way."""
        try:
            iterator = self._source() if callable(self._source) else self._source
            try:
                self._fill(iterator)
            finally:
                close = getattr(iterator, "close", None)
                if close is not None:
                    close()
        except StopIteration as error:
            # Out of __next__ it would read as the end of the data.
            stray = RuntimeError("the input raised StopIteration while it was opened or closed")
            stray.__cause__ = error
            return stray
        except BaseException as error:
            return error
        return None

    def _fill(self, iterator: Iterator[T]) -> None:
        while not self._stopped:
            # The element goes straight into the queue: a variable would keep one more alive during the next read.
            try:
                if self._name is None or not self._queue.full():
                    self._queue.put(next(iterator))
                else:
                    self._put(next(iterator), self._name)
            except StopIteration:
                return

    def _put(self, element: T, name: str) -> None:
        began = perf_counter()
        self._queue.put(element)
        del element
        self._stats.spent(name, "queue", perf_counter() - began)
