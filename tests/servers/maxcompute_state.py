"""What the MaxCompute server keeps: projects, tables, partitions. Each change is one file put in place of another."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pai_train.spec.ddl import parse_ddl
from pai_train.spec.table import Ddl
from tests.servers.maxcompute_answers import Refused, no_partition, no_project, no_table
from tests.servers.maxcompute_rows import Part, RowFile

Values = tuple[tuple[str, str], ...]
_TABLE = "table.json"


@dataclass(frozen=True)
class Partition:
    """The rows of a partition; a table without partitions has one, of no values.

    Attributes:
        values: Of the partition columns, in order.
        created: Whole seconds since 1970, as all times here.
        modified: When rows were last written.
        files: The rows.
    """

    values: Values
    created: int
    modified: int
    files: tuple[RowFile, ...] = ()

    @property
    def spec(self) -> str:
        return ",".join(f"{name}={value}" for name, value in self.values)

    def told(self) -> dict[str, Any]:
        """Returns it as JSON keeps it."""
        return {
            "values": self.values,
            "created": self.created,
            "modified": self.modified,
            "files": [file.told() for file in self.files],
        }

    @classmethod
    def of(cls, told: dict[str, Any]) -> Partition:
        """Returns what JSON kept."""
        values = tuple((name, value) for name, value in told["values"])
        return cls(values, told["created"], told["modified"], tuple(RowFile.of(file) for file in told["files"]))


@dataclass(frozen=True)
class Table:
    """A table as it is at one moment.

    Attributes:
        id: The name of its folder.
        project: In small letters.
        ddl: What it was made by.
        lifecycle: Days; may have been changed since.
        created: When it was made.
        altered: When its metadata was last changed.
        modified: When rows were last written.
        partitions: By values.
        committed: Sessions that wrote to it.
    """

    id: str
    project: str
    ddl: Ddl
    lifecycle: int | None
    created: int
    altered: int
    modified: int
    partitions: dict[Values, Partition]
    committed: frozenset[str] = frozenset()

    @property
    def name(self) -> str:
        return self.ddl.name

    @property
    def keys(self) -> tuple[str, ...]:
        """The names of the partition columns."""
        return tuple(column.name for column in self.ddl.partitions)

    def partition(self, values: Values) -> Partition:
        """Returns a partition.

        Raises:
            Refused: It is not there.
        """
        found = self.partitions.get(values)
        if found is None:
            raise no_partition(",".join(f"{name}={value}" for name, value in values))
        return found

    def matching(self, values: Values) -> list[Partition]:
        """Returns the partitions that have these values, sorted."""
        found = [one for one in self.partitions.values() if set(values) <= set(one.values)]
        return sorted(found, key=lambda one: [value for _, value in one.values])

    def told(self) -> dict[str, Any]:
        """Returns it as JSON keeps it."""
        return {
            "id": self.id,
            "project": self.project,
            "ddl": self.ddl.sql(),
            "lifecycle": self.lifecycle,
            "created": self.created,
            "altered": self.altered,
            "modified": self.modified,
            "partitions": [partition.told() for partition in self.partitions.values()],
            "committed": sorted(self.committed),
        }

    @classmethod
    def of(cls, told: dict[str, Any]) -> Table:
        """Returns what JSON kept."""
        partitions = [Partition.of(one) for one in told.pop("partitions")]
        made = {**told, "ddl": parse_ddl(told["ddl"]), "committed": frozenset(told["committed"])}
        return cls(**made, partitions={one.values: one for one in partitions})


class Tables:
    """All tables, in memory and under a folder.

    Args:
        root: The folder; what is there already is taken over.
        clock: Whole seconds since 1970.
    """

    def __init__(self, root: Path, clock: Callable[[], int]) -> None:
        self._root = root
        self._clock = clock
        self._projects: dict[str, dict[str, Table]] = {}
        for folder in root.glob("projects/*"):
            self.add_project(folder.name)
        for folder in list(root.glob("tables/*")):
            if (folder / _TABLE).exists():
                self._show(Table.of(json.loads((folder / _TABLE).read_text())))
            else:
                shutil.rmtree(folder)

    def add_project(self, name: str) -> None:
        """Makes a project; one that is there is left as it is."""
        (self._root / "projects" / name.lower()).mkdir(parents=True, exist_ok=True)
        self._projects.setdefault(name.lower(), {})

    def project(self, name: str) -> dict[str, Table]:
        """Returns the tables of a project by name.

        Raises:
            Refused: There is no such project.
        """
        found = self._projects.get(name.lower())
        if found is None:
            raise no_project(name)
        return found

    def table(self, project: str, name: str) -> Table:
        """Returns a table as it is now.

        Raises:
            Refused: There is no such table.
        """
        found = self.project(project).get(name.lower())
        if found is None:
            raise no_table(project, name)
        return found

    def folder(self, table: Table) -> Path:
        """Returns where a table's rows lie."""
        return self._root / "tables" / table.id

    def part(self, table: Table, partition: Partition) -> Part:
        """Returns a partition as it is read."""
        return Part(self.folder(table), partition.files, partition.values)

    def all(self) -> Iterator[Table]:
        """Yields every table of every project."""
        for tables in self._projects.values():
            yield from tables.values()

    def create(self, project: str, ddl: Ddl) -> Table:
        """Makes a table, which is not there yet."""
        self.project(project)
        now = self._clock()
        whole: dict[Values, Partition] = {} if ddl.partitions else {(): Partition((), now, now)}
        table = Table(uuid.uuid4().hex, project.lower(), ddl, ddl.lifecycle, now, now, now, whole)
        return self._put(table)

    def drop(self, table: Table) -> None:
        """Drops a table; sessions may still read its files."""
        (self.folder(table) / _TABLE).unlink()
        del self._projects[table.project][table.name]

    def set_lifecycle(self, table: Table, days: int | None) -> Table:
        """Changes how long a table is kept."""
        return self._put(replace(table, lifecycle=days, altered=self._clock()))

    def add_partitions(self, table: Table, added: Iterable[Values]) -> Table:
        """Adds partitions; those that are there are left as they are."""
        now = self._clock()
        new = {values: Partition(values, now, now) for values in added if values not in table.partitions}
        return self._put(replace(table, partitions={**table.partitions, **new}, altered=now)) if new else table

    def drop_partitions(self, table: Table, dropped: Iterable[Values]) -> Table:
        """Drops partitions with their rows."""
        gone = set(dropped)
        left = {values: one for values, one in table.partitions.items() if values not in gone}
        return self._put(replace(table, partitions=left, altered=self._clock()))

    def publish(
        self, table: Table, session: str, written: Sequence[tuple[Values, Sequence[RowFile]]], *, overwrite: bool
    ) -> Table:
        """Makes rows visible, all at once, and notes that the session has done so.

        Args:
            table: Where.
            session: Whose rows they are.
            written: Files by partition.
            overwrite: Whether they replace the rows of these partitions.
        """
        now = self._clock()
        changed = {}
        for values, files in written:
            old = table.partition(values)
            kept = () if overwrite else old.files
            changed[values] = replace(old, files=(*kept, *(file for file in files if file.rows)), modified=now)
        return self._put(
            replace(
                table,
                partitions={**table.partitions, **changed},
                modified=now,
                committed=table.committed | {session},
            )
        )

    def _put(self, table: Table) -> Table:
        put_json(self.folder(table) / _TABLE, table.told())
        return self._show(table)

    def _show(self, table: Table) -> Table:
        self.add_project(table.project)
        self._projects[table.project][table.name] = table
        return table


def put_json(path: Path, told: Any) -> None:
    """Writes a JSON document in the place of another, in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f"{path.name}.{uuid.uuid4().hex}")
    new.write_text(json.dumps(told))
    os.replace(new, path)


def partition_values(table: Table, given: str, *, whole: bool = True) -> Values:
    """Returns the values that a text such as `dt=1,region='cn'` or `dt=1/region=cn` names, in the table's order.

    Args:
        table: Whose partitions they are.
        given: The text.
        whole: Whether each partition column must have its value.

    Raises:
        Refused: It names other columns, or not all of them.
    """
    pieces = [piece.partition("=") for piece in given.replace("/", ",").split(",") if piece]
    pairs = [(name.strip(), value.strip().strip("'\"")) for name, _, value in pieces]
    return ordered_values(table, pairs, whole=whole)


def ordered_values(table: Table, given: Sequence[tuple[str, str]], *, whole: bool = True) -> Values:
    """Returns values of partition columns in the table's order.

    Raises:
        Refused: Other columns have values, or not all have one.
    """
    pairs = {name.lower(): value for name, value in given}
    if whole and table.keys and not given:
        message = "You need to specify a partitionspec along with the specified table."
        raise Refused(400, "MissingPartitionSpec", message)
    wrong = len(pairs) < len(given) or not pairs.keys() <= set(table.keys) or not all(pairs.values())
    if wrong or (whole and len(pairs) < len(table.keys)):
        spec = ",".join(f"{name}={value}" for name, value in given)
        raise Refused(400, "InvalidPartitionSpec", f"The specified partition spec is not valid. '{spec}'")
    return tuple((name, pairs[name]) for name in table.keys if name in pairs)
