"""The best programs of at most forty lines that read the same rows without us; each is tuned as hard as ours.

They are spared what ours does beside: order, positions, bad rows, checks of fields; and those that do not say so give
their chunks as they are, where ours gives batches of exactly as many rows as asked for.
"""

from __future__ import annotations

import mmap
import os
import queue
import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.dataset as pads
import pyarrow.parquet as pq
from feed_rivals import csv_batches, csv_defaults

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from feed_data import Shape

RANGE_BYTES = 4 * 2**20
T = TypeVar("T")
U = TypeVar("U")


def text_lines(path: Path, shape: Shape, size: int) -> int:
    """Plain tf.data: lines in batches, each decoded by one call, with all that tf.data tunes."""
    import tensorflow as tf

    defaults = csv_defaults(shape)
    dataset = tf.data.TextLineDataset(str(path)).batch(size)
    dataset = dataset.map(lambda lines: tf.io.decode_csv(lines, defaults), num_parallel_calls=tf.data.AUTOTUNE)
    return _counted(dataset.prefetch(tf.data.AUTOTUNE))


def csv_chunks(path: Path, shape: Shape, size: int) -> int:
    """Pyarrow's chunks read by a thread, given to tf.data as they are, strings as objects, cut into batches there."""
    import tensorflow as tf

    kinds = {"DOUBLE": tf.float64, "BIGINT": tf.int64, "STRING": tf.string}
    signature = tuple(tf.TensorSpec([None], kinds[kind]) for kind in shape.columns.values())

    def chunks() -> Iterator[tuple[Any, ...]]:
        made = (
            tuple(_full(c).to_numpy(zero_copy_only=False) for c in batch.columns) for batch in csv_batches(path, shape)
        )
        yield from _read_ahead(made)

    dataset = tf.data.Dataset.from_generator(chunks, output_signature=signature)
    return _counted(dataset.rebatch(size).prefetch(tf.data.AUTOTUNE))


def csv_ranges(path: Path, shape: Shape) -> int:
    """Pyarrow on ranges of bytes, one per core at once; numbers uncopied, strings split by a kernel of TensorFlow's."""
    binary = {name: pa.binary() if kind == pa.string() else kind for name, kind in shape.arrow.items()}
    convert = pa_csv.ConvertOptions(column_types=binary)
    read = pa_csv.ReadOptions(use_threads=False, block_size=2 * RANGE_BYTES, column_names=list(shape.columns))
    with path.open("rb") as file:
        whole = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def ranges() -> Iterator[tuple[int, int]]:
        lo, size = 0, len(whole)
        while lo < size:
            hi = whole.find(b"\n", min(lo + RANGE_BYTES, size - 1)) + 1 or size
            yield lo, hi
            lo = hi

    def rows(edges: tuple[int, int]) -> list[Any]:
        text = pa.BufferReader(memoryview(whole)[slice(*edges)])
        table = pa_csv.read_csv(text, read_options=read, convert_options=convert).combine_chunks()
        return [_tensor(column.chunk(0)) for column in table.columns]

    return sum(int(columns[0].shape[0]) for columns in _side_by_side(rows, ranges()))


def polars_csv(path: Path, shape: Shape) -> int:
    """Polars' streaming scan, which reads with all cores, its chunks made tensors while the next are read."""
    import polars as pl

    kinds = {"DOUBLE": pl.Float64, "BIGINT": pl.Int64, "STRING": pl.String}
    schema = {name: kinds[kind] for name, kind in shape.columns.items()}
    frames = pl.scan_csv(path, has_header=False, schema=schema, quote_char=None).collect_batches(chunk_size=32768)

    def columns(frame: Any) -> list[Any]:
        table = frame.to_arrow(compat_level=pl.CompatLevel.oldest()).combine_chunks()
        return [_tensor(column.chunk(0)) for column in table.columns]

    return sum(int(made[0].shape[0]) for made in _read_ahead(map(columns, frames)))


def table_chunks(files: Sequence[str], shape: Shape, size: int) -> int:
    """Pyarrow's scanner read by a thread, dictionaries gathered by TensorFlow, cut into batches there."""
    import tensorflow as tf

    texts = [name for name, kind in shape.columns.items() if kind == "STRING"]
    written = pads.ParquetFileFormat(read_options=pads.ParquetReadOptions(dictionary_columns=set(texts)))
    kinds = {"DOUBLE": tf.float64, "BIGINT": tf.int64}
    signature: list[Any] = []
    for kind in shape.columns.values():
        pair = [tf.TensorSpec([None], tf.string), tf.TensorSpec([None], tf.int32)]
        signature += pair if kind == "STRING" else [tf.TensorSpec([None], kinds[kind])]

    def arrays(batch: pa.RecordBatch) -> tuple[Any, ...]:
        made: list[Any] = []
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            if name in texts:
                values, indices = _encoded(column)
                made += [values.to_numpy(zero_copy_only=False), indices.to_numpy()]
            else:
                made.append(_full(column).to_numpy())
        return tuple(made)

    def gathered(*parts: Any) -> tuple[Any, ...]:
        left = iter(parts)
        return tuple(
            tf.gather(next(left), next(left)) if kind == "STRING" else next(left) for kind in shape.columns.values()
        )

    def chunks() -> Iterator[tuple[Any, ...]]:
        yield from _read_ahead(map(arrays, pads.dataset(files, format=written).to_batches()))

    dataset = tf.data.Dataset.from_generator(chunks, output_signature=tuple(signature))
    dataset = dataset.map(gathered, num_parallel_calls=2, deterministic=True)
    return _counted(dataset.rebatch(size).prefetch(tf.data.AUTOTUNE))


def table_groups(files: Sequence[str], shape: Shape) -> int:
    """Pyarrow on row groups, one per core at once; numbers uncopied, strings of few values gathered, others split."""
    texts = [name for name, kind in shape.columns.items() if kind == "STRING"]

    def groups() -> Iterator[tuple[str, int]]:
        for file in files:
            yield from ((file, number) for number in range(pq.read_metadata(file).num_row_groups))

    def rows(group: tuple[str, int]) -> list[Any]:
        with pq.ParquetFile(group[0], memory_map=True, pre_buffer=True) as probe:
            found = probe.metadata.row_group(group[1])
            small = [
                name
                for at, name in enumerate(shape.columns)
                if name in texts and found.column(at).total_compressed_size < 2 * found.num_rows
            ]
            with pq.ParquetFile(group[0], metadata=probe.metadata, memory_map=True, read_dictionary=small) as file:
                table = file.read_row_group(group[1], use_threads=False).combine_chunks()
        return [_tensor(column.chunk(0)) for column in table.columns]

    return sum(int(columns[0].shape[0]) for columns in _side_by_side(rows, groups()))


def _tensor(column: Any) -> Any:
    """Makes a tensor of a column as fast as it is known how."""
    import tensorflow as tf

    with tf.device("CPU:0"):
        if pa.types.is_dictionary(column.type):
            values, indices = _encoded(column)
            return tf.raw_ops.GatherNd(params=_split(values), indices=indices.to_numpy().reshape(-1, 1))
        column = _full(column)
        if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
            if column.buffers()[1].address % 64 == 0 and not column.offset:
                return tf.experimental.dlpack.from_dlpack(column.__dlpack__())
            return tf.constant(column.to_numpy())
        return _split(column.cast(pa.large_binary()).cast(pa.binary()))


def _split(values: Any) -> Any:
    import tensorflow as tf

    joined = pc.binary_join(pa.ListArray.from_arrays(pa.array([0, len(values)], pa.int32()), values), b"\n")
    return tf.raw_ops.StringSplitV2(input=[joined[0].as_py()], sep=b"\n", maxsplit=-1).values


def _encoded(column: Any) -> tuple[Any, Any]:
    """Returns a dictionary and its indices; null is its first value, which costs no more than another."""
    indices = column.indices
    return column.dictionary.cast(pa.binary()), indices.fill_null(0) if indices.null_count else indices


def _full(column: Any) -> Any:
    if not column.null_count:
        return column
    is_number = pa.types.is_integer(column.type) or pa.types.is_floating(column.type)
    return column.fill_null(0 if is_number else "-" if pa.types.is_large_string(column.type) else b"-")


def _counted(dataset: Any) -> int:
    return sum(int(batch[0].shape[0]) for batch in dataset)


def _side_by_side(make: Callable[[T], U], of: Iterable[T]) -> Iterator[U]:
    """Makes things with all cores, a few ahead, in order."""
    cores = os.cpu_count() or 1
    with ThreadPoolExecutor(cores) as executor:
        made: deque[Any] = deque()
        for one in of:
            made.append(executor.submit(make, one))
            if len(made) > cores:
                yield made.popleft().result()
        for future in made:
            yield future.result()


def _read_ahead(made: Iterator[T], depth: int = 4) -> Iterator[T]:
    ready: queue.Queue[Any] = queue.Queue(depth)

    def fill() -> None:
        try:
            for one in made:
                ready.put(one)
            ready.put(None)
        except Exception as error:
            ready.put(error)

    threading.Thread(target=fill, daemon=True).start()
    while (one := ready.get()) is not None:
        if isinstance(one, Exception):
            raise one
        yield one
