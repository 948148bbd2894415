"""The parser of CREATE TABLE statements of MaxCompute."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NoReturn, TypedDict

from pai_train.errors import did_you_mean, nearest
from pai_train.spec.table import Clustering, Column, Ddl
from pai_train.spec.tokens import MAX_NAME_BYTES, Cursor, SyntaxFault, Token, is_name, is_word, quote_text
from pai_train.spec.types import Primitive, Text, read_type

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Sequence

__all__ = ["Clustering", "Column", "Ddl", "SyntaxFault", "parse_ddl"]

MAX_PARTITION_LEVELS = 6
_PARTITION_TYPES = ("TINYINT", "SMALLINT", "INT", "BIGINT", "STRING", "DATE", "DATETIME", "TIMESTAMP", "TIMESTAMP_NTZ")
_DATED = ("DATE", "DATETIME", "TIMESTAMP", "TIMESTAMP_NTZ")
_CLAUSES = ("COMMENT", "PARTITIONED", "CLUSTERED", "RANGE", "TBLPROPERTIES", "LIFECYCLE")

_EXTERNAL = "external tables and file formats are not supported: the table store keeps the rows; read files as an input"
_REFUSED = {
    "LIKE": "LIKE is not supported: the columns must be written out, to be compared with a table that exists",
    "AS": "AS SELECT is not supported: no query is run; write the columns out and fill the table by an output",
    "AUTO": "AUTO PARTITIONED BY is not supported: such partitions are filled by SQL only; use PARTITIONED BY",
    "STORED": f"STORED is not supported: {_EXTERNAL}",
    "LOCATION": f"LOCATION is not supported: {_EXTERNAL}",
    "WITH": f"WITH SERDEPROPERTIES is not supported: {_EXTERNAL}",
    "ROW": f"ROW FORMAT is not supported: {_EXTERNAL}",
}


class _Attribute(TypedDict, total=False):
    nullable: bool
    default: str
    comment: str


def parse_ddl(text: str) -> Ddl:
    """Reads one CREATE TABLE statement; a `;` may end it.

    Raises:
        SyntaxFault: Not such a statement, or one that asks for what is not supported; says where and why.
    """
    return _Statement(text).parse()


class _Statement:
    """A recursive-descent parser: about one method per rule of the grammar."""

    def __init__(self, text: str) -> None:
        self.cursor = Cursor(text)
        self.columns: dict[str, Column] = {}
        self.partitions: tuple[Column, ...] = ()
        self.primary_key: tuple[str, ...] = ()
        self.comment: str | None = None
        self.clustered: Clustering | None = None
        self.properties: tuple[tuple[str, str], ...] = ()
        self.lifecycle: int | None = None
        self.clauses: set[str] = set()
        self.named: list[tuple[Token, str]] = []

    def parse(self) -> Ddl:
        if_not_exists = self.head()
        project, name = self.table_name()
        after_name = self.cursor.peek()
        if self.cursor.sees_symbol("("):
            self.column_list()
        while self.clause():
            pass
        if not self.columns:
            self.cursor.fault(f"expected columns with their types in '(' and ')', got {after_name}", after_name)
        self.end()
        self.check_named()
        return Ddl(
            name,
            tuple(self.columns.values()),
            project=project,
            partitions=self.partitions,
            comment=self.comment,
            if_not_exists=if_not_exists,
            lifecycle=self.lifecycle,
            properties=self.properties,
            clustered=self.clustered,
            primary_key=self.primary_key,
        )

    def head(self) -> bool:
        cursor, first = self.cursor, self.cursor.peek()
        if not cursor.accept("CREATE"):
            cursor.fault(f"only CREATE TABLE is run, got {first}", first)
        if cursor.sees("OR", "REPLACE"):
            self.refuse("OR REPLACE is not supported: it would drop a table that exists; drop it yourself first")
        if cursor.sees("EXTERNAL"):
            self.refuse(f"EXTERNAL is not supported: {_EXTERNAL}")
        if not cursor.accept("TABLE"):
            self.refuse(f"only CREATE TABLE is run, got {cursor.peek()}")
        return cursor.accept("IF", "NOT", "EXISTS")

    def table_name(self) -> tuple[str | None, str]:
        parts = [self.name("table", is_name)]
        while self.cursor.accept_symbol("."):
            if len(parts) == 2:
                self.refuse("schemas inside a project are not supported: write project.table")
            parts.append(self.name("table", is_name))
        return (None, parts[0]) if len(parts) == 1 else (parts[0], parts[1])

    def name(self, kind: str, valid: Callable[[str], bool] = is_word) -> str:
        token = self.cursor.peek()
        if token.kind not in ("word", "name"):
            self.cursor.expected(f"a {kind} name")
        name = token.value.lower()
        if not valid(name):
            self.refuse(f"not a {kind} name: {token}; wanted letters, digits and '_', at most {MAX_NAME_BYTES} bytes")
        self.cursor.take()
        return name

    def column_list(self) -> None:
        self.cursor.take()
        self.column_or_key()
        while self.cursor.accept_symbol(","):
            self.column_or_key()
        self.cursor.expect_symbol(")", "',' or ')'")

    def column_or_key(self) -> None:
        if not self.cursor.sees("PRIMARY", "KEY"):
            column = self.column(self.columns)
            self.columns[column.name] = column
            return
        self.once("PRIMARY KEY")
        self.cursor.expect("PRIMARY", "KEY")
        self.primary_key = self.known_columns()

    def column(self, others: Container[str]) -> Column:
        token = self.cursor.peek()
        name = self.name("column")
        if name in others:
            self.cursor.fault(f"the column {token} is there twice; names are compared without case", token)
        column = Column(name, read_type(self.cursor))
        seen: set[str] = set()
        while (word := self.cursor.peek().keyword) in ("NOT", "NULL", "DEFAULT", "COMMENT"):
            key = "NULL" if word == "NOT" else word
            if key in seen:
                self.refuse(f"{key} is there twice for the column {token}")
            seen.add(key)
            column = replace(column, **self.attribute())
        return column

    def attribute(self) -> _Attribute:
        if self.cursor.accept("DEFAULT"):
            return {"default": self.literal()}
        if self.cursor.accept("COMMENT"):
            return {"comment": self.cursor.string("the comment, a string")}
        if self.cursor.accept("NULL"):
            return {"nullable": True}
        self.cursor.expect("NOT", "NULL")
        return {"nullable": False}

    def literal(self) -> str:
        cursor = self.cursor
        negative = cursor.accept_symbol("-")
        signed = negative or cursor.accept_symbol("+")
        token = cursor.peek()
        if token.kind == "number":
            return f"{'-' if negative else ''}{cursor.take().value.upper()}"
        if signed:
            cursor.expected("a number")
        if token.kind == "string":
            return quote_text(cursor.take().value)
        if token.keyword in ("TRUE", "FALSE", "NULL"):
            return cursor.take().keyword
        if token.keyword in _DATED and cursor.peek(1).kind == "string":
            return f"{cursor.take().keyword} {quote_text(cursor.take().value)}"
        cursor.expected("a literal such as 0, 'x', TRUE or DATE '2000-01-01'")

    def clause(self) -> bool:
        cursor, word = self.cursor, self.cursor.peek().keyword
        if word in _REFUSED:
            self.refuse(_REFUSED[word])
        if word not in _CLAUSES:
            return False
        self.once("CLUSTERED" if word == "RANGE" else word)
        if cursor.accept("COMMENT"):
            self.comment = cursor.string("the comment, a string")
        elif cursor.accept("PARTITIONED"):
            self.partitions = self.partition_columns()
        elif cursor.accept("TBLPROPERTIES"):
            self.properties = self.property_list()
        elif cursor.accept("LIFECYCLE"):
            self.lifecycle = self.positive("the days of LIFECYCLE, a number from 1")
        else:
            self.clustered = self.clustering()
        return True

    def partition_columns(self) -> tuple[Column, ...]:
        self.cursor.expect("BY")
        self.cursor.expect_symbol("(")
        levels = [self.partition_column(())]
        while self.cursor.accept_symbol(","):
            if len(levels) == MAX_PARTITION_LEVELS:
                self.refuse(f"a table has at most {MAX_PARTITION_LEVELS} levels of partitions")
            levels.append(self.partition_column([level.name for level in levels]))
        self.cursor.expect_symbol(")", "',' or ')'")
        return tuple(levels)

    def partition_column(self, levels: Sequence[str]) -> Column:
        token, type_token = self.cursor.peek(), self.cursor.peek(1)
        column = self.column([*self.columns, *levels])
        simple = isinstance(column.type, Primitive) and column.type.name in _PARTITION_TYPES
        if not simple and not isinstance(column.type, Text):
            self.cursor.fault(f"a partition column cannot be {column.type}; use STRING, BIGINT or DATE", type_token)
        if column.default is not None or not column.nullable:
            self.cursor.fault(f"the partition column {token} takes a type and a comment only", token)
        return column

    def property_list(self) -> tuple[tuple[str, str], ...]:
        self.cursor.expect_symbol("(")
        pairs: dict[str, str] = {}
        while True:
            token = self.cursor.peek()
            key = self.cursor.string("the name of a property, a string")
            if key in pairs:
                self.cursor.fault(f"the property {token} is there twice", token)
            self.cursor.expect_symbol("=")
            pairs[key] = self.cursor.string("the value of a property, a string")
            if not self.cursor.accept_symbol(","):
                break
        self.cursor.expect_symbol(")", "',' or ')'")
        return tuple(pairs.items())

    def clustering(self) -> Clustering:
        cursor = self.cursor
        ranged = cursor.accept("RANGE")
        cursor.expect("CLUSTERED", "BY")
        columns = self.known_columns()
        sorted_by = self.sort_keys() if cursor.accept("SORTED", "BY") else ()
        if ranged and not cursor.sees("INTO"):
            return Clustering(columns, ranged, sorted_by)
        cursor.expect("INTO")
        buckets = self.positive("the number of buckets, from 1")
        cursor.expect("BUCKETS")
        return Clustering(columns, ranged, sorted_by, buckets)

    def sort_keys(self) -> tuple[tuple[str, bool], ...]:
        self.cursor.expect_symbol("(")
        keys = {self.known_column(()): self.descending()}
        while self.cursor.accept_symbol(","):
            name = self.known_column(keys)
            keys[name] = self.descending()
        self.cursor.expect_symbol(")", "',' or ')'")
        return tuple(keys.items())

    def descending(self) -> bool:
        return self.cursor.accept("DESC") or (self.cursor.accept("ASC") and False)

    def known_columns(self) -> tuple[str, ...]:
        self.cursor.expect_symbol("(")
        names = [self.known_column(())]
        while self.cursor.accept_symbol(","):
            names.append(self.known_column(names))
        self.cursor.expect_symbol(")", "',' or ')'")
        return tuple(names)

    def known_column(self, others: Container[str]) -> str:
        token = self.cursor.peek()
        name = self.name("column")
        if name in others:
            self.cursor.fault(f"the column {token} is there twice", token)
        self.named.append((token, name))
        return name

    def check_named(self) -> None:
        for token, name in self.named:
            if name not in self.columns:
                self.cursor.fault(f"the table has no data column {token}, {did_you_mean(name, self.columns)}", token)

    def positive(self, wanted: str) -> int:
        token = self.cursor.peek()
        number = self.cursor.integer(wanted)
        if number < 1:
            self.cursor.fault(f"expected {wanted}, got {token}", token)
        return number

    def once(self, clause: str) -> None:
        if clause in self.clauses:
            self.refuse(f"{clause} is there twice")
        self.clauses.add(clause)

    def end(self) -> None:
        ended = False
        while self.cursor.accept_symbol(";"):
            ended = True
        token = self.cursor.peek()
        if token.kind == "end":
            return
        if ended:
            self.refuse(f"only one statement is run, got another that begins with {token}")
        close = nearest(token.value, _CLAUSES) if token.kind == "word" else None
        hint = f", did you mean {close!r}?" if close else ""
        self.refuse(f"expected a clause or the end of the statement, got {token}{hint}")

    def refuse(self, message: str) -> NoReturn:
        self.cursor.fault(message, self.cursor.peek())
