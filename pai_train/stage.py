"""The stage mode: puts files where a recipe reads them, and CSV files into tables; again where it was stopped."""

from __future__ import annotations

import sys
import threading
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from pai_train.bar import Bar
from pai_train.errors import Fault, Interrupted, Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

_LOOK_AGAIN_S = 0.1


class Work(Protocol):
    """Something that is put somewhere: a file, or the rows of files."""

    @property
    def address(self) -> str:
        """Where it goes, for people."""
        ...

    @property
    def files(self) -> int:
        """How many files it is."""
        ...

    @property
    def bytes(self) -> int:
        """How much there is to send."""
        ...

    def look(self, stop: Callable[[], None]) -> Fault | bool:
        """Changes nothing; returns whether it is there already, or what forbids to put it there."""
        ...

    def run(self, report: Callable[[int], None], stop: Callable[[], None]) -> Any:
        """Puts it there and verifies it, telling `report` of bytes, until `stop` raises."""
        ...


@dataclass(frozen=True)
class Plan:
    """What is to be staged.

    Attributes:
        works: What goes where.
        place: Where all of it goes, for people.
        parallel: How many are worked at once.
    """

    works: Sequence[Work]
    place: str
    parallel: int


@dataclass(frozen=True)
class Staged:
    """What was staged.

    Attributes:
        files: Files that were sent.
        bytes: Their bytes.
        skipped: Files that were there already.
        place: Where all of them are, for people.
    """

    files: int
    bytes: int
    skipped: int
    place: str

    def __str__(self) -> str:
        files = f"{self.files} file{'' if self.files == 1 else 's'}"
        return f"staged {files}, {self.bytes:,} bytes, {self.skipped} skipped: {self.place}"


def stage(plan: Plan, stopped: Callable[[], bool], stream: TextIO | None = None) -> Staged:
    """Puts everything in place that is not there yet.

    Args:
        plan: What goes where.
        stopped: Tells whether to give up; asked all the time, by several threads.
        stream: Where the summary goes; standard output when left out.

    Raises:
        Refused: Something else is at some place; nothing was touched. Lists all of them.
        PaiTrainError: Something could not be put in place; what is there stays, and the same command goes on.
        Interrupted: `stopped` said so.
    """
    crew = _Crew(plan.parallel, stopped)
    with Bar("comparing", len(plan.works), 0) as bar:
        found = list(crew.each(plan.works, lambda work: work.look(crew.check), bar))
    faults = [fault for fault in found if isinstance(fault, Fault)]
    if faults:
        raise Refused(faults)
    wanted = [work for work, there in zip(plan.works, found, strict=True) if not there]
    total = sum(work.bytes for work in wanted)
    if wanted:
        with Bar("staging", len(wanted), total) as bar:
            for _ in crew.each(wanted, lambda work: work.run(bar.add, crew.check), bar):
                pass
    files = sum(work.files for work in wanted)
    staged = Staged(files, total, sum(work.files for work in plan.works) - files, plan.place)
    out = sys.stdout if stream is None else stream
    out.write(f"{staged}\n")
    out.flush()
    return staged


class _Crew:
    """Threads that do pieces of work, a few at once, until one fails or a stop is asked for."""

    def __init__(self, size: int, stopped: Callable[[], bool]) -> None:
        self._size = size
        self._stopped = stopped
        self._given_up = threading.Event()

    def check(self) -> None:
        """Raises Interrupted where the work is no longer wanted."""
        if self._given_up.is_set() or self._stopped():
            raise Interrupted("staging was stopped; what is in place stays", todo="the same command goes on")

    def each(self, works: Iterable[Work], act: Callable[[Work], Any], bar: Bar) -> Iterator[Any]:
        """Yields the results in the order of the works."""
        results: dict[int, Any] = {}
        given = iter(enumerate(works))
        pending: dict[Future[Any], int] = {}
        told, more = 0, True
        with ThreadPoolExecutor(self._size) as pool:
            try:
                while more or pending:
                    while more and len(pending) < 2 * self._size:
                        number, work = next(given, (-1, None))
                        more = work is not None
                        if work is not None:
                            pending[pool.submit(act, work)] = number
                    done, _ = wait(pending, _LOOK_AGAIN_S, FIRST_COMPLETED)
                    for future in done:
                        results[pending.pop(future)] = future.result()
                        bar.done()
                    bar.show()
                    self.check()
                    while told in results:
                        yield results.pop(told)
                        told += 1
            except BaseException:
                self._given_up.set()
                pool.shutdown(wait=False, cancel_futures=True)
                raise
