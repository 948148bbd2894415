"""Arrow columns as numpy vectors of the dtypes that record_defaults ask for: NULLs filled, widths converted safely."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pai_train.errors import DataError, TableError
from pai_train.feed.tensors import TEXT_SEPARATOR, joined

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pai_train.paiio.defaults import Default

_NO_INDICES = np.zeros(0, np.int32)
_AS_TEXT = (pa.types.is_temporal, pa.types.is_decimal)


def check_columns(schema: pa.Schema, defaults: Sequence[Default], where: str) -> None:
    """Refuses columns that record_defaults do not fit, in PAI's words where it has some.

    Raises:
        DataError: Their number differs, or a column cannot be delivered in a default's dtype.
    """
    if len(schema) != len(defaults):
        raise DataError(
            f"Column size of the record to be saved: '{len(schema)}' does not match the default record column size: "
            f"'{len(defaults)}'.",
            where=where,
            got=f"columns {', '.join(schema.names)}",
            wanted=f"{len(defaults)} columns, as record_defaults has",
            todo="give one default per column, or name the columns in selected_cols",
        )
    for field, default in zip(schema, defaults, strict=True):
        if not _fits(field.type, default.dtype):
            raise DataError(
                f"column {field.name!r} and its default have different types",
                where=where,
                got=f"a column of {field.type}, a default of {default.name}",
                wanted=_wanted(field.type),
            )


def arrays(batch: pa.RecordBatch, defaults: Sequence[Default], where: str, rows: range) -> list[np.ndarray[Any, Any]]:
    """Returns the vectors that columns travel as: three for text, see `texts`, else one, shape [rows], of its dtype.

    Args:
        batch: Rows of columns that `check_columns` accepts; strings may be dictionary encoded.
        defaults: One per column.
        where: The table, for messages.
        rows: Their numbers in it.

    Raises:
        TableError: A value is outside the range of its dtype; it names column, row and value.
    """
    vectors: list[np.ndarray[Any, Any]] = []
    for field, column, default in zip(batch.schema, batch.columns, defaults, strict=True):
        if default.dtype.hasobject:
            vectors += texts(column, default.value)
            continue
        try:
            vectors.append(_array(column, default))
        except _OutsideError as outside:
            raise TableError(
                f"a value of column {field.name!r} is outside the range of {default.name}",
                where=f"{where}, row {rows[outside.row]}",
                got=str(outside.value),
                wanted=f"a value that {default.name} holds",
                todo="give a wider default, such as np.int64(0) or np.float64(0)",
            ) from None
    return vectors


def texts(column: pa.Array, null: bytes) -> tuple[np.ndarray[Any, Any], ...]:
    """Returns a column of text in the form from which TensorFlow makes a tensor without an object for each value.

    Args:
        column: Text, bytes, dates, times or decimals; strings may be dictionary encoded.
        null: What stands for NULL.

    Returns:
        All values as one text, object of shape [1]; what separates them, object of shape []; and which of the values
        each row has, int32 of shape [rows], or [0] where the values are the rows.
    """
    indices = _NO_INDICES
    if pa.types.is_dictionary(column.type):
        values, places = column.dictionary.cast(pa.binary()), column.indices.cast(pa.int32())
        if column.null_count:
            places = places.fill_null(len(values))
            values = pa.concat_arrays([values, pa.array([null], pa.binary())])
        indices = places.to_numpy()
    else:
        values = (column if _is_text(column.type) else column.cast(pa.string())).cast(pa.binary())
        if column.null_count:
            values = values.fill_null(pa.scalar(null, pa.binary()))
    separator = absent(values)
    return joined(values, separator), np.array(separator, object), indices


def absent(values: pa.Array) -> bytes:
    """Returns bytes that no value of an array of pa.binary() holds, none of which begins another time within them."""
    data = values.buffers()[2]
    held = b"" if data is None else memoryview(data)
    separator = TEXT_SEPARATOR
    if not (np.frombuffer(held, np.uint8) == separator[0]).any():
        return separator
    whole = bytes(held)
    while separator in whole:
        separator = TEXT_SEPARATOR + secrets.token_hex(8).encode()
    return separator


class _OutsideError(Exception):
    """Carries the first row whose value does not fit, and the value."""

    def __init__(self, row: int, value: Any) -> None:
        super().__init__(row, value)
        self.row, self.value = row, value


def _fits(kind: pa.DataType, dtype: np.dtype[Any]) -> bool:
    if dtype.hasobject:
        return bool(_is_text(kind) or any(is_kind(kind) for is_kind in _AS_TEXT))
    if dtype.kind == "b":
        return bool(pa.types.is_boolean(kind))
    if dtype.kind == "f":
        return bool(pa.types.is_floating(kind))
    return bool(pa.types.is_integer(kind))


def _wanted(kind: pa.DataType) -> str:
    if pa.types.is_integer(kind):
        return "a default of INT32 or INT64, such as 0 or np.int64(0)"
    if pa.types.is_floating(kind):
        return "a default of FLOAT32 or FLOAT64, such as 0.0 or np.float64(0)"
    if pa.types.is_boolean(kind):
        return "a default of BOOL, such as False"
    if _fits(kind, np.dtype(object)):
        return "a default of STRING, such as ''"
    return "columns of numbers, BOOLEAN, text, dates, times or DECIMAL; leave others out by excluded_cols"


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_binary(kind))


def _array(column: pa.Array, default: Default) -> np.ndarray[Any, Any]:
    wanted = pa.from_numpy_dtype(default.dtype)
    if wanted == pa.float32() and column.type != wanted:
        return _float(_numpy(column, default.value), default.dtype)
    if column.type != wanted:
        try:
            column = column.cast(wanted)
        except pa.ArrowInvalid:
            limits = np.iinfo(default.dtype)
            inside = pc.and_(pc.greater_equal(column, int(limits.min)), pc.less_equal(column, int(limits.max)))
            raise _first_outside(column, inside) from None
    return _numpy(column, default.value)


def _numpy(column: pa.Array, null: Any) -> np.ndarray[Any, Any]:
    if column.null_count:
        column = column.fill_null(pa.scalar(null, column.type))
    array: np.ndarray[Any, Any] = column.to_numpy(zero_copy_only=False)
    return array


def _float(values: np.ndarray[Any, Any], dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    with np.errstate(over="ignore"):
        converted = values.astype(dtype)
    lost = np.isinf(converted) & np.isfinite(values)
    if lost.any():
        row = int(lost.argmax())
        raise _OutsideError(row, values[row])
    return converted


def _first_outside(column: pa.Array, inside: pa.Array) -> _OutsideError:
    row = pc.index(inside.fill_null(True), value=False).as_py()
    return _OutsideError(row, column[row].as_py())
