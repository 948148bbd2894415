"""Unpacks an archive of scripts that somebody else made: nothing lands outside its folder, and no more than a limit."""

from __future__ import annotations

import shutil
import stat
import tarfile
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING

from pai_train.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator

_BLOCK = 2**20


@dataclass(frozen=True)
class UnpackLimits:
    """How much an archive may hold.

    Attributes:
        files: Files, folders and links.
        bytes: All of them together, unpacked.
    """

    files: int = 50_000
    bytes: int = 4 * 2**30


class _Budget:
    """What is left of the limits of one archive."""

    def __init__(self, name: str, limits: UnpackLimits) -> None:
        self.name, self.limits = name, limits
        self.files, self.bytes = 0, 0

    def take(self, files: int, size: int) -> None:
        self.files += files
        self.bytes += size
        if self.files > self.limits.files:
            raise StorageError("the archive holds too many files", where=self.name, wanted=f"{self.limits.files:,}")
        if self.bytes > self.limits.bytes:
            wanted = f"{self.limits.bytes:,} bytes, unpacked"
            raise StorageError("the archive is too large", where=self.name, wanted=wanted)


def unpack(archive: Path, name: str, folder: Path, limits: UnpackLimits | None = None) -> None:
    """Unpacks a .tar.gz or a .zip; files and folders only, and links that stay inside.

    Args:
        archive: The file.
        name: What it is called, whose ending says which of the two it is, and in faults.
        folder: An empty folder.
        limits: How much it may hold.

    Raises:
        StorageError: A path or a link leaves the folder, a device, too much, or no such archive; what was unpacked
            until then stays.
    """
    budget = _Budget(name, limits or UnpackLimits())
    try:
        if name.lower().endswith(".zip"):
            _unzip(archive, folder, budget)
        else:
            _untar(archive, folder, budget)
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        kind = "a .zip archive" if name.lower().endswith(".zip") else "a .tar.gz archive"
        raise StorageError(f"not {kind} that can be read", where=name, got=str(error)) from None
    except OSError as error:
        if isinstance(error, PermissionError | FileNotFoundError | FileExistsError) or error.errno is not None:
            raise
        raise StorageError("not a .tar.gz archive that can be read", where=name, got=str(error)) from None


def _untar(archive: Path, folder: Path, budget: _Budget) -> None:
    with tarfile.open(archive, "r:gz") as tar:
        for member in tar:
            budget.take(1, max(0, member.size))
            _refuse_escape(member.name, budget.name)
            if not (member.isfile() or member.isdir() or member.issym() or member.islnk()):
                raise StorageError("the archive holds a device", where=budget.name, got=member.name)
            try:
                tar.extract(member, folder, set_attrs=True, filter="data")
            except tarfile.FilterError as error:
                raise StorageError(
                    "the archive holds a link out of itself", where=budget.name, got=str(error)
                ) from None


def _unzip(archive: Path, folder: Path, budget: _Budget) -> None:
    with zipfile.ZipFile(archive) as packed:
        for member in packed.infolist():
            budget.take(1, 0)
            _refuse_escape(member.filename, budget.name)
            kind = stat.S_IFMT(member.external_attr >> 16)
            if kind == stat.S_IFLNK or kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise StorageError("the archive holds a link or a device", where=budget.name, got=member.filename)
            target = folder / member.filename
            if member.is_dir():
                target.mkdir(parents=True, exist_ok=True)
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            with packed.open(member) as stream, target.open("wb") as file:
                for block in _blocks(stream):
                    # What a member says of its size may be a lie.
                    budget.take(0, len(block))
                    file.write(block)


def _blocks(stream: IO[bytes]) -> Iterator[bytes]:
    while block := stream.read(_BLOCK):
        yield block


def _refuse_escape(name: str, archive: str) -> None:
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or (path.parts and path.parts[0].endswith(":")):
        raise StorageError("the archive holds a path that leaves its folder", where=archive, got=name)


def root_of(folder: Path, entry: str, name: str) -> Path:
    """Returns the file that runs.

    Raises:
        StorageError: The archive does not hold it; says which it may be.
    """
    found = folder / entry
    if found.is_file() and found.resolve().is_relative_to(folder.resolve()):
        return found
    same = [path for path in sorted(folder.rglob(Path(entry).name)) if path.is_file()]
    scripts = same or sorted(folder.rglob("*.py"))
    shown = ", ".join(str(path.relative_to(folder)) for path in scripts[:8])
    todo = f"-DentryFile={same[0].relative_to(folder)}" if same else None
    raise StorageError("the archive has no such file", where=name, got=entry, wanted=shown or "a .py file", todo=todo)


def clear(folder: Path) -> None:
    """Removes what was unpacked of an archive that is refused."""
    shutil.rmtree(folder, ignore_errors=True)
