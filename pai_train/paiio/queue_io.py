"""TableRecordReader and TableRecordWriter: rows as CSV lines and rows as tensors, for graphs with TF1 queues."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from pai_train.errors import PaiTrainError
from pai_train.paiio.handles import Lease
from pai_train.paiio.lines import LineReader
from pai_train.paiio.settings import settings
from pai_train.paiio.writer import TableWriter

if TYPE_CHECKING:
    from collections.abc import Sequence

_TEXTS, _ROWS = 3, 2
"""How many texts and numbers `_lines` returns."""

_readers: dict[int, LineReader] = {}
_writers: dict[int, _Writing] = {}


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
        self._name = name or "TableRecordReader"
        self._lease = Lease(_readers, LineReader(settings(), csv_delimiter, selected_cols, slice_id, slice_count))

    def read(self, queue: Any, name: str | None = None) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns address and line of the next row, scalars; ends with the queue, by tf.errors.OutOfRangeError."""
        keys, values = self.read_up_to(queue, 1, name)
        return keys[0], values[0]

    def read_up_to(self, queue: Any, num_records: int, name: str | None = None) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns addresses and lines of up to `num_records` rows of one table, at least one."""
        self._lease.keep()
        handle = tf.constant(self._lease.handle, tf.int64)

        def lines(table: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            texts, rows = tf.numpy_function(_lines, [handle, table, num_records], [tf.string, tf.int64])
            return tf.ensure_shape(texts, [_TEXTS]), tf.ensure_shape(rows, [_ROWS])

        with tf.name_scope(name or self._name):
            texts, rows = tf.while_loop(
                lambda _, rows: tf.equal(rows[1], 0),
                lambda *_: lines(tf.reshape(queue.dequeue(), [])),
                lines(tf.constant("")),
                parallel_iterations=1,
            )
            table, text, separator = tf.unstack(texts)
            values = tf.raw_ops.StringSplitV2(input=[text], sep=separator, maxsplit=-1).values
            # Made by the graph, they cost nothing where nobody asks for them.
            keys = tf.strings.join([table, ":", tf.strings.as_string(tf.range(rows[0], rows[0] + rows[1]))])
            return tf.ensure_shape(keys, [None]), tf.ensure_shape(values, [None])


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


def _lines(handle: np.int64, table: bytes, count: np.int32) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Returns table, text and separator; and the number of the first row, and how many there are."""
    try:
        lines = _readers[int(handle)].take(table.decode(), int(count))
    except PaiTrainError as fault:
        raise ValueError(str(fault)) from None
    return np.array([lines.table.encode(), lines.text, lines.separator], object), np.array([lines.first, lines.count])


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
