"""How far a stage has come: a live bar in a terminal, a plain line now and then anywhere else."""

from __future__ import annotations

import os
import sys
import threading
import time
from typing import TYPE_CHECKING, Self, TextIO

from pai_train.experiment.progress import is_terminal

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from rich.progress import Progress

PLAIN_EVERY_S = 10.0


class Bar:
    """Counts files and bytes; threads may add, one thread shows.

    Args:
        title: What is done, in one word.
        files: How many there are.
        total: How many bytes; 0 to count files alone.
        stream: Where to show it; standard error when left out.
        clock: Seconds, monotonic.
    """

    def __init__(
        self,
        title: str,
        files: int,
        total: int,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._title, self._files, self._total = title, files, total
        self._stream = sys.stderr if stream is None else stream
        self._clock = clock
        self._lock = threading.Lock()
        self._bytes = self._done = 0
        self._live: Progress | None = None
        self._next = clock() + PLAIN_EVERY_S

    def __enter__(self) -> Self:
        if is_terminal(self._stream, os.environ):
            self._live = _live(self._stream, bytes_too=self._total > 0)
            self._live.add_task(self._title, total=self._total or self._files)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self.show()
            self._live.stop()

    def add(self, count: int) -> None:
        """Counts bytes."""
        with self._lock:
            self._bytes += count

    def done(self) -> None:
        """Counts a file."""
        with self._lock:
            self._done += 1

    def show(self) -> None:
        """Shows where it stands, if it is time."""
        if self._live is not None:
            task = self._live.task_ids[0]
            self._live.update(task, completed=self._bytes if self._total else self._done)
        elif self._clock() >= self._next:
            self._next = self._clock() + PLAIN_EVERY_S
            words = f"{self._title}: {self._done:,} of {self._files:,} files"
            words += f", {_mib(self._bytes)} of {_mib(self._total)} MiB" if self._total else ""
            self._stream.write(f"{words}\n")
            self._stream.flush()


def _mib(count: int) -> str:
    return f"{count / 2**20:,.1f}"


def _live(stream: TextIO, *, bytes_too: bool) -> Progress:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = [DownloadColumn(), TransferSpeedColumn()] if bytes_too else [MofNCompleteColumn()]
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        *columns,
        TimeRemainingColumn(),
        console=Console(file=stream, force_terminal=True, force_jupyter=False),
        # What is there already is compared in no time, and leaves no line.
        transient=not bytes_too,
    )
