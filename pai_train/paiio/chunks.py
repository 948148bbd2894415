"""What tf.data calls into: rows of tables as tensors, a unit at a time, through one function with a handle."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import tensorflow as tf

from pai_train.errors import PaiTrainError, StorageError
from pai_train.paiio.arrays import arrays, check_columns
from pai_train.paiio.columns import chosen
from pai_train.paiio.rows import NumberedRows, OpenTables
from pai_train.paiio.sequence import Unit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pai_train.paiio.defaults import Default
    from pai_train.paiio.settings import Settings

_FIELDS = 5
TEXT = (np.dtype(object), np.dtype(object), np.dtype(np.int32))
"""What a column of text travels as; see `texts`."""

readers: dict[int, ChunkReader] = {}


class ChunkReader:
    """The tables of one dataset, and how their columns become tensors. Threads may share it.

    Args:
        settings: Where tables are.
        defaults: record_defaults, one per column.
        selected_cols: Columns to read, in order.
        excluded_cols: Columns not to read.
        slice_id: Which slice of each address.
        slice_count: How many slices there are.
        unit_rows: Most rows read at once.
    """

    def __init__(
        self,
        settings: Settings,
        defaults: Sequence[Default],
        *,
        selected_cols: str | None,
        excluded_cols: str | None,
        slice_id: int,
        slice_count: int,
        unit_rows: int,
    ) -> None:
        self._settings = settings
        self.defaults = tuple(defaults)
        self._selected, self._excluded = selected_cols, excluded_cols
        self._slice = (slice_id, slice_count)
        self._unit_rows = unit_rows
        self._open = OpenTables(settings.tables)

    def units(self, names: str) -> list[Unit]:
        """Opens one address, or several separated by commas, and returns the slice's rows of it.

        Raises:
            TableError: No such table, partition, range of rows or column.
        """
        units = []
        for ref in self._settings.refs(names):
            number, table = self._open.open(ref)
            self._columns(table)
            rows = table.meant(ref.rows, *self._slice)
            units += [Unit(number, part) for part in table.units(rows, self._unit_rows)]
        return units

    def read(self, number: int, rows: range) -> list[np.ndarray[Any, Any]]:
        """Returns the vectors that columns travel as; see `arrays`.

        Raises:
            PaiTrainError: The rows cannot be read, or do not fit record_defaults.
        """
        table = self._open.get(number)
        columns = self._columns(table)
        check_columns(pa.schema([table.source.schema.field(name) for name in columns]), self.defaults, table.where)
        return arrays(table.batch(rows, columns), self.defaults, table.where, rows)

    def _columns(self, table: NumberedRows) -> list[str]:
        return chosen(table.source.schema.names, self._selected, self._excluded, table.where)


def numbers(handle: int, units: Sequence[Unit]) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Returns units as the dataset carries them, shape [units, 5]."""
    lines = [(handle, unit.table, unit.rows.start, unit.rows.stop, unit.rows.step) for unit in units]
    return np.array(lines, np.int64).reshape(-1, _FIELDS)


def read_tensors(unit: tf.Tensor, defaults: Sequence[Default]) -> tuple[tf.Tensor, ...]:
    """Adds the reading of a unit to the graph: one vector per column."""
    # The reader's number is part of the element: a closure per dataset is never freed by TensorFlow, and a constant
    # argument would be folded away.
    kinds = [kind for default in defaults for kind in (TEXT if default.dtype.hasobject else (default.dtype,))]
    vectors = iter(tf.numpy_function(_read, [unit], [tf.as_dtype(kind) for kind in kinds], stateful=False))
    columns = [text_column(*islice(vectors, len(TEXT))) if d.dtype.hasobject else next(vectors) for d in defaults]
    return tuple(tf.ensure_shape(column, [None]) for column in columns)


def text_column(joined: tf.Tensor, separator: tf.Tensor, indices: tf.Tensor, *, gathers: bool = False) -> tf.Tensor:
    """Adds to the graph what makes a column of text: kernels do it, off Python's lock.

    Args:
        joined: See `texts`, as the others.
        separator: That.
        indices: That.
        gathers: Whether there always are indices.
    """
    values = tf.raw_ops.StringSplitV2(
        input=tf.ensure_shape(joined, [1]), sep=tf.ensure_shape(separator, []), maxsplit=-1
    ).values
    places = tf.ensure_shape(indices, [None])[:, tf.newaxis]

    def gathered() -> tf.Tensor:
        # GatherNd takes strings in half of Gather's time.
        return tf.raw_ops.GatherNd(params=values, indices=places)

    return gathered() if gathers else tf.cond(tf.equal(tf.size(places), 0), lambda: values, gathered)


def open_tensor(handle: tf.Tensor, name: tf.Tensor) -> tf.Tensor:
    """Adds the opening of an address to the graph: its units, shape [units, 5]."""
    return tf.ensure_shape(tf.numpy_function(_units, [handle, name], tf.int64), [None, _FIELDS])


def _read(unit: np.ndarray[Any, Any]) -> list[np.ndarray[Any, Any]]:
    handle, table, start, stop, step = (int(number) for number in unit)
    try:
        return readers[handle].read(table, range(start, stop, step))
    except PaiTrainError as fault:
        raise _for_tensorflow(fault) from None


def _units(handle: np.int64, name: bytes) -> np.ndarray[Any, Any]:
    try:
        return numbers(int(handle), readers[int(handle)].units(name.decode()))
    except PaiTrainError as fault:
        raise _for_tensorflow(fault) from None


def _for_tensorflow(fault: PaiTrainError) -> Exception:
    """Returns what arrives as InvalidArgumentError, or as UnknownError where the store is at fault."""
    return RuntimeError(str(fault)) if isinstance(fault, StorageError) else ValueError(str(fault))
