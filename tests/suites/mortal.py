"""Stores as one process sees them that ends, fails or is held up at a chosen storage operation."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pai_train.storage import Limits, Store, Stores
from pai_train.storage.local import LocalFiles
from pai_train.storage.memory import MemoryObjects
from pai_train.storage.retry import Retrier
from pai_train.storage.stats import StoreStats
from pai_train.tables.iceberg import IcebergTables
from tests.suites.table_rows import PROJECT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

ENDS, ENDS_DONE = "ends before it", "ends after it, its answer lost"
FAILS, FAILS_DONE = "fails", "is done, its answer lost"
FAULTS = (ENDS, ENDS_DONE, FAILS, FAILS_DONE)


class Ended(BaseException):
    """The process ended here. No code may catch it and go on."""


class MortalFiles:
    """A filesystem of which one process makes its operations; they are numbered from 1.

    `plan` is asked before each operation, by its name and number, and answers with one of the faults, with something
    to call first, or with None. Once ended, everything asks in vain, as of a process that is gone.
    """

    cachable = False

    def __init__(self, files: Any, plan: Callable[[str, int], Any]) -> None:
        self._files = files
        self._plan = plan
        self._lock = threading.Lock()
        self.count = 0
        self.ended = False
        self.struck: str | None = None

    def do(self, name: str, operation: Callable[[], Any]) -> Any:
        """Makes one operation, as the plan says."""
        with self._lock:
            if self.ended:
                raise Ended
            self.count += 1
            fault = self._plan(name, self.count)
            if isinstance(fault, str):
                self.struck = name
                self.ended = fault in (ENDS, ENDS_DONE)
        if callable(fault):
            fault()
        if fault == ENDS:
            raise Ended
        if fault == FAILS:
            raise ConnectionResetError(104, "Connection reset by peer")
        answer = operation()
        if fault == ENDS_DONE:
            raise Ended
        if fault == FAILS_DONE:
            raise ConnectionResetError(104, "Connection reset by peer")
        return answer

    def _strip_protocol(self, path: str) -> str:
        return str(self._files._strip_protocol(path))

    def invalidate_cache(self) -> None:
        """Does nothing: there is none."""

    def info(self, path: str) -> Any:
        return self.do("info", lambda: self._files.info(path))

    def find(self, path: str, detail: bool = True) -> Any:
        return self.do("find", lambda: self._files.find(path, detail=detail))

    def cat_file(self, path: str, start: int | None = None, end: int | None = None) -> Any:
        return self.do("cat", lambda: self._files.cat_file(path, start=start, end=end))

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite") -> None:
        self.do("create" if mode == "create" else "pipe", lambda: self._files.pipe_file(path, value, mode=mode))

    def put_file(self, path1: str, path2: str) -> None:
        self.do("put", lambda: self._files.put_file(path1, path2))

    def rm_file(self, path: str) -> None:
        self.do("rm", lambda: self._files.rm(path))

    def rm(self, path: str, recursive: bool = False) -> None:
        """Deletes; a tree object by object, for the process may end between two."""
        if not recursive:
            self.rm_file(path)
            return
        for name in self.find(path):
            self.rm_file(name)
        self.do("rm", lambda: self._files.rm(path, recursive=True))

    def open(self, path: str, mode: str) -> Any:
        if mode == "rb":
            # Reading it on changes nothing, and so is the same as the operation before the next.
            return self.do("open", lambda: self._files.open(path, mode))
        return MortalOutput(self, self._files.open(path, mode))


class MortalOutput:
    """A file that is written; it appears by one operation."""

    def __init__(self, files: MortalFiles, raw: Any) -> None:
        self._files = files
        self._raw = raw

    def write(self, data: Any) -> int:
        if self._files.ended:
            raise Ended
        return int(self._raw.write(data))

    def tell(self) -> int:
        return int(self._raw.tell())

    def close(self) -> None:
        self._files.do("close", self._raw.close)

    def discard(self) -> None:
        self._raw.discard()


@dataclass(frozen=True)
class Life:
    """One process: its tables, and the filesystem that may end it."""

    stores: Stores
    tables: IcebergTables
    files: MortalFiles


class World:
    """What outlives every process: the objects below one folder.

    Args:
        folder: Local files below it; None for objects in memory, reached as a remote store is.
    """

    def __init__(self, folder: Path | None) -> None:
        alone = type("AloneObjects", (MemoryObjects,), {"store": {}, "pseudo_dirs": [""]})
        self.is_local = folder is not None
        self._files: Any = LocalFiles() if self.is_local else alone(skip_instance_cache=True)
        self.root = f"file://{folder}/tables" if self.is_local else "memory://bucket/tables"
        self.store = self._store(self._files)
        self.stores: Stores = _One(self.store)
        self.tables = IcebergTables(self.root, PROJECT, self.stores)

    def live(self, plan: Callable[[str, int], Any] = lambda name, number: None) -> Life:
        """Begins a process."""
        files = MortalFiles(self._files, plan)
        stores = _One(self._store(files))
        return Life(stores, IcebergTables(self.root, PROJECT, stores), files)

    def save(self) -> Mapping[str, bytes]:
        """Returns all objects."""
        return {info.url: self.store.read(info.url) for info in self.store.list(self.root)}

    def restore(self, objects: Mapping[str, bytes]) -> None:
        """Makes the objects what they were."""
        for info in self.store.list(self.root):
            if info.url not in objects:
                self.store.delete(info.url)
        there = {info.url for info in self.store.list(self.root)}
        for url, content in objects.items():
            if url not in there or self.store.read(url) != content:
                self.store.put(url, content)

    def _store(self, files: Any) -> Store:
        scheme = "file" if self.is_local else "memory"
        limits, stats = Limits(deadline_s=0), StoreStats()
        retry = Retrier(0, stats, sleep=lambda _: None)
        return Store(
            scheme, files, is_local=self.is_local, exclusive_create=True, limits=limits, stats=stats, retry=retry
        )


class _One(Stores):
    """Stores that are one store."""

    def __init__(self, store: Store) -> None:
        super().__init__()
        self._store = store

    def open(self, url: str) -> Store:
        return self._store


def at(number: int, fault: Any) -> Callable[[str, int], Any]:
    """Returns the plan by which one operation meets a fault."""
    return lambda _name, count: fault if count == number else None
