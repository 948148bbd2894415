"""What the feed is measured against: the machine's limit, the PAI sample's queue, and the best short programs."""

from __future__ import annotations

import queue
import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.dataset as pads

from pai_train.spec.contracts import Chunk, Snapshot

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from feed_data import Shape

STEP_ROWS = 64


def stream(path: Path, shape: Shape) -> int:
    """Pyarrow's own CSV stream in blocks of 1 MiB, without tensors."""
    return sum(batch.num_rows for batch in _csv_batches(path, shape))


def _csv_batches(path: Path, shape: Shape) -> Iterator[pa.RecordBatch]:
    read = pa_csv.ReadOptions(column_names=list(shape.columns), block_size=2**20)
    binary = {name: pa.binary() if kind == pa.string() else kind for name, kind in shape.arrow.items()}
    yield from pa_csv.open_csv(path, read, convert_options=pa_csv.ConvertOptions(column_types=binary))


def scan(files: Sequence[str], columns: Sequence[str] | None = None) -> int:
    """Pyarrow's own scan of Parquet files with all cores, without tensors; of some columns, or of all."""
    wanted = None if columns is None else list(columns)
    return sum(batch.num_rows for batch in pads.dataset(files).to_batches(columns=wanted))


def _defaults(shape: Shape) -> list[np.ndarray[Any, Any]]:
    empty = {"DOUBLE": np.zeros(1), "BIGINT": np.zeros(1, np.int64), "STRING": np.array([b""], object)}
    return [empty[kind] for kind in shape.columns.values()]


def row_at_a_time(path: Path, shape: Shape, size: int) -> int:
    """The PAI sample: one line from a queue of files, decoded, and queued again until there is a batch."""
    import tensorflow as tf

    tf1 = tf.compat.v1
    defaults = _defaults(shape)
    with tf.Graph().as_default(), tf1.Session() as session:
        names = tf1.train.string_input_producer([str(path)], num_epochs=1, shuffle=False)
        _, line = tf1.TextLineReader().read(names)
        columns = tf1.decode_csv(line, record_defaults=defaults)
        batch = tf1.train.batch(columns, size, num_threads=1, capacity=8 * size, allow_smaller_final_batch=True)
        session.run([tf1.global_variables_initializer(), tf1.local_variables_initializer()])
        coordinator = tf1.train.Coordinator()
        threads = tf1.train.start_queue_runners(session, coordinator)
        rows, fetch = 0, session.make_callable(batch)
        try:
            while not coordinator.should_stop():
                rows += len(fetch()[0])
        except tf.errors.OutOfRangeError:
            pass
        coordinator.request_stop()
        coordinator.join(threads)
    return rows


def text_lines(path: Path, shape: Shape, size: int) -> int:
    """Lines in batches, each decoded by one call, with all that tf.data tunes."""
    import tensorflow as tf

    defaults = _defaults(shape)
    dataset = tf.data.TextLineDataset(str(path)).batch(size)
    dataset = dataset.map(lambda lines: tf.io.decode_csv(lines, defaults), num_parallel_calls=tf.data.AUTOTUNE)
    return _counted(dataset.prefetch(tf.data.AUTOTUNE))


def _counted(dataset: Any) -> int:
    return sum(int(batch[0].shape[0]) for batch in dataset)


def _read_ahead(made: Iterator[Any], depth: int = 4) -> Iterator[Any]:
    ready: queue.Queue[Any] = queue.Queue(depth)

    def fill() -> None:
        for one in made:
            ready.put(one)
        ready.put(None)

    threading.Thread(target=fill, daemon=True).start()
    while (one := ready.get()) is not None:
        yield one


def csv_chunks(path: Path, shape: Shape, size: int) -> int:
    """Pyarrow's chunks read by a thread, given to tf.data as they are, strings as objects, cut into batches there."""
    import tensorflow as tf

    kinds = {"DOUBLE": tf.float64, "BIGINT": tf.int64, "STRING": tf.string}
    signature = tuple(tf.TensorSpec([None], kinds[kind]) for kind in shape.columns.values())

    def chunks() -> Iterator[tuple[Any, ...]]:
        made = (tuple(c.to_numpy(zero_copy_only=False) for c in b.columns) for b in _csv_batches(path, shape))
        yield from _read_ahead(made)

    dataset = tf.data.Dataset.from_generator(chunks, output_signature=signature)
    return _counted(dataset.rebatch(size).prefetch(tf.data.AUTOTUNE))


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
                values = pc.cast(column.dictionary, pa.binary()).to_numpy(zero_copy_only=False)
                made += [values, column.indices.to_numpy()]
            else:
                made.append(column.to_numpy())
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


def parse_examples(path: Path, shape: Shape, size: int) -> int:
    """TFRecord the fast way: batches, parsed together, with all that tf.data tunes."""
    import tensorflow as tf

    kinds = {"DOUBLE": tf.float32, "BIGINT": tf.int64, "STRING": tf.string}
    features = {name: tf.io.FixedLenFeature([], kinds[kind]) for name, kind in shape.columns.items()}
    dataset = tf.data.TFRecordDataset(str(path)).batch(size)
    dataset = dataset.map(lambda texts: tf.io.parse_example(texts, features), num_parallel_calls=tf.data.AUTOTUNE)
    name = next(iter(shape.columns))
    return sum(int(batch[name].shape[0]) for batch in dataset.prefetch(tf.data.AUTOTUNE))


def hugging_face(files: Sequence[str], size: int, rows: int) -> int:
    """Hugging Face datasets as it is documented for TensorFlow."""
    from datasets import Dataset

    dataset = Dataset.from_parquet(list(files)).select(range(rows)).to_tf_dataset(batch_size=size, shuffle=False)
    return sum(int(next(iter(batch.values())).shape[0]) for batch in dataset)


class WaitingSource:
    """A source whose every batch takes some seconds of waiting, as of a store: Arrow, off Python's lock.

    Args:
        seconds: What reading a chunk takes.
        steps: How many chunks of `STEP_ROWS` rows there are.
    """

    def __init__(self, seconds: float, steps: int) -> None:
        self._seconds = seconds
        self._rows = pa.record_batch({"x": np.zeros(STEP_ROWS)})
        self._chunks = [Chunk(i, STEP_ROWS, None, f"memory://x@{i}-{i + 1}") for i in range(steps)]
        self.schema = self._rows.schema
        self.snapshot = Snapshot("made", STEP_ROWS * steps, None)

    def chunks(self) -> Sequence[Chunk]:
        """Lists the chunks, one per step."""
        return self._chunks

    def read(self, chunk: Chunk, columns: Sequence[str], start: int = 0) -> Iterator[pa.RecordBatch]:
        """Gives a chunk after its time."""
        self.work()
        yield self._rows.slice(start)

    def work(self) -> None:
        """Takes the time."""
        time.sleep(self._seconds)


class BusySource(WaitingSource):
    """As `WaitingSource`, but that Python computes all the while and holds its lock."""

    def work(self) -> None:
        end = time.perf_counter() + self._seconds
        while time.perf_counter() < end:
            sum(range(200))
