"""Works in an order, handed out once: in one process, or by claims in a folder that all processes of a job reach."""

from __future__ import annotations

import threading
import uuid
from typing import TYPE_CHECKING

import numpy as np

from pai_train.errors import TableError
from pai_train.paiio.rows import open_rows
from pai_train.spec.slices import slice_rows
from pai_train.storage import ObjectExists, join
from pai_train.tables.token import check_token

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pai_train.paiio.settings import Settings


class Claims:
    """Which works of a job are taken: one object per work, which exactly one process creates.

    Args:
        settings: Where jobs are kept.
        job: The job.
        name: Tells the queues of a job apart.

    Raises:
        TableError: A name that cannot name a folder, or there is no folder of jobs.
    """

    def __init__(self, settings: Settings, job: str, name: str) -> None:
        check_token(job)
        check_token(name)
        root, self._store = settings.jobs_store()
        self._folder = join(root, job, "works", name)

    def claim(self, number: int) -> bool:
        """Returns whether the work is this caller's."""
        try:
            self._store.create(join(self._folder, str(number)), uuid.uuid4().bytes)
        except ObjectExists:
            return False
        return True


class Works:
    """Hands out works, epoch after epoch. Threads may share it.

    Args:
        works: Their names.
        epochs: How often each is handed out.
        seed: Of the order of each epoch; None for the order they are given in.
        claims: What other processes have taken; None where there are none.
    """

    def __init__(self, works: Sequence[str], epochs: int, seed: int | None, claims: Claims | None) -> None:
        self._works = list(works)
        self._epochs, self._seed, self._claims = epochs, seed, claims
        self._lock = threading.Lock()
        self._next = 0
        self._order: list[int] = []

    @property
    def remaining(self) -> int:
        """How many works this process has not seen handed out, over all epochs."""
        return len(self._works) * self._epochs - self._next

    def take(self) -> str | None:
        """Returns the next work that nobody has taken, or None at the end."""
        with self._lock:
            while self.remaining > 0:
                epoch, place = divmod(self._next, len(self._works))
                if place == 0:
                    self._order = self._shuffled(epoch)
                number, self._next = self._next, self._next + 1
                if self._claims is None or self._claims.claim(number):
                    return self._works[self._order[place]]
        return None

    def _shuffled(self, epoch: int) -> list[int]:
        if self._seed is None:
            return list(range(len(self._works)))
        order: list[int] = np.random.default_rng([self._seed, epoch]).permutation(len(self._works)).tolist()
        return order


def sliced(settings: Settings, names: Sequence[str], num_slices: int) -> list[str]:
    """Cuts tables into ranges of rows of about one size; names that are no tables stay as they are.

    Raises:
        TableError: A table is not there.
    """
    if any("://" in name and not name.lower().startswith("odps://") for name in names):
        return list(names)
    refs = [ref for name in names for ref in settings.refs(name)]
    meant = [open_rows(settings.tables, ref).meant(ref.rows, 0, 1) for ref in refs]
    size = max(1, -(-sum(map(len, meant)) // num_slices))
    works = []
    for ref, rows in zip(refs, meant, strict=True):
        address = str(ref).partition("?")[0]
        count = -(-len(rows) // size)
        for index in range(count):
            part = slice_rows(len(rows), index, count)
            works.append(f"{address}?start={rows.start + part.start}&end={rows.start + part.stop}")
    if not works:
        raise TableError("the tables hold no rows", got=", ".join(names), wanted="at least one row to hand out")
    return works
