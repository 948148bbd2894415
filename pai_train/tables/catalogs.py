"""The catalogs that tables can be listed in: the store itself, a database, a REST service; opened by their address."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from pyiceberg.partitioning import UNPARTITIONED_PARTITION_SPEC, PartitionSpec
from pyiceberg.table.sorting import UNSORTED_SORT_ORDER, SortOrder
from pyiceberg.typedef import EMPTY_DICT, Identifier, Properties

from pai_train.errors import TableError
from pai_train.spec.catalog import catalog_fault
from pai_train.tables.catalog import StoreCatalog

if TYPE_CHECKING:
    from pyiceberg.schema import Schema
    from pyiceberg.table import Table

    from pai_train.storage import Store

_OPENERS = {
    "http": "pai_train.tables.rest_catalog:RestStoreCatalog",
    "https": "pai_train.tables.rest_catalog:RestStoreCatalog",
    "postgresql": "pai_train.tables.sql_catalog:SqlStoreCatalog",
    "sqlite": "pai_train.tables.sql_catalog:SqlStoreCatalog",
}


class TableCatalog(Protocol):
    """What reading and writing need of a catalog; implemented on pyiceberg's own.

    A commit that another commit came before raises CommitRaced, or CommitFailedException; one whose outcome is not
    known CommitStateUnknownException. After both, the writer looks for its own token before it tries again.
    """

    store: Store

    def load_table(self, identifier: str | Identifier) -> Table:
        """Returns a table as it is now.

        Raises:
            NoSuchTableError: There is none.
        """
        ...

    def create_table(
        self,
        identifier: str | Identifier,
        schema: Schema,
        location: str | None = None,
        partition_spec: PartitionSpec = UNPARTITIONED_PARTITION_SPEC,
        sort_order: SortOrder = UNSORTED_SORT_ORDER,
        properties: Properties = EMPTY_DICT,
    ) -> Table:
        """Creates a table, and its project where that is missing.

        Raises:
            TableAlreadyExistsError: There is one of that name.
        """
        ...

    def list_tables(self, namespace: str | Identifier) -> list[Identifier]:
        """Lists the tables of a project; none where there is no such project."""
        ...


@runtime_checkable
class Probing(Protocol):
    """A catalog that stands beside the store, and may not answer."""

    def probe(self, project: str) -> str:
        """Tries what creating a table needs, changing nothing, and says in words what came out.

        Raises:
            TableError: It does not answer, or refuses.
        """
        ...


def open_catalog(address: str | None, root: str, store: Store) -> TableCatalog:
    """Opens the catalog at an address; None for the store itself.

    Args:
        address: Such as postgresql://user@host:5432/database; never with a password.
        root: The folder of all projects, a full URL, below which new tables are put.
        store: The store that holds it; all bytes of tables go through it.

    Raises:
        TableError: Not an address, a library is missing, or the catalog does not answer.
    """
    if address is None:
        return StoreCatalog(root, store)
    fault = catalog_fault(address)
    if fault is not None:
        raise TableError(fault.what, where=fault.where, got=fault.got, wanted=fault.wanted, todo=fault.todo)
    module, _, name = _OPENERS[address.partition("://")[0]].partition(":")
    try:
        opener: Any = getattr(import_module(module), name)
        catalog: TableCatalog = opener(address, root, store)
    except ModuleNotFoundError as missing:
        raise TableError(
            "the catalog needs a library that is not installed",
            where=address,
            got=f"no module {missing.name}",
            todo="pip install 'pai_train[sql]'",
        ) from missing
    return catalog
