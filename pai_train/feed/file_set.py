"""The files of an input as one thing: their identity, whether they are as listed, and how they are opened."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import pyarrow as pa

from pai_train.errors import DataError, PaiTrainError
from pai_train.feed.contents import Contents, changed
from pai_train.storage.errors import ObjectChanged, ObjectMissing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pai_train.storage.store import ObjectInfo, Store

T = TypeVar("T")


class FileSet(Contents):
    """Objects of one store, read as they were listed or not at all. May be used by several threads.

    Args:
        objects: The files, in row order.
        store: Where they are.
        form: What the files are, for messages, such as `Parquet`.
    """

    def __init__(self, objects: Sequence[ObjectInfo], store: Store, form: str) -> None:
        super().__init__(objects, store)
        self.form = form

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
            raise changed(self.objects[index], "another version, or none") from None
        except PaiTrainError:
            self.check_unchanged(index)
            raise
        except (pa.ArrowException, OSError) as fault:
            self.check_unchanged(index)
            raise self.damaged(index, " ".join(str(fault).split())) from fault

    def damaged(self, index: int, got: str, place: str = "") -> DataError:
        """Returns the error for a file that is not what its format asks for."""
        return DataError(
            f"the file cannot be read as {self.form}: it is cut short, damaged or of another format",
            where=self.name(index) + place,
            got=got,
            todo="write it anew, or take it out of the input",
        )
