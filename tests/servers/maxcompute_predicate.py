"""The filters that the Storage API of the MaxCompute server takes: comparisons joined by AND, OR and NOT."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa
import pyarrow.compute as pc

from pai_train.spec.tokens import Cursor, SyntaxFault
from tests.servers.maxcompute_answers import Refused

_COMPARISONS: dict[str, Callable[[pc.Expression, pc.Expression], pc.Expression]] = {
    "=": lambda left, right: left == right,
    "==": lambda left, right: left == right,
    "!=": lambda left, right: left != right,
    "<>": lambda left, right: left != right,
    "<": lambda left, right: left < right,
    "<=": lambda left, right: left <= right,
    ">": lambda left, right: left > right,
    ">=": lambda left, right: left >= right,
}


def predicate(text: str, schema: pa.Schema) -> pc.Expression | None:
    """Returns the filter that a text means; None when it is empty.

    Args:
        text: The text.
        schema: The columns that it may name.

    Raises:
        Refused: It is wrong, or asks for more than is done here.
    """
    if not text.strip():
        return None
    try:
        parser = _Parser(Cursor(text), schema)
        found = parser.any_of()
        parser.end()
    except SyntaxFault as fault:
        raise Refused(400, "InvalidArgument", f"Invalid argument: FilterPredicate: {fault}") from fault
    return found


class _Parser:
    """A recursive-descent parser, with about one method per rule."""

    def __init__(self, cursor: Cursor, schema: pa.Schema) -> None:
        self._cursor = cursor
        self._schema = schema

    def any_of(self) -> pc.Expression:
        found = self._all_of()
        while self._cursor.accept("OR"):
            found |= self._all_of()
        return found

    def end(self) -> None:
        if self._cursor.peek().kind != "end":
            self._cursor.expected("AND, OR or the end")

    def _all_of(self) -> pc.Expression:
        found = self._one()
        while self._cursor.accept("AND"):
            found &= self._one()
        return found

    def _one(self) -> pc.Expression:
        if self._cursor.accept("NOT"):
            return ~self._one()
        if self._cursor.accept_symbol("("):
            found = self.any_of()
            self._cursor.expect_symbol(")")
            return found
        return self._comparison()

    def _comparison(self) -> pc.Expression:
        cursor, token = self._cursor, self._cursor.peek()
        if token.kind not in ("word", "name"):
            cursor.expected("the name of a column")
        name = cursor.take().value.lower()
        if name not in self._schema.names:
            cursor.fault(f"no column {token}", token)
        column, kind = pc.field(name), self._schema.field(name).type
        if cursor.accept("IS", "NOT", "NULL"):
            return column.is_valid()
        if cursor.accept("IS", "NULL"):
            return column.is_null()
        if cursor.accept("NOT", "IN"):
            return ~column.isin(self._literals(kind))
        if cursor.accept("IN"):
            return column.isin(self._literals(kind))
        operator = ""
        while cursor.peek().kind == "symbol" and cursor.peek().value in "=<>!":
            operator += cursor.take().value
        if operator not in _COMPARISONS:
            cursor.expected("a comparison, IN or IS NULL")
        return _COMPARISONS[operator](column, pc.scalar(self._literal(kind)))

    def _literals(self, kind: pa.DataType) -> list[pa.Scalar]:
        self._cursor.expect_symbol("(")
        found = [self._literal(kind)]
        while self._cursor.accept_symbol(","):
            found.append(self._literal(kind))
        self._cursor.expect_symbol(")")
        return found

    def _literal(self, kind: pa.DataType) -> pa.Scalar:
        cursor = self._cursor
        sign = "-" if cursor.accept_symbol("-") else ""
        token = cursor.peek()
        if token.keyword in ("TRUE", "FALSE") and not sign:
            text = token.keyword.lower()
        elif token.kind == "number":
            text = f"{sign}{token.value.rstrip('LlSsYy')}"
        elif token.kind == "string" and not sign:
            text = token.value
        else:
            cursor.expected("a number, a string, TRUE or FALSE")
        cursor.take()
        try:
            return pa.scalar(text).cast(kind)
        except pa.ArrowException:
            cursor.fault(f"not a value of {kind}: {token}", token)
