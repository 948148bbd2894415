"""A filter over rows, such as `f1 > 5 AND kind = 'a'`: parsed by pyiceberg, asked of statistics and of rows."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyiceberg.expressions import (
    And,
    BooleanExpression,
    LiteralPredicate,
    Not,
    NotEqualTo,
    NotIn,
    NotNaN,
    NotNull,
    NotStartsWith,
    Or,
    Reference,
    SetPredicate,
    UnboundPredicate,
)
from pyiceberg.expressions.literals import DecimalLiteral, Literal
from pyiceberg.expressions.parser import parse
from pyiceberg.expressions.visitors import (
    _InclusiveMetricsEvaluator,
    _StrictMetricsEvaluator,
    bind,
    residual_evaluator_of,
    rewrite_not,
    visit,
)
from pyiceberg.io.pyarrow import schema_to_pyarrow
from pyiceberg.types import DecimalType, DoubleType, FloatType
from pyparsing import ParseBaseException

from pai_train.errors import did_you_mean
from pai_train.tables.contracts import WhereError
from pai_train.tables.matches import Matches
from pai_train.tables.project import Wanted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyiceberg.manifest import DataFile as ManifestFile
    from pyiceberg.partitioning import PartitionSpec
    from pyiceberg.schema import Schema

_FORM = "comparisons, IN, BETWEEN, LIKE 'start%', IS NULL and IS NAN of columns with values, joined by AND, OR, NOT"
# Iceberg counts rows without a value among these; SQL does not.
_NEGATIONS = (NotEqualTo, NotIn, NotNaN, NotStartsWith)


class Where:
    """Which rows are wanted, by their values; a comparison with a missing value is not fulfilled, as in SQL.

    Args:
        text: The filter.
        schema: The table's columns.
        where: What is filtered, for messages.

    Attributes:
        wanted: The columns that it looks at, as `mask` takes them.

    Raises:
        WhereError: It cannot be parsed, names a column that is not there, or compares with a value of another type.
    """

    def __init__(self, text: str, schema: Schema, where: str) -> None:
        expression = _scaled(_parsed(text, where), schema)
        for predicate in _predicates(expression):
            _check(predicate, schema, where)
        self._schema = schema
        self._expression = _as_sql(rewrite_not(expression))
        self._bound = bind(schema, self._expression, case_sensitive=False)
        names = {_name(predicate).lower() for predicate in _predicates(self._expression)}
        fields = [field for field in schema.fields if field.name.lower() in names]
        types = [schema_to_pyarrow(field.field_type) for field in fields]
        self.wanted = tuple(
            Wanted(field, pa.field(field.name, type_)) for field, type_ in zip(fields, types, strict=True)
        )
        # Bounds say nothing of values that are no number.
        self._provable = not any(isinstance(field.field_type, FloatType | DoubleType) for field in fields)

    def mask(self, table: pa.Table) -> pa.ChunkedArray | pa.Array:
        """Returns which rows fulfil it, of a table of the columns `wanted`, in their order."""
        # Strings may come dictionary encoded, which not every kernel compares.
        columns = {
            one.id: column.cast(one.declared.type) if pa.types.is_dictionary(column.type) else column
            for one, column in zip(self.wanted, table.columns, strict=True)
        }
        found = visit(self._bound, Matches(columns))
        return pa.repeat(found, table.num_rows) if isinstance(found, pa.Scalar) else found

    def decide(self, file: ManifestFile, spec: PartitionSpec | None = None) -> bool | None:
        """Tells from partition and statistics whether all rows of a file fulfil it, or none; None where some may.

        Args:
            file: The file, or the part of one, with its statistics.
            spec: How the table is partitioned; None leaves the partition out.
        """
        rest = self._expression
        if spec is not None:
            rest = residual_evaluator_of(spec, rest, False, self._schema).residual_for(file.partition)
        if not _InclusiveMetricsEvaluator(self._schema, rest, case_sensitive=False).eval(file):
            return False
        proven = self._provable or not list(_predicates(rest))
        if proven and _StrictMetricsEvaluator(self._schema, rest, case_sensitive=False).eval(file):
            return True
        return None


def _parsed(text: str, where: str) -> BooleanExpression:
    try:
        return parse(text)
    except ParseBaseException as fault:
        got = f"{text}, not understood from character {fault.loc + 1} on"
        raise WhereError("not a filter", where=where, got=got, wanted=_FORM) from None
    except ValueError as fault:
        raise WhereError("not a filter", where=where, got=f"{text}: {fault}", wanted=_FORM) from None


def _predicates(expression: BooleanExpression) -> Iterator[UnboundPredicate]:
    if isinstance(expression, And | Or):
        yield from _predicates(expression.left)
        yield from _predicates(expression.right)
    elif isinstance(expression, Not):
        yield from _predicates(expression.child)
    elif isinstance(expression, UnboundPredicate):
        yield expression


def _name(predicate: UnboundPredicate) -> str:
    term = predicate.term
    return term.name if isinstance(term, Reference) else str(term)


def _check(predicate: UnboundPredicate, schema: Schema, where: str) -> None:
    name = _name(predicate)
    columns = {field.name.lower(): field for field in schema.fields}
    if name.lower() not in columns:
        todo = did_you_mean(name, columns)
        raise WhereError(f"the filter names a column {name!r} that the table does not have", where=where, todo=todo)
    try:
        predicate.bind(schema, case_sensitive=False)
    except (ValueError, TypeError) as fault:
        raise WhereError(
            f"the filter compares column {name!r} with a value of another type",
            where=where,
            got=str(fault),
            wanted=f"a value of type {columns[name.lower()].field_type}",
        ) from None


def _scaled(expression: BooleanExpression, schema: Schema) -> BooleanExpression:
    """Gives numbers that are compared with DECIMAL columns as many places as the column has: 1.5 is 1.50."""
    if isinstance(expression, And):
        return And(_scaled(expression.left, schema), _scaled(expression.right, schema))
    if isinstance(expression, Or):
        return Or(_scaled(expression.left, schema), _scaled(expression.right, schema))
    if isinstance(expression, Not):
        return Not(_scaled(expression.child, schema))
    if isinstance(expression, LiteralPredicate | SetPredicate):
        types = {field.name.lower(): field.field_type for field in schema.fields}
        type_ = types.get(_name(expression).lower())
        if isinstance(type_, DecimalType) and isinstance(expression, SetPredicate):
            return type(expression)(expression.term, {_at_scale(one, type_.scale) for one in expression.literals})
        if isinstance(type_, DecimalType) and isinstance(expression, LiteralPredicate):
            return type(expression)(expression.term, _at_scale(expression.literal, type_.scale))
    return expression


def _at_scale(literal: Literal[Any], scale: int) -> Literal[Any]:
    if not isinstance(literal, DecimalLiteral):
        return literal
    exponent = literal.value.as_tuple().exponent
    if not isinstance(exponent, int) or exponent <= -scale:
        return literal
    sign, digits, _ = literal.value.as_tuple()
    return DecimalLiteral(Decimal((sign, digits + (0,) * (exponent + scale), -scale)))


def _as_sql(expression: BooleanExpression) -> BooleanExpression:
    if isinstance(expression, And):
        return And(_as_sql(expression.left), _as_sql(expression.right))
    if isinstance(expression, Or):
        return Or(_as_sql(expression.left), _as_sql(expression.right))
    if isinstance(expression, _NEGATIONS):
        return And(expression, NotNull(term=expression.term))
    return expression
