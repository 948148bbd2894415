"""A local folder of parts of remote objects: bounded, checked when read, shared by processes. Knows no store."""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import re
import struct
import time
import zlib
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

logger = logging.getLogger(__name__)

_HEADER = struct.Struct(">4sIQ")  # the layout's name, CRC-32 over the entry's name and part, the part's length
_LAYOUT = b"ptc1"
_ENTRY = re.compile(r"[0-9a-f]{64}\.part")
_LOCK = "lock"  # held by whoever writes; it holds the total of all entries
_UNFINISHED = "unfinished"  # written under the lock: what a killed writer left is overwritten by the next
_TOTAL_DIGITS = 20
# Of the bound, left standing when room is made: the folder is then listed once in many entries, not for each.
_KEPT = 0.9


class PartCache:
    """Parts of objects, by URL, etag and range; what was not read for longest goes first.

    Files in the folder that are not the cache's own are never touched. A folder that cannot be written, as when the
    disk is full, gets nothing more, with one warning.

    Args:
        folder: A local folder; made when absent, for this user alone.
        max_bytes: How much its entries may hold; one more may be under way.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder = os.path.abspath(folder)
        self._max_bytes = max_bytes
        self._writes = True

    def get(self, url: str, etag: str, start: int, end: int) -> bytes | None:
        """Returns bytes `start` up to, not including, `end` of a version of an object; None when they are not there.

        A damaged entry is removed.
        """
        name = _name(url, etag, start, end)
        path = self._path(name)
        try:
            with open(path, "rb") as file:
                header = file.read(_HEADER.size)
                part = file.read()
            if header != _header(name, part):
                os.unlink(path)
                return None
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            self._stop(error)
            return None
        # An entry that this user may only read serves too; it ages as if it had not been read.
        with suppress(OSError):
            os.utime(path, ns=(time.time_ns(),) * 2)
        return part

    def put(self, url: str, etag: str, start: int, end: int, data: bytes) -> None:
        """Keeps a part if it fits at all, for `get` with the same arguments; never fails."""
        size = _HEADER.size + len(data)
        if not self._writes or size > self._max_bytes:
            return
        try:
            with self._locked() as lock:
                # The total comes before the entry: whoever is killed in between leaves it too large, at which the
                # folder is listed early, never too small.
                os.pwrite(lock, f"{self._room_for(size, lock) + size:0{_TOTAL_DIGITS}d}".encode(), 0)
                self._write(_name(url, etag, start, end), data)
        except OSError as error:
            # Where somebody empties the folder, the next part makes it anew.
            if not isinstance(error, FileNotFoundError):
                self._stop(error)

    def _write(self, name: str, data: bytes) -> None:
        unfinished = self._path(_UNFINISHED)
        try:
            file = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with open(file, "wb") as output:
                output.write(_header(name, data))
                output.write(data)
            os.rename(unfinished, self._path(name))
        except OSError:
            with suppress(FileNotFoundError):
                os.unlink(unfinished)
            raise

    def _path(self, name: str) -> str:
        return os.path.join(self._folder, name)

    @contextmanager
    def _locked(self) -> Iterator[int]:
        os.makedirs(self._folder, mode=0o700, exist_ok=True)
        lock = os.open(self._path(_LOCK), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            try:
                yield lock
            finally:
                # Closing alone would leave it locked by a process that was forked meanwhile.
                fcntl.flock(lock, fcntl.LOCK_UN)
        finally:
            os.close(lock)

    def _room_for(self, size: int, lock: int) -> int:
        """Removes entries until another one fits; returns the bytes of those that stay."""
        text = os.pread(lock, _TOTAL_DIGITS, 0)
        if len(text) == _TOTAL_DIGITS and text.isdigit() and int(text) + size <= self._max_bytes:
            return int(text)
        entries = []
        with os.scandir(self._folder) as files:
            for file in files:
                if _ENTRY.fullmatch(file.name):
                    with suppress(FileNotFoundError):  # damaged, and removed by its reader
                        status = file.stat()
                        entries.append((status.st_mtime_ns, status.st_size, file.path))
        total = sum(entry_size for _, entry_size, _ in entries)
        if total + size > self._max_bytes:
            for _, entry_size, path in sorted(entries):
                if total + size <= self._max_bytes * _KEPT:
                    break
                with suppress(FileNotFoundError):
                    os.unlink(path)
                total -= entry_size
        return total

    def _stop(self, error: OSError) -> None:
        if self._writes:
            self._writes = False
            logger.warning("the cache %s cannot be used, nothing more is kept there: %s", self._folder, error.strerror)


def _name(url: str, etag: str, start: int, end: int) -> str:
    """Returns a file's name, which tells nothing of the object."""
    return hashlib.sha256("\0".join((url, etag, str(start), str(end))).encode()).hexdigest() + ".part"


def _header(name: str, part: bytes) -> bytes:
    return _HEADER.pack(_LAYOUT, zlib.crc32(part, zlib.crc32(name.encode())), len(part))
