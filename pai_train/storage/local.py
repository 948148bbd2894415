"""Local files with the manners of an object store: written whole or not at all, and durable once they are visible."""

from __future__ import annotations

import errno
import fcntl
import io
import os
import secrets
import shutil
import stat
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from fsspec.implementations.local import LocalFileSystem

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

_COPY_BYTES = 4 * 2**20
_TEMPORARY = ".pai_train-", ".tmp"
_KEEPS = {errno.EWOULDBLOCK, errno.EACCES, errno.ENOTSUP, errno.ENOLCK, errno.ENOSYS, errno.EINVAL}
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EXDEV}


class LocalFiles(LocalFileSystem):  # type: ignore[misc]
    """fsspec's local filesystem with atomic writes, exclusive create and etags; makes parents when it writes."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"auto_mkdir": True, **options})

    def info(self, path: str | os.DirEntry[str], **_: Any) -> dict[str, Any]:
        # Links are followed, so that a linked file or folder reads like any other.
        if isinstance(path, os.DirEntry):
            name, status = path.path, path.stat()
        else:
            name = self._strip_protocol(path)
            status = os.stat(name)
        kind = "directory" if stat.S_ISDIR(status.st_mode) else "file" if stat.S_ISREG(status.st_mode) else "other"
        return {
            "name": name,
            "size": status.st_size,
            "type": kind,
            "mtime": status.st_mtime,
            "etag": f"{status.st_size:x}-{status.st_mtime_ns:x}",
        }

    def ls(self, path: str, detail: bool = False, **_: Any) -> list[Any]:
        path = self._strip_protocol(path)
        top = self.info(path)
        infos = list(self._children(path)) if top["type"] == "directory" else [top]
        return infos if detail else [info["name"] for info in infos]

    def _children(self, path: str) -> Iterator[dict[str, Any]]:
        with os.scandir(path) as entries:
            for entry in entries:
                if _is_temporary(entry.name):
                    continue
                try:
                    if not (entry.is_symlink() and entry.is_dir() and _is_loop(entry.path)):
                        yield self.info(entry)
                except OSError as error:
                    # Deleted meanwhile, or a link to nowhere or to itself: no object.
                    if error.errno not in (errno.ENOENT, errno.ELOOP):
                        raise

    def lexists(self, path: str, **_: Any) -> bool:
        # The base takes the path verbatim and answers False to every URL.
        return os.path.lexists(self._strip_protocol(path))

    def walk(self, path: str, maxdepth: int | None = None, topdown: bool = True, **options: Any) -> Iterator[Any]:
        # The default swallows every OSError: a folder without permission would look empty.
        return super().walk(path, maxdepth, topdown, **{"on_error": _raise_unless_missing, **options})  # type: ignore[no-any-return]

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **_: Any) -> None:
        with AtomicFile(self._strip_protocol(path), exclusive=mode == "create") as output:
            output.write(value)

    def put_file(self, path1: str, path2: str, callback: Any = None, **_: Any) -> None:
        with open(path1, "rb") as source, AtomicFile(self._strip_protocol(path2)) as output:
            shutil.copyfileobj(source, output, _COPY_BYTES)

    def rm(self, path: str | list[str], recursive: bool = False, maxdepth: int | None = None) -> None:
        for name in map(self._strip_protocol, [path] if isinstance(path, str) else path):
            if recursive and os.path.isdir(name) and not os.path.islink(name):
                _remove_tree(name)
            else:
                os.remove(name)

    def discard_unfinished(self, path: str) -> None:
        """Removes what writers that have ended left half written in a folder; what is being written is locked."""
        folder = self._strip_protocol(path)
        with suppress(FileNotFoundError):
            for name in filter(_is_temporary, os.listdir(folder)):
                with suppress(FileNotFoundError):
                    _remove_unlocked(os.path.join(folder, name))

    def _open(self, path: str, mode: str = "rb", block_size: int | None = None, **options: Any) -> Any:
        if mode in ("wb", "xb") and options.get("autocommit", True):
            return AtomicFile(self._strip_protocol(path), exclusive=mode == "xb")
        return super()._open(path, mode, block_size, **options)


class AtomicFile(io.BufferedWriter):
    """A file under a temporary name in its own folder; `close` makes it durable, then gives it its name.

    Leaving a `with` block by an exception, or dropping the file unclosed, removes it.

    Args:
        path: The absolute path it gets.
        exclusive: Fail at `close` with FileExistsError when the path exists, instead of replacing it.
    """

    def __init__(self, path: str, exclusive: bool = False) -> None:
        if exclusive and os.path.lexists(path):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)
        folder = os.path.dirname(path)
        _make_folder(folder)
        self._path = path
        self._exclusive = exclusive
        self._temporary = os.path.join(folder, secrets.token_hex(8).join(_TEMPORARY))
        super().__init__(io.FileIO(self._temporary, "xb"), _COPY_BYTES)
        with suppress(OSError):  # not every file system has locks
            fcntl.flock(self.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)

    def close(self) -> None:
        if self.closed:
            return
        try:
            self.flush()
            # The kernel's own stamp may be some milliseconds coarse: two writes would share an etag.
            now = time.time_ns()
            os.utime(self.fileno(), ns=(now, now))
            os.fsync(self.fileno())
            # It has its name before it loses its lock: see discard_unfinished.
            self._publish()
            super().close()
        except BaseException:
            self.discard()
            raise
        _sync_folder(os.path.dirname(self._path))

    def discard(self) -> None:
        """Removes what was written."""
        with suppress(OSError):  # what cannot be flushed is not wanted any more
            super().close()
        with suppress(FileNotFoundError):
            os.unlink(self._temporary)

    def _publish(self) -> None:
        if not self._exclusive:
            os.replace(self._temporary, self._path)
            return
        try:
            os.link(self._temporary, self._path)
        except OSError as error:
            if error.errno in _NO_LINKS:
                raise OSError(
                    errno.ENOTSUP, "exclusive create needs hard links, which this file system lacks"
                ) from error
            raise
        os.unlink(self._temporary)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()

    def __del__(self) -> None:
        # The base class would close, and so publish, a file that was dropped half written.
        if hasattr(self, "_temporary") and not self.closed:
            self.discard()


def _is_temporary(name: str) -> bool:
    return name.startswith(_TEMPORARY[0]) and name.endswith(_TEMPORARY[1])


def _remove_unlocked(path: str) -> None:
    descriptor = os.open(path, os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.unlink(path)
    except OSError as error:
        # Somebody writes it, or nobody can tell.
        if error.errno not in (
            errno.EWOULDBLOCK,
            errno.EACCES,
            errno.ENOTSUP,
            errno.ENOLCK,
            errno.ENOSYS,
            errno.EINVAL,
        ):
            raise
    finally:
        os.close(descriptor)


def _is_loop(link: str) -> bool:
    """Returns whether a link leads back to a folder on the way to it."""
    target, folder = os.path.realpath(link), os.path.dirname(link)
    while folder != os.path.dirname(folder):
        if os.path.realpath(folder) == target:
            return True
        folder = os.path.dirname(folder)
    return target == folder


def _raise_unless_missing(error: OSError) -> None:
    if not isinstance(error, (FileNotFoundError, NotADirectoryError)):
        raise error


def _make_folder(path: str) -> None:
    if os.path.isdir(path):
        return
    parent = os.path.dirname(path)
    _make_folder(parent)
    try:
        os.mkdir(path)
    except FileExistsError:
        if not os.path.isdir(path):
            raise OSError(f"{path} is a file, so nothing can lie below it") from None
        return
    _sync_folder(parent)


def _sync_folder(path: str) -> None:
    """Makes the names in a folder durable, where the file system can."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


def _remove_tree(path: str) -> None:
    while os.path.isdir(path):
        with suppress(FileNotFoundError):  # somebody else is deleting here too: go on with what is left
            shutil.rmtree(path)
