"""Where paiio's tables are and how its readers hand out values: set once for a process, or by the environment."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, get_args

from pai_train.errors import TableError
from pai_train.spec.address import TableRef, parse_table, parse_tables
from pai_train.spec.catalog import catalog_fault
from pai_train.storage import Stores, join

if TYPE_CHECKING:
    from pai_train.storage import Store
    from pai_train.tables.contracts import Tables
    from pai_train.tables.iceberg import IcebergTables
    from pai_train.tables.maxcompute.tables import MaxComputeTables

TABLES_VARIABLE = "PAI_TRAIN_TABLES"
ROOT_VARIABLE = "PAI_TRAIN_TABLES_ROOT"
PROJECT_VARIABLE = "PAI_TRAIN_PROJECT"
CATALOG_VARIABLE = "PAI_TRAIN_TABLES_CATALOG"
DEFAULT_ROOT = "data/tables"
DEFAULT_PROJECT = "pai_train"

TablesName = Literal["iceberg", "maxcompute"]
Strings = Literal["bytes", "str"]
Records = Literal["array", "tuples"]
ShortRead = Literal["raise", "return"]

_CHOICES = {"strings": ("bytes", "str"), "records": ("array", "tuples"), "short_read": ("raise", "return")}
_JOBS_FOLDER = "_paiio"
_OPENED = 8
"""How many table stores are kept open, by what the environment said."""


@dataclass(frozen=True)
class ReadStyle:
    """What differs between PAI-TF's readers and those of common_io; the defaults are PAI-TF's.

    Attributes:
        strings: What `TableReader` makes of text: 'bytes', as PAI-TF, or 'str', as common_io.
        records: What `TableReader.read` returns: 'array', a numpy array of objects of shape [rows, columns], or
            'tuples', a list of tuples.
        short_read: What `TableReader.read` does where fewer rows are left than asked for: 'raise' ends the reading,
            unless `allow_smaller_final_batch`; 'return' gives the rows that are left, always.

    Raises:
        TableError: No such choice.
    """

    strings: Strings = "bytes"
    records: Records = "array"
    short_read: ShortRead = "raise"

    def __post_init__(self) -> None:
        for name, known in _CHOICES.items():
            if getattr(self, name) not in known:
                raise TableError(
                    f"no such choice of {name}",
                    got=repr(getattr(self, name)),
                    wanted=" or ".join(repr(choice) for choice in known),
                )


@dataclass(frozen=True)
class Settings:
    """What every name of paiio starts from.

    Attributes:
        tables: The table store.
        project: The project of addresses that name none.
        style: How readers hand out values.
        jobs: The folder, a full URL, in which the slices of a job find each other; None where there is none.
        stores: How that folder is reached.
    """

    tables: Tables
    project: str
    style: ReadStyle = ReadStyle()
    jobs: str | None = None
    stores: Stores | None = None

    def ref(self, table: str) -> TableRef:
        """Reads one table's address.

        Raises:
            TableError: It is no address.
        """
        return parse_table(table, self.project)

    def refs(self, tables: str) -> tuple[TableRef, ...]:
        """Reads the addresses of one or more tables, separated by commas.

        Raises:
            TableError: One of them is no address.
        """
        return parse_tables(tables, self.project)

    def jobs_store(self) -> tuple[str, Store]:
        """Returns the folder of jobs and its store.

        Raises:
            TableError: There is no such folder.
        """
        if self.jobs is None:
            raise TableError(
                "slices of one job need a folder in which they find each other",
                where=str(self.tables),
                todo="name one that all processes reach: paiio.configure(tables, jobs='oss://bucket/folder')",
            )
        return self.jobs, (self.stores or Stores()).open(self.jobs)


_configured: Settings | None = None


def configure(
    tables: Tables | TablesName | None = None,
    *,
    project: str | None = None,
    jobs: str | None = None,
    stores: Stores | None = None,
    strings: Strings = "bytes",
    records: Records = "array",
    short_read: ShortRead = "raise",
) -> None:
    """Says where tables are and how readers hand out values, for this process; what was opened before stays as it is.

    Each call says all: what it leaves out is the environment's, or the default.

    Args:
        tables: The table store, or its name; None for the name in `PAI_TRAIN_TABLES`, which is 'iceberg' where it is
            not set. By name, tables, or MaxCompute's records of writes, are under `PAI_TRAIN_TABLES_ROOT`, which is
            `data/tables` where it is not set, and Iceberg's are listed by `PAI_TRAIN_TABLES_CATALOG`, or the store.
        project: Project of bare names; None for `PAI_TRAIN_PROJECT`, or that of MaxCompute's environment, or
            `pai_train`, as in recipes.
        jobs: Folder in which the slices of a job find each other, a full URL; None for one beside the tables.
        stores: How that folder is reached; None for as the environment says.
        strings: See `ReadStyle`.
        records: See `ReadStyle`.
        short_read: See `ReadStyle`.

    Raises:
        TableError: No such choice, a root that cannot hold tables, or a service that the environment does not name.
    """
    global _configured  # noqa: PLW0603 - the one setting of a process, as PAI has
    if tables is None or isinstance(tables, str):
        known = _as_the_environment_says(*_environment(tables, project))
    else:
        known = Settings(tables, os.environ.get(PROJECT_VARIABLE) or DEFAULT_PROJECT, jobs=_jobs_of(tables))
    _configured = replace(
        known,
        project=project or known.project,
        style=ReadStyle(strings, records, short_read),
        jobs=jobs or known.jobs,
        stores=stores,
    )


def settings() -> Settings:
    """Returns what was configured, else what the environment says.

    Raises:
        TableError: A root that cannot hold tables, or a service that the environment does not name.
    """
    return _configured or _as_the_environment_says(*_environment())


def _environment(name: str | None = None, project: str | None = None) -> tuple[str, str, str | None, str | None]:
    get = os.environ.get
    return (
        name or get(TABLES_VARIABLE) or "iceberg",
        get(ROOT_VARIABLE) or DEFAULT_ROOT,
        project or get(PROJECT_VARIABLE) or None,
        get(CATALOG_VARIABLE) or None,
    )


def _as_the_environment_says(name: str, root: str, project: str | None, catalog: str | None) -> Settings:
    # Keys, endpoints and roles are the environment's too: what one statement opened is not another one's.
    return _opened(name, root, project, catalog, frozenset(os.environ.items()))


@lru_cache(maxsize=_OPENED)
def _opened(
    name: str, root: str, project: str | None, catalog: str | None, environ: frozenset[tuple[str, str]]
) -> Settings:
    tables: MaxComputeTables | IcebergTables
    if name == "maxcompute":
        from pai_train.tables.maxcompute import open_tables

        tables = open_tables(root, project or "")
    elif name == "iceberg":
        from pai_train.tables.iceberg import IcebergTables

        if catalog is not None and (fault := catalog_fault(catalog)) is not None:
            raise TableError(fault.what, where=CATALOG_VARIABLE, got=fault.got, wanted=fault.wanted, todo=fault.todo)
        tables = IcebergTables(root, project or DEFAULT_PROJECT, catalog=catalog)
    else:
        known = ", ".join(get_args(TablesName))
        raise TableError("no such table store", where=TABLES_VARIABLE, got=repr(name), wanted=known)
    return Settings(tables, tables.project, jobs=_jobs_of(tables))


def _jobs_of(tables: Tables) -> str | None:
    root = getattr(tables, "root", None)
    return None if root is None else join(root, _JOBS_FOLDER)
