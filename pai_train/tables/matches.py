"""Which rows fulfil a bound expression: one pass of Arrow's kernels per comparison, in SQL's logic of three values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.expressions.visitors import BoundBooleanExpressionVisitor

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyiceberg.expressions import BoundTerm
    from pyiceberg.expressions.literals import Literal


class Matches(BoundBooleanExpressionVisitor[Any]):
    """Gives a boolean per row, null where a value is missing, or one boolean for all.

    Args:
        columns: The columns, by field id, in the Arrow types of their Iceberg types.
    """

    def __init__(self, columns: Mapping[int, pa.ChunkedArray]) -> None:
        self._columns = columns

    def visit_equal(self, term: BoundTerm, literal: Literal[Any]) -> Any:
        return self._compared(pc.equal, term, literal)

    def visit_not_equal(self, term: BoundTerm, literal: Literal[Any]) -> Any:
        return self._compared(pc.not_equal, term, literal)

    def visit_less_than(self, term: BoundTerm, literal: Literal[Any]) -> Any:
        return self._compared(pc.less, term, literal)

    def visit_less_than_or_equal(self, term: BoundTerm, literal: Literal[Any]) -> Any:
        return self._compared(pc.less_equal, term, literal)

    def visit_greater_than(self, term: BoundTerm, literal: Literal[Any]) -> Any:
        return self._compared(pc.greater, term, literal)

    def visit_greater_than_or_equal(self, term: BoundTerm, literal: Literal[Any]) -> Any:
        return self._compared(pc.greater_equal, term, literal)

    def visit_in(self, term: BoundTerm, literals: set[Any]) -> Any:
        column = self._of(term)
        return pc.is_in(column, pa.array([_scalar(value, column.type).as_py() for value in literals], column.type))

    def visit_not_in(self, term: BoundTerm, literals: set[Any]) -> Any:
        return pc.invert(self.visit_in(term, literals))

    def visit_is_nan(self, term: BoundTerm) -> Any:
        return pc.is_nan(self._of(term))

    def visit_not_nan(self, term: BoundTerm) -> Any:
        return pc.invert(pc.is_nan(self._of(term)))

    def visit_is_null(self, term: BoundTerm) -> Any:
        return pc.is_null(self._of(term))

    def visit_not_null(self, term: BoundTerm) -> Any:
        return pc.is_valid(self._of(term))

    def visit_starts_with(self, term: BoundTerm, literal: Literal[Any]) -> Any:
        return pc.starts_with(self._of(term), literal.value)

    def visit_not_starts_with(self, term: BoundTerm, literal: Literal[Any]) -> Any:
        return pc.invert(self.visit_starts_with(term, literal))

    def visit_true(self) -> Any:
        return pa.scalar(True)

    def visit_false(self) -> Any:
        return pa.scalar(False)

    def visit_not(self, child_result: Any) -> Any:
        return pc.invert(child_result)

    def visit_and(self, left_result: Any, right_result: Any) -> Any:
        return pc.and_kleene(left_result, right_result)

    def visit_or(self, left_result: Any, right_result: Any) -> Any:
        return pc.or_kleene(left_result, right_result)

    def _of(self, term: BoundTerm) -> pa.ChunkedArray:
        return self._columns[term.ref().field.field_id]

    def _compared(self, kernel: Any, term: BoundTerm, literal: Literal[Any]) -> Any:
        column = self._of(term)
        return kernel(column, _scalar(literal.value, column.type))


def _scalar(value: Any, type_: pa.DataType) -> pa.Scalar:
    """Returns a literal as Arrow has it: Iceberg's dates are days and its times microseconds."""
    if pa.types.is_date32(type_):
        return pa.scalar(value, pa.int32()).cast(type_)
    if pa.types.is_timestamp(type_):
        return pa.scalar(value, pa.int64()).cast(type_)
    return pa.scalar(value, type_)
