"""What a table dataset costs beside the bare scan of the same Parquet files, and what a call per row would cost.

    python benchmarks/paiio.py --json paiio.json

Each repetition runs both sides of a pair, one after the other, so that what else the machine does meets both; what is
judged is the median of the ratios. All rows are counted on both sides. Batches are consumed in the graph, as `fit`
does with steps_per_execution, and once in Python.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
import pyarrow as pa  # noqa: E402
import pyarrow.dataset as pads  # noqa: E402
import tensorflow as tf  # noqa: E402

from pai_train import paiio  # noqa: E402
from pai_train.spec.address import parse_table  # noqa: E402
from pai_train.spec.ddl import parse_ddl  # noqa: E402
from pai_train.tables.iceberg import IcebergTables  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BATCH = 1024
PART_ROWS = 2**19
NUMBERS = "CREATE TABLE numbers (a DOUBLE, b DOUBLE, c DOUBLE, d DOUBLE, e BIGINT)"
MIXED = "CREATE TABLE mixed (a DOUBLE, b DOUBLE, c DOUBLE, d DOUBLE, kind STRING)"
FLOATS = [np.float64(0)] * 4


@dataclass(frozen=True)
class Result:
    """Ratios of seconds, one per repetition, the medians that they are made of, and the median ratio of CPU seconds."""

    case: str
    median: float
    low: float
    high: float
    bound: str
    kept: bool
    seconds: float
    other_seconds: float
    cpu: float
    repetitions: int


def fill(tables: IcebergTables, ddl: str, rows: int) -> None:
    """Writes a table of random numbers, and of texts of 11 to 15 letters."""
    statement = parse_ddl(ddl)
    ref = parse_table(statement.name, "bench")
    tables.ensure(ref, statement)
    session = tables.write(ref, "overwrite", "fill")
    random, parts = np.random.default_rng(7), []
    for index, lo in enumerate(range(0, rows, PART_ROWS)):
        count = min(PART_ROWS, rows - lo)
        columns = [pa.array(random.random(count)) for _ in range(4)]
        if statement.name == "numbers":
            columns.append(pa.array(np.arange(lo, lo + count)))
        else:
            kinds = np.array(["iris-setosa", "iris-virginica", "iris-versicolor"])[random.integers(0, 3, count)]
            columns.append(pa.array(kinds, pa.string()))
        writer = session.part(index, 0)
        writer.write(pa.record_batch(columns, [column.name for column in statement.columns]))
        parts.append(writer.finish())
    session.commit(parts)


def dataset(name: str, rows: int | None = None) -> paiio.TableRecordDataset:
    """Opens the first rows of a table."""
    last = np.int64(0) if name == "numbers" else ""
    return paiio.TableRecordDataset(name if rows is None else f"{name}?end={rows}", [*FLOATS, last])


@tf.function
def in_graph(batches: tf.data.Dataset) -> tf.Tensor:
    """Counts rows without leaving the graph."""
    return batches.reduce(np.int64(0), lambda rows, columns: rows + tf.shape(columns[-1], tf.int64)[0])


def in_python(batches: tf.data.Dataset) -> int:
    """Counts rows batch by batch in Python."""
    return sum(int(columns[-1].shape[0]) for columns in batches)


def scan(root: Path, name: str) -> int:
    """Reads all columns of the table's Parquet files with pyarrow alone."""
    files = pads.dataset(str(root / "bench" / name / "data"), format="parquet")
    return sum(batch.num_rows for batch in files.to_batches())


def compare(
    case: str,
    ours: Callable[[], int],
    other: Callable[[], int],
    rows: int,
    repetitions: int,
    *,
    at_most: float,
) -> Result:
    """Measures pairs; the ratio is ours over the other's."""

    def seconds(work: Callable[[], int]) -> tuple[float, float]:
        begin, cpu = time.perf_counter(), time.process_time()
        got = int(work())
        if got != rows:
            raise RuntimeError(f"{case}: {got} rows instead of {rows}")
        return time.perf_counter() - begin, time.process_time() - cpu

    seconds(ours), seconds(other)
    both = [(seconds(ours), seconds(other)) for _ in range(repetitions)]
    pairs = [(mine[0], theirs[0]) for mine, theirs in both]
    ratios = [mine / theirs for mine, theirs in pairs]
    median = statistics.median(ratios)
    return Result(
        case=case,
        median=median,
        low=min(ratios),
        high=max(ratios),
        bound=f"at most {at_most:.2f}",
        kept=median <= at_most,
        seconds=statistics.median(mine for mine, _ in pairs),
        other_seconds=statistics.median(theirs for _, theirs in pairs),
        cpu=statistics.median(mine[1] / theirs[1] for mine, theirs in both),
        repetitions=repetitions,
    )


def measured(root: Path, rows: int, times: int) -> Iterator[Result]:
    """Measures one case after another."""
    tables = IcebergTables(str(root), "bench")
    for ddl in (NUMBERS, MIXED):
        fill(tables, ddl, rows)
    paiio.configure(tables, project="bench")
    for name, title, in_graph_bound, in_python_bound in (
        ("numbers", "5 columns of numbers", 5.0, 8.0),
        ("mixed", "4 of numbers, 1 of text", 6.0, 10.0),
    ):
        for place, count, bound in (("graph", in_graph, in_graph_bound), ("Python", in_python, in_python_bound)):
            yield compare(
                f"{title}, batches in {place} / pyarrow's scan",
                lambda name=name, count=count: count(dataset(name).batch(BATCH)),
                lambda name=name: scan(root, name),
                rows,
                times,
                at_most=bound,
            )
    few = min(rows, 100_000)
    yield compare(
        "batch(1024) / the same after a map of each row",
        lambda: in_graph(dataset("numbers", few).batch(BATCH)),
        lambda: in_graph(dataset("numbers", few).map(lambda a, *rest: (a * 2, *rest)).batch(BATCH)),
        few,
        times,
        at_most=1 / 10,
    )
    yield compare(
        "batch(1024) / unbatch and batch by tf.data",
        lambda: in_graph(dataset("numbers", few).batch(BATCH)),
        lambda: in_graph(dataset("numbers", few).batch(BATCH).unbatch().batch(BATCH)),
        few,
        times,
        at_most=1 / 2,
    )


def main() -> int:
    """Measures, prints and checks every case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="PATH", help="also write the results there")
    parser.add_argument("--repetitions", type=int, default=5, help="at least 5")
    parser.add_argument("--rows", type=int, default=3_000_000)
    options = parser.parse_args()
    if options.repetitions < 5:
        parser.error("at least 5 repetitions")
    results = []
    with tempfile.TemporaryDirectory() as name:
        for result in measured(Path(name), options.rows, options.repetitions):
            print(
                f"{result.case:<56} {result.median:.2f} ({result.low:.2f} to {result.high:.2f}, "
                f"{result.repetitions} pairs, {result.seconds:.2f} s beside {result.other_seconds:.2f} s; "
                f"CPU {result.cpu:.2f}), "
                f"wanted {result.bound}: {'kept' if result.kept else 'MISSED'}",
                flush=True,
            )
            results.append(result)
    if options.json is not None:
        options.json.write_text(json.dumps([asdict(result) for result in results], indent=2) + "\n")
    return 0 if all(result.kept for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
