"""One column of CSV fields as values of its type: what the type looks like in text, and which field is none."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pai_train.errors import DataError

if TYPE_CHECKING:
    import numpy.typing as npt

_NUMBER = r"([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?"


def convert(values: Any, kind: pa.DataType) -> Any:
    """Turns bytes that match the type's pattern into values; raises ArrowInvalid where one does not fit the type."""
    if pa.types.is_binary(kind):
        return values
    strings = values.cast(pa.string())
    if pa.types.is_string(kind):
        return strings
    trimmed = pc.ascii_trim(strings, characters=" \t")
    if pa.types.is_integer(kind):
        trimmed = pc.replace_substring_regex(trimmed, pattern=r"^\+", replacement="")
    return pc.if_else(pc.equal(strings, ""), None, trimmed).cast(kind)


def first_bad(values: Any, kind: pa.DataType) -> int | None:
    """Returns the first row whose bytes are no value of the type."""
    good, bad = 0, len(values)
    pattern = _pattern(kind)
    if pattern is not None:
        matches = pc.match_substring_regex(values, pattern=rf"(?is)\A(|[ \t]*({pattern})[ \t]*)\z")
        found = pc.index(matches, False).as_py()
        bad = len(values) if found < 0 else found
    if _converts(values.slice(0, bad), kind):
        return bad if bad < len(values) else None
    while bad - good > 1:
        middle = (good + bad) // 2
        if _converts(values.slice(good, middle - good), kind):
            good = middle
        else:
            bad = middle
    return good


def bad_ones(values: Any, kind: pa.DataType) -> npt.NDArray[np.bool_]:
    """Returns which rows' bytes are no value of the type, bool of shape [rows]."""
    bad = np.zeros(len(values), bool)
    pattern = _pattern(kind)
    if pattern is not None:
        matches = pc.match_substring_regex(values, pattern=rf"(?is)\A(|[ \t]*({pattern})[ \t]*)\z")
        bad = ~matches.to_numpy(zero_copy_only=False)
    rows = np.flatnonzero(~bad)
    candidates = values.filter(pa.array(~bad)) if bad.any() else values
    # A range that does not convert is halved until the rows at fault are alone.
    doubtful = [(0, len(rows))]
    while doubtful:
        lo, hi = doubtful.pop()
        if lo == hi or _converts(candidates.slice(lo, hi - lo), kind):
            continue
        if hi - lo == 1:
            bad[rows[lo]] = True
        else:
            middle = (lo + hi) // 2
            doubtful += [(lo, middle), (middle, hi)]
    return bad


def _converts(values: Any, kind: pa.DataType) -> bool:
    try:
        convert(values, kind)
    except pa.ArrowInvalid:
        return False
    return True


def _pattern(kind: pa.DataType) -> str | None:
    """Returns what a field of a type looks like, as a regular expression without regard to case."""
    if pa.types.is_integer(kind):
        return r"[+-]?[0-9]+"
    if pa.types.is_floating(kind):
        return rf"[+-]?({_NUMBER}|inf|infinity|nan)"
    if pa.types.is_decimal(kind):
        return rf"[+-]?{_NUMBER}"
    if pa.types.is_boolean(kind):
        return "true|false|1|0"
    if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        return r"[0-9][-0-9:.t ]*"
    return None


def expectation(name: str, kind: pa.DataType) -> str:
    """Says in words what a field of a type looks like.

    Raises:
        DataError: The type cannot be read from text.
    """
    if pa.types.is_signed_integer(kind):
        bound = 2 ** (kind.bit_width - 1)
        return f"a whole number from {-bound} to {bound - 1}"
    if pa.types.is_float32(kind) or pa.types.is_float64(kind):
        return "a number such as 1, -2.5, 1e-3, inf or nan"
    if pa.types.is_decimal(kind):
        return f"a decimal number of at most {kind.precision} digits, {kind.scale} of them behind the point"
    if pa.types.is_boolean(kind):
        return "true, false, 1 or 0"
    if pa.types.is_date32(kind):
        return "a date such as 2024-12-31"
    if pa.types.is_timestamp(kind):
        return f"a time such as 2024-12-31 23:59:59, no finer than {kind.unit}, without zone"
    if pa.types.is_string(kind):
        return "UTF-8 text"
    if pa.types.is_binary(kind):
        return "bytes"
    raise DataError(
        f"column {name!r} has a type that cannot be read from text",
        got=str(kind),
        wanted="a number, BOOLEAN, STRING, DATE or DATETIME",
        todo="declare the column as STRING",
    )


@lru_cache(maxsize=4096, typed=True)
def default(name: str, kind: pa.DataType, value: bool | int | float | str) -> Any:
    """Returns a declared default as a scalar of its column's type, read by the grammar of fields.

    Raises:
        DataError: It is no value of the type.
    """
    if pa.types.is_string(kind) and isinstance(value, str):
        return pa.scalar(value, kind)
    if pa.types.is_integer(kind) and isinstance(value, float) and value.is_integer():
        value = int(value)
    fields = pa.array([str(value).encode()], pa.binary())
    if pa.types.is_string(kind) or value == "" or first_bad(fields, kind) is not None:
        raise DataError(
            f"the default of column {name!r} is no value of its type",
            got=repr(value),
            wanted=expectation(name, kind),
            todo="correct record_defaults",
        )
    return convert(fields, kind)[0]
