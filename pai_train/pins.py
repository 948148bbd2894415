"""The pins of one run: what it holds on to in the tables that it reads and writes, until it is finished."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

from pai_train.errors import PaiTrainError
from pai_train.spec.address import TableRef
from pai_train.tables.contracts import Expiring
from pai_train.tables.pins import PIN_DAYS, Pin
from pai_train.tables.several import snapshot_ids

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from pai_train.job import Job
    from pai_train.spec.contracts import Source
    from pai_train.tables.contracts import Tables

logger = logging.getLogger(__name__)

RENEW_S = 3600.0
_DAY_S = 86400.0


@dataclass(frozen=True)
class Held:
    """What is held of one table.

    Attributes:
        ref: The table; its partitions do not matter.
        snapshots: Ids of the snapshots that are read.
        tokens: Names of the writes that are begun.
    """

    ref: TableRef
    snapshots: tuple[str, ...] = ()
    tokens: tuple[str, ...] = ()


def held(job: Job, sources: Mapping[str, Source], tokens: Mapping[str, str]) -> Iterator[Held]:
    """Yields what a job holds: the snapshots that it reads, and its writes by their tokens."""
    for name, item in job.inputs.items():
        ids = snapshot_ids(item.tables, sources[name].snapshot.id) if item.tables else []
        for ref, snapshot_id in zip(item.tables, ids, strict=True):
            yield Held(ref, snapshots=(str(snapshot_id),))
    for name, output in job.outputs.items():
        if output.table is not None:
            yield Held(output.table, tokens=(tokens[name],))


class Pins:
    """Context manager that keeps the pins of a run alive while its process lives.

    Leaving it does not remove them: a run that failed or was stopped goes on with the same snapshots. Only `release`
    does, at the end of the run. Where a table may be read but not written, its snapshots cannot be pinned; the run
    says so and goes on.

    Args:
        tables: Opens the tables; called when there is something to hold.
        run_id: The run.
        renew_s: Seconds between two renewals.
        clock: Seconds since 1970.
    """

    def __init__(
        self,
        tables: Callable[[], Tables],
        run_id: str,
        *,
        renew_s: float = RENEW_S,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._open = tables
        self._run_id = run_id
        self._renew_s, self._clock = renew_s, clock
        self._tables: Expiring | None = None
        self._held: dict[TableRef, Held] = {}
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def hold(self, wanted: Iterable[Held]) -> None:
        """Pins all of it, in place of what the run has pinned before."""
        for one in wanted:
            ref = TableRef(one.ref.project, one.ref.name)
            known = self._held.get(ref, Held(ref))
            self._held[ref] = replace(
                known, snapshots=known.snapshots + one.snapshots, tokens=known.tokens + one.tokens
            )
        if not self._held:
            return
        tables = self._open()
        if not isinstance(tables, Expiring):
            return
        self._tables = tables
        self._write()
        self._thread = threading.Thread(target=self._keep_renewed, name="pins", daemon=True)
        self._thread.start()

    def release(self) -> None:
        """Lets go of everything; the run is finished."""
        self._stop()
        if self._tables is None:
            return
        for ref in self._held:
            try:
                self._tables.unpin(ref, self._run_id)
            except PaiTrainError as error:
                logger.warning("%s stays pinned for up to %d days: %s", ref, PIN_DAYS, error)

    def _write(self) -> None:
        until = self._clock() + PIN_DAYS * _DAY_S
        for ref, held in self._held.items():
            try:
                if self._tables is not None:
                    self._tables.pin(ref, Pin(self._run_id, until, held.snapshots, held.tokens))
            except PaiTrainError as error:
                what = "an expiry may take what this run needs of it"
                logger.warning("%s cannot be pinned, so that %s: %s", ref, what, error)

    def _keep_renewed(self) -> None:
        while not self._ended.wait(self._renew_s):
            self._write()

    def _stop(self) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop()
