"""One writer of a slice at a time on this machine: a lock that the operating system lets go when its process ends."""

from __future__ import annotations

import fcntl
import hashlib
import os
import tempfile
from pathlib import Path

from pai_train.errors import TableError


class SliceLock:
    """Held from construction until `release`, or the end of the process.

    Args:
        key: Names the slice among all of the machine's.
        where: The table, for messages.
        slice_id: The slice, for messages.

    Raises:
        TableError: Another writer holds it.
    """

    def __init__(self, key: str, where: str, slice_id: int) -> None:
        folder = Path(tempfile.gettempdir()) / f"pai_train-{os.getuid()}"
        folder.mkdir(mode=0o700, exist_ok=True)
        path = folder / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.lock"
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        self._file: int | None = os.open(path, flags, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.release()
            raise TableError(
                f"slice {slice_id} of the table has a writer already",
                where=where,
                wanted="one writer for each slice_id",
                todo="close the other one, or give this one another slice_id",
            ) from None

    def release(self) -> None:
        """Lets another writer open the slice; once more does nothing."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
