"""TableRecordDataset: a tf.data.Dataset of rows that reads whole chunks when it is batched."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from pai_train.errors import TableError
from pai_train.paiio import sequence
from pai_train.paiio.chunks import ChunkReader, numbers, open_tensor, read_tensors, readers
from pai_train.paiio.columns import check_choice
from pai_train.paiio.defaults import read_defaults
from pai_train.paiio.handles import Lease, as_is, dataset_class
from pai_train.paiio.rows import UNIT_ROWS, check_slice
from pai_train.paiio.settings import settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pai_train.paiio.sequence import Rows

_MAX_THREADS = 64
_OPENING = 8


class TableRecordDataset(tf.data.Dataset):  # type: ignore[misc]
    """Rows of tables, one tuple of scalars per row; `batch`, `repeat`, `take`, `skip` and `shard` cost nothing per row.

    A table is divided evenly into slices; of several tables each is. NULLs are what record_defaults says. A
    table is read at the snapshot at which it was first opened: at construction, or when a Dataset of names comes to it.

    Args:
        filenames: Addresses of tables: a list, one string, or a Dataset of strings. One may name partitions, a range
            of rows (`?start=0&end=100`), or several tables separated by commas; one may come again.
        record_defaults: One entry per column that is read, which gives its dtype and what stands for NULL: a scalar
            of float32, float64, int32, int64, bool or string.
        selected_cols: Names of columns separated by commas, in the order wanted; None or '' for all.
        excluded_cols: Names of columns to leave out; not together with selected_cols.
        slice_id: Which slice is read, from 0.
        slice_count: How many slices there are.
        num_threads: Units read at once, 1 to 64; 0 for a quarter of the cores, at least 2. Order does not change.
        capacity: Rows read ahead, in all; 0 for 65,536 per thread, fewer where rows are large.

    Raises:
        TableError: An argument, a table or a column that is not there. That columns and record_defaults do not fit,
            and everything that the rows themselves are at fault for, is a tf.errors.InvalidArgumentError when they
            are read.
    """

    _options_attr: Any

    def __new__(cls, *_: Any, **__: Any) -> TableRecordDataset:
        of_graph = cls is TableRecordDataset and not tf.executing_eagerly()
        made: TableRecordDataset = object.__new__(_GraphDataset if of_graph else cls)
        return made

    def __init__(
        self,
        filenames: Any,
        record_defaults: Iterable[Any],
        selected_cols: str | None = None,
        excluded_cols: str | None = None,
        slice_id: int = 0,
        slice_count: int = 1,
        num_threads: int | None = 0,
        capacity: int | None = 0,
    ) -> None:
        check_choice(selected_cols, excluded_cols)
        check_slice(slice_id, slice_count)
        self._threads = _threads(num_threads or 0)
        reader = ChunkReader(
            settings(),
            read_defaults(record_defaults),
            selected_cols=selected_cols,
            excluded_cols=excluded_cols,
            slice_id=slice_id,
            slice_count=slice_count,
            unit_rows=_unit_rows(capacity or 0, self._threads),
        )
        self._lease = Lease(readers, reader)
        self._rows: Rows | None = None
        self._named: Any = None
        self._given: tuple[tf.data.Options, ...] = ()
        if isinstance(filenames, tf.data.Dataset):
            self._named = filenames
        else:
            names = _names(filenames)
            with ThreadPoolExecutor(min(_OPENING, len(names)), thread_name_prefix="open") as executor:
                found = list(executor.map(reader.units, names))
            self._rows = sequence.run(unit for units in found for unit in units)
        self._begin()

    @property
    def element_spec(self) -> tuple[tf.TensorSpec, ...]:
        return tuple(tf.TensorSpec((), tf.as_dtype(default.dtype)) for default in self._lease.held.defaults)

    def cardinality(self) -> tf.Tensor:
        if self._rows is None:
            return super().cardinality()
        return tf.constant(sequence.count(self._rows), tf.int64)

    def batch(
        self,
        batch_size: Any,
        drop_remainder: Any = False,
        num_parallel_calls: Any = None,
        deterministic: Any = None,
        name: str | None = None,
    ) -> Any:
        """Cuts the chunks that are read into batches; nothing is done per row."""
        size, drop = tf.get_static_value(batch_size), tf.get_static_value(drop_remainder)
        if size is not None and size < 1:
            raise ValueError(f"batch_size must be greater than 0, got {size}")
        batches = self._chunks().apply(lambda chunks: chunks.rebatch(batch_size, drop_remainder, name=name))
        # A tf.distribute strategy takes a rebatch that comes last for its own, and undoes it for one replica.
        batches = batches.skip(0)
        count = None
        if self._rows is not None and size is not None and drop is not None:
            rows = sequence.count(self._rows)
            count = rows if rows == sequence.FOREVER else int(rows // size if drop else -(-rows // size))
        return self._finish(batches, count)

    def repeat(self, count: Any = None, name: str | None = None) -> Any:
        """Repeats the rows; a batch may then hold the end of one epoch and the beginning of the next."""
        times = -1 if count is None else tf.get_static_value(count)
        if times is None:
            return super().repeat(count, name)
        if self._rows is None:
            return self._with(named=self._named.repeat(count))
        return self._with(sequence.repeat(self._rows, int(times)))

    def take(self, count: Any, name: str | None = None) -> Any:
        """Keeps the first rows."""
        wanted = tf.get_static_value(count)
        if self._rows is None or wanted is None:
            return super().take(count, name)
        return self._with(sequence.take(self._rows, int(wanted)))

    def skip(self, count: Any, name: str | None = None) -> Any:
        """Leaves out the first rows, without reading them."""
        unwanted = tf.get_static_value(count)
        if self._rows is None or unwanted is None:
            return super().skip(count, name)
        return self._with(sequence.skip(self._rows, int(unwanted)))

    def shard(self, num_shards: Any, index: Any, name: str | None = None) -> Any:
        """Keeps every `num_shards`-th row; all are read for it, unlike with slices."""
        shards, which = tf.get_static_value(num_shards), tf.get_static_value(index)
        rows = None
        if self._rows is not None and shards is not None and which is not None and 0 <= which < shards:
            rows = sequence.shard(self._rows, int(shards), int(which))
        return super().shard(num_shards, index, name) if rows is None else self._with(rows)

    def prefetch(self, buffer_size: Any, name: str | None = None) -> Any:
        """Changes nothing: rows are read ahead by the chunk, as capacity says."""
        return self._with(self._rows)

    def with_options(self, options: tf.data.Options, name: str | None = None) -> Any:
        """Keeps options for what is made of these rows."""
        return self._with(self._rows, options=options)

    def apply(self, transformation_func: Callable[[Any], Any]) -> Any:
        """Returns what a function makes of the dataset."""
        changed = transformation_func(self)
        return changed if isinstance(changed, tf.data.Dataset) else super().apply(transformation_func)

    @property
    def _variant_tensor(self) -> tf.Tensor:
        return self._as_variant_tensor()

    def _as_variant_tensor(self) -> tf.Tensor:
        return self._as_rows()._variant_tensor

    def _inputs(self) -> list[Any]:
        return []

    def _functions(self) -> list[Any]:
        return []

    def _begin(self) -> None:
        self._per_row: Any = None
        # In a graph the ops belong where the dataset is made; else most datasets are batched and never need them.
        tf.data.Dataset.__init__(self, None if tf.executing_eagerly() else self._as_variant_tensor())
        for options in self._given:
            self._options_attr = self._options_attr.merge(options)

    def _with(self, rows: Rows | None = None, named: Any = None, options: Any = None) -> TableRecordDataset:
        made: TableRecordDataset = object.__new__(type(self))
        made._threads, made._lease = self._threads, self._lease
        made._given = self._given if options is None else (*self._given, options)
        made._rows, made._named = rows, self._named if named is None else named
        made._begin()
        return made

    def _as_rows(self) -> Any:
        """Returns the dataset that gives rows one by one, at TensorFlow's cost per row."""
        if self._per_row is None:
            with tf.init_scope() if tf.executing_eagerly() else tf.name_scope("TableRecordDataset"):
                count = None if self._rows is None else sequence.count(self._rows)
                self._per_row = self._finish(self._chunks().unbatch(), count)
        return self._per_row

    def _finish(self, dataset: Any, count: int | None) -> Any:
        if count is not None:
            dataset = dataset.apply(tf.data.experimental.assert_cardinality(count))
        for options in self._given:
            dataset = dataset.with_options(options)
        self._lease.keep(dataset)
        return dataset

    def _chunks(self) -> Any:
        """Returns the dataset of units, each one vector per column."""
        defaults = self._lease.held.defaults
        units = self._units() if self._rows is None else _unit_dataset(self._lease.handle, self._rows)
        read = as_is(lambda unit: read_tensors(unit, defaults))
        chunks = units.map(read, num_parallel_calls=self._threads, deterministic=True)
        self._lease.keep(chunks)
        return chunks

    def _units(self) -> Any:
        # A handle that is an element is no constant, which would be folded away with the call.
        base = dataset_class()
        handle = base.from_tensors(tf.constant(self._lease.handle, tf.int64)).repeat()
        return base.zip((handle, self._named)).map(as_is(open_tensor)).unbatch()


class _GraphDataset(TableRecordDataset, tf.compat.v1.data.Dataset):  # type: ignore[misc]
    """What a graph gets: with make_one_shot_iterator, as scripts for PAI expect, also of what is derived from it."""


def _unit_dataset(handle: int, rows: Rows) -> Any:
    whole = None
    for part in rows:
        if isinstance(part, sequence.Loop):
            made = _unit_dataset(handle, part.parts).repeat(part.times)
        else:
            made = dataset_class().from_tensor_slices(numbers(handle, part.units))
        whole = made if whole is None else whole.concatenate(made)
    return dataset_class().from_tensor_slices(numbers(handle, ())) if whole is None else whole


def _names(filenames: Any) -> list[str]:
    if isinstance(filenames, tf.Tensor):
        known = tf.get_static_value(filenames)
        if known is None:
            raise TableError(
                "the names of tables are not known before the graph runs",
                got=str(filenames),
                todo="give a Dataset of names: tf.data.Dataset.from_tensor_slices(names)",
            )
        filenames = known.reshape(-1).tolist()
    if isinstance(filenames, str | bytes):
        filenames = [filenames]
    names = [name.decode() if isinstance(name, bytes) else str(name) for name in filenames]
    if not names:
        raise TableError("filenames names no table", wanted="at least one address")
    return names


def _threads(num_threads: int) -> int:
    if not 0 <= num_threads <= _MAX_THREADS:
        raise TableError("no such number of threads", got=f"num_threads={num_threads}", wanted="0 to 64")
    return num_threads or max(2, (os.cpu_count() or 1) // 4)


def _unit_rows(capacity: int, threads: int) -> int:
    if capacity < 0:
        raise TableError("no such number of rows", got=f"capacity={capacity}", wanted="0 or more")
    return min(UNIT_ROWS, -(-capacity // threads)) if capacity else UNIT_ROWS
