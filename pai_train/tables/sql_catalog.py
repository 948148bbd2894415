"""A database as catalog: pyiceberg's SqlCatalog on PostgreSQL or SQLite, whose files go through our store."""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from pyiceberg.catalog.sql import IcebergTables, SqlCatalog, SqlCatalogBaseTable
from pyiceberg.exceptions import (
    CommitFailedException,
    CommitStateUnknownException,
    NamespaceAlreadyExistsError,
    NoSuchNamespaceError,
    NoSuchTableError,
    TableAlreadyExistsError,
)
from pyiceberg.partitioning import UNPARTITIONED_PARTITION_SPEC, PartitionSpec
from pyiceberg.serializers import FromByteStream
from pyiceberg.table import CommitTableResponse, Table
from pyiceberg.table.sorting import UNSORTED_SORT_ORDER, SortOrder
from pyiceberg.typedef import EMPTY_DICT, Identifier, Properties
from sqlalchemy import Engine, create_engine, event, insert, inspect, make_url
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from pai_train.errors import TableError
from pai_train.spec.catalog import SECRETS
from pai_train.storage import Store, join
from pai_train.tables.catalog import CommitRaced
from pai_train.tables.store_io import StoreIO

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa
    from pyiceberg.io import FileIO
    from pyiceberg.schema import Schema
    from pyiceberg.table.update import TableRequirement, TableUpdate

NAME = "pai_train"
"""The catalog's name in the database; other tools that read it name it so."""

_CONNECT_S = 10
_STATEMENT_S = 30


class SqlStoreCatalog(SqlCatalog):
    """Tables that two tables of a database list; the commit point is the update of one row.

    The store needs no exclusive create: names of metadata files are unique. Opened, it changes nothing; the
    database's tables are made with the first table. No connection is kept between two operations, so that a process
    may fork and a server may be restarted.

    Args:
        address: postgresql://user@host:port/database, whose password libpq takes from PGPASSWORD or ~/.pgpass; or
            sqlite:///file.
        root: The folder of all projects, a full URL.
        store: The store that holds it.

    Raises:
        TableError: The database does not answer, or lets this user not in.
    """

    def __init__(self, address: str, root: str, store: Store) -> None:
        self.address = address
        self.root = root
        self.store = store
        self._url = make_url(address)
        if self._url.get_backend_name() == "postgresql":
            self._url = self._url.set(drivername="postgresql+psycopg2")
        self._is_ready = False
        with self._answering():
            uri = self._url.render_as_string(hide_password=False)
            super().__init__(NAME, uri=uri, warehouse=root, init_catalog_tables="false")

    def create_table(
        self,
        identifier: str | Identifier,
        schema: Schema | pa.Schema,
        location: str | None = None,
        partition_spec: PartitionSpec = UNPARTITIONED_PARTITION_SPEC,
        sort_order: SortOrder = UNSORTED_SORT_ORDER,
        properties: Properties = EMPTY_DICT,
    ) -> Table:
        project, name = self.identifier_to_database_and_table(identifier)
        location = location or join(self.root, project, name)
        with self._answering():
            self._make_ready(project)
            staged = self._create_staged_table(identifier, schema, location, partition_spec, sort_order, properties)
            self._write_metadata(staged.metadata, staged.io, staged.metadata_location)
            with Session(self.engine) as session:
                try:
                    row = self._create_table_row(project, name, staged.metadata_location)
                    session.execute(insert(IcebergTables).values(**row))
                    session.commit()
                except IntegrityError as exists:
                    self.store.delete(staged.metadata_location)
                    raise TableAlreadyExistsError(f"there is a table {project}.{name}") from exists
        return self.load_table(identifier)

    def load_table(self, identifier: str | Identifier) -> Table:
        with self._answering():
            if self._is_empty():
                raise NoSuchTableError(f"there is no table {identifier}")
            return super().load_table(identifier)

    def list_tables(self, namespace: str | Identifier) -> list[Identifier]:
        with self._answering():
            try:
                return [] if self._is_empty() else super().list_tables(namespace)
            except NoSuchNamespaceError:
                return []

    def commit_table(
        self, table: Table, requirements: tuple[TableRequirement, ...], updates: tuple[TableUpdate, ...]
    ) -> CommitTableResponse:
        try:
            return super().commit_table(table, requirements, updates)
        except CommitFailedException as raced:
            raise CommitRaced(str(raced)) from raced
        except DBAPIError as lost:
            raise CommitStateUnknownException(f"{self.address}: {_words(lost)}") from lost

    def probe(self, project: str) -> str:
        """Inserts a row in a transaction that is rolled back, with the tables where they are missing."""
        if self._is_sqlite and not os.path.exists(self._file):
            around = os.path.dirname(os.path.abspath(self._file))
            while not os.path.lexists(around):
                around = os.path.dirname(around)
            if not (os.path.isdir(around) and os.access(around, os.W_OK | os.X_OK)):
                raise TableError("the catalog's file cannot be made", where=self.address, got=f"{around} is not ours")
            return f"{self._file} would be made with the first table"
        with self._answering(), self.engine.connect() as connection:
            if self._is_sqlite:
                # Its driver begins no transaction before statements that create tables.
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            if self._is_empty():
                SqlCatalogBaseTable.metadata.create_all(connection)
            row = self._create_table_row(project, f".probe-{os.urandom(8).hex()}", None)
            connection.execute(insert(IcebergTables).values(**row))
            connection.rollback()
        return "answers; a table can be created"

    def _init_catalog(self) -> None:
        self.engine = _engine(self._url)
        if self._is_sqlite and not os.path.exists(self._file):
            self._schema_version = "v1"
            return
        with self.engine.connect():
            # What pyiceberg looks at next, it takes for missing when the server does not answer.
            pass
        super()._init_catalog()

    def _convert_orm_to_iceberg(self, orm_table: IcebergTables) -> Table:
        location = orm_table.metadata_location
        if location is None:
            raise NoSuchTableError("the catalog names no metadata file")
        metadata = FromByteStream.table_metadata(self.store.open_input(location))
        identifier = (*self.identifier_to_tuple(orm_table.table_namespace), orm_table.table_name)
        return Table(identifier, metadata, location, self._load_file_io(), self)

    def _load_file_io(self, properties: Properties = EMPTY_DICT, location: str | None = None) -> FileIO:
        return StoreIO(self.store)

    def _make_ready(self, project: str) -> None:
        """Makes the database's tables and the project; other processes may do so at the same time."""
        if self._is_sqlite:
            os.makedirs(os.path.dirname(os.path.abspath(self._file)), exist_ok=True)
        if self._is_empty():
            try:
                self.create_tables()
            except DBAPIError:
                if self._is_empty():
                    raise
        with suppress(NamespaceAlreadyExistsError, IntegrityError):
            self.create_namespace(project)

    def _is_empty(self) -> bool:
        """Tells whether nobody has created a table yet."""
        if not self._is_ready:
            there = not self._is_sqlite or os.path.exists(self._file)
            with_tables = there and all(map(inspect(self.engine).has_table, SqlCatalogBaseTable.metadata.tables))
            self._is_ready = with_tables
        return not self._is_ready

    @property
    def _is_sqlite(self) -> bool:
        return self._url.get_backend_name() == "sqlite"

    @property
    def _file(self) -> str:
        return self._url.database or ""

    @contextmanager
    def _answering(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            scheme = self.address.partition("://")[0]
            raise TableError(
                "the catalog does not answer, or refuses",
                where=self.address,
                got=_words(error),
                todo="see that the database is there and lets this user in"
                + (f"; its password is taken from {SECRETS[scheme]}" if scheme in SECRETS else ""),
            ) from error
        except SQLAlchemyError as error:
            raise TableError("the catalog cannot be used", where=self.address, got=str(error)) from error


def _engine(url: Any) -> Engine:
    if url.get_backend_name() == "sqlite":
        return create_engine(url, poolclass=NullPool, connect_args={"timeout": _STATEMENT_S})
    patience = {"connect_timeout": _CONNECT_S, "tcp_user_timeout": 1000 * _STATEMENT_S, "application_name": NAME}
    engine = create_engine(url, poolclass=NullPool, connect_args=patience)

    @event.listens_for(engine, "connect")
    def _limit(connection: Any, _: object) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"SET statement_timeout = {1000 * _STATEMENT_S}")
        connection.commit()

    return engine


def _words(error: DBAPIError) -> str:
    """Returns what the driver says, without the statement and its parameters."""
    lines = [line.strip() for line in str(error.orig).splitlines()]
    return "; ".join(line for line in lines if line)
