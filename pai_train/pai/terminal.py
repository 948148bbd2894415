"""Shows what a process writes into its log while it runs, whole lines at a time, without secrets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self, TextIO

from pai_train.redact import redact

if TYPE_CHECKING:
    from pathlib import Path

_BLOCK = 2**16


class Follower:
    """Copies a growing file to a stream; a context manager that shows the rest when it is left.

    Args:
        log: The file.
        begin: The first byte that is shown: what is before it is of an earlier run.
        stream: Where its lines go.
    """

    def __init__(self, log: Path, begin: int, stream: TextIO) -> None:
        self.log = log
        self._stream = stream
        self._file = log.open("rb")
        self._file.seek(begin)
        self._rest = b""

    def show(self) -> None:
        """Shows the lines that have come."""
        while block := self._file.read(_BLOCK):
            whole, end, self._rest = (self._rest + block).rpartition(b"\n")
            self._write(whole + end)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.show()
        self._write(self._rest)
        self._file.close()

    def _write(self, text: bytes) -> None:
        if text:
            self._stream.write(redact(text.decode(errors="replace")))
            self._stream.flush()
