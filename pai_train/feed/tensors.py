"""Arrow columns as numpy arrays that TensorFlow takes as they are, and strings as it splits them itself.

Knows no TensorFlow.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pai_train.errors import DataError
from pai_train.feed.assemble import plain

if TYPE_CHECKING:
    from collections.abc import Sequence

Way = Literal["whole", "split", "gather"]

SEPARATOR = b"\n"
TEXT_SEPARATOR = b"\xff"
"""A byte that no text in UTF-8 holds."""
_NO_INDICES = np.zeros(0, np.int32)
_NO_TEXTS = np.zeros(0, object)
_NO_PLACES = np.zeros((0, 1), np.int32)


def numpy_dtype(field: pa.Field) -> np.dtype[Any]:
    """Returns the numpy dtype a column is delivered in; object stands for bytes.

    Raises:
        DataError: The column's type has no tensor form.
    """
    kind = field.type
    if isinstance(kind, pa.FixedShapeTensorType):
        kind = kind.value_type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_binary(kind):
        return np.dtype(object)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind):
        dtype: np.dtype[Any] = np.dtype(kind.to_pandas_dtype())
        return dtype
    raise DataError(
        f"column {field.name!r} cannot be fed to a model",
        got=str(kind),
        wanted="BOOLEAN, TINYINT, SMALLINT, INT, BIGINT, FLOAT, DOUBLE, STRING or BINARY",
        todo="leave it out of features and label",
    )


def row_shape(field: pa.Field) -> tuple[int, ...]:
    """Returns the shape of a column's value in one row: () for all but fixed shape tensors."""
    return tuple(field.type.shape) if isinstance(field.type, pa.FixedShapeTensorType) else ()


def no_rows(field: pa.Field) -> np.ndarray[Any, Any]:
    """Returns a column of `numpy_dtype` without rows."""
    return np.zeros((0, *row_shape(field)), numpy_dtype(field))


def numpy_columns(batch: pa.RecordBatch) -> list[np.ndarray[Any, Any]]:
    """Returns each column as a vector of `numpy_dtype`, shape [rows, *row_shape]; uncopied where Arrow allows it.

    Raises:
        DataError: A column holds nulls, which no tensor can.
    """
    return [numpy_column(field, column) for field, column in zip(batch.schema, batch.columns, strict=True)]


@dataclass(frozen=True)
class Texts:
    """Columns of strings in few arrays, as each costs what thousands of values do on the way to TensorFlow.

    Attributes:
        ways: Each column's way from the texts to a tensor.
        whole: The values of all columns of the way 'whole', column after column, object of shape [columns * rows].
        split: A text per column of the way 'split', object of shape [columns].
        dictionaries: A text per column of the way 'gather', object of shape [columns].
        places: Which value of all dictionaries each row of these has, int32 of shape [columns * rows, 1].
    """

    ways: tuple[Way, ...]
    whole: np.ndarray[Any, Any]
    split: np.ndarray[Any, Any]
    dictionaries: np.ndarray[Any, Any]
    places: np.ndarray[Any, Any]


def packed(columns: Sequence[tuple[pa.Field, pa.Array]]) -> Texts:
    """Returns columns of strings, at least one, on their way to tensors.

    Raises:
        DataError: A column holds nulls, which no tensor can.
    """
    texts: dict[Way, list[Any]] = {"whole": [], "split": [], "gather": []}
    places: list[Any] = []
    ways: list[Way] = []
    values = 0
    for field, column in columns:
        way, found, indices = text_parts(field, column)
        ways.append(way)
        texts[way].append(found)
        if way == "gather":
            places.append(indices + np.int32(values))
            values += len(column.dictionary)
    whole, split, dictionaries = (np.concatenate(found) if found else _NO_TEXTS for found in texts.values())
    return Texts(
        tuple(ways), whole, split, dictionaries, np.concatenate(places).reshape(-1, 1) if places else _NO_PLACES
    )


def text_parts(field: pa.Field, column: pa.Array) -> tuple[Way, np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Returns a column of strings in the form from which a tensor is made soonest, off Python's lock where possible.

    One text of all values and separators is split by a kernel in less time than a bytes object for each value takes to
    make and to copy; values that repeat are split once and gathered. Where a value holds the separator, each is an
    object of its own.

    Returns:
        The way from the texts to the column; the texts, object of shape [rows], or [1] for one to be split; and to
        gather, which value each row has, int32 of shape [rows].

    Raises:
        DataError: The column holds nulls, which no tensor can.
    """
    refuse_nulls(field, column)
    encoded = pa.types.is_dictionary(column.type)
    values = (column.dictionary if encoded else column).cast(pa.binary())
    if not len(values) or _holds_separator(values):
        return "whole", plain(column).cast(pa.binary()).to_numpy(zero_copy_only=False), _NO_INDICES
    texts = _joined(values, SEPARATOR)
    if encoded:
        return "gather", texts, column.indices.cast(pa.int32()).to_numpy()
    return "split", texts, _NO_INDICES


def joined_text(field: pa.Field, column: pa.Array) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any] | None]:
    """Returns a column of UTF-8 strings as one text to be split at `TEXT_SEPARATOR`, whatever the strings hold.

    Returns:
        The text, object of shape [1]; where the column is dictionary encoded, its parts are the dictionary and the
        second is which of them each row has, int32 of shape [rows]; else None.

    Raises:
        DataError: The column holds nulls, which no tensor can.
    """
    refuse_nulls(field, column)
    encoded = pa.types.is_dictionary(column.type)
    values = (column.dictionary if encoded else column).cast(pa.binary())
    return _joined(values, TEXT_SEPARATOR), column.indices.cast(pa.int32()).to_numpy() if encoded else None


def _joined(values: pa.Array, separator: bytes) -> np.ndarray[Any, Any]:
    """Returns all values as one text, object of shape [1]."""
    rows = pa.ListArray.from_arrays(pa.array([0, len(values)], pa.int32()), values)
    return np.array([pc.binary_join(rows, separator)[0].as_py()], object)


def _holds_separator(values: pa.Array) -> bool:
    _, offsets, data = values.buffers()
    if data is None:
        return False
    edges = np.frombuffer(offsets, np.int32)[values.offset : values.offset + len(values) + 1]
    return bool((np.frombuffer(data, np.uint8)[edges[0] : edges[-1]] == SEPARATOR[0]).any())


def refuse_nulls(field: pa.Field, column: pa.Array) -> None:
    """Ends the reading where a column holds nulls.

    Raises:
        DataError: It does.
    """
    if column.null_count:
        raise DataError(
            f"column {field.name!r} holds {column.null_count} NULLs and has no default",
            todo="give record_defaults a value for it",
        )


def numpy_column(field: pa.Field, column: pa.Array) -> np.ndarray[Any, Any]:
    """Returns a column as `numpy_columns` does."""
    dtype = numpy_dtype(field)
    refuse_nulls(field, column)
    if isinstance(field.type, pa.FixedShapeTensorType):
        tensor: np.ndarray[Any, Any] = column.to_numpy_ndarray()
        return tensor
    if dtype.hasobject:
        column = column.cast(pa.binary())
    array: np.ndarray[Any, Any] = column.to_numpy(zero_copy_only=False)
    return array
