"""The log of one child: where what it wrote begins, whether it said that it is ready, its last lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pai_train.errors import LaunchError

if TYPE_CHECKING:
    from pathlib import Path

TAIL_BYTES = 4000


class Log:
    """A file that a child's output is appended to.

    Args:
        path: The file; it is there.
        begin: Where this child's output begins, in bytes.
        ready: The child is ready when a line of its output starts with this; None for at once.
    """

    def __init__(self, path: Path, begin: int, ready: str | None) -> None:
        self.path = path
        self._begin = begin
        self._scanned = begin
        self._ready = None if ready is None else ready.encode()
        self._is_ready = ready is None

    def is_ready(self) -> bool:
        """Returns whether a line that starts with the ready text has been written; true without such a text."""
        if not self._is_ready:
            self._is_ready = self._scan()
        return self._is_ready

    def tail(self) -> str:
        """Returns the end of what this child has written."""
        size = self.path.stat().st_size
        with self.path.open("rb") as file:
            file.seek(max(self._begin, size - TAIL_BYTES))
            return file.read().decode(errors="replace").rstrip()

    def error(self, what: str) -> LaunchError:
        """Returns a LaunchError that carries the end of the log."""
        return LaunchError(
            what,
            where=str(self.path),
            got=self.tail() or "nothing was written",
            todo="the cause is most often in the last lines of the log",
        )

    def _scan(self) -> bool:
        with self.path.open("rb") as file:
            file.seek(self._scanned)
            for line in file:
                if self._ready is not None and line.startswith(self._ready):
                    return True
                if line.endswith(b"\n"):
                    self._scanned += len(line)
        return False
