"""A child that ends when the process that started it is gone, even by SIGKILL: a pipe that closes with it."""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import MutableMapping

VARIABLE = "PAI_TRAIN_TETHER"
"""The file descriptor of the pipe's reading end, in the child's environment."""


def tied(environ: MutableMapping[str, str]) -> bool:
    """Ends this process, with all that it started, once the process that started it is gone.

    Nothing is saved then: the same command, started again at once, finds neither a process that still writes nor a
    lease that still is held. What this process starts is not tied, the variable is taken out of its environment.

    Returns:
        Whether this process was started so.
    """
    number = environ.pop(VARIABLE, None)
    if number is None:
        return False
    end = int(number)
    os.set_inheritable(end, False)
    threading.Thread(target=_watch, args=(end,), name="tether", daemon=True).start()
    return True


def _watch(end: int) -> None:
    # Nobody writes: this returns when the last writing end is closed, which only the starter holds.
    os.read(end, 1)
    with suppress(OSError):
        sys.stderr.write("the process that started this worker is gone: it ends\n")
        sys.stderr.flush()
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)
