"""What the feed makes of CSV and tables, beside the limit of the machine, the old way, and the best of others.

    python benchmarks/feed.py --json feed.json --png feed.png

Narrow rows are 4 DOUBLE and 1 STRING of 3 values, wide ones 14 BIGINT and 26 STRING of 8 bytes with 1,000 values each;
`many` are as wide, their strings of 200,000 values. All is local and in the page cache. Each case runs its ways one
after the other, again and again, and judges the median of the ratios of rows per second. Ours counts rows as they
reach the loop: superbatches of 32,768 rows, as TensorFlow tensors. The A/A row is a way beside itself: it shows what
the machine's noise makes of nothing.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

import feed_rivals as rivals  # noqa: E402
from feed_data import NARROW, WIDE, Shape, write_csv, write_table, write_tfrecord  # noqa: E402
from pairs import Result, Way, in_turns, judged, over, save  # noqa: E402

from pai_train.feed.ahead import ahead  # noqa: E402
from pai_train.feed.contracts import FeedPlan, Position, Shuffle  # noqa: E402
from pai_train.feed.engines import engine  # noqa: E402
from pai_train.feed.formats import FileFormat, open_files  # noqa: E402
from pai_train.feed.stats import Stats  # noqa: E402
from pai_train.spec.address import TableRef  # noqa: E402
from pai_train.storage import Stores, open_store, resolve  # noqa: E402
from pai_train.tables.iceberg import IcebergTables  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pai_train.spec.contracts import Source

SUPERBATCH = 32768
SIZES = (256, 1024, 8192)


class Data:
    """One shape of rows in all its forms, written when first asked for."""

    def __init__(self, folder: Path, shape: Shape) -> None:
        self.shape = shape
        self._folder = folder

    @property
    def csv(self) -> Path:
        """The rows as CSV."""
        path = self._folder / f"{self.shape.name}.csv"
        if not path.exists():
            write_csv(self.shape, path)
        return path

    def head(self, rows: int) -> Path:
        """The first rows as CSV."""
        path = self._folder / f"{self.shape.name}-{rows}.csv"
        if not path.exists():
            with self.csv.open("rb") as whole, path.open("wb") as part:
                part.writelines(line for line, _ in zip(whole, range(rows), strict=False))
        return path

    @property
    def tfrecord(self) -> Path:
        """As many rows as Examples."""
        path = self._folder / f"{self.shape.name}.tfrecord"
        if not path.exists():
            write_tfrecord(self.shape, path)
        return path

    @property
    def files(self) -> list[str]:
        """The table's data files."""
        self.table()
        return sorted(str(path) for path in (self._folder / "tables" / "bench" / self.shape.name).rglob("*.parquet"))

    def lines(self, path: Path | None = None) -> Source:
        """Opens the CSV as a source."""
        url = resolve("/", str(path or self.csv))
        store = open_store(url)
        return open_files(store.glob(url), self.shape.arrow, store, FileFormat())

    def table(self) -> Source:
        """Opens the table as a source."""
        root = self._folder / "tables"
        tables = IcebergTables(str(root), "bench", Stores())
        if not (root / "bench" / self.shape.name).exists():
            write_table(self.shape, tables)
        return tables.source(TableRef("bench", self.shape.name))


def plan_of(source: Source, batch_size: int, shuffle: Shuffle = "none", lanes: int = 4) -> FeedPlan:
    """Returns what the loop would ask for."""
    steps = max(1, SUPERBATCH // batch_size)
    return FeedPlan(tuple(source.schema.names), batch_size, {}, shuffle=shuffle, seed=1, lanes=lanes, steps=steps)


def read(source: Source, batch_size: int, shuffle: Shuffle = "none", name: str = "tf_data") -> int:
    """Reads a source to its end, as the loop does, and returns how many rows came."""
    with engine(name).open(source, plan_of(source, batch_size, shuffle)) as superbatches:
        return sum(sum(one.rows) for one in superbatches)


def csv_cases(data: Data, times: int, raw: float, legacy: float, queue: float) -> Iterator[Result]:
    """CSV beside the raw pyarrow stream, the PAI sample's queue and the best that plain tf.data does."""
    shape, path = data.shape, data.csv
    head = 40_000 if len(shape.columns) < 10 else 20_000
    longer = min(25 * head, shape.rows)
    some = data.head(longer)
    for size in SIZES:
        ways = {
            "raw": Way(lambda: rivals.stream(path, shape), shape.rows),
            "ours": Way(lambda size=size: read(data.lines(), size), shape.rows),
            "again": Way(lambda size=size: read(data.lines(), size), shape.rows),
            "lines": Way(lambda size=size: rivals.text_lines(path, shape, size), shape.rows),
            "chunks": Way(lambda size=size: rivals.csv_chunks(path, shape, size), shape.rows),
            "old": Way(lambda size=size: rivals.row_at_a_time(data.head(head), shape, size), head),
            "queue": Way(lambda size=size: read(data.lines(some), size, name="queue_runner"), longer),
        }
        rates = in_turns(ways, times)
        of = f"{shape.name}, B={size}: CSV"
        yield judged(
            f"{of} / raw pyarrow stream without tensors", over(rates, "ours", "raw"), raw if size > 256 else None
        )
        yield judged(f"{of} / row-at-a-time queue runner", over(rates, "ours", "old"), legacy)
        yield judged(f"{of} by queue_runner / row-at-a-time queue runner", over(rates, "queue", "old"), queue)
        yield judged(f"{of} / expert: TextLineDataset.batch.map(decode_csv)", over(rates, "ours", "lines"), 1.3)
        yield judged(f"{of} / expert: pyarrow chunks, from_generator, rebatch", over(rates, "ours", "chunks"), 1.3)
        yield judged(f"{of} / itself (A/A)", over(rates, "ours", "again"), None)


def table_cases(data: Data, times: int, tfrecord: float | None) -> Iterator[Result]:
    """A table beside TFRecord, the raw scan, the best of plain tf.data, and the libraries that are there."""
    shape = data.shape
    for size in SIZES:
        ways = {
            "ours": Way(lambda size=size: read(data.table(), size), shape.rows),
            "shuffled": Way(lambda size=size: read(data.table(), size, "block"), shape.rows),
            "record": Way(lambda size=size: rivals.parse_examples(data.tfrecord, shape, size), shape.rows),
            "scan": Way(lambda: rivals.scan(data.files), shape.rows),
            "expert": Way(lambda size=size: rivals.table_chunks(data.files, shape, size), shape.rows),
        }
        if importlib.util.find_spec("datasets") is None:
            print("Hugging Face datasets is not installed: skipped (pip install 'pai_train[peers]')", flush=True)
        else:
            some = 20 * size
            ways["hf"] = Way(lambda size=size, some=some: rivals.hugging_face(data.files[:1], size, some), some)
        rates = in_turns(ways, times)
        of = f"{shape.name}, B={size}: table"
        yield judged(f"{of} / TFRecord batch+parse_example", over(rates, "ours", "record"), tfrecord)
        yield judged(f"{of} / raw pyarrow scan without tensors", over(rates, "ours", "scan"), None)
        yield judged(f"{of} / expert: scanner, dictionaries gathered, rebatch", over(rates, "ours", "expert"), 1.3)
        yield judged(f"{of}, shuffled / unshuffled", over(rates, "shuffled", "ours"), 0.9)
        if "hf" in rates:
            yield judged(f"{of} / Hugging Face datasets' to_tf_dataset", over(rates, "ours", "hf"), 40.0)


def overlap_cases(times: int) -> Iterator[Result]:
    """Input of Y seconds a step beside a device that computes X = Y seconds: the longer of them over the step."""
    for name, kind, required in (("Arrow", rivals.WaitingSource, 0.97), ("GIL-bound", rivals.BusySource, 0.95)):
        for seconds in (0.005, 0.01, 0.1):
            steps = 20 if seconds > 0.05 else 100
            found = [_efficiency(kind(seconds, steps), seconds, steps) for _ in range(times)]
            yield judged(f"overlap, {name} source, {seconds * 1000:g} ms each", found, required)
    idle = [_idle(rivals.WaitingSource(0.1, 8), 0.9) for _ in range(times)]
    yield judged("the PAI page's example, 0.1 s load and 0.9 s compute: idle share", idle, 0.01, most=True)


def _stepping(source: Source, seconds: float) -> tuple[list[float], Stats]:
    """Steps through a source with a device-like consumer; returns when each step ended."""
    stats, ends = Stats(), []
    plan = FeedPlan(tuple(source.schema.names), rivals.STEP_ROWS, {}, lanes=1)
    with engine("tf_data", 1).open(source, plan) as superbatches, ahead(superbatches, 2, stats) as ready:
        for _ in ready:
            time.sleep(seconds)
            ends.append(time.perf_counter())
    return ends, stats


def _efficiency(source: Source, seconds: float, steps: int) -> float:
    alone, _ = _stepping(source, 0.0)
    device = time.perf_counter()
    for _ in range(steps):
        time.sleep(seconds)
    device = (time.perf_counter() - device) / steps
    both, _ = _stepping(source, seconds)
    warm = steps // 10
    step = (both[-1] - both[warm]) / (len(both) - 1 - warm)
    return max(device, (alone[-1] - alone[warm]) / (len(alone) - 1 - warm)) / step


def _idle(source: Source, seconds: float) -> float:
    _, stats = _stepping(source, seconds)
    return stats.stall_fraction or 0.0


def seek_case(data: Data, times: int) -> Iterator[Result]:
    """The first batch from a position at 90 % of the input, beside the first one of all."""
    for form, open_ in (("CSV", data.lines), ("table", data.table)):
        source = open_()
        plan = plan_of(source, 1024, "block")
        with engine("tf_data").open(source, plan) as superbatches:
            wanted = int(0.9 * data.shape.rows)
            at = _behind(superbatches, wanted)
        ratios = []
        for _ in range(times + 1):
            seconds = []
            for begin in (None, at):
                start = time.perf_counter()
                with engine("tf_data").open(source, plan, begin) as superbatches:
                    next(superbatches)
                    seconds.append(time.perf_counter() - start)
            ratios.append(seconds[1] / seconds[0])
        yield judged(f"{data.shape.name}, {form}: seek to 90 % / start", ratios[1:], 1.2, most=True)


def _behind(superbatches: Iterator[Any], rows: int) -> Position:
    for one in superbatches:
        rows -= sum(one.rows)
        if rows <= 0:
            return one.after
    raise RuntimeError("the input is shorter than it should be")


def memory_case(folder: Path, times: int) -> Iterator[Result]:
    """The peak memory of a process that reads ten times as many rows."""
    for form in ("csv", "table"):
        small, large = (Data(folder, Shape(f"m{rows}", NARROW, rows, (0,))) for rows in (1_000_000, 10_000_000))
        for data in (small, large):
            _ = data.csv if form == "csv" else data.table()
        ratios = [_peak(folder, form, large) / _peak(folder, form, small) for _ in range(times)]
        yield judged(f"peak memory, {form}, 10,000,000 rows / 1,000,000", ratios, 1.1, most=True)


def _peak(folder: Path, form: str, data: Data) -> float:
    command = [sys.executable, __file__, "--peak", form, data.shape.name, str(data.shape.rows), str(folder)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def peak(form: str, name: str, rows: int, folder: Path) -> None:
    """Reads one input to its end and prints the process's peak memory."""
    data = Data(folder, Shape(name, NARROW, rows, (0,)))
    read(data.lines() if form == "csv" else data.table(), 1024)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def measured(folder: Path, options: argparse.Namespace) -> Iterator[Result]:
    """Measures the cases that were asked for."""
    times = options.repetitions
    narrow = Data(folder, Shape("narrow", NARROW, options.narrow, (0,)))
    wide = Data(folder, Shape("wide", WIDE, options.wide, (1_000,)))
    many = Data(folder, Shape("many", WIDE, options.wide, (200_000,)))
    if "csv" in options.cases:
        yield from csv_cases(narrow, times, 0.60, 120, 30)
        yield from csv_cases(wide, times, 0.45, 30, 15)
    if "table" in options.cases:
        yield from table_cases(narrow, times, 12)
        yield from table_cases(wide, times, 4.5)
        yield from table_cases(many, times, None)
    if "overlap" in options.cases:
        yield from overlap_cases(times)
    if "seek" in options.cases:
        yield from seek_case(narrow, times)
    if "memory" in options.cases:
        yield from memory_case(folder, times)


def draw(results: Sequence[Result], path: Path) -> None:
    """Draws each case's ratio beside what was promised, on a logarithmic axis."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(11, 0.28 * len(results) + 1.2), layout="constrained")
    for place, one in enumerate(reversed(results)):
        axes.barh(place, one.ratio, color="#2a7" if one.kept else "#c53", height=0.7)
        axes.plot([one.min, one.max], [place, place], color="black", linewidth=1)
        if one.required is not None:
            axes.plot([one.required] * 2, [place - 0.45, place + 0.45], color="#345", linewidth=2)
    axes.set_yticks(range(len(results)), [one.case for one in reversed(results)], fontsize=7)
    axes.set_xscale("log")
    axes.set_xlabel(
        "ratio of rows per second, ours over the other's (line: what is promised; thin: smallest to largest)"
    )
    axes.margins(y=0.01)
    figure.savefig(path, dpi=120)


def main() -> int:
    """Measures, prints and checks every case."""
    if sys.argv[1:2] == ["--peak"]:
        peak(sys.argv[2], sys.argv[3], int(sys.argv[4]), Path(sys.argv[5]))
        return 0
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    every = ("csv", "table", "overlap", "seek", "memory")
    parser.add_argument("--cases", nargs="+", choices=every, default=every, help="which to measure")
    parser.add_argument("--json", type=Path, metavar="PATH", help="also write the results there")
    parser.add_argument("--png", type=Path, metavar="PATH", help="also draw them there")
    parser.add_argument("--repetitions", type=int, default=5, help="at least 5")
    parser.add_argument("--narrow", type=int, default=10_000_000, help="narrow rows")
    parser.add_argument("--wide", type=int, default=1_000_000, help="wide rows")
    options = parser.parse_args()
    if options.repetitions < 5:
        parser.error("at least 5 repetitions")
    if options.png is not None and importlib.util.find_spec("matplotlib") is None:
        parser.error("--png needs matplotlib: pip install 'pai_train[bench]'")
    results = []
    with tempfile.TemporaryDirectory() as name:
        for result in measured(Path(name), options):
            print(result, flush=True)
            results.append(result)
    if options.json is not None:
        save(results, options.json)
    if options.png is not None:
        draw(results, options.png)
    return 0 if all(result.kept for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
