"""Tables kept as Apache Iceberg on any store; the store itself is the catalog, or a database or service."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyiceberg.exceptions import NoSuchTableError, TableAlreadyExistsError

from pai_train.errors import TableError, did_you_mean
from pai_train.spec.address import TableRef
from pai_train.storage import Stores, display, resolve
from pai_train.tables.catalogs import Probing, open_catalog
from pai_train.tables.columns import declared_columns, iceberg_schema, partition_spec, table_properties
from pai_train.tables.contracts import Diff, TableInfo, WriteMode
from pai_train.tables.diff import differences
from pai_train.tables.expire import Expiry, Policy
from pai_train.tables.pins import Pin, remove_pin, write_pin
from pai_train.tables.source import IcebergSource
from pai_train.tables.write import IcebergWrite, snapshot_of

if TYPE_CHECKING:
    from pyiceberg.table import Table

    from pai_train.spec.contracts import Source, WriteSession
    from pai_train.spec.ddl import Ddl


class IcebergTables:
    """The tables under one folder; implements `Tables`.

    Args:
        root: The folder, as a path or a URL.
        project: The project of addresses that name none.
        stores: How its store is reached; left out, as the environment says.
        catalog: The address of a catalog, such as postgresql://user@host/database; None for the store itself.

    Raises:
        TableError: The store is the catalog and has no exclusive create, or the catalog does not answer.
        StorageError: The root cannot be read as a place.
    """

    keeps_order = True

    def __init__(self, root: str, project: str, stores: Stores | None = None, catalog: str | None = None) -> None:
        url = resolve(".", root)
        self.root = url
        self.project = project
        self._catalog = open_catalog(catalog, url, (stores or Stores()).open(url))

    def __repr__(self) -> str:
        return f"IcebergTables({display(self.root)!r}, {self.project!r})"

    def describe(self, ref: TableRef) -> TableInfo | None:
        table = self._find(ref)
        if table is None:
            return None
        columns, partitions = declared_columns(table.metadata)
        snapshot = table.current_snapshot()
        return TableInfo(
            ref=TableRef(ref.project, ref.name),
            columns=columns,
            partitions=partitions,
            snapshot=None if snapshot is None else snapshot_of(snapshot),
            properties=dict(table.properties),
        )

    def names(self, project: str) -> list[str]:
        return sorted(name for _, name in self._catalog.list_tables(project.lower()))

    def compare(self, ref: TableRef, ddl: Ddl) -> Diff:
        info = self.describe(ref)
        return Diff(created=False, lines=() if info is None else differences(info, ddl))

    def ensure(self, ref: TableRef, ddl: Ddl) -> Diff:
        if self._find(ref) is None and self._create(ref, ddl):
            return Diff(created=True)
        return self.compare(ref, ddl)

    def source(
        self, ref: TableRef, snapshot: str | None = None, rows: range | None = None, where: str | None = None
    ) -> Source:
        return IcebergSource(ref, self._load(ref), self._catalog.store, snapshot, rows, where)

    def count(self, ref: TableRef, snapshot: str | None = None) -> int:
        return IcebergSource(ref, self._load(ref), self._catalog.store, snapshot).rows

    def write(self, ref: TableRef, mode: WriteMode, token: str) -> WriteSession:
        self._load(ref)
        return IcebergWrite(self._catalog, ref, mode, token)

    def pin(self, ref: TableRef, pin: Pin) -> None:
        write_pin(self._catalog.store, self._load(ref).location(), pin)

    def unpin(self, ref: TableRef, run_id: str) -> None:
        remove_pin(self._catalog.store, self._load(ref).location(), run_id)

    def expiry(self, ref: TableRef, policy: Policy) -> Expiry:
        self._load(ref)
        return Expiry(self._catalog, ref, policy)

    def probe(self) -> str | None:
        """Tries what creating a table needs of a catalog beside the store; see `Probing` of the contracts."""
        return self._catalog.probe(self.project) if isinstance(self._catalog, Probing) else None

    def _create(self, ref: TableRef, ddl: Ddl) -> bool:
        """Creates the table; False when another process has just done so."""
        schema = iceberg_schema([*ddl.columns, *ddl.partitions])
        try:
            self._catalog.create_table(
                (ref.project, ref.name),
                schema,
                partition_spec=partition_spec(schema, ddl.partitions),
                properties=table_properties(ddl),
            )
        except TableAlreadyExistsError:
            return False
        return True

    def _find(self, ref: TableRef) -> Table | None:
        try:
            return self._catalog.load_table((ref.project, ref.name))
        except NoSuchTableError:
            return None

    def _load(self, ref: TableRef) -> Table:
        table = self._find(ref)
        if table is None:
            raise TableError(
                "no such table",
                where=str(ref),
                got=ref.name,
                todo=did_you_mean(ref.name, self.names(ref.project))
                or f"there are no tables in project {ref.project!r} of {display(self.root)}",
            )
        return table
