"""Serialized tf.train.Example protos as Arrow columns, parsed by TensorFlow's own kernel, a block at a time."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pyarrow as pa
import tensorflow as tf

from pai_train.feed.features import ExampleError, feature_kind, first_failing, values_of

_DTYPES = {"int64_list": tf.int64, "float_list": tf.float32, "bytes_list": tf.string}
_KINDS = {"int64": "int64_list", "float": "float_list", "string": "bytes_list"}
_TOLD = re.compile(r"Key: (?P<name>.*?), Index: \d+\..*Actual type: (?P<kind>\w+)", re.DOTALL)


def parse(records: pa.Array, schema: pa.Schema) -> pa.RecordBatch:
    """Returns the columns of records; a feature that is missing or empty is null.

    Args:
        records: Serialized Examples, binary without nulls.
        schema: The columns, named like the features.

    Raises:
        ExampleError: A record is no Example, a feature is of another kind, has several values or one that its column
            cannot hold; says which.
    """
    values, splits = _features(records, schema)
    columns = []
    for field, flat, edges in zip(schema, values, splits, strict=True):
        counts = np.diff(edges)
        size = values_of(field.type)
        wrong = (counts != size) & (counts != 0)
        if wrong.any():
            row = int(np.argmax(wrong))
            what = "the feature has several values" if size == 1 else "the feature has another number of values"
            wanted = "one value, or none" if size == 1 else f"{size} values, or none"
            raise ExampleError(row, field.name, what, f"{counts[row]} value{'s' if counts[row] != 1 else ''}", wanted)
        column = _cast(_arrow(flat), field, counts)
        if isinstance(field.type, pa.FixedShapeTensorType):
            column = pa.FixedSizeListArray.from_arrays(column, type=field.type.storage_type)
        if len(column) < len(records):
            places = pa.array(np.where(counts > 0, edges[:-1] // size, 0), mask=counts == 0)
            column = column.take(places)
        if isinstance(field.type, pa.FixedShapeTensorType):
            column = pa.ExtensionArray.from_storage(field.type, column)
        columns.append(column)
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def names(record: bytes) -> list[str]:
    """Returns the names of the features of a record that is an Example."""
    example = tf.train.Example()
    example.ParseFromString(record)
    return sorted(example.features.feature)


def _features(records: pa.Array, schema: pa.Schema) -> tuple[list[Any], list[Any]]:
    """Returns values and row splits of each column's feature."""
    kinds = [_DTYPES[feature_kind(field.type) or ""] for field in schema]
    with tf.device("/CPU:0"):
        serialized = tf.constant(records.to_numpy(zero_copy_only=False), tf.string)
        try:
            found = tf.raw_ops.ParseExampleV2(
                serialized=serialized,
                names=tf.constant([], tf.string),
                sparse_keys=tf.constant([], tf.string),
                dense_keys=tf.constant([], tf.string),
                ragged_keys=tf.constant(schema.names, tf.string),
                dense_defaults=[],
                num_sparse=0,
                sparse_types=[],
                ragged_value_types=kinds,
                ragged_split_types=[tf.int64] * len(kinds),
                dense_shapes=[],
            )
        except tf.errors.InvalidArgumentError as error:
            raise _of_kernel(str(error), records, schema) from None
    return list(found.ragged_values), [splits.numpy() for splits in found.ragged_row_splits]


def _of_kernel(text: str, records: pa.Array, schema: pa.Schema) -> ExampleError:
    """Finds the first record at fault: the kernel's threads may each meet one."""

    def parses(lo: int, hi: int) -> bool:
        try:
            _features(records.slice(lo, hi - lo), schema)
        except ExampleError:
            return False
        return True

    row = first_failing(len(records), parses) if len(records) > 1 else 0
    if len(records) > 1:
        try:
            _features(records.slice(row, 1), schema)
        except ExampleError as error:
            return ExampleError(row, error.column, error.what, error.got, error.wanted)
    told = _TOLD.search(text)
    if told is None or told["name"] not in schema.names:
        size = len(records[0].as_py())
        return ExampleError(0, None, "the record is no tf.train.Example", f"{size} bytes", "a tf.train.Example")
    name = told["name"]
    wanted = f"{feature_kind(schema.field(name).type)}, as for {schema.field(name).type}"
    return ExampleError(0, name, "the feature is of another kind", _KINDS.get(told["kind"], told["kind"]), wanted)


def _arrow(values: Any) -> pa.Array:
    """Returns a vector of TensorFlow as an array; strings as one text and its lengths, off Python's lock."""
    if values.dtype != tf.string:
        return pa.array(values.numpy())
    with tf.device("/CPU:0"):
        lengths = tf.strings.length(values).numpy()
        text = tf.strings.reduce_join(values).numpy()
    offsets = np.zeros(len(lengths) + 1, np.int32)
    np.cumsum(lengths, out=offsets[1:])
    return pa.Array.from_buffers(pa.binary(), len(lengths), [None, pa.py_buffer(offsets), pa.py_buffer(text)])


def _cast(values: pa.Array, field: pa.Field, counts: Any) -> pa.Array:
    kind = field.type.value_type if isinstance(field.type, pa.FixedShapeTensorType) else field.type

    def casts(lo: int, hi: int) -> bool:
        try:
            _to(values.slice(lo, hi - lo), kind)
        except pa.ArrowInvalid:
            return False
        return True

    try:
        return _to(values, kind)
    except pa.ArrowInvalid:
        at = first_failing(len(values), casts)
        row = int(np.flatnonzero(counts)[at // values_of(field.type)])
        shown = repr(values[at].as_py())
        raise ExampleError(
            row, field.name, "the value is none of its column's type", shown[:80], _wanted(kind)
        ) from None


def _to(values: pa.Array, kind: pa.DataType) -> pa.Array:
    if pa.types.is_boolean(kind):
        numbers = values.to_numpy()
        if ((numbers != 0) & (numbers != 1)).any():
            raise pa.ArrowInvalid("not 0 or 1")
    return values if values.type == kind else values.cast(kind)


def _wanted(kind: pa.DataType) -> str:
    if pa.types.is_boolean(kind):
        return "0 or 1"
    if pa.types.is_integer(kind):
        bound = 2 ** (kind.bit_width - 1)
        return f"a whole number from {-bound} to {bound - 1}"
    return "UTF-8 text"
