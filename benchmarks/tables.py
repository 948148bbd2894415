"""What the tables room makes of Iceberg on local disk, beside plain pyarrow and beside TFRecord.

    python benchmarks/tables.py --json tables.json

Narrow rows are 4 DOUBLE and 1 STRING of 3 values, wide rows 14 BIGINT and 26 STRING of 8
bytes, half of them of 1,000 values and half of 200,000. Each repetition runs
both sides of a pair, one after the other, on the same files and the same rows; what is judged is the median of the
ratios. Reading counts rows as they reach the loop: batches of 1,024 rows as TensorFlow tensors, 64 at a time, which is
what `train.steps_per_call: auto` takes for a small model.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

import feed_rivals as rivals  # noqa: E402
import pyarrow.parquet as pq  # noqa: E402
from feed_data import NARROW, WIDE, Shape, write_table, write_tfrecord  # noqa: E402
from pairs import Result, Way, in_turns, judged, over, save  # noqa: E402

from pai_train.feed.contracts import FeedPlan  # noqa: E402
from pai_train.feed.engines import engine  # noqa: E402
from pai_train.spec.address import TableRef  # noqa: E402
from pai_train.spec.slices import slice_rows  # noqa: E402
from pai_train.storage import Stores  # noqa: E402
from pai_train.tables.iceberg import IcebergTables  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pai_train.spec.contracts import Source

BATCH, STEPS = 1024, 64
PASSES = 5
"""How often a repetition reads numbers: one pass takes a fraction of a second, much of it to begin and to end."""


def compare(
    case: str, ours: Callable[[], int], other: Callable[[], int], rows: int, repetitions: int, required: float
) -> Result:
    """Measures pairs after one pair that is not counted."""
    rates = in_turns({"ours": Way(ours, rows), "other": Way(other, rows)}, repetitions)
    return judged(case, over(rates, "ours", "other"), required)


def tensors(source: Source, columns: tuple[str, ...], epochs: int = 1) -> int:
    """Reads a source as the training loop does."""
    plan = FeedPlan(columns, batch_size=BATCH, defaults={}, steps=STEPS, epochs=epochs)
    with engine("tf_data").open(source, plan) as superbatches:
        return sum(sum(one.rows) for one in superbatches)


def data_files(tables: IcebergTables, ref: TableRef) -> list[str]:
    """Lists a table's data files as paths."""
    urls = {chunk.ref.rpartition("@")[0] for chunk in tables.source(ref).chunks()}
    return sorted(url.removeprefix("file://") for url in urls)


def reading(folder: Path, tables: IcebergTables, narrow: int, wide: int, times: int) -> Iterator[Result]:
    """Measures reading into tensors."""
    shapes = (Shape("narrow", NARROW, narrow, (0,)), Shape("wide", WIDE, wide, (200_000, 1_000)))
    for shape, required in zip(shapes, (12.0, 4.5), strict=True):
        ref = write_table(shape, tables)
        files, record = data_files(tables, ref), folder / f"{shape.name}.tfrecord"
        numbers = tuple(column for column, kind in shape.columns.items() if kind != "STRING")
        yield compare(
            f"{shape.name}, numeric columns / pyarrow scan",
            lambda ref=ref, numbers=numbers: tensors(tables.source(ref), numbers, PASSES),
            lambda files=files, numbers=numbers: sum(rivals.scan(files, numbers) for _ in range(PASSES)),
            shape.rows * PASSES,
            times,
            0.9,
        )
        write_tfrecord(shape, record)
        yield compare(
            f"{shape.name}, all columns / TFRecord parse_example",
            lambda ref=ref, shape=shape: tensors(tables.source(ref), tuple(shape.columns)),
            lambda record=record, shape=shape: rivals.parse_examples(record, shape, BATCH),
            shape.rows,
            times,
            required,
        )
        record.unlink()


def writing(folder: Path, tables: IcebergTables, rows: int, times: int) -> Iterator[Result]:
    """Measures a whole write with its commit beside pyarrow's Parquet writer with the same settings."""
    numbers = itertools.count()
    batches = list(Shape("narrow", NARROW, rows, (0,)).batches())
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
    ref = write_table(Shape("many", {"id": "BIGINT"}, files * 64, ()), tables, 64)
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
    parser.add_argument("--narrow", type=int, default=10_000_000, help="narrow rows")
    parser.add_argument("--wide", type=int, default=1_000_000, help="wide rows")
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
            print(result, flush=True)
            results.append(result)
        text, kept = slicing(tables, 1000)
        print(f"{text}: {'kept' if kept else 'MISSED'}")
    if options.json is not None:
        save(results, options.json)
    return 0 if kept and all(result.kept for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
