"""What can go wrong with an object, and the one place where foreign exceptions become our errors."""

from __future__ import annotations

import errno
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pai_train.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator


class ObjectMissing(StorageError):
    """There is no such object."""


class ObjectExists(StorageError):
    """An exclusive create found the object already there."""


class AccessRefused(StorageError):
    """The store knows us and says no, or does not know us."""


_TODO_BY_ERRNO = {
    errno.ENOSPC: "free space there, or name another place",
    errno.EDQUOT: "free space there, or name another place",
    errno.EROFS: "name a place that can be written",
    errno.ENAMETOOLONG: "shorten the name; most file systems allow 255 bytes per part",
    errno.EMFILE: "raise the limit on open files (ulimit -n)",
}


@contextmanager
def mapped(url: str) -> Iterator[None]:
    """Turns every OSError raised inside into the StorageError a person can act on.

    Args:
        url: The object or folder the work inside is about; it becomes the error's `where`.

    Raises:
        ObjectMissing: There is no such object.
        ObjectExists: There is one, and it must not be replaced.
        AccessRefused: Missing permission.
        StorageError: Everything else.
    """
    try:
        yield
    except OSError as error:
        raise storage_error(url, error) from error


def storage_error(url: str, error: OSError) -> StorageError:
    """Returns the StorageError that says what `error` says."""
    if isinstance(error, (FileNotFoundError, NotADirectoryError)):
        return ObjectMissing("no such object", where=url, todo="check the name, and storage.root where it is relative")
    if isinstance(error, FileExistsError):
        return ObjectExists("the object already exists", where=url, todo="choose another name, or delete it first")
    if isinstance(error, PermissionError):
        return AccessRefused("access refused", where=url, got=error.strerror, todo="check permissions and credentials")
    if isinstance(error, IsADirectoryError):
        return StorageError("a folder, not an object", where=url, todo="name an object in it")
    if isinstance(error, TimeoutError):
        return StorageError("no answer in time", where=url, todo="check the network and start again")
    todo = _TODO_BY_ERRNO.get(error.errno or 0, "check that the place exists and is reachable")
    return StorageError("cannot be read or written", where=url, got=error.strerror or str(error), todo=todo)
