"""How long a piece of work had bytes of a store under way, and how many: told by stores, asked by who works."""

from __future__ import annotations

import io
import threading
from contextlib import contextmanager
from time import perf_counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_here = threading.local()


class Meter:
    """The reads of one piece of work, in whatever threads they are made; reads at the same time count once.

    Attributes:
        seconds: How long at least one was under way.
        bytes: What they gave.
        cached_bytes: What a local cache gave for them, and no store.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self.bytes = 0
        self.cached_bytes = 0
        self._lock = threading.Lock()
        self._under_way = 0
        self._since = 0.0

    def read(self, read: Callable[[], bytes]) -> bytes:
        """Returns what a read gives, and counts it."""
        with self._lock:
            if not self._under_way:
                self._since = perf_counter()
            self._under_way += 1
        data = b""
        try:
            with reading_for(self):
                data = read()
            return data
        finally:
            with self._lock:
                self._under_way -= 1
                self.bytes += len(data)
                if not self._under_way:
                    self.seconds += perf_counter() - self._since

    def count_cached(self, read: int) -> None:
        """Counts bytes that a local cache gave; what is read ahead, too."""
        with self._lock:
            self.cached_bytes += read

    def count(self, read: int) -> None:
        """Counts bytes that were read without Python, by whom their time is not told apart."""
        with self._lock:
            self.bytes += read


@contextmanager
def metered() -> Iterator[Meter]:
    """Counts the reads of stores, and of streams opened, by this thread; a meter inside another takes its place."""
    before = getattr(_here, "meter", None)
    _here.meter = meter = Meter()
    try:
        yield meter
    finally:
        _here.meter = before


def current() -> Meter | None:
    """Returns the meter that this thread's reads count for; None for none."""
    return getattr(_here, "meter", None)


@contextmanager
def reading_for(meter: Meter | None) -> Iterator[None]:
    """Makes `reader` the meter whose read this thread does; threads that it hands parts of the read to enter it too."""
    before = reader()
    _here.reader = meter
    try:
        yield
    finally:
        _here.reader = before


def reader() -> Meter | None:
    """Returns the meter whose read this thread does; None for none."""
    return getattr(_here, "reader", None)


class MeteredInput(io.BufferedIOBase):
    """A stream whose reads, in any thread, count for the meter under which it was opened."""

    def __init__(self, stream: Any, meter: Meter) -> None:
        super().__init__()
        self._stream = stream
        self._meter = meter

    @property
    def name(self) -> str:
        """The object's URL."""
        return str(self._stream.name)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return int(self._stream.tell())

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        return int(self._stream.seek(offset, whence))

    def read(self, size: int | None = -1, /) -> bytes:
        return self._meter.read(lambda: self._stream.read(size))

    def read1(self, size: int = -1, /) -> bytes:
        return self._meter.read(lambda: self._stream.read1(size))

    def readline(self, size: int | None = -1, /) -> bytes:
        return self._meter.read(lambda: self._stream.readline(size))

    def close(self) -> None:
        if not self.closed:
            try:
                self._stream.close()
            finally:
                super().close()
