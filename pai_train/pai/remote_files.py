"""What stands behind TensorFlow's Python file functions: the storage room for remote names, else what stood there."""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from pai_train.errors import PaiTrainError
from pai_train.pai.mirror import is_remote
from pai_train.storage import AccessRefused, BucketMissing, ObjectMissing, StoreUnavailable, join, matches

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pai_train.pai.mirror import Mirror

_ERRORS = {
    BucketMissing: tf.errors.NotFoundError,
    ObjectMissing: tf.errors.NotFoundError,
    AccessRefused: tf.errors.PermissionDeniedError,
    StoreUnavailable: tf.errors.UnavailableError,
}


@contextmanager
def as_tensorflow_says() -> Iterator[None]:
    """Turns our errors into those that TensorFlow's file functions raise, which scripts catch."""
    try:
        yield
    except PaiTrainError as fault:
        kind = next((made for ours, made in _ERRORS.items() if isinstance(fault, ours)), tf.errors.UnknownError)
        raise kind(None, None, str(fault)) from None


@dataclass(frozen=True)
class FileStatistics:
    """What `stat` returns, with TensorFlow's names.

    Attributes:
        length: In bytes.
        mtime_nsec: When it was written, in nanoseconds since 1970.
        is_directory: Whether it is a folder.
    """

    length: int
    mtime_nsec: int
    is_directory: bool


class WritableFile:
    """A file that is written here and sent, whole, when it is closed.

    Args:
        mirror: Where.
        url: The object.
        mode: As `open`'s; `a` goes on behind what the object holds.
        native: Makes TensorFlow's own writable file.
    """

    def __init__(self, mirror: Mirror, url: str, mode: bytes, native: Callable[[bytes, bytes], Any]) -> None:
        self._file: Any = None
        self._mirror, self._path = mirror, mirror.local(url)
        if mode.startswith((b"a", b"r")) and mirror.store(url).info(url) is not None:
            mirror.stage(url)
        self._file = native(self._path.encode(), mode)
        mirror.writing(self._path, self.close)

    def append(self, content: bytes) -> None:
        """Adds bytes."""
        self._file.append(content)

    def tell(self) -> int:
        """Returns how many bytes there are."""
        return int(self._file.tell())

    def flush(self) -> None:
        """Writes what is buffered to the local file; the object appears at `close`."""
        self._file.flush()

    def close(self) -> None:
        """Sends the file; once more does nothing."""
        if self._file is None:
            return
        self._file.close()
        self._file = None
        self._mirror.written(self._path)
        with as_tensorflow_says():
            self._mirror.push(self._path)

    def __del__(self) -> None:
        self.close()


class RemoteFiles:
    """Stands where TensorFlow's module of native file functions stood, with the same names.

    Args:
        native: That module.
        mirror: Where remote files lie here.
    """

    def __init__(self, native: Any, mirror: Mirror) -> None:
        self._native, self._mirror = native, mirror
        self._made: set[str] = set()
        ours = [name for name in dir(RemoteFiles) if name[0].isupper()]
        for name in ours:
            setattr(self, name, _either(getattr(self, name), getattr(native, name)))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._native, name)

    def FileExists(self, url: str) -> None:  # noqa: N802 - TensorFlow's name
        """Raises where there is neither an object nor a folder."""
        if self._mirror.store(url).info(url) is None and not self.IsDirectory(url):
            raise ObjectMissing("no such file or folder", where=url)

    def DeleteFile(self, url: str) -> None:  # noqa: N802
        """Deletes an object."""
        self.FileExists(url)
        self._mirror.store(url).delete(url)
        self._mirror.forget(url)

    def DeleteRecursively(self, url: str) -> None:  # noqa: N802
        """Deletes a folder and what is below it."""
        self.FileExists(url)
        self._mirror.store(url).delete_tree(url)
        self._mirror.forget(url)
        self._made -= {made for made in self._made if f"{made}/".startswith(f"{join(url)}/")}

    def GetChildren(self, url: str) -> list[str]:  # noqa: N802
        """Returns the names in a folder."""
        below = join(url) + "/"
        known = [info.url for info in self._mirror.store(url).list(url)]
        known += [made for made in (*self._made, *self._mirror.being_written(url)) if made.startswith(below)]
        return sorted({name.removeprefix(below).partition("/")[0] for name in known})

    def GetMatchingFiles(self, pattern: str) -> list[str]:  # noqa: N802
        """Returns the URLs that a pattern matches; those of folders too."""
        pattern = join(pattern)
        files = [info.url for info in self._mirror.store(pattern).glob(pattern)]
        return sorted({*files, *(made for made in self._made if matches(pattern, made))})

    def CreateDir(self, url: str) -> None:  # noqa: N802
        """Notes a folder: stores have none before something is in it."""
        self._made.add(join(url))

    def RecursivelyCreateDir(self, url: str) -> None:  # noqa: N802
        """Notes a folder."""
        self._made.add(join(url))

    def CopyFile(self, source: str, target: str, overwrite: bool) -> None:  # noqa: N802
        """Copies from or to a store."""
        self._refuse(target, overwrite)
        path = self._mirror.stage(source) if is_remote(source) else source
        if not is_remote(target):
            self._native.CopyFile(path.encode(), target.encode(), overwrite)
            return
        self._mirror.store(target).put(target, Path(path))

    def RenameFile(self, source: str, target: str, overwrite: bool) -> None:  # noqa: N802
        """Moves a file, or a folder within a store, object by object."""
        self._refuse(target, overwrite)
        below = join(source) + "/" if is_remote(source) else ""
        inside = self._mirror.store(source).list(source) if below else []
        if inside:
            for info in inside:
                name = info.url.removeprefix(below)
                self.CopyFile(info.url, os.path.join(target, name), True)
            self.DeleteRecursively(source)
            return
        self.CopyFile(source, target, True)
        if below:
            self.DeleteFile(source)
        else:
            self._native.DeleteFile(source.encode())

    def IsDirectory(self, url: str) -> bool:  # noqa: N802
        """Returns whether there is such a folder, or it was made here."""
        url = join(url)
        made = any(f"{one}/".startswith(f"{url}/") for one in self._made)
        return made or bool(self._mirror.being_written(url) or self._mirror.store(url).list(url))

    def HasAtomicMove(self, url: str) -> bool:  # noqa: N802
        """Returns false: whole objects are put, and none needs to be renamed into place."""
        return False

    def Stat(self, url: str) -> FileStatistics:  # noqa: N802
        """Returns size and time of an object."""
        info = self._mirror.store(url).info(url)
        if info is not None:
            return FileStatistics(info.size, int((info.modified or time.time()) * 1e9), False)
        self.FileExists(url)
        return FileStatistics(0, time.time_ns(), True)

    def BufferedInputStream(self, url: str, buffer_bytes: int) -> Any:  # noqa: N802
        """Opens an object for reading, as it is now."""
        return self._native.BufferedInputStream(self._mirror.stage(url), buffer_bytes)

    def WritableFile(self, url: str, mode: bytes) -> WritableFile:  # noqa: N802
        """Opens an object for writing."""
        return WritableFile(self._mirror, url, mode, self._native.WritableFile)

    def _refuse(self, target: str, overwrite: bool) -> None:
        if overwrite or not is_remote(target) or self._mirror.store(target).info(target) is None:
            return
        raise tf.errors.AlreadyExistsError(None, None, f"{target} is there already")


def _either(ours: Callable[..., Any], native: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a function that takes our way where one of the names is remote."""

    @wraps(ours)
    def call(*arguments: Any) -> Any:
        names = [argument.decode() if isinstance(argument, bytes) else argument for argument in arguments[:2]]
        if not any(isinstance(name, str) and is_remote(name) for name in names):
            return native(*arguments)
        texts = [
            name if is_remote(str(name)) or ours.__name__ in _TWO_NAMES else given
            for name, given in zip(names, arguments, strict=False)
        ]
        with as_tensorflow_says():
            return ours(*texts, *arguments[2:])

    return call


_TWO_NAMES = ("CopyFile", "RenameFile")


def install(mirror: Mirror) -> None:
    """Has TensorFlow's Python file functions reach remote names."""
    from tensorflow.python.lib.io import file_io

    file_io._pywrap_file_io = RemoteFiles(file_io._pywrap_file_io, mirror)
