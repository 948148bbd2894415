"""The identity of rows on MaxCompute: when they were last changed, how many there are, which sessions number them."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pai_train.errors import TableError
from pai_train.tables.maxcompute.meta import find_table, partition_modified

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pai_train.spec.address import Partition, TableRef
    from pai_train.tables.maxcompute.connection import Connection
    from pai_train.tables.maxcompute.download import Download

EMPTY = "empty"

_FORM = re.compile(r"(?P<mark>[0-9a-f.]+)-(?P<rows>\d+|x)(?:@(?P<sessions>[\w+.-]+))?")


@dataclass(frozen=True)
class State:
    """When the rows that an address means were last changed: equal as long as nobody has written there.

    Attributes:
        leaves: The partitions meant, in the order in which they are read; one empty one for a table without.
        modified: When each of them was last changed, in seconds since 1970.
    """

    leaves: tuple[Partition, ...]
    modified: tuple[float, ...]

    @property
    def mark(self) -> str:
        """A word that names it."""
        if self.leaves == ((),):
            return f"{self.modified[0]:.3f}".rstrip("0").rstrip(".")
        told = json.dumps([self.leaves, self.modified], ensure_ascii=False)
        return hashlib.sha256(told.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Named:
    """What the id of a snapshot says.

    Attributes:
        mark: The state of the rows.
        rows: How many there are; None where that is not said.
        sessions: The sessions that give them their order; none where the order does not matter.
    """

    mark: str
    rows: int | None
    sessions: tuple[str, ...]


def state_of(connection: Connection, ref: TableRef, leaves: Sequence[Partition]) -> State:
    """Asks when rows were last changed.

    Raises:
        TableError: The table or a partition is gone.
    """
    modified = []
    for leaf in leaves:
        if leaf:
            when = partition_modified(connection, ref, leaf)
        else:
            meta = find_table(connection, ref)
            when = None if meta is None else meta.modified
        if when is None:
            raise TableError("the table, or a partition of it, is gone", where=str(ref), todo="find who drops it")
        modified.append(when)
    return State(tuple(leaves), tuple(modified))


def snapshot_id(state: State, rows: int | None, sessions: Sequence[Download] = ()) -> str:
    """Returns the id of a snapshot; without sessions it names the rows in any order."""
    content = f"{state.mark}-{'x' if rows is None else rows}"
    return f"{content}@{'+'.join(one.id for one in sessions)}" if sessions else content


def parse_snapshot(ref: TableRef, text: str, current: str) -> Named:
    """Reads the id of a snapshot.

    Args:
        ref: What it is of.
        text: The id.
        current: What could be asked for instead.

    Raises:
        TableError: It is none of MaxCompute's.
    """
    match = _FORM.fullmatch(text)
    if match is None:
        raise TableError(
            "the table has no such snapshot; it belongs to another store",
            where=str(ref),
            got=text,
            wanted="last change-rows, or last change-rows@session",
            todo=f"the table as it is now is {current}",
        )
    sessions = tuple(match["sessions"].split("+")) if match["sessions"] else ()
    return Named(match["mark"], None if match["rows"] == "x" else int(match["rows"]), sessions)
