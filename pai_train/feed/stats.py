"""What the input cost: how long the loop waited for batches, how many came, and the one sentence about it."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any, Literal

from pai_train.storage.meter import metered

if TYPE_CHECKING:
    from collections.abc import Iterator

COMPUTE_BOUND = 0.05
"""Below this share of waiting, faster input could save at most 5 % of the time: the run is compute-bound."""
INPUT_BOUND = 0.20
"""From this share of waiting on, the run is input-bound; between the two it is balanced."""

Work = Literal["read", "decode", "queue"]


@dataclass
class SourceSeconds:
    """Where the time of one source went, in seconds summed over all threads that served it.

    Attributes:
        read: Getting bytes from the store.
        decode: Turning bytes into rows; for local tables, which Arrow reads by itself, reading too.
        queue: The thread that hands rows to the loop waiting for room: input is ahead of the loop.
    """

    read: float = 0.0
    decode: float = 0.0
    queue: float = 0.0


class Stats:
    """Counters of one feed, safe to use from any number of threads.

    Args:
        engine: What reads; the advice depends on it.

    Attributes:
        waited_s: Seconds the loop waited for input.
        busy_s: Seconds the loop did something else.
        rows: Rows delivered to the loop.
        batches: Batches delivered to the loop.
        bytes: Bytes read, from the store or from its cache.
        cached_bytes: Of these, those that a local cache gave.
    """

    def __init__(self, engine: str = "tf_data") -> None:
        self._faster, self._sooner = "raise engine.parallel", " or engine.ahead"
        if engine == "queue_runner":
            self._faster, self._sooner = "choose engine=tf_data", ", or raise engine.ahead"
        self.waited_s = 0.0
        self.busy_s = 0.0
        self.rows = 0
        self.batches = 0
        self.bytes = 0
        self.cached_bytes = 0
        self._sources: dict[str, SourceSeconds] = {}
        self._lock = threading.Lock()

    def step(self, waited_s: float, busy_s: float) -> None:
        """Adds one round of the loop: the wait for its input, and the time until it asked again."""
        with self._lock:
            self.waited_s += waited_s
            self.busy_s += busy_s

    def delivered(self, rows: int, batches: int = 1) -> None:
        """Counts what the loop was given; rows that are only read ahead do not count."""
        with self._lock:
            self.rows += rows
            self.batches += batches

    def spent(self, source: str, work: Work, seconds: float, read_bytes: int = 0, cached_bytes: int = 0) -> None:
        """Adds the seconds some thread spent for a source, the bytes it read, and those of them from a cache."""
        with self._lock:
            times = self._sources.setdefault(source, SourceSeconds())
            setattr(times, work, getattr(times, work) + seconds)
            self.bytes += read_bytes
            # A block that ends in the middle of a part was given all of it.
            self.cached_bytes += min(cached_bytes, read_bytes)

    @contextmanager
    def reading(self, source: str) -> Iterator[None]:
        """Adds what the enclosed block takes: to read while bytes of a store are under way, to decode for the rest."""
        began = perf_counter()
        with metered() as meter:
            try:
                yield
            finally:
                self.spent(source, "read", meter.seconds, meter.bytes, meter.cached_bytes)
                self.spent(source, "decode", max(0.0, perf_counter() - began - meter.seconds))

    @contextmanager
    def timed(self, source: str, work: Work) -> Iterator[None]:
        """Adds the seconds of the enclosed block; meant for blocks of thousands of rows, never for one."""
        began = perf_counter()
        try:
            yield
        finally:
            self.spent(source, work, perf_counter() - began)

    @property
    def stall_fraction(self) -> float | None:
        """Share of the loop's time spent waiting, 0 to 1; None before two elements were delivered."""
        with self._lock:
            total = self.waited_s + self.busy_s
            return self.waited_s / total if total > 0 else None

    @property
    def sources(self) -> dict[str, SourceSeconds]:
        """The seconds by source, as a copy."""
        with self._lock:
            return {name: SourceSeconds(**asdict(times)) for name, times in self._sources.items()}

    def sentence(self, source_name: str) -> str:
        """Says in one sentence what the run waited for, and what to change when it was input."""
        share = self.stall_fraction
        if share is None:
            return "too few steps to tell what the run waited for"
        if share < COMPUTE_BOUND:
            return f"compute-bound: input waited on {_percent(share)} of the time{self._cached()}"
        waiting = f"{_percent(share)} of the time waiting on {source_name}{self._mostly(source_name)}{self._cached()}"
        if share < INPUT_BOUND:
            return f"balanced: {waiting}"
        return f"input-bound: {waiting}; {self._todo(source_name)}"

    def to_json(self) -> dict[str, Any]:
        """Returns all counters as JSON types."""
        sources = {name: asdict(times) for name, times in self.sources.items()}
        with self._lock:
            return {
                "waited_s": self.waited_s,
                "busy_s": self.busy_s,
                "rows": self.rows,
                "batches": self.batches,
                "bytes": self.bytes,
                "cached_bytes": self.cached_bytes,
                "sources": sources,
            }

    def _cached(self) -> str:
        with self._lock:
            share = self.cached_bytes / self.bytes if self.bytes else 0.0
        return f", {_percent(share)} of its bytes from the cache" if share else ""

    def _mostly(self, source_name: str) -> str:
        share = self.read_share(source_name)
        if share is None or share == 0.5:
            return ""
        return ", mostly reading" if share > 0.5 else ", mostly decoding"

    def read_share(self, source_name: str) -> float | None:
        """Of the seconds spent on reading and decoding a source, the share of reading; None where none were."""
        times = self.sources.get(source_name)
        total = 0.0 if times is None else times.read + times.decode
        return None if times is None or not total else times.read / total

    def _todo(self, source_name: str) -> str:
        share = self.read_share(source_name)
        if share is None:
            return f"{self._faster}{self._sooner}"
        if share > 0.5:
            return f"{self._faster}, or keep what is read near with storage.cache.dir"
        return f"{self._faster}, read fewer columns, or read them from a table"


def _percent(share: float) -> str:
    return f"{share:.1%}".replace("%", " %") if share < 0.0995 else f"{share:.0%}".replace("%", " %")
