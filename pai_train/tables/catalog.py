"""The store as catalog: Iceberg tables whose commit is the exclusive create of the next metadata file."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, NoReturn

from pyiceberg.catalog import MetastoreCatalog, PropertiesUpdateSummary
from pyiceberg.exceptions import (
    CommitFailedException,
    NoSuchTableError,
    TableAlreadyExistsError,
    ValidationError,
    ValidationException,
)
from pyiceberg.partitioning import UNPARTITIONED_PARTITION_SPEC, PartitionSpec
from pyiceberg.serializers import FromByteStream
from pyiceberg.table import CommitTableResponse, Table
from pyiceberg.table.metadata import TableMetadata, new_table_metadata
from pyiceberg.table.sorting import UNSORTED_SORT_ORDER, SortOrder
from pyiceberg.typedef import EMPTY_DICT, Identifier, Properties

from pai_train.errors import TableError
from pai_train.storage import ObjectExists, Store, basename, join, resolve
from pai_train.tables.store_io import StoreIO

if TYPE_CHECKING:
    import pyarrow as pa
    from pyiceberg.io import FileIO
    from pyiceberg.schema import Schema
    from pyiceberg.table.update import TableRequirement, TableUpdate

_SLOW_S = 600.0
"""A commit that took longer may have met a collection of old metadata files, which spares younger ones than this."""
_METADATA_NAME = re.compile(r"v([1-9][0-9]*)\.metadata\.json")


class CommitRaced(ValidationException):
    """Another commit took the next version first; nothing of ours was published.

    Not a CommitFailedException: pyiceberg would answer that one by publishing the same files on top of the other
    commit, without looking whether that commit was this very write, sent twice.
    """


class StoreCatalog(MetastoreCatalog):
    """Tables at `<root>/<project>/<table>/{metadata,data}`; a project is a folder. Nothing is ever dropped.

    Args:
        root: The folder of all projects, a full URL.
        store: The store that holds it.

    Raises:
        TableError: The store cannot tell which of two writers was first.
    """

    def __init__(self, root: str, store: Store) -> None:
        if not store.creates_exclusively(root):
            raise TableError(
                "tables need a store in which of two writers exactly one creates an object",
                where=root,
                got=f"{store.scheme}:// without exclusive create",
                todo="name another store as tables.root",
            )
        super().__init__("store")
        self.root = root
        self.store = store

    def location(self, identifier: str | Identifier) -> str:
        """Returns the folder of a table."""
        return join(self.root, *self.identifier_to_tuple(identifier))

    def create_table(
        self,
        identifier: str | Identifier,
        schema: Schema | pa.Schema,
        location: str | None = None,
        partition_spec: PartitionSpec = UNPARTITIONED_PARTITION_SPEC,
        sort_order: SortOrder = UNSORTED_SORT_ORDER,
        properties: Properties = EMPTY_DICT,
    ) -> Table:
        location = location or self.location(identifier)
        schema = self._convert_schema_if_needed(schema)
        metadata = new_table_metadata(schema, partition_spec, sort_order, location, dict(properties))
        try:
            self._publish(location, 1, metadata)
        except CommitRaced as raced:
            raise TableAlreadyExistsError(f"there is a table at {location}") from raced
        return self.load_table(identifier)

    def load_table(self, identifier: str | Identifier) -> Table:
        location = self.location(identifier)
        versions = self._versions(location)
        if not versions:
            raise NoSuchTableError(f"there is no table at {location}")
        head = _metadata_url(location, max(versions))
        metadata = _read_metadata(self.store, head)
        return Table(self.identifier_to_tuple(identifier), metadata, head, self._load_file_io(), self)

    def commit_table(
        self, table: Table, requirements: tuple[TableRequirement, ...], updates: tuple[TableUpdate, ...]
    ) -> CommitTableResponse:
        begun = time.time()
        current = self.load_table(table.name())
        try:
            staged = self._update_and_stage_table(current, table.name(), requirements, updates)
        except CommitFailedException as raced:
            raise CommitRaced(str(raced)) from raced
        if staged.metadata == current.metadata:
            return _response(current.metadata, current.metadata_location)
        url = self._publish(self.location(table.name()), _version(current.metadata_location) + 1, staged.metadata)
        if not 0 <= time.time() - begun < _SLOW_S:
            self._check_published(table.name(), url, staged.metadata)
        return _response(staged.metadata, url)

    def list_tables(self, namespace: str | Identifier) -> list[Identifier]:
        project = self.identifier_to_database(namespace)
        found = self.store.glob(resolve(self.root, f"{project}/*/metadata/v1.metadata.json"))
        return [(project, info.url.split("/")[-3]) for info in found]

    def list_namespaces(self, namespace: str | Identifier = ()) -> list[Identifier]:
        found = self.store.glob(resolve(self.root, "*/*/metadata/v1.metadata.json"))
        return [(name,) for name in sorted({info.url.split("/")[-4] for info in found})]

    def create_namespace(self, namespace: str | Identifier, properties: Properties = EMPTY_DICT) -> None:
        """Does nothing: a project is there with its first table."""

    def load_namespace_properties(self, namespace: str | Identifier) -> Properties:
        return {}

    def list_views(self, namespace: str | Identifier) -> list[Identifier]:
        return []

    def view_exists(self, identifier: str | Identifier) -> bool:
        return False

    def register_table(self, identifier: str | Identifier, metadata_location: str, overwrite: bool = False) -> NoReturn:
        _refuse("register a table")

    def drop_table(self, identifier: str | Identifier) -> NoReturn:
        _refuse("drop a table")

    def rename_table(self, from_identifier: str | Identifier, to_identifier: str | Identifier) -> NoReturn:
        _refuse("rename a table")

    def drop_namespace(self, namespace: str | Identifier) -> NoReturn:
        _refuse("drop a project")

    def update_namespace_properties(
        self, namespace: str | Identifier, removals: set[str] | None = None, updates: Properties = EMPTY_DICT
    ) -> PropertiesUpdateSummary:
        _refuse("keep properties of a project")

    def load_view(self, identifier: str | Identifier) -> NoReturn:
        _refuse("keep views")

    def register_view(self, identifier: str | Identifier, metadata_location: str) -> NoReturn:
        _refuse("keep views")

    def drop_view(self, identifier: str | Identifier) -> NoReturn:
        _refuse("keep views")

    def _load_file_io(self, properties: Properties = EMPTY_DICT, location: str | None = None) -> FileIO:
        return StoreIO(self.store)

    def _versions(self, location: str) -> list[int]:
        names = (basename(info.url) for info in self.store.list(join(location, "metadata")))
        return [int(match[1]) for name in names if (match := _METADATA_NAME.fullmatch(name))]

    def _check_published(self, identifier: Identifier, url: str, metadata: TableMetadata) -> None:
        """Takes back a version that others had gone past, and that was collected, before it was created again."""
        head = self.load_table(identifier)
        entry = (url, metadata.last_updated_ms)
        if head.metadata_location != url and entry not in (
            (one.metadata_file, one.timestamp_ms) for one in head.metadata.metadata_log
        ):
            self.store.delete(url)
            raise CommitRaced(f"{url} had been created by another commit, long ago")

    def _publish(self, location: str, version: int, metadata: TableMetadata) -> str:
        url = _metadata_url(location, version)
        payload = metadata.model_dump_json().encode()
        try:
            self.store.create(url, payload)
        except ObjectExists as exists:
            # A store may repeat a request whose answer was lost: then the object that is there is ours.
            if self.store.read(url) != payload:
                raise CommitRaced(f"{url} was created by another commit") from exists
        return url


def _read_metadata(store: Store, url: str) -> TableMetadata:
    try:
        return FromByteStream.table_metadata(store.open_input(url))
    except (ValueError, ValidationError) as fault:
        # pydantic's account of what is wrong repeats the whole file.
        raise TableError(
            "the table's newest metadata file cannot be read",
            where=url,
            got=str(fault).splitlines()[0][:200],
            wanted="Iceberg's table metadata as JSON",
            todo="restore this file; the one before it, a number lower, is the table before its last commit",
        ) from fault


def _response(metadata: TableMetadata, url: str) -> CommitTableResponse:
    return CommitTableResponse.model_validate({"metadata": metadata, "metadata-location": url})


def _metadata_url(location: str, version: int) -> str:
    return join(location, "metadata", f"v{version}.metadata.json")


def _version(metadata_url: str) -> int:
    match = _METADATA_NAME.fullmatch(basename(metadata_url))
    if match is None:
        raise TableError("not a metadata file of this catalog", where=metadata_url, wanted="v<number>.metadata.json")
    return int(match[1])


def _refuse(what: str) -> NoReturn:
    raise TableError(f"a catalog that is only a folder cannot {what}", todo="work on the folder's objects instead")
