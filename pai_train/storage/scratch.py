"""Local folders for what a process has under way: gone with it, and those of killed ones with the next that begins."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
import weakref
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_PREFIX = "pai-tmp-"
_YOUNG_S = 60.0
"""A folder is not looked at before: whoever has just made it may not have locked it yet."""


class Scratch:
    """An empty folder of this process, below the system's folder for temporary files.

    It is locked as long as the process, or one forked from it, lives. Whoever makes one takes away those of the same
    user that nobody has locked: what was killed has left them, and they may hold whole checkpoints.

    Attributes:
        path: The folder.
    """

    def __init__(self) -> None:
        for left in _left_behind():
            shutil.rmtree(left, ignore_errors=True)
        self.path = Path(tempfile.mkdtemp(prefix=_PREFIX))
        lock = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        # A file system that cannot lock lets nobody else do so either: there nothing is taken away.
        with suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_EX)
        self._finalizer = weakref.finalize(self, _remove, self.path, lock, os.getpid())

    def close(self) -> None:
        """Takes the folder away, with all that is in it."""
        self._finalizer()

    def __enter__(self) -> Path:
        return self.path

    def __exit__(self, *_: object) -> None:
        self.close()


def _remove(path: Path, lock: int, pid: int) -> None:
    # A forked child has the same object, and not the folder.
    if os.getpid() != pid:
        return
    try:
        shutil.rmtree(path, ignore_errors=True)
    finally:
        os.close(lock)


def _left_behind() -> Iterator[Path]:
    """Yields folders of this user that no process has locked, each while it is locked here."""
    now = time.time()
    with suppress(OSError), os.scandir(tempfile.gettempdir()) as entries:
        found = [
            Path(entry) for entry in entries if entry.name.startswith(_PREFIX) and entry.is_dir(follow_symlinks=False)
        ]
        for path in found:
            with suppress(OSError):
                status = path.stat()
                if status.st_uid != os.getuid() or now - status.st_mtime < _YOUNG_S:
                    continue
                lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    yield path
                finally:
                    os.close(lock)
