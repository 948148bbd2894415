"""What the tables room makes of Iceberg on local disk, beside plain pyarrow and beside TFRecord.

    python benchmarks/tables.py --json tables.json

Narrow rows are 4 DOUBLE and 1 STRING of 3 values, wide rows 14 BIGINT and 26 STRING of 8
bytes, half of them of 1,000 values and half of 200,000. Each repetition runs
both sides of a pair, one after the other, on the same files and the same rows; what is judged is the median of the
ratios. Reading counts rows as they reach the loop: superbatches of 32 batches of 1,024 rows, as TensorFlow tensors.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
import pyarrow as pa  # noqa: E402
import pyarrow.dataset as pads  # noqa: E402
import pyarrow.parquet as pq  # noqa: E402

from pai_train.feed.contracts import FeedPlan  # noqa: E402
from pai_train.spec.address import TableRef  # noqa: E402
from pai_train.spec.ddl import parse_ddl  # noqa: E402
from pai_train.spec.slices import slice_rows  # noqa: E402
from pai_train.storage import Stores  # noqa: E402
from pai_train.tables.iceberg import IcebergTables  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pai_train.spec.contracts import Source

BATCH, STEPS = 1024, 32
PART_ROWS = 2**18
NARROW = {**{f"f{i}": "DOUBLE" for i in range(4)}, "kind": "STRING"}
WIDE = {**{f"i{i}": "BIGINT" for i in range(14)}, **{f"s{i}": "STRING" for i in range(26)}}
KINDS = np.array(["Iris-setosa", "Iris-virginica", "Iris-versicolor"], object)


@dataclass(frozen=True)
class Result:
    """Ratios of rows per second, one per repetition, ours over the other's."""

    case: str
    ratio: float
    required: float
    min: float
    max: float
    kept: bool
    seconds: float
    other_seconds: float
    repetitions: int


def rows_of(columns: dict[str, str], rows: int, seed: int) -> pa.RecordBatch:
    """Makes rows of random values."""
    random = np.random.default_rng(seed)
    made: dict[str, Any] = {}
    for name, kind in columns.items():
        if kind == "DOUBLE":
            made[name] = np.round(random.normal(size=rows), 4)
        elif kind == "BIGINT":
            made[name] = random.integers(0, 2**31, rows)
        elif name == "kind":
            made[name] = KINDS[random.integers(0, 3, rows)]
        else:
            values = 1_000 if int(name[1:]) % 2 else 200_000
            made[name] = pa.array(random.integers(10**7, 10**7 + values, rows)).cast(pa.string())
    return pa.record_batch(made)


def batches_of(columns: dict[str, str], rows: int) -> Iterator[pa.RecordBatch]:
    """Yields that many rows in batches of one row group."""
    for seed, start in enumerate(range(0, rows, 65536)):
        yield rows_of(columns, min(65536, rows - start), seed)


def compare(
    case: str, ours: Callable[[], int], other: Callable[[], int], rows: int, repetitions: int, required: float
) -> Result:
    """Measures pairs after one pair that is not counted."""

    def seconds(work: Callable[[], int]) -> float:
        begin = time.perf_counter()
        got = work()
        if got != rows:
            raise RuntimeError(f"{case}: {got} rows instead of {rows}")
        return time.perf_counter() - begin

    pairs = [(seconds(ours), seconds(other)) for _ in range(repetitions + 1)][1:]
    ratios = [theirs / mine for mine, theirs in pairs]
    median = statistics.median(ratios)
    return Result(
        case=case,
        ratio=median,
        required=required,
        min=min(ratios),
        max=max(ratios),
        kept=median >= required,
        seconds=statistics.median(mine for mine, _ in pairs),
        other_seconds=statistics.median(theirs for _, theirs in pairs),
        repetitions=repetitions,
    )


def tensors(source: Source, columns: tuple[str, ...]) -> int:
    """Reads a source as the training loop does."""
    from pai_train.feed.tf_data import TfDataEngine

    plan = FeedPlan(columns, batch_size=BATCH, defaults={}, steps=STEPS)
    with TfDataEngine().open(source, plan) as superbatches:
        return sum(sum(one.rows) for one in superbatches)


def scan(files: list[str], columns: tuple[str, ...]) -> int:
    """Reads the same files with pyarrow alone, all cores, without tensors."""
    return sum(batch.num_rows for batch in pads.dataset(files).to_batches(columns=list(columns)))


def write_tfrecord(path: str, columns: dict[str, str], rows: int) -> None:
    """Writes as many rows as Examples; the same 16,384 again and again, as each has to be parsed all the same."""
    import tensorflow as tf

    examples = []
    for row in rows_of(columns, min(rows, 16384), 0).to_pylist():
        feature = {name: _feature(value) for name, value in row.items()}
        examples.append(tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString())
    with tf.io.TFRecordWriter(path) as writer:
        for example in itertools.islice(itertools.cycle(examples), rows):
            writer.write(example)


def _feature(value: object) -> Any:
    import tensorflow as tf

    if isinstance(value, float):
        return tf.train.Feature(float_list=tf.train.FloatList(value=[value]))
    if isinstance(value, int):
        return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=[str(value).encode()]))


def parse_examples(path: str, columns: dict[str, str]) -> int:
    """Reads TFRecord the fast way: batches, parsed together, with all that tf.data tunes."""
    import tensorflow as tf

    kinds = {"DOUBLE": tf.float32, "BIGINT": tf.int64, "STRING": tf.string}
    features = {name: tf.io.FixedLenFeature([], kinds[kind]) for name, kind in columns.items()}
    dataset = tf.data.TFRecordDataset(path).batch(BATCH)
    dataset = dataset.map(lambda texts: tf.io.parse_example(texts, features), num_parallel_calls=tf.data.AUTOTUNE)
    name = next(iter(columns))
    return sum(int(batch[name].shape[0]) for batch in dataset.prefetch(tf.data.AUTOTUNE))


def fill(tables: IcebergTables, name: str, columns: dict[str, str], rows: int, token: str, part_rows: int) -> TableRef:
    """Makes a table of several data files."""
    ref = TableRef("bench", name)
    declared = ", ".join(f"{column} {kind}" for column, kind in columns.items())
    tables.ensure(ref, parse_ddl(f"CREATE TABLE {name} ({declared})"))
    session = tables.write(ref, "overwrite", token)
    parts = []
    for number, start in enumerate(range(0, rows, part_rows)):
        writer = session.part(number, 0)
        for seed, lo in enumerate(range(start, min(start + part_rows, rows), 65536)):
            writer.write(rows_of(columns, min(65536, rows - lo, start + part_rows - lo), seed + number * 100))
        parts.append(writer.finish())
    session.commit(parts)
    return ref


def data_files(tables: IcebergTables, ref: TableRef) -> list[str]:
    """Lists a table's data files as paths."""
    urls = {chunk.ref.rpartition("@")[0] for chunk in tables.source(ref).chunks()}
    return sorted(url.removeprefix("file://") for url in urls)


def reading(folder: Path, tables: IcebergTables, narrow: int, wide: int, times: int) -> Iterator[Result]:
    """Measures reading into tensors."""
    for name, columns, rows, required in (("narrow", NARROW, narrow, 12.0), ("wide", WIDE, wide, 4.5)):
        ref = fill(tables, name, columns, rows, "t", PART_ROWS)
        files, record = data_files(tables, ref), str(folder / f"{name}.tfrecord")
        numbers = tuple(column for column, kind in columns.items() if kind != "STRING")
        yield compare(
            f"{name}, numeric columns / pyarrow scan",
            lambda ref=ref, numbers=numbers: tensors(tables.source(ref), numbers),
            lambda files=files, numbers=numbers: scan(files, numbers),
            rows,
            times,
            0.9,
        )
        write_tfrecord(record, columns, rows)
        yield compare(
            f"{name}, all columns / TFRecord parse_example",
            lambda ref=ref, columns=columns: tensors(tables.source(ref), tuple(columns)),
            lambda record=record, columns=columns: parse_examples(record, columns),
            rows,
            times,
            required,
        )
        os.unlink(record)


def writing(folder: Path, tables: IcebergTables, rows: int, times: int) -> Iterator[Result]:
    """Measures a whole write with its commit beside pyarrow's Parquet writer with the same settings."""
    numbers = itertools.count()
    batches = list(batches_of(NARROW, rows))
    ref = TableRef("bench", "narrow")

    def ours() -> int:
        session = tables.write(ref, "overwrite", f"w{next(numbers)}")
        writer = session.part(0, 0)
        for batch in batches:
            writer.write(batch)
        return session.commit([writer.finish()]).rows or 0

    def plain() -> int:
        path = folder / "plain.parquet"
        with pq.ParquetWriter(path, batches[0].schema, compression="zstd", use_dictionary=["kind"]) as writer:
            for batch in batches:
                writer.write_batch(batch)
        with path.open("rb") as stream:
            os.fsync(stream.fileno())
        return rows

    yield compare("writing narrow rows / pyarrow's Parquet writer", ours, plain, rows, times, 0.8)


class Counted:
    """A store that notes what is opened."""

    def __init__(self, tables: IcebergTables) -> None:
        store = tables._catalog.store
        self.opened: list[str] = []
        self._open, self._open_arrow = store.open_input, store.open_arrow

        def open_input(url: str, info: Any = None) -> Any:
            self.opened.append(url)
            return self._open(url, info)

        def open_arrow(url: str) -> Any:
            self.opened.append(url)
            return self._open_arrow(url)

        store.open_input, store.open_arrow = open_input, open_arrow  # type: ignore[method-assign]


def slicing(tables: IcebergTables, files: int) -> tuple[str, bool]:
    """Opens a table of many files, reads slice 3 of 8, and says which data files that touched."""
    ref = fill(tables, "many", {"id": "BIGINT"}, files * 64, "t", 64)
    counted = Counted(tables)
    begin = time.perf_counter()
    total = tables.source(ref).snapshot.rows or 0
    rows = slice_rows(total, 3, 8)
    source = tables.source(ref, rows=rows)
    seconds = time.perf_counter() - begin
    before = [url for url in counted.opened if url.endswith(".parquet")]
    read = sum(batch.num_rows for chunk in source.chunks() for batch in source.read(chunk, ["id"]))
    touched = {url for url in counted.opened if url.endswith(".parquet")}
    kept = not before and read == len(rows) and len(touched) <= -(-files // 8) + 1
    text = f"{files} files opened and cut in {seconds:.2f} s, {len(before)} data files read for it; slice 3 of 8"
    return f"{text}: {read} rows of {len(touched)} files", kept


def main() -> int:
    """Measures, prints and checks every case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="PATH", help="also write the results there")
    parser.add_argument("--repetitions", type=int, default=5, help="at least 5")
    parser.add_argument("--narrow", type=int, default=4_000_000, help="narrow rows")
    parser.add_argument("--wide", type=int, default=400_000, help="wide rows")
    options = parser.parse_args()
    if options.repetitions < 5:
        parser.error("at least 5 repetitions")
    results = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tables = IcebergTables(str(folder / "tables"), "bench", Stores())
        measured = itertools.chain(
            reading(folder, tables, options.narrow, options.wide, options.repetitions),
            writing(folder, tables, options.narrow, options.repetitions),
        )
        for result in measured:
            print(
                f"{result.case:<46} {result.ratio:.2f} ({result.min:.2f} to {result.max:.2f}, {result.repetitions} "
                f"pairs, {result.seconds:.2f} s beside {result.other_seconds:.2f} s), wanted {result.required}: "
                f"{'kept' if result.kept else 'MISSED'}",
                flush=True,
            )
            results.append(result)
        text, kept = slicing(tables, 1000)
        print(f"{text}: {'kept' if kept else 'MISSED'}")
    if options.json is not None:
        options.json.write_text(json.dumps([asdict(result) for result in results], indent=2) + "\n")
    return 0 if kept and all(result.kept for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
