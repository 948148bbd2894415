"""Arrow columns as numpy arrays that TensorFlow takes as they are. Knows no TensorFlow."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from pai_train.errors import DataError


def numpy_dtype(field: pa.Field) -> np.dtype[Any]:
    """Returns the numpy dtype a column is delivered in; object stands for bytes.

    Raises:
        DataError: The column's type has no tensor form.
    """
    kind = field.type
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


def numpy_columns(batch: pa.RecordBatch) -> list[np.ndarray[Any, Any]]:
    """Returns each column as a vector of `numpy_dtype`, shape [rows]; without copying where Arrow allows it.

    Raises:
        DataError: A column holds nulls, which no tensor can.
    """
    return [_numpy(field, column) for field, column in zip(batch.schema, batch.columns, strict=True)]


def _numpy(field: pa.Field, column: pa.Array) -> np.ndarray[Any, Any]:
    dtype = numpy_dtype(field)
    if column.null_count:
        raise DataError(
            f"column {field.name!r} holds {column.null_count} NULLs and has no default",
            todo="give record_defaults a value for it",
        )
    if dtype.hasobject:
        column = column.cast(pa.binary())
    array: np.ndarray[Any, Any] = column.to_numpy(zero_copy_only=False)
    return array
