"""Stop requests: the first SIGTERM, SIGINT or SIGHUP asks to save and end, the second ends the process at once."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

from pai_train.errors import Interrupted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from types import FrameType

logger = logging.getLogger(__name__)

STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
HANDLED_WITHIN_S = 0.5
"""In this time the main thread acts on a second signal, unless it is inside TensorFlow."""


class StopSignals:
    """Context manager that turns stop signals into a flag.

    Python runs handlers only in the main thread, between two bytecodes: a loop blocked inside TensorFlow sees the flag
    when that call returns. A second signal ends the process even there, with exit code 128 + its number. In any other
    thread nothing is installed, and a warning says so.

    Attributes:
        active: Whether the handlers are installed.
        signal: The first stop signal that came, or None.
    """

    def __init__(self, numbers: Sequence[signal.Signals] = STOPPING) -> None:
        self.active = False
        self.signal: signal.Signals | None = None
        self._numbers = tuple(numbers)
        self._previous: dict[signal.Signals, Any] = {}
        self._second: _SecondSignal | None = None

    @property
    def requested(self) -> bool:
        """Whether a stop has been asked for."""
        return self.signal is not None

    def __enter__(self) -> Self:
        if threading.current_thread() is not threading.main_thread():
            logger.warning(
                "Stop signals are not caught: handlers can only be set in the main thread;"
                " a SIGTERM ends this run without a last checkpoint."
            )
            return self
        for number in self._numbers:
            # What is ignored on purpose, as SIGHUP under nohup, stays ignored.
            if signal.getsignal(number) is signal.SIG_IGN:
                continue
            self._previous[number] = signal.signal(number, self._handle)
        self._second = _SecondSignal(self._previous)
        self.active = True
        return self

    def __exit__(self, *exc: object) -> None:
        if self._second is not None:
            self._second.close()
            self._second = None
        for number, handler in self._previous.items():
            # None stands for a handler that was not set from Python and cannot be put back by it.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._previous.clear()
        self.active = False

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        self.signal = signal.Signals(number)


class _SecondSignal:
    """Ends the process at the second stop signal where the main thread does not, because it is inside a library.

    The interpreter writes each signal's number into a pipe the moment it comes; a thread reads there. Where the program
    around this one has a pipe for that already, it stays as it is, and nothing is watched.

    Args:
        numbers: The stop signals.
    """

    def __init__(self, numbers: Iterable[int]) -> None:
        self._numbers = frozenset(int(number) for number in numbers)
        self._read, self._write = os.pipe()
        os.set_blocking(self._write, False)
        self._others = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        if self._others != -1:
            signal.set_wakeup_fd(self._others)
        self._thread = threading.Thread(target=self._watch, name="second signal", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends the watch; in the main thread."""
        if self._others == -1:
            signal.set_wakeup_fd(-1)
        os.close(self._write)
        self._thread.join()
        os.close(self._read)

    def _watch(self) -> None:
        came = 0
        while numbers := os.read(self._read, 64):
            for number in numbers:
                came += number in self._numbers
                if came > 1:
                    time.sleep(HANDLED_WITHIN_S)
                    os._exit(128 + number)


class _Stopped(BaseException):
    """A signal's way through code that takes errors for findings."""


@contextmanager
def interrupting(numbers: Sequence[signal.Signals] = STOPPING) -> Iterator[None]:
    """Raises Interrupted in the main thread at the first stop signal, while nothing is written that could be saved.

    The signals are ignored from then on, so that what ends the process is that error. In any other thread nothing is
    installed. Importing this file is light: it can be entered before anything else is loaded.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        for one in previous:
            signal.signal(one, signal.SIG_IGN)
        raise _Stopped

    previous = {number: signal.getsignal(number) for number in numbers}
    # What is ignored on purpose, as SIGHUP under nohup, stays ignored.
    previous = {number: handler for number, handler in previous.items() if handler is not signal.SIG_IGN}
    try:
        for number in previous:
            signal.signal(number, stop)
        yield
    except _Stopped:
        raise Interrupted("interrupted before anything was written", todo="the same command starts anew") from None
    finally:
        for number, handler in previous.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
