"""The interface every table store gives, and the plain values it is spoken in."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

from pai_train.errors import TableError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

    from pai_train.spec.address import TableRef
    from pai_train.spec.contracts import Snapshot, Source, WriteSession
    from pai_train.spec.ddl import Column, Ddl
    from pai_train.tables.expire import Expiry, Policy
    from pai_train.tables.pins import Pin

WriteMode = Literal["overwrite", "append", "fail"]


@dataclass(frozen=True)
class TableInfo:
    """What a table is.

    Attributes:
        ref: Its address, without partitions.
        columns: Data columns with their declared MaxCompute types, in order.
        partitions: Partition columns, in order.
        snapshot: The current snapshot; None for a table that never held rows.
    """

    ref: TableRef
    columns: tuple[Column, ...]
    partitions: tuple[Column, ...] = ()
    snapshot: Snapshot | None = None
    properties: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Diff:
    """How a table that exists differs from a CREATE TABLE statement.

    Attributes:
        created: Whether the table was absent and has been created.
        lines: One line per difference, as a person reads a diff; empty when they agree.
    """

    created: bool
    lines: tuple[str, ...] = ()


@runtime_checkable
class Probing(Protocol):
    """Tables that are listed by something that may not answer, which a check asks."""

    def probe(self) -> str | None:
        """Tries what creating a table needs, changing nothing; says in words what came out, or None for nothing.

        Raises:
            TableError: It does not answer, or refuses.
        """
        ...


@runtime_checkable
class Expiring(Protocol):
    """Tables whose snapshots end when somebody says so, unless a run holds on to them."""

    def pin(self, ref: TableRef, pin: Pin) -> None:
        """Holds on to snapshots and writes of a table for a run; replaces what the run held.

        Raises:
            TableError: No such table.
            StorageError: The pin cannot be written.
        """
        ...

    def unpin(self, ref: TableRef, run_id: str) -> None:
        """Lets go of all that a run holds of a table."""
        ...

    def expiry(self, ref: TableRef, policy: Policy) -> Expiry:
        """Returns what expires snapshots of a table and collects its files.

        Raises:
            TableError: No such table.
        """
        ...


class WhereError(TableError):
    """A filter that is none, or does not fit the table's columns."""


class Tables(Protocol):
    """A store of tables.

    Attributes:
        keeps_order: Whether the rows of a slice are read in the order in which they were written.
    """

    keeps_order: bool

    def describe(self, ref: TableRef) -> TableInfo | None:
        """Returns what the table is, or None when there is none. Reads metadata only."""
        ...

    def names(self, project: str) -> list[str]:
        """Lists the tables of a project."""
        ...

    def compare(self, ref: TableRef, ddl: Ddl) -> Diff:
        """Compares without writing; an absent table compares as equal."""
        ...

    def ensure(self, ref: TableRef, ddl: Ddl) -> Diff:
        """Creates the table when it is absent, else compares; never drops or alters.

        Raises:
            TableError: A type that this store cannot keep.
        """
        ...

    def source(
        self, ref: TableRef, snapshot: str | None = None, rows: range | None = None, where: str | None = None
    ) -> Source:
        """Opens a table, or the partitions and rows that `ref` names, for reading.

        Args:
            ref: The address.
            snapshot: The snapshot's id; None for the current one.
            rows: Only these rows, counted from 0 over what `ref` names, in the source's order; None for all.
            where: Of those, only the rows that fulfil this filter, such as `f1 > 5 AND kind = 'a'`; None for all.

        Raises:
            TableError: No such table, partition or snapshot, a range beyond the rows there are, or a filter that is
                none or does not fit the columns.
        """
        ...

    def count(self, ref: TableRef, snapshot: str | None = None) -> int:
        """Returns how many rows `ref` names; reads no rows.

        Raises:
            TableError: As `source`.
        """
        ...

    def write(self, ref: TableRef, mode: WriteMode, token: str) -> WriteSession:
        """Opens a write. `token` names it: a commit with a token that is already published is not repeated.

        Raises:
            TableError: No such table, or mode is 'fail' and the table holds rows.
        """
        ...


@runtime_checkable
class ServiceTables(Protocol):
    """Tables kept by a service, which a check tries."""

    def checks(self) -> Generator[tuple[str, Callable[[], str]]]:
        """Yields what a run needs of the service, each with what tries it and returns what came out, or raises.

        Closed early, it still puts everything back.
        """
        ...
