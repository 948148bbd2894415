"""Whether Python values fit a column, and the Arrow array they make; a value that does not is named with its row."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from pai_train.errors import TableError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_INTEGERS = (int, np.integer)
_KINDS: tuple[tuple[Callable[[pa.DataType], bool], tuple[type, ...]], ...] = (
    (pa.types.is_boolean, (bool, np.bool_)),
    (pa.types.is_integer, _INTEGERS),
    (pa.types.is_floating, (float, np.floating, *_INTEGERS)),
    (pa.types.is_string, (str, bytes)),
    (pa.types.is_binary, (bytes, bytearray)),
    (pa.types.is_decimal, (Decimal, *_INTEGERS)),
    (pa.types.is_date, (dt.date, np.datetime64)),
    (pa.types.is_timestamp, (dt.datetime, np.datetime64)),
    (pa.types.is_nested, (list, tuple, dict, np.ndarray)),
)
_SHOWN = 80


class Cells:
    """One column of an output: takes values, and makes Arrow arrays of them.

    Args:
        name: The column.
        declared: Its MaxCompute type, for messages.
        kind: Its Arrow type.
        where: The table, for messages.
    """

    def __init__(self, name: str, declared: str, kind: pa.DataType, where: str) -> None:
        self.name = name
        self._declared = declared
        self._kind = kind
        self._where = where
        self._takes = next((types for is_kind, types in _KINDS if is_kind(kind)), ())
        self._known: dict[type, bool] = {type(None): True}

    def fitted(self, values: list[Any], row: int, allow_type_cast: bool) -> list[Any]:
        """Returns the values, converted where that is allowed and needed.

        Args:
            values: The next values of the column.
            row: The row of the first.
            allow_type_cast: Whether text is read as a number, a number written as text, and so on.

        Raises:
            TableError: A value is of another type, or cannot be converted.
        """
        wrong = [kind for kind in set(map(type, values)) if not self._fits(kind)]
        if not wrong:
            return values
        if allow_type_cast:
            return [self._cast(value, row + at) if type(value) in wrong else value for at, value in enumerate(values)]
        at = next(at for at, value in enumerate(values) if type(value) in wrong)
        raise self._refused(row + at, values[at], todo="convert it, or pass allow_type_cast=True")

    def bytes_of(self, values: Sequence[Any]) -> int:
        """Returns how many letters or bytes fitted values hold; 0 for what is not text."""
        if not (pa.types.is_string(self._kind) or pa.types.is_binary(self._kind)):
            return 0
        return sum(len(value) for value in values if value is not None)

    def array(self, values: Sequence[Any], row: int) -> pa.Array:
        """Returns fitted values as an Arrow array.

        Raises:
            TableError: A value is outside the range of the column's type, or not what it takes inside.
        """
        try:
            return self._array(values)
        except (pa.ArrowException, ValueError, TypeError, OverflowError) as fault:
            at = self._first_wrong(values)
            raise self._refused(row + at, values[at], why=str(fault)) from None

    def _array(self, values: Sequence[Any]) -> pa.Array:
        if not pa.types.is_floating(self._kind) or self._kind == pa.float64():
            return pa.array(values, self._kind)
        wide = pa.array(values, pa.float64())
        narrow = wide.cast(self._kind, safe=False)
        lost = np.isinf(narrow.to_numpy(zero_copy_only=False)) & np.isfinite(wide.to_numpy(zero_copy_only=False))
        if lost.any():
            raise ValueError("out of range")
        return narrow

    def _first_wrong(self, values: Sequence[Any]) -> int:
        """Finds the first value that makes no array, in few arrays."""
        lo, hi = 0, len(values)
        while hi - lo > 1:
            middle = (lo + hi) // 2
            try:
                self._array(values[lo:middle])
            except (pa.ArrowException, ValueError, TypeError, OverflowError):
                hi = middle
            else:
                lo = middle
        return lo

    def _fits(self, kind: type) -> bool:
        if kind not in self._known:
            is_bool = issubclass(kind, bool | np.bool_)
            self._known[kind] = issubclass(kind, self._takes) and (not is_bool or pa.types.is_boolean(self._kind))
        return self._known[kind]

    def _cast(self, value: Any, row: int) -> Any:
        plain = value.item() if isinstance(value, np.generic) else value
        text = plain.decode(errors="replace") if isinstance(plain, bytes) else plain
        try:
            if pa.types.is_string(self._kind):
                return str(plain)
            if pa.types.is_binary(self._kind):
                return str(plain).encode()
            if pa.types.is_boolean(self._kind) and isinstance(text, str):
                return {"true": True, "1": True, "false": False, "0": False}[text.strip().lower()]
            return pa.scalar(text).cast(self._kind).as_py()
        except (pa.ArrowException, ValueError, TypeError, KeyError) as fault:
            raise self._refused(row, value, why=str(fault)) from None

    def _refused(self, row: int, value: Any, why: str | None = None, todo: str | None = None) -> TableError:
        return TableError(
            f"a value does not fit column {self.name!r}",
            where=f"{self._where}, row {row}",
            got=f"{repr(value)[:_SHOWN]} ({type(value).__name__})" + (f": {why}" if why else ""),
            wanted=self._declared,
            todo=todo,
        )
