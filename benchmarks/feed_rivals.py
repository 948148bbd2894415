"""What the feed is measured against: the machine's limit, the PAI sample's queue, and the best short programs."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
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
    return sum(batch.num_rows for batch in csv_batches(path, shape))


def csv_batches(path: Path, shape: Shape) -> Iterator[pa.RecordBatch]:
    """Yields what pyarrow's own stream gives; strings as bytes, which need no check."""
    read = pa_csv.ReadOptions(column_names=list(shape.columns), block_size=2**20)
    binary = {name: pa.binary() if kind == pa.string() else kind for name, kind in shape.arrow.items()}
    yield from pa_csv.open_csv(path, read, convert_options=pa_csv.ConvertOptions(column_types=binary))


def scan(files: Sequence[str], columns: Sequence[str] | None = None) -> int:
    """Pyarrow's own scan of Parquet files with all cores, without tensors; of some columns, or of all."""
    wanted = None if columns is None else list(columns)
    return sum(batch.num_rows for batch in pads.dataset(files).to_batches(columns=wanted))


def csv_defaults(shape: Shape) -> list[np.ndarray[Any, Any]]:
    """Returns what TensorFlow's decoder is told of each column: its type, and what stands for null."""
    empty = {"DOUBLE": np.zeros(1), "BIGINT": np.zeros(1, np.int64), "STRING": np.array([b""], object)}
    return [empty[kind] for kind in shape.columns.values()]


def row_at_a_time(path: Path, shape: Shape, size: int) -> int:
    """The PAI sample: one line from a queue of files, decoded, and queued again until there is a batch."""
    import tensorflow as tf

    tf1 = tf.compat.v1
    defaults = csv_defaults(shape)
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


def parse_examples(path: Path, shape: Shape, size: int) -> int:
    """TFRecord the fast way: batches, parsed together, with all that tf.data tunes."""
    import tensorflow as tf

    kinds = {"DOUBLE": tf.float32, "BIGINT": tf.int64, "STRING": tf.string}
    features = {
        name: tf.io.FixedLenFeature([], kinds[kind], shape.defaults[name]) for name, kind in shape.columns.items()
    }
    dataset = tf.data.TFRecordDataset(str(path)).batch(size)
    dataset = dataset.map(lambda texts: tf.io.parse_example(texts, features), num_parallel_calls=tf.data.AUTOTUNE)
    name = next(iter(shape.columns))
    return sum(int(batch[name].shape[0]) for batch in dataset.prefetch(tf.data.AUTOTUNE))


class HuggingFace:
    """Hugging Face datasets as it is documented for TensorFlow; opened once.

    Args:
        files: Parquet files.
        cache: Where the library may keep what it makes of them.
        rows: How many rows are read.
    """

    def __init__(self, files: Sequence[str], cache: Path, rows: int) -> None:
        import datasets

        datasets.disable_progress_bars()
        self._rows = datasets.Dataset.from_parquet(list(files), cache_dir=str(cache)).select(range(rows))

    def read(self, size: int) -> int:
        """Reads to the end and returns how many rows came."""
        batches = self._rows.to_tf_dataset(batch_size=size, shuffle=False)
        return sum(int(next(iter(batch.values())).shape[0]) for batch in batches)


class RayData:
    """Ray Data as it is documented for TensorFlow, on all cores of this machine; Ray itself is started once.

    Args:
        files: Parquet files, read anew each time.
    """

    def __init__(self, files: Sequence[str]) -> None:
        import ray

        if not ray.is_initialized():
            ray.init(include_dashboard=False, log_to_driver=False, logging_level="error")
        ray.data.DataContext.get_current().enable_progress_bars = False
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        self._rows = ray.data.read_parquet(list(files))

    def read(self, size: int) -> int:
        """Reads to the end and returns how many rows came."""
        return sum(int(next(iter(batch.values())).shape[0]) for batch in self._rows.iter_tf_batches(batch_size=size))

    def close(self) -> None:
        """Ends what was started."""
        import ray

        ray.shutdown()


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
