"""Objects in memory behind a bad network: what a test asks for fails, comes late, is cut short or loses its answer."""

from __future__ import annotations

import errno
import io
import random
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from pai_train.storage import Limits, Store
from pai_train.storage.memory import MemoryObjects
from pai_train.storage.retry import Retrier
from pai_train.storage.stats import StoreStats

if TYPE_CHECKING:
    from collections.abc import Callable

RESET, LOST, CUT = "reset", "lost", "cut"


class ShakyObjects(MemoryObjects):
    """The objects in memory, as a remote store gives them.

    `plan` is asked before each operation, by its name and its number, and answers with a fault, with something to call
    that may wait and returns one, or with None.
    """

    cachable = False

    def __init__(self, delay_s: float = 0.0) -> None:
        super().__init__()
        self.plan: Callable[[str, int], Any] = lambda name, number: None
        self.delay_s = delay_s
        self.calls: Counter[str] = Counter()
        self.at_once = self.most_at_once = 0
        self._lock = threading.Lock()

    def shake(self, name: str, operation: Callable[[], Any]) -> Any:
        """Runs an operation as the plan says."""
        with self._lock:
            self.calls[name] += 1
            fault = self.plan(name, self.calls.total())
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            if self.delay_s:
                time.sleep(self.delay_s)
            if fault == RESET:
                raise ConnectionResetError(104, "Connection reset by peer")
            if callable(fault):
                fault = fault()
            if isinstance(fault, Exception):
                raise fault
            answer = operation()
            if fault == LOST:
                raise ConnectionResetError(104, "Connection reset by peer")
            return answer[: len(answer) // 2] if fault == CUT and isinstance(answer, bytes) else answer
        finally:
            with self._lock:
                self.at_once -= 1

    def info(self, path: str, **options: Any) -> dict[str, Any]:
        return self.shake("info", lambda: super(ShakyObjects, self).info(path, **options))

    def ls(self, path: str, detail: bool = True, **options: Any) -> list[Any]:
        def look() -> list[Any]:
            found = super(ShakyObjects, self).ls(path, detail=True, **options)
            # The listing of the base has no etags.
            return [MemoryObjects.info(self, raw["name"]) if raw["type"] == "file" else raw for raw in found]

        return self.shake("ls", look)

    def find(self, path: str, *arguments: Any, **options: Any) -> Any:
        # The base asks for infos of what it finds; a remote store does not.
        plain = MemoryObjects(skip_instance_cache=True)
        return self.shake("find", lambda: plain.find(path, *arguments, **options))

    def cat_file(self, path: str, start: Any = None, end: Any = None, etag: str | None = None, **_: Any) -> bytes:
        def read() -> bytes:
            stored = self.store.get(self._strip_protocol(path))
            if stored is None:
                raise FileNotFoundError(path)
            if etag is not None and MemoryObjects.info(self, path)["etag"] != etag:
                raise OSError(errno.ESTALE, "the object was replaced while it was read", path)
            return stored.getvalue()[start:end]

        return self.shake("cat", read)

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **options: Any) -> None:
        self.shake("pipe", lambda: super(ShakyObjects, self).pipe_file(path, value, mode, **options))

    def put_file(self, path1: str, path2: str, callback: Any = None, **_: Any) -> None:
        with open(path1, "rb") as source:
            self.pipe_file(path2, source.read())

    def rm_file(self, path: str) -> None:
        self.shake("rm", lambda: super(ShakyObjects, self).rm(path))

    def rm(self, path: Any, recursive: bool = False, maxdepth: int | None = None) -> None:
        self.shake("rm", lambda: super(ShakyObjects, self).rm(path, recursive, maxdepth))

    def _open(self, path: str, mode: str = "rb", block_size: int | None = None, **options: Any) -> Any:
        if mode == "rb":
            stored = self.store.get(self._strip_protocol(path))
            if stored is None:
                raise FileNotFoundError(path)
            return io.BytesIO(stored.getvalue())
        return super()._open(path, mode, block_size, **options)


def seeded(seed: int, share: float) -> Callable[[str, int], str | None]:
    """Returns a plan by which this share of the operations fails, the same ones for one seed."""
    chances = random.Random(seed)
    return lambda _name, _number: chances.choice([RESET, LOST]) if chances.random() < share else None


class Clock:
    """Time that passes only when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self.pauses: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.pauses.append(seconds)


def shaky_store(
    filesystem: ShakyObjects | None = None, *, clock: Clock | None = None, limits: Limits | None = None, **how: Any
) -> Store:
    """Opens a remote store over objects in memory, in which no pause takes time."""
    limits, stats, clock = limits or Limits(parallel=4, part_bytes=1000), StoreStats(), clock or Clock()
    retry = Retrier(limits.deadline_s, stats, sleep=clock.sleep, clock=clock)
    given = {"exclusive_create": True, **how}
    return Store(
        "memory", filesystem or ShakyObjects(), is_local=False, limits=limits, stats=stats, retry=retry, **given
    )
