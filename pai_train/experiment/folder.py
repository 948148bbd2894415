"""The run folder: a name nobody else has, and files in it that are never seen half written."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

from pai_train.errors import PaiTrainError

CONFIG = "config.yaml"
LOG = "log"
BAD_ROWS = "bad-rows-{}.jsonl"
METRICS = "metrics.jsonl"
RECORD = "run.json"


def create(path: str) -> Path:
    """Makes a new folder, parents included, and returns its absolute path.

    A name that is taken gets -2, -3, … appended: of any number of simultaneous starts each has its own folder.

    Raises:
        PaiTrainError: The folder cannot be made.
    """
    wanted = Path(os.path.abspath(path))
    try:
        wanted.parent.mkdir(parents=True, exist_ok=True)
        for number in itertools.count(1):
            folder = wanted if number == 1 else wanted.with_name(f"{wanted.name}-{number}")
            try:
                folder.mkdir()
            except FileExistsError:
                continue
            return folder
    except OSError as error:
        raise _unwritable(wanted, error) from error
    raise RuntimeError("unreachable: the count has no end")


def write(path: Path, text: str) -> None:
    """Replaces a file at once: a reader, or a process killed in between, sees the old text or the new.

    Raises:
        PaiTrainError: The file cannot be written.
    """
    staged = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        # An argument that is no UTF-8 arrives as lone surrogates, which JSON can say with a backslash.
        staged.write_bytes(text.encode("utf-8", "backslashreplace"))
        staged.replace(path)
    except OSError as error:
        staged.unlink(missing_ok=True)
        raise _unwritable(path, error) from error


def write_config(folder: Path, text: str) -> Path:
    """Writes the composed configuration, already free of secrets, and returns where."""
    path = folder / CONFIG
    write(path, text)
    return path


def _unwritable(path: Path, error: OSError) -> PaiTrainError:
    return PaiTrainError(
        "the run folder cannot be written",
        where=str(path),
        got=error.strerror or str(error),
        todo="choose another folder with hydra.run.dir=…, or make room and rights there",
    )
