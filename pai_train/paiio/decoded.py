"""What decode_csv would make of rows written as lines, made of the rows themselves, without the text between."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pai_train.paiio.arrays import texts

_SPECIAL = '"\n\r'


@dataclass(frozen=True)
class Field:
    """What decode_csv is told of one column.

    Attributes:
        dtype: Name of the numpy dtype that it is wanted in; "object" for text.
        default: What stands for a field that is empty; None where there is nothing for it.
    """

    dtype: str
    default: bytes | float | int | None


Decoding = tuple[Field, ...]
"""What decode_csv is told, column by column."""


@dataclass(frozen=True)
class _Text:
    """A column of text.

    Attributes:
        values: Its values, pa.binary(), as many as rows, or, with `indices`, those that its rows have.
        indices: Which of the values each row has, int32; None for one after the other.
        joined: With `indices`, all values as they travel.
    """

    values: pa.Array
    indices: np.ndarray[Any, Any] | None = None
    joined: tuple[np.ndarray[Any, Any], ...] = ()

    def part(self, at: int, count: int) -> tuple[np.ndarray[Any, Any], ...]:
        if self.indices is None:
            return (*texts(self.values.slice(at, count), b"")[:2], np.arange(count, dtype=np.int32))
        return (*self.joined, self.indices[at : at + count])


@dataclass(frozen=True)
class Decoded:
    """The columns of some rows."""

    columns: tuple[np.ndarray[Any, Any] | _Text, ...]

    def part(self, at: int, count: int) -> list[np.ndarray[Any, Any]]:
        """Returns the arrays that columns travel as for some of the rows: three for text, see `texts`, else one."""
        made: list[np.ndarray[Any, Any]] = []
        for column in self.columns:
            made += column.part(at, count) if isinstance(column, _Text) else (column[at : at + count],)
        return made


def decoded(batch: pa.RecordBatch, decoding: Decoding, delimiter: str) -> Decoded | None:
    """Returns what decode_csv makes of the lines of rows.

    Args:
        batch: The rows; strings may be dictionary encoded.
        decoding: What it is told.
        delimiter: Stands between the values of a line.

    Returns:
        None where values would be changed by the text, or where decode_csv has something to say of them: another
        number of columns, other types, an empty field that has no default, text with a delimiter, quote or line end.
    """
    if batch.num_columns != len(decoding):
        return None
    columns = []
    for column, field in zip(batch.columns, decoding, strict=True):
        if batch.num_columns == 1:
            # A line of nothing has no field for a default to stand for.
            field = replace(field, default=None)  # noqa: PLW2901
        made = _text(column, field, delimiter) if field.dtype == "object" else _numbers(column, field)
        if made is None:
            return None
        columns.append(made)
    return Decoded(tuple(columns))


def _numbers(column: pa.Array, field: Field) -> np.ndarray[Any, Any] | None:
    kind, wanted = column.type, np.dtype(field.dtype)
    if wanted.kind == "f":
        # Of float32 the text is the shortest that gives the same float32, and another float64.
        if not (pa.types.is_integer(kind) or kind == pa.float64() or (kind == pa.float32() and wanted == np.float32)):
            return None
    elif not pa.types.is_integer(kind):
        return None
    if column.null_count and field.default is None:
        return None
    here = np.ones(len(column), bool) if not column.null_count else column.is_valid().to_numpy(zero_copy_only=False)
    if column.null_count:
        column = column.fill_null(0)
    values: np.ndarray[Any, Any] = column.to_numpy()
    if wanted.kind == "i" and values.dtype != wanted and len(values):
        limits = np.iinfo(wanted)
        if values.min() < limits.min or values.max() > limits.max:
            return None
    with np.errstate(over="ignore"):
        values = values.astype(wanted, copy=False)
    return values if here.all() else np.where(here, values, wanted.type(field.default))


def _text(column: pa.Array, field: Field, delimiter: str) -> _Text | None:
    if pa.types.is_dictionary(column.type):
        values = _plain(column.dictionary, delimiter)
        if values is None:
            return None
        filled = _filled(pa.concat_arrays([values, pa.array([None], pa.binary())]), field.default)
        indices = column.indices.cast(pa.int32()).fill_null(len(values))
        if filled is None:
            # Only a value that no row has may be without a default.
            if column.null_count or pc.any(pc.equal(pc.binary_length(values), 0)).as_py():
                return None
            filled = values
        joined = texts(filled, b"")[:2]
        return _Text(filled, indices.to_numpy(), joined)
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        return None
    values = _plain(column, delimiter)
    filled = None if values is None else _filled(values, field.default)
    return None if filled is None else _Text(filled)


def _plain(column: pa.Array, delimiter: str) -> pa.Array | None:
    """Returns text as bytes; None where a line would hold it in quotes, or as more than one field."""
    values = column.cast(pa.binary())
    data = values.buffers()[2]
    if data is not None:
        held = np.frombuffer(data, np.uint8)
        if not delimiter.isascii() or any((held == ord(mark)).any() for mark in {delimiter, *_SPECIAL}):
            return None
    return values


def _filled(values: pa.Array, default: Any) -> pa.Array | None:
    """Returns text with a default for what is empty; None where there is none, and something is."""
    empty = pc.fill_null(pc.equal(pc.binary_length(values), 0), True)
    if not pc.any(empty).as_py():
        return values
    return None if default is None else pc.if_else(empty, pa.scalar(default, pa.binary()), values)
