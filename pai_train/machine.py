"""What a run needs of this machine: free disk, and folders that can be made."""

from __future__ import annotations

import os
import shutil
import tempfile
from typing import TYPE_CHECKING

from pai_train.findings import Finding

if TYPE_CHECKING:
    from pai_train.findings import State

_GIB = 2**30
_SCRATCH_WARNS, _SCRATCH_FAILS = _GIB, _GIB // 16


def temporary() -> Finding:
    """Looks at the free disk where checkpoints are written before they are published."""
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    state: State = "ok" if free >= _SCRATCH_WARNS else "warn" if free >= _SCRATCH_FAILS else "fail"
    todo = None if state == "ok" else "free some, or set TMPDIR to a folder on another disk"
    return Finding("this machine", "temporary", state, f"{_size(free)} free in {folder} for checkpoints", todo)


def cache(folder: str, max_bytes: int) -> Finding:
    """Looks at the free disk of a cache of remote objects."""
    if not _can_be_made(folder):
        words = f"{folder} cannot be made or written"
        return Finding("this machine", "cache", "fail", words, "name another folder as storage.cache.dir")
    there = around(folder)
    held = sum(_bytes(os.path.join(where, name)) for where, _, names in os.walk(folder) for name in names)
    room = shutil.disk_usage(there).free + held
    words = f"{_size(room)} of room in {folder} for {_size(max_bytes)}"
    if room >= max_bytes:
        return Finding("this machine", "cache", "ok", words)
    return Finding("this machine", "cache", "warn", words, "free some, or lower storage.cache.max_gb")


def run_folder(folder: str) -> Finding:
    """Looks whether the folder that a run keeps its record in can be made."""
    if _can_be_made(folder):
        return Finding("this machine", "run folder", "ok", "can be made")
    todo = "start in a folder that may be written, or set hydra.run.dir"
    return Finding("this machine", "run folder", "fail", f"{folder} cannot be made", todo)


def around(path: str) -> str:
    """Returns the path itself, or the closest one around it that is there."""
    path = os.path.abspath(path)
    while not os.path.lexists(path):
        path = os.path.dirname(path)
    return path


def _can_be_made(folder: str) -> bool:
    there = around(folder)
    return os.path.isdir(there) and os.access(there, os.W_OK | os.X_OK)


def _bytes(path: str) -> int:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0


def _size(count: int) -> str:
    return f"{count / _GIB:.1f} GiB"
