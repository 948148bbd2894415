"""A gang of workers that start, stop and fail together: what a worker sees of it."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from pai_train.errors import LaunchError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

RANK = "PAI_TRAIN_RANK"
SIZE = "PAI_TRAIN_SIZE"
FOLDER = "PAI_TRAIN_GANG"
POLL_S = 0.01
TIMEOUT_S = 600.0


class Gang(Protocol):
    """What a worker knows of the others. All workers make the same calls in the same order."""

    @property
    def rank(self) -> int:
        """This worker's number, from 0; worker 0 is the chief."""
        ...

    @property
    def size(self) -> int:
        """How many workers there are."""
        ...

    def any(self, flag: bool) -> bool:
        """Returns, on every worker the same, whether any worker gave true."""
        ...

    def barrier(self, name: str, timeout_s: float) -> None:
        """Waits until every worker is here.

        Raises:
            LaunchError: A worker did not come within `timeout_s` seconds, or is somewhere else.
        """
        ...


class SoloGang:
    """The gang of one."""

    rank = 0
    size = 1

    def any(self, flag: bool) -> bool:
        return flag

    def barrier(self, name: str, timeout_s: float) -> None:
        return None


class LocalGang:
    """A gang of processes on one machine that meet through files in a folder.

    Meetings are numbered. A worker posts one file for a meeting and reads everybody's; when it has read them all,
    everybody has left the meeting before, so its own file of that one is deleted: the folder does not grow.

    Args:
        rank: This worker's number, from 0.
        size: How many workers there are.
        folder: An empty folder, the same for all, on a local file system. Never used twice.
        timeout_s: How long `any` waits for the others, in seconds.
        clock: Seconds, monotonic.
        sleep: Sleeps seconds.
    """

    def __init__(
        self,
        rank: int,
        size: int,
        folder: Path,
        *,
        timeout_s: float = TIMEOUT_S,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        if not 0 <= rank < size:
            raise ValueError(f"rank {rank} is not in a gang of {size}")
        self.rank = rank
        self.size = size
        self._folder = folder
        self._timeout_s = timeout_s
        self._clock = clock
        self._sleep = sleep
        self._meeting = 0

    def any(self, flag: bool) -> bool:
        return any(self._meet("any", flag, self._timeout_s))

    def barrier(self, name: str, timeout_s: float) -> None:
        self._meet(f"barrier {name!r}", False, timeout_s)

    def _meet(self, place: str, flag: bool, timeout_s: float) -> list[bool]:
        self._post({"place": place, "flag": flag})
        deadline = self._clock() + timeout_s
        flags = [self._read(rank, place, deadline, timeout_s) for rank in range(self.size)]
        if self._meeting > 0:
            self._path(self._meeting - 1, self.rank).unlink()
        self._meeting += 1
        return flags

    def _post(self, message: Mapping[str, object]) -> None:
        path = self._path(self._meeting, self.rank)
        aside = path.with_suffix(".tmp")
        aside.write_text(json.dumps(message))
        try:
            os.link(aside, path)
        except FileExistsError as error:
            raise LaunchError(
                f"the gang's folder has already been used by worker {self.rank}",
                where=str(self._folder),
                todo="give every start of the gang an empty folder",
            ) from error
        finally:
            aside.unlink()

    def _read(self, rank: int, place: str, deadline: float, timeout_s: float) -> bool:
        path = self._path(self._meeting, rank)
        while not path.exists():
            if self._clock() >= deadline:
                raise LaunchError(
                    f"worker {rank} of {self.size} did not come to {place} within {timeout_s:g} s",
                    where=str(self._folder),
                    todo=f"see the log of worker {rank}",
                )
            self._sleep(POLL_S)
        message = json.loads(path.read_text())
        if message["place"] != place:
            raise LaunchError(
                f"the workers are not at the same point: worker {rank} is at {message['place']}",
                where=str(self._folder),
                wanted=f"{place}, where worker {self.rank} is",
                todo="check that all workers run the same code with the same configuration",
            )
        return bool(message["flag"])

    def _path(self, meeting: int, rank: int) -> Path:
        return self._folder / f"{meeting:09d}-{rank}.json"


def gang_from_env(environ: Mapping[str, str]) -> Gang:
    """Returns the gang this process was started in by `run_gang`, or the gang of one.

    Raises:
        LaunchError: The variables are incomplete.
    """
    given = {name: environ[name] for name in (RANK, SIZE, FOLDER) if name in environ}
    if not given:
        return SoloGang()
    if len(given) < 3:
        raise LaunchError(
            "the gang's environment variables are incomplete",
            got=", ".join(sorted(given)),
            wanted=f"{RANK}, {SIZE} and {FOLDER}, or none of them",
            todo="start workers with run_gang, or unset these variables",
        )
    return LocalGang(int(given[RANK]), int(given[SIZE]), Path(given[FOLDER]))
