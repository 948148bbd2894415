"""TableRecordReader and TableRecordWriter: rows as CSV lines and rows as tensors, for graphs with TF1 queues."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from pai_train.errors import PaiTrainError
from pai_train.paiio.chunks import TEXT, text_column
from pai_train.paiio.decoded import Decoding, Field
from pai_train.paiio.handles import Lease
from pai_train.paiio.lines import LineReader
from pai_train.paiio.settings import settings
from pai_train.paiio.writer import TableWriter

if TYPE_CHECKING:
    from collections.abc import Sequence

_TAKEN = 4
"""How many numbers `_take` returns."""
_ROWS = "_pai_train_rows"
"""The attribute that says of lines which rows they are."""
_DECODED = ("float32", "float64", "int32", "int64", "object")
"""The dtypes that decode_csv gives."""
_NO_TEXT = (np.array([b""], object), np.array(b" ", object), np.zeros(0, np.int32))

_readers: dict[int, LineReader] = {}
_writers: dict[int, _Writing] = {}
_decodings: list[Decoding] = []

_decode_csv: Any = tf.compat.v1.decode_csv
"""TensorFlow's own: scripts have ours in its place."""


class TableRecordReader:
    """Reads the tables that a queue names, a row as one line of text; for graphs.

    New code reads faster with `TableRecordDataset`.

    Args:
        csv_delimiter: Stands between the values of a line.
        selected_cols: Columns, in order; '' for all.
        slice_count: How many slices there are.
        slice_id: Which slice of each table is read.
        num_threads: Has no effect.
        capacity: Has no effect.
        name: Of the ops.

    Raises:
        TableError: No such slice, or a delimiter of no or several characters.
    """

    def __init__(
        self,
        csv_delimiter: str = ",",
        selected_cols: str = "",
        slice_count: int = 1,
        slice_id: int = 0,
        num_threads: int = 0,
        capacity: int = 0,
        name: str | None = None,
    ) -> None:
        self._name, self._delimiter = name or "TableRecordReader", csv_delimiter
        self._lease = Lease(_readers, LineReader(settings(), csv_delimiter, selected_cols, slice_id, slice_count))

    def read(self, queue: Any, name: str | None = None) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns address and line of the next row, scalars; ends with the queue, by tf.errors.OutOfRangeError."""
        with tf.name_scope(name or self._name):
            texts, rows = self._taken(queue, _take_line, 1, [2])
            return tf.strings.join([texts[0], ":", tf.strings.as_string(rows[0])]), texts[1]

    def read_up_to(self, queue: Any, num_records: int, name: str | None = None) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns addresses and lines of up to `num_records` rows of one table, at least one."""
        with tf.name_scope(name or self._name):
            table, rows = self._taken(queue, _take, num_records, [])
            # Made by the graph, they cost nothing where nobody asks for them.
            keys = tf.strings.join([table, ":", tf.strings.as_string(tf.range(rows[0], rows[0] + rows[1]))])
            values = _lines_of(self._handle(), rows)
            setattr(values, _ROWS, _RowsOf(self._handle(), rows, self._delimiter))
            return tf.ensure_shape(keys, [None]), values

    def _taken(self, queue: Any, take: Any, count: int, shape: list[int]) -> tuple[tf.Tensor, tf.Tensor]:
        """Adds to the graph what takes rows, of the next table where there are none left."""
        self._lease.keep()
        handle = self._handle()

        def of(table: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            texts, rows = tf.numpy_function(take, [handle, table, count], [tf.string, tf.int64])
            return tf.ensure_shape(texts, shape), tf.ensure_shape(rows, [_TAKEN])

        taken: tuple[tf.Tensor, tf.Tensor] = tf.while_loop(
            lambda _, rows: tf.equal(rows[1], 0),
            lambda *_: of(tf.reshape(queue.dequeue(), [])),
            of(tf.constant("")),
            parallel_iterations=1,
        )
        return taken

    def _handle(self) -> tf.Tensor:
        return tf.constant(self._lease.handle, tf.int64)


@dataclass(frozen=True)
class _RowsOf:
    """What lines are of.

    Attributes:
        handle: The reader's number.
        rows: Which rows they are, as `_take` says it.
        delimiter: Stands between the values of a line.
    """

    handle: tf.Tensor
    rows: tf.Tensor
    delimiter: str


def decode_csv(
    records: Any,
    record_defaults: Sequence[Any],
    field_delim: str = ",",
    use_quote_delim: bool = True,
    name: str | None = None,
    na_value: str = "",
    select_cols: Sequence[int] | None = None,
) -> Any:
    """Does what tf.decode_csv does; of what `read_up_to` gives neither lines are written nor read where both agree.

    The numbers are those of the table, in the dtypes that are asked for: rounded once, not also by their text.
    """
    of: _RowsOf | None = getattr(records, _ROWS, None)
    decoding = None
    if of is not None and (of.delimiter, na_value, select_cols) == (field_delim, "", None):
        decoding = _decoding(record_defaults)

    def whole(lines: Any) -> Any:
        return _decode_csv(lines, record_defaults, field_delim, use_quote_delim, name, na_value, select_cols)

    if of is None or decoding is None:
        return whole(records)
    if decoding not in _decodings:
        _decodings.append(decoding)
    number = _decodings.index(decoding)
    kinds = [kind for field in decoding for kind in (TEXT if field.dtype == "object" else (np.dtype(field.dtype),))]
    with tf.name_scope(name or "DecodeCSV"):
        same, *parts = tf.numpy_function(
            _columns, [of.handle, of.rows, number], [tf.bool, *(tf.as_dtype(kind) for kind in kinds)]
        )

        def direct() -> list[tf.Tensor]:
            left = iter(parts)
            made = [
                text_column(*islice(left, len(TEXT)), gathers=True) if field.dtype == "object" else next(left)
                for field in decoding
            ]
            return [tf.ensure_shape(column, [None]) for column in made]

        return tf.cond(tf.ensure_shape(same, []), direct, lambda: whole(_lines_of(of.handle, of.rows)))


def _decoding(record_defaults: Sequence[Any]) -> Decoding | None:
    """Returns what decode_csv is told; None where that is known to the graph only, or is for it to refuse."""
    fields = []
    for default in record_defaults:
        try:
            known = tf.get_static_value(tf.convert_to_tensor(default))
        except (TypeError, ValueError):
            return None
        if known is None or known.size > 1 or known.ndim > 1 or known.dtype.name not in _DECODED:
            return None
        fields.append(Field(known.dtype.name, *known.reshape(-1).tolist() or [None]))
    return tuple(fields)


def _lines_of(handle: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
    text, separator = tf.unstack(tf.ensure_shape(tf.numpy_function(_lines, [handle, rows], tf.string), [2]))
    values = tf.raw_ops.StringSplitV2(input=[text], sep=separator, maxsplit=-1).values
    return tf.ensure_shape(values, [None])


class TableRecordWriter:
    """Writes tensors into a table, whose rows they replace when `close` is run; for graphs.

    Args:
        table: An address.
        slice_id: Which slice of the output.
        name: Of the ops.
        job: See `TableWriter`.
        slice_count: See `TableWriter`.
    """

    def __init__(
        self,
        table: str,
        slice_id: int = 0,
        name: str | None = None,
        *,
        job: str | None = None,
        slice_count: int | None = None,
    ) -> None:
        self._name = name or "TableRecordWriter"
        self._lease = Lease(_writers, _Writing(table, slice_id, job, slice_count))

    def write(self, indices: Sequence[int], values: Sequence[Any], name: str | None = None) -> tf.Operation:
        """Returns an op that adds one row of scalars, or the rows of vectors.

        Args:
            indices: The column, from 0, of each tensor.
            values: The tensors.
            name: Of the op.
        """
        columns = [tf.convert_to_tensor(value) for value in values]
        numbers = tf.constant([int(index) for index in indices], tf.int64)
        return self._op(_write, [numbers, *columns], name)

    def close(self, name: str | None = None) -> tf.Operation:
        """Returns an op that publishes what was written."""
        return self._op(_close, [], name)

    def _op(self, function: Any, inputs: list[Any], name: str | None) -> tf.Operation:
        self._lease.keep()
        with tf.name_scope(name or self._name):
            done = tf.numpy_function(function, [tf.constant(self._lease.handle, tf.int64), *inputs], tf.bool)
            return tf.group(done)


class _Writing:
    """A writer that is opened when the first op is run."""

    def __init__(self, table: str, slice_id: int, job: str | None, slice_count: int | None) -> None:
        self._table, self._slice_id, self._job, self._slice_count = table, slice_id, job, slice_count
        self._writer: TableWriter | None = None

    @property
    def writer(self) -> TableWriter:
        if self._writer is None:
            self._writer = TableWriter(self._table, self._slice_id, job=self._job, slice_count=self._slice_count)
        return self._writer


def _take(handle: np.int64, table: bytes, count: np.int32) -> tuple[bytes, np.ndarray[Any, Any]]:
    """Returns table; and the number of the first row, how many there are, their block and where in it they begin."""
    try:
        taken = _readers[int(handle)].take(table.decode(), int(count))
    except PaiTrainError as fault:
        raise ValueError(str(fault)) from None
    return taken.table.encode(), np.array([taken.first, taken.count, taken.block, taken.at])


def _take_line(handle: np.int64, table: bytes, count: np.int32) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Returns table and line, empty where another table is needed; and what `_take` does of numbers."""
    name, rows = _take(handle, table, count)
    line = _lines(handle, rows)[0] if rows[1] else b""
    return np.array([name, line], object), rows


def _lines(handle: np.int64, rows: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Returns text and separator."""
    _, count, block, at = rows.tolist()
    try:
        return np.array(_readers[int(handle)].lines(block, at, count), object)
    except PaiTrainError as fault:
        raise ValueError(str(fault)) from None


def _columns(handle: np.int64, rows: np.ndarray[Any, Any], number: np.int32) -> list[Any]:
    """Returns whether there are columns, and the arrays that they travel as."""
    _, count, block, at = rows.tolist()
    decoding = _decodings[int(number)]
    try:
        found = _readers[int(handle)].columns(block, at, count, decoding)
    except PaiTrainError as fault:
        raise ValueError(str(fault)) from None
    if found is not None:
        return [np.True_, *found]
    nothing: list[Any] = [np.False_]
    for field in decoding:
        nothing += _NO_TEXT if field.dtype == "object" else (np.zeros(0, field.dtype),)
    return nothing


def _write(handle: np.int64, indices: np.ndarray[Any, Any], *columns: Any) -> np.bool_:
    rows = zip(*(np.atleast_1d(column).tolist() for column in columns), strict=True)
    try:
        _writers[int(handle)].writer.write(rows, indices.tolist())
    except PaiTrainError as fault:
        raise ValueError(str(fault)) from None
    return np.True_


def _close(handle: np.int64) -> np.bool_:
    try:
        _writers[int(handle)].writer.close()
    except PaiTrainError as fault:
        raise ValueError(str(fault)) from None
    return np.True_
