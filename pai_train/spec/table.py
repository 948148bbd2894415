"""What a CREATE TABLE statement of MaxCompute says, as values, and its text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pai_train.spec.tokens import quote_name, quote_text

if TYPE_CHECKING:
    from pai_train.spec.types import MaxComputeType


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        name: In lower case, whatever it is made from: MaxCompute compares names without case.
        type: Its declared type.
        nullable: Whether a row may leave it out.
        default: The SQL literal that stands for a value left out, such as `0` or `'x'`.
        comment: Free text.
    """

    name: str
    type: MaxComputeType
    nullable: bool = True
    default: str | None = None
    comment: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", self.name.lower())

    def sql(self) -> str:
        """Returns the column as a CREATE TABLE statement declares it."""
        words = [quote_name(self.name), str(self.type)]
        words += [] if self.nullable else ["NOT NULL"]
        words += [] if self.default is None else [f"DEFAULT {self.default}"]
        words += [] if self.comment is None else [f"COMMENT {quote_text(self.comment)}"]
        return " ".join(words)


@dataclass(frozen=True)
class Clustering:
    """How rows are laid out in buckets.

    Attributes:
        columns: The columns whose values choose the bucket.
        ranged: By ranges of values; else by hash.
        sorted_by: (column, descending) of the order inside a bucket.
        buckets: How many; None lets MaxCompute choose, for ranges only.
    """

    columns: tuple[str, ...]
    ranged: bool = False
    sorted_by: tuple[tuple[str, bool], ...] = ()
    buckets: int | None = None

    def sql(self) -> str:
        """Returns the clause of a CREATE TABLE statement."""
        clause = f"{'RANGE ' if self.ranged else ''}CLUSTERED BY ({_names(self.columns)})"
        if self.sorted_by:
            keys = (f"{quote_name(name)} {'DESC' if descending else 'ASC'}" for name, descending in self.sorted_by)
            clause += f" SORTED BY ({', '.join(keys)})"
        return clause if self.buckets is None else f"{clause} INTO {self.buckets} BUCKETS"


@dataclass(frozen=True)
class Ddl:
    """One CREATE TABLE statement; names are kept in lower case.

    Attributes:
        name: The table's name.
        columns: Data columns, in order.
        project: The project, where the statement names one.
        partitions: Partition columns, outermost first; none is a data column.
        comment: The table's comment.
        if_not_exists: Whether the statement says IF NOT EXISTS.
        lifecycle: Days after its last change that the table is kept.
        properties: TBLPROPERTIES, in order.
        clustered: Its CLUSTERED BY clause.
        primary_key: Names of data columns.
    """

    name: str
    columns: tuple[Column, ...]
    project: str | None = None
    partitions: tuple[Column, ...] = ()
    comment: str | None = None
    if_not_exists: bool = False
    lifecycle: int | None = None
    properties: tuple[tuple[str, str], ...] = ()
    clustered: Clustering | None = None
    primary_key: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", self.name.lower())
        if self.project is not None:
            object.__setattr__(self, "project", self.project.lower())

    def sql(self) -> str:
        """Returns the statement, without a `;`; `parse_ddl` is its inverse."""
        name = quote_name(self.name) if self.project is None else f"{quote_name(self.project)}.{quote_name(self.name)}"
        rows = [column.sql() for column in self.columns]
        rows += [f"PRIMARY KEY ({_names(self.primary_key)})"] if self.primary_key else []
        body = ",\n".join(f"  {row}" for row in rows)
        clauses = [f"CREATE TABLE {'IF NOT EXISTS ' if self.if_not_exists else ''}{name} (\n{body}\n)"]
        if self.comment is not None:
            clauses.append(f"COMMENT {quote_text(self.comment)}")
        if self.partitions:
            clauses.append(f"PARTITIONED BY ({', '.join(column.sql() for column in self.partitions)})")
        if self.clustered is not None:
            clauses.append(self.clustered.sql())
        if self.properties:
            pairs = (f"{quote_text(key)}={quote_text(value)}" for key, value in self.properties)
            clauses.append(f"TBLPROPERTIES ({', '.join(pairs)})")
        if self.lifecycle is not None:
            clauses.append(f"LIFECYCLE {self.lifecycle}")
        return "\n".join(clauses)


def _names(names: tuple[str, ...]) -> str:
    return ", ".join(quote_name(name) for name in names)
