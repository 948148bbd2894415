"""The interface every table store gives, and the plain values it is spoken in."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

    from pai_train.spec.address import TableRef
    from pai_train.spec.contracts import Snapshot, Source, WriteSession
    from pai_train.spec.ddl import Column, Ddl

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

    def source(self, ref: TableRef, snapshot: str | None = None, rows: range | None = None) -> Source:
        """Opens a table, or the partitions that `ref` names, for reading.

        Raises:
            TableError: No such table, partition or snapshot.
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
