"""MaxCompute's column types as values, with the text they are written in."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeVar

from pai_train.errors import did_you_mean
from pai_train.spec.tokens import MAX_NAME_BYTES, Cursor, SyntaxFault, Token, is_name, quote_name

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "Array",
    "Decimal",
    "Map",
    "MaxComputeType",
    "Primitive",
    "Struct",
    "SyntaxFault",
    "Text",
    "Vector",
    "parse_type",
    "read_type",
]

PRIMITIVES = (
    *("TINYINT", "SMALLINT", "INT", "BIGINT", "FLOAT", "DOUBLE", "BOOLEAN", "STRING", "BINARY"),
    *("DATE", "DATETIME", "TIMESTAMP", "TIMESTAMP_NTZ", "INTERVAL_DAY_TIME", "INTERVAL_YEAR_MONTH", "JSON"),
)
_PARAMETRIC = ("DECIMAL", "VARCHAR", "CHAR", "ARRAY", "MAP", "STRUCT", "VECTOR")
_VECTOR_ELEMENTS = ("TINYINT", "SMALLINT", "INT", "BIGINT", "FLOAT", "DOUBLE")
_MAX_LENGTHS = {"VARCHAR": 65535, "CHAR": 255}
_MAX_DEPTH = 20

# What may follow a column's name by mistake, where the type was left out.
_AFTER_TYPE = {"COMMENT", "NOT", "NULL", "DEFAULT", "LIFECYCLE", "PARTITIONED", "CLUSTERED", "PRIMARY", "TBLPROPERTIES"}

T = TypeVar("T")


@dataclass(frozen=True)
class Primitive:
    """A type without parameters.

    Attributes:
        name: One of `PRIMITIVES`.
    """

    name: str

    def __post_init__(self) -> None:
        if self.name not in PRIMITIVES:
            raise ValueError(f"unknown type {self.name!r}, {did_you_mean(self.name, PRIMITIVES)}")

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Decimal:
    """An exact number. `DECIMAL` is (38, 18), as on MaxCompute; `DECIMAL(p)` is (p, 0).

    Attributes:
        precision: Digits in all, 1 to 38.
        scale: Digits after the point, 0 to 18.
    """

    precision: int = 38
    scale: int = 18

    def __post_init__(self) -> None:
        if not 1 <= self.precision <= 38:
            raise ValueError(f"the precision of DECIMAL is 1 to 38, got {self.precision}")
        if not 0 <= self.scale <= min(18, self.precision):
            raise ValueError(f"the scale of DECIMAL is 0 to 18 and at most its precision, got {self.scale}")

    def __str__(self) -> str:
        return f"DECIMAL({self.precision},{self.scale})"


@dataclass(frozen=True)
class Text:
    """A string of bounded length.

    Attributes:
        name: VARCHAR or CHAR.
        length: In characters: 1 to 65535, for CHAR to 255.
    """

    name: Literal["VARCHAR", "CHAR"]
    length: int

    def __post_init__(self) -> None:
        if not 1 <= self.length <= _MAX_LENGTHS[self.name]:
            raise ValueError(f"the length of {self.name} is 1 to {_MAX_LENGTHS[self.name]}, got {self.length}")

    def __str__(self) -> str:
        return f"{self.name}({self.length})"


@dataclass(frozen=True)
class Array:
    """A list of values of one type."""

    element: MaxComputeType

    def __str__(self) -> str:
        return f"ARRAY<{self.element}>"


@dataclass(frozen=True)
class Map:
    """Values by key; keys are not nested types."""

    key: MaxComputeType
    value: MaxComputeType

    def __post_init__(self) -> None:
        if not isinstance(self.key, Primitive | Decimal | Text):
            raise ValueError(f"the key of a MAP is not a nested type, got {self.key}")

    def __str__(self) -> str:
        return f"MAP<{self.key},{self.value}>"


@dataclass(frozen=True)
class Struct:
    """Named values.

    Attributes:
        fields: (name, type) in order; names keep their case and differ in more than case.
    """

    fields: tuple[tuple[str, MaxComputeType], ...]

    def __post_init__(self) -> None:
        names = [name for name, _ in self.fields]
        if not names:
            raise ValueError("a STRUCT has at least one field")
        for name in names:
            if not name or len(name.encode(errors="surrogatepass")) > MAX_NAME_BYTES or not {*"`\n"}.isdisjoint(name):
                raise ValueError(f"not a field name: {name!r}; wanted 1 to {MAX_NAME_BYTES} bytes without backquotes")
        twice = [name for name, count in Counter(name.lower() for name in names).items() if count > 1]
        if twice:
            raise ValueError(f"the field {twice[0]!r} is there twice; names are compared without case")

    def __str__(self) -> str:
        fields = ",".join(f"{name if is_name(name) else quote_name(name)}:{type_}" for name, type_ in self.fields)
        return f"STRUCT<{fields}>"


@dataclass(frozen=True)
class Vector:
    """A list of numbers of fixed length.

    Attributes:
        element: A number type.
        size: How many, from 1.
    """

    element: Primitive
    size: int

    def __post_init__(self) -> None:
        if self.element.name not in _VECTOR_ELEMENTS:
            raise ValueError(f"the elements of a VECTOR are {', '.join(_VECTOR_ELEMENTS)}, got {self.element}")
        if self.size < 1:
            raise ValueError(f"the size of a VECTOR is at least 1, got {self.size}")

    def __str__(self) -> str:
        return f"VECTOR({self.element},{self.size})"


MaxComputeType = Primitive | Decimal | Text | Array | Map | Struct | Vector


def parse_type(text: str) -> MaxComputeType:
    """Reads a type as written in a CREATE TABLE statement, in any case; `str()` is its inverse.

    Raises:
        SyntaxFault: Not a type of MaxCompute, or a parameter out of its bounds.
    """
    cursor = Cursor(text)
    type_ = read_type(cursor)
    if cursor.peek().kind != "end":
        cursor.expected("the end of the type")
    return type_


def read_type(cursor: Cursor, depth: int = 0) -> MaxComputeType:
    """Reads a type where the cursor stands and moves past it.

    Raises:
        SyntaxFault: No type is here.
    """
    token = cursor.peek()
    if depth > _MAX_DEPTH:
        cursor.fault(f"types are nested at most {_MAX_DEPTH} deep", token)
    name = token.keyword
    if token.kind != "word" or name in _AFTER_TYPE:
        cursor.expected("a type")
    if name in PRIMITIVES:
        cursor.take()
        return Primitive(name)
    if name not in _PARAMETRIC:
        hint = did_you_mean(token.value, (*PRIMITIVES, *_PARAMETRIC))
        cursor.fault(f"unknown type {token}, {hint}", token)
    cursor.take()
    if name == "DECIMAL":
        return _decimal(cursor, token)
    if name in ("ARRAY", "MAP", "STRUCT"):
        return _nested(cursor, token, depth + 1)
    return _sized(cursor, token, depth + 1)


def _decimal(cursor: Cursor, at: Token) -> Decimal:
    if not cursor.accept_symbol("("):
        return Decimal()
    precision = cursor.integer("the precision, a number from 1 to 38")
    scale = cursor.integer("the scale, a number from 0 to 18") if cursor.accept_symbol(",") else 0
    cursor.expect_symbol(")")
    return _checked(cursor, at, lambda: Decimal(precision, scale))


def _sized(cursor: Cursor, at: Token, depth: int) -> Text | Vector:
    cursor.expect_symbol("(")
    if at.keyword != "VECTOR":
        length = cursor.integer("the length, a number from 1")
        cursor.expect_symbol(")")
        name: Literal["VARCHAR", "CHAR"] = "VARCHAR" if at.keyword == "VARCHAR" else "CHAR"
        return _checked(cursor, at, lambda: Text(name, length))
    element = read_type(cursor, depth)
    cursor.expect_symbol(",")
    size = cursor.integer("the size, a number from 1")
    cursor.expect_symbol(")")
    if not isinstance(element, Primitive):
        cursor.fault(f"the elements of a VECTOR are {', '.join(_VECTOR_ELEMENTS)}, got {element}", at)
    return _checked(cursor, at, lambda: Vector(element, size))


def _nested(cursor: Cursor, at: Token, depth: int) -> Array | Map | Struct:
    cursor.expect_symbol("<")
    if at.keyword == "STRUCT":
        fields = [_field(cursor, depth)]
        while cursor.accept_symbol(","):
            fields.append(_field(cursor, depth))
        cursor.expect_symbol(">", "',' or '>'")
        return _checked(cursor, at, lambda: Struct(tuple(fields)))
    first = read_type(cursor, depth)
    if at.keyword == "ARRAY":
        cursor.expect_symbol(">")
        return Array(first)
    cursor.expect_symbol(",")
    value = read_type(cursor, depth)
    cursor.expect_symbol(">")
    return _checked(cursor, at, lambda: Map(first, value))


def _field(cursor: Cursor, depth: int) -> tuple[str, MaxComputeType]:
    if cursor.peek().kind not in ("word", "name"):
        cursor.expected("a field name")
    name = cursor.take().value
    cursor.expect_symbol(":")
    return name, read_type(cursor, depth)


def _checked(cursor: Cursor, at: Token, make: Callable[[], T]) -> T:
    """Gives the fault of a type's own check the position of the type."""
    try:
        return make()
    except ValueError as fault:
        cursor.fault(str(fault), at)
