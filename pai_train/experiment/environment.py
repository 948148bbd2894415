"""What a run ran in: the git state of a folder, package versions, the host. Never the environment variables."""

from __future__ import annotations

import hashlib
import logging
import os
import platform
import subprocess
import tempfile
from importlib import metadata
from typing import IO, TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from pathlib import Path

log = logging.getLogger(__name__)

PACKAGES = ("tensorflow", "keras", "numpy", "pyarrow", "pyiceberg", "hydra-core", "omegaconf", "pai_train")


class Git(TypedDict, total=False):
    """A repository's state; `diff_sha256` is there when tracked files differ from the commit."""

    commit: str | None
    dirty: bool
    diff_sha256: str


def packages() -> dict[str, str | None]:
    """Returns the versions of what decides a run's result, None for what is not installed."""
    return {"python": platform.python_version()} | {name: _version(name) for name in PACKAGES}


def git(cwd: Path, timeout_s: float = 3.0) -> Git | None:
    """Returns the state of the repository around `cwd`; untracked files do not count.

    None outside a repository, without git, or when git takes longer than `timeout_s` for one answer.
    """
    try:
        if _git(cwd, timeout_s, "rev-parse", "--is-inside-work-tree") != b"true":
            return None
        commit = _git(cwd, timeout_s, "rev-parse", "--verify", "--quiet", "HEAD")
        if commit is None:
            return Git(commit=None, dirty=True)
        digest = _diff_sha256(cwd, timeout_s)
    except (OSError, subprocess.TimeoutExpired) as error:
        log.debug("the git state of %s is not known: %s", cwd, error)
        return None
    if digest is None:
        return Git(commit=commit.decode(), dirty=False)
    return Git(commit=commit.decode(), dirty=True, diff_sha256=digest)


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _diff_sha256(cwd: Path, timeout_s: float) -> str | None:
    # Through a file, since a diff may be of any size.
    with tempfile.TemporaryFile() as diff:
        plain_diff = ("diff", "--binary", "--no-ext-diff", "--no-textconv", "--no-color", "HEAD")
        if _git(cwd, timeout_s, *plain_diff, to=diff) is None:
            raise OSError("git diff failed")
        if diff.seek(0, os.SEEK_END) == 0:
            return None
        diff.seek(0)
        return hashlib.file_digest(diff, "sha256").hexdigest()


def _git(cwd: Path, timeout_s: float, *arguments: str, to: IO[bytes] | None = None) -> bytes | None:
    """Returns what git said, or None when it failed."""
    done = subprocess.run(
        ["git", *arguments],
        cwd=cwd,
        timeout=timeout_s,
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE if to is None else to,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"},
    )
    if done.returncode != 0:
        return None
    return b"" if to is not None else done.stdout.strip()


def packages_known() -> dict[str, str]:
    """Returns the versions of the packages that are there."""
    return {name: version for name, version in packages().items() if version is not None}
