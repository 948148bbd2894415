"""Who holds something: a process on a machine, told apart from a later process with the same number."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

PROC = Path("/proc")


@dataclass(frozen=True)
class Owner:
    """A process.

    Attributes:
        host: The machine's name, for people.
        machine: Identifies the running kernel and the process numbers it gives; empty where that cannot be known.
        pid: Process id.
        started: When the process started, in the kernel's ticks since boot; empty where that cannot be known.
    """

    host: str
    machine: str
    pid: int
    started: str

    @classmethod
    def current(cls) -> Owner:
        """Returns this process."""
        pid = os.getpid()
        return cls(socket.gethostname(), _machine(), pid, _started(pid) or "")

    def to_json(self) -> dict[str, Any]:
        """Returns a dict of JSON types; `Owner(**json)` is its inverse."""
        return asdict(self)

    def is_alive(self) -> bool | None:
        """Returns whether the process still runs, or None where this machine cannot tell."""
        if not self.machine or not self.started or self.machine != _machine():
            return None
        started = _started(self.pid)
        if started is not None:
            return started == self.started
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return None
        # It can be signalled but has no start: a zombie, or a system that hides processes.
        return False if (PROC / str(self.pid)).exists() else None


def _machine() -> str:
    # Containers share names and process numbers; boot id and pid namespace together do not repeat.
    with suppress(OSError):
        return f"{(PROC / 'sys/kernel/random/boot_id').read_text().strip()}/{os.readlink(PROC / 'self/ns/pid')}"
    return ""


def _started(pid: int) -> str | None:
    """Returns field 22 of /proc/<pid>/stat; None for a process that is gone or a zombie."""
    try:
        text = (PROC / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return None
    # The second field is the program's name in parentheses and may hold anything.
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else fields[19]
