"""The files of an input as one thing: their identity, whether they are as listed, and how they are opened."""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import pyarrow as pa

from pai_train.errors import DataError, PaiTrainError
from pai_train.storage.errors import ObjectChanged, ObjectMissing
from pai_train.storage.urls import display

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pai_train.storage.store import ObjectInfo, Store

T = TypeVar("T")


class FileSet:
    """Objects of one store, read as they were listed or not at all. May be used by several threads.

    Args:
        objects: The files, in row order.
        store: Where they are.
        form: What the files are, for messages, such as `Parquet`.

    Attributes:
        objects: The files.
        store: Where they are.
        form: What they are.
        bytes: Their size in all.
    """

    def __init__(self, objects: Sequence[ObjectInfo], store: Store, form: str) -> None:
        self.objects = tuple(objects)
        self.store = store
        self.form = form
        self.bytes = sum(info.size for info in self.objects)

    @property
    def identity(self) -> str:
        """Changes when a file, its place in the order, its size or its etag changes."""
        told = json.dumps([[info.url, info.size, info.etag] for info in self.objects])
        return hashlib.sha256(told.encode()).hexdigest()

    def name(self, index: int) -> str:
        """Returns a file's URL for people."""
        return display(self.objects[index].url)

    def each(self, call: Callable[[int], T]) -> list[T]:
        """Calls something with each file's number, as many at once as the store takes; answers in order."""
        with ThreadPoolExecutor(self.store.limits.parallel, thread_name_prefix="files") as pool:
            return list(pool.map(call, range(len(self.objects))))

    @contextmanager
    def opened(self, index: int) -> Iterator[Any]:
        """Opens a file for Arrow, which reads the ranges it needs; nothing is mapped into memory.

        A file that is mapped and cut short meanwhile would end the process by a signal; one that is read is an error.

        Raises:
            DataError: The file is not as it was listed, or what Arrow says in the `with` block is that it is damaged.
            StorageError: It cannot be read.
        """
        with self.reading(index):
            info = self.objects[index]
            if self.store.scheme == "file":
                stream: Any = pa.OSFile(self.store.path(info.url))
            else:
                stream = self.store.open_input(info.url, None if self.store.is_local else info)
            with stream:
                yield stream

    @contextmanager
    def reading(self, index: int) -> Iterator[None]:
        """Says of what goes wrong in the `with` block which file it is about, and whether that has changed.

        Raises:
            DataError: The file is not as it was listed, or damaged.
        """
        try:
            self.check_unchanged(index)
            yield
            self.check_unchanged(index)
        except (ObjectChanged, ObjectMissing):
            raise self.changed(index, "another version, or none") from None
        except PaiTrainError:
            self.check_unchanged(index)
            raise
        except (pa.ArrowException, OSError) as fault:
            self.check_unchanged(index)
            raise self.damaged(index, " ".join(str(fault).split())) from fault

    def read(self, index: int, start: int, end: int) -> bytes:
        """Returns the bytes of a file from `start` up to, not including, `end`; fewer at its end.

        Raises:
            DataError: The file is not as it was listed.
            StorageError: It cannot be read.
        """
        info = self.objects[index]
        end = min(end, info.size)
        with self.reading(index):
            data = self.store.read(info.url, start, max(start, end), etag=info.etag)
            if len(data) < end - start:
                raise self.changed(index, f"{start + len(data)} bytes")
            return data

    def check_unchanged(self, index: int) -> None:
        """Looks whether a file on this machine is as it was listed; a remote store is asked for a version instead.

        Raises:
            DataError: It is not.
        """
        if not self.store.is_local:
            return
        info = self.objects[index]
        now = self.store.info(info.url)
        if now is None or (now.size, now.etag) != (info.size, info.etag):
            raise self.changed(index, "no object" if now is None else f"{now.size} bytes, etag {now.etag}")

    def changed(self, index: int, got: str) -> DataError:
        """Returns the error for a file that is not as it was listed."""
        info = self.objects[index]
        return DataError(
            "the file changed while it was read",
            where=display(info.url),
            got=got,
            wanted=f"{info.size} bytes, etag {info.etag}, as listed at the start",
            todo="start again when nobody writes to it",
        )

    def damaged(self, index: int, got: str, place: str = "") -> DataError:
        """Returns the error for a file that is not what its format asks for."""
        return DataError(
            f"the file cannot be read as {self.form}: it is cut short, damaged or of another format",
            where=self.name(index) + place,
            got=got,
            todo="write it anew, or take it out of the input",
        )
