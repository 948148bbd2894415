"""What MaxCompute tells of tables and partitions without reading rows."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pai_train.errors import TableError
from pai_train.spec.ddl import Column, SyntaxFault
from pai_train.spec.types import parse_type
from pai_train.tables.maxcompute.errors import Kind, kind_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pai_train.spec.address import Partition, TableRef
    from pai_train.tables.maxcompute.connection import Connection


@dataclass(frozen=True)
class TableMeta:
    """A table as the service describes it.

    Attributes:
        columns: Data columns with their declared types, in order.
        partitions: Partition columns, in order.
        plain_decimals: Names of columns declared as DECIMAL alone, which the service keeps wider than DECIMAL(38,18).
        modified: When its rows last changed, in seconds since 1970.
        rows: How many it holds, where the service says.
        bytes: Their stored size, where the service says.
        properties: Comment, lifecycle and table properties.
        is_view: Whether it has no rows of its own.
    """

    columns: tuple[Column, ...]
    partitions: tuple[Column, ...]
    plain_decimals: frozenset[str]
    modified: float
    rows: int | None
    bytes: int | None
    properties: dict[str, str]
    is_view: bool


def find_table(connection: Connection, ref: TableRef) -> TableMeta | None:
    """Returns what the service tells of a table; None when there is none.

    Raises:
        TableError: No such project, or a column whose type is not known.
    """
    told = connection.find(path_of(ref), str(ref), lambda error: kind_of(error) is Kind.NO_TABLE)
    return None if told is None else _table(ref, told)


def table_names(connection: Connection, project: str) -> list[str]:
    """Lists the tables of a project; none where there is no such project."""
    names: list[str] = []
    for page in _pages(connection, "Tables", f"projects/{project}/tables", f"project {project}", {}, Kind.NO_PROJECT):
        names += [table.findtext("Name") or "" for table in page.iter("Table")]
    return sorted(name.lower() for name in names)


def partition_list(connection: Connection, ref: TableRef, columns: tuple[Column, ...]) -> list[Partition]:
    """Lists all partitions of a table, sorted; names only."""
    found = []
    for page in _pages(connection, "Partitions", path_of(ref), str(ref), {"partitions": ""}):
        for partition in page.iter("Partition"):
            values = {one.get("Name", "").lower(): one.get("Value", "") for one in partition.iter("Column")}
            found.append(tuple((column.name, values.get(column.name, "")) for column in columns))
    return sorted(found)


def partition_modified(connection: Connection, ref: TableRef, leaf: Partition) -> float | None:
    """Returns when the rows of a partition were last changed, in seconds since 1970; None where there is none."""
    quoted = ",".join(f"{key}='{value}'" for key, value in leaf)
    told = connection.find(path_of(ref), str(ref), lambda error: kind_of(error) is Kind.NO_PARTITION, partition=quoted)
    return None if told is None else float(_schema(_parsed(told, "Partition", str(ref))).get("lastModifiedTime") or 0)


def path_of(ref: TableRef) -> str:
    """Returns the path of a table below the endpoint."""
    return f"projects/{ref.project}/tables/{ref.name}"


def _table(ref: TableRef, text: str) -> TableMeta:
    schema = _schema(_parsed(text, "Table", str(ref)))
    listed = [*schema.get("columns", ()), *schema.get("partitionKeys", ())]
    plain = frozenset(one["name"].lower() for one in listed if one["type"].strip().lower() == "decimal")
    properties = schema.get("tableProperties") or {}
    if isinstance(properties, str):
        properties = json.loads(properties)
    properties = {str(key): str(value) for key, value in properties.items()}
    if schema.get("comment"):
        properties["comment"] = str(schema["comment"])
    if int(schema.get("lifecycle") or -1) > 0:
        properties["lifecycle"] = str(schema["lifecycle"])
    return TableMeta(
        columns=tuple(_column(ref, one) for one in schema.get("columns", ())),
        partitions=tuple(_column(ref, one) for one in schema.get("partitionKeys", ())),
        plain_decimals=plain,
        modified=float(schema.get("lastModifiedTime") or 0),
        rows=_count(schema.get("recordNum")),
        bytes=_count(schema.get("size")),
        properties=properties,
        is_view=bool(schema.get("isVirtualView")),
    )


def _column(ref: TableRef, told: dict[str, Any]) -> Column:
    try:
        kind = parse_type(told["type"])
    except SyntaxFault as fault:
        raise TableError(
            f"column {told['name']!r} has a type that is not known", where=str(ref), got=f"{told['type']}: {fault}"
        ) from None
    nullable = str(told.get("isNullable", True)).lower() != "false"
    return Column(told["name"], kind, nullable, told.get("defaultValue") or None, told.get("comment") or None)


def _count(told: Any) -> int | None:
    return int(told) if told is not None and int(told) >= 0 else None


def _pages(
    connection: Connection, tag: str, path: str, where: str, params: dict[str, str], missing: Kind | None = None
) -> Iterator[ET.Element]:
    """Yields the pages of a listing; none where it is of something that is not there."""
    marker: str | None = ""
    while marker is not None:
        more = {"marker": marker} if marker else {}
        text = connection.find(
            path, where, lambda error: kind_of(error) is missing, expectmarker="true", **params, **more
        )
        if text is None:
            return
        page = _parsed(text, tag, where)
        yield page
        marker = page.findtext("Marker") or None


def _parsed(text: str, tag: str, where: str) -> ET.Element:
    try:
        root = ET.fromstring(text)  # noqa: S314 - the answer of the service that has our key
    except ET.ParseError:
        root = None
    if root is None or root.tag != tag:
        raise TableError(
            "what answers is not MaxCompute",
            where=where,
            got=text[:80],
            todo="check tables.endpoint, which ends in /api",
        )
    return root


def _schema(root: ET.Element) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(root.findtext("Schema") or "{}")
    return told
