"""Tables kept by MaxCompute; implements `Tables`."""

from __future__ import annotations

import secrets
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from pai_train.errors import PaiTrainError, TableError, did_you_mean
from pai_train.spec.address import TableRef
from pai_train.spec.contracts import Snapshot
from pai_train.spec.ddl import Column, Ddl, parse_ddl
from pai_train.storage import resolve
from pai_train.tables.arrow import arrow_schema
from pai_train.tables.contracts import Diff, TableInfo, WriteMode
from pai_train.tables.diff import differences
from pai_train.tables.filtered_source import FilteredSource
from pai_train.tables.maxcompute.connection import Connection
from pai_train.tables.maxcompute.download import Downloads
from pai_train.tables.maxcompute.meta import TableMeta, find_table, partition_modified, table_names
from pai_train.tables.maxcompute.source import MaxComputeSource
from pai_train.tables.maxcompute.state import State, snapshot_id
from pai_train.tables.maxcompute.upload import Uploads
from pai_train.tables.maxcompute.write import MaxComputeWrite

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from pai_train.spec.contracts import Source, WriteSession
    from pai_train.storage import Stores
    from pai_train.tables.maxcompute.service import Service


class MaxComputeTables:
    """The tables of a MaxCompute service.

    Args:
        service: Which service, and the project of addresses that name none.
        root: The folder of the records of writes, as a path or a URL.
        stores: How that folder is reached; its limits hold for the service too.
    """

    keeps_order = False

    def __init__(self, service: Service, root: str, stores: Stores) -> None:
        self.root = resolve(".", root)
        self.project = service.project
        self._store = stores.open(self.root)
        self._connection = Connection(service, stores.options.limits)

    def __repr__(self) -> str:
        return f"MaxComputeTables({self._connection.service!r})"

    def describe(self, ref: TableRef) -> TableInfo | None:
        meta = find_table(self._connection, ref)
        if meta is None:
            return None
        return TableInfo(
            ref=TableRef(ref.project, ref.name),
            columns=meta.columns,
            partitions=meta.partitions,
            snapshot=self._snapshot(ref, meta),
            properties=meta.properties,
        )

    def names(self, project: str) -> list[str]:
        return table_names(self._connection, project.lower())

    def compare(self, ref: TableRef, ddl: Ddl) -> Diff:
        info = self.describe(ref)
        return Diff(created=False, lines=() if info is None else differences(info, ddl))

    def ensure(self, ref: TableRef, ddl: Ddl) -> Diff:
        if find_table(self._connection, ref) is None:
            arrow_schema([*ddl.columns, *ddl.partitions])
            statement = replace(ddl, name=ref.name, project=ref.project, if_not_exists=True)
            self._connection.run(statement.sql(), ref.project, str(ref))
            return Diff(created=True, lines=self.compare(ref, ddl).lines)
        return self.compare(ref, ddl)

    def source(
        self, ref: TableRef, snapshot: str | None = None, rows: range | None = None, where: str | None = None
    ) -> Source:
        source = MaxComputeSource(self._connection, ref, self._load(ref), snapshot, rows)
        return source if where is None else FilteredSource(source, where, source.columns, str(ref))

    def count(self, ref: TableRef, snapshot: str | None = None) -> int:
        """Returns how many rows `ref` names; reads no rows."""
        return self.source(ref, snapshot).snapshot.rows or 0

    def write(self, ref: TableRef, mode: WriteMode, token: str) -> WriteSession:
        return MaxComputeWrite(self._connection, self._store, self.root, ref, self._load(ref), mode, token)

    def resource(self, project: str, name: str) -> Iterator[bytes]:
        """Yields what a resource of a project holds, piece by piece.

        Raises:
            PaiTrainError: It is not there, or the service does not answer.
        """
        return self._connection.resource(project or self.project, name)

    def checks(self) -> Generator[tuple[str, Callable[[], str]]]:
        """Yields what a run needs of the service, each with what tries it and returns what came out, or raises.

        A table of a name that nobody else uses is made, opened by the tunnel both ways, and dropped again; should that
        fail, the service drops it after a day.
        """
        ref = TableRef(self.project, f"pai_train_probe_{secrets.token_hex(8)}")
        made = False

        def create() -> str:
            nonlocal made
            made = True
            ddl = Ddl(ref.name, (Column("id", parse_ddl("create table t (id BIGINT)").columns[0].type),), lifecycle=1)
            self.ensure(ref, ddl)
            return "a table can be made"

        def write() -> str:
            Uploads(self._connection, ref, ()).create(overwrite=False)
            return "the tunnel takes rows"

        def read() -> str:
            Downloads(self._connection, ref).create(())
            return "the tunnel gives rows"

        def drop() -> str:
            nonlocal made
            self._connection.run(f"DROP TABLE IF EXISTS {ref.project}.{ref.name}", ref.project, str(ref))
            made = False
            return "the probe is gone"

        try:
            yield "project", self._answers
            yield "create", create
            yield "write", write
            yield "read", read
            if made:
                yield "drop", drop
        finally:
            if made:
                with suppress(PaiTrainError):
                    drop()

    def _answers(self) -> str:
        self._connection.get(f"projects/{self.project}", f"project {self.project}")
        return "answers"

    def _snapshot(self, ref: TableRef, meta: TableMeta) -> Snapshot | None:
        """Returns the state that metadata tell; None for a table, or a whole partition, without rows."""
        if len(ref.partitions) == 1 and len(ref.partitions[0]) == len(meta.partitions):
            values = dict(ref.partitions[0])
            leaf = tuple((column.name, values[column.name]) for column in meta.partitions if column.name in values)
            modified = partition_modified(self._connection, ref, leaf)
            return None if modified is None else _of_state(State((leaf,), (modified,)), None)
        if meta.rows == 0 or (meta.rows is None and not meta.bytes):
            return None
        return _of_state(State(((),), (meta.modified,)), meta.rows)

    def _load(self, ref: TableRef) -> TableMeta:
        meta = find_table(self._connection, ref)
        if meta is None:
            raise TableError(
                "no such table",
                where=str(ref),
                got=ref.name,
                todo=did_you_mean(ref.name, self.names(ref.project)) or f"there are no tables in {ref.project!r}",
            )
        return meta


def _of_state(state: State, rows: int | None) -> Snapshot:
    return Snapshot(snapshot_id(state, rows), rows, None, order_stable=False)
