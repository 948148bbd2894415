"""Cases of what the feed waits for: overlap with a device, seeking to a position, and how much memory it takes."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import feed_rivals as rivals
from feed_data import NARROW, Shape
from feed_forms import Data, plan_of, read
from pairs import Result, judged

from pai_train.feed.ahead import ahead
from pai_train.feed.blocks import read_rows
from pai_train.feed.contracts import FeedPlan, Position
from pai_train.feed.engines import engine
from pai_train.feed.order import lay_out
from pai_train.feed.stats import Stats

if TYPE_CHECKING:
    from collections.abc import Iterator

    from feed_speed import How

    from pai_train.spec.contracts import Source


def overlap(how: How) -> Iterator[Result]:
    """Input of Y seconds a step beside a device that computes X = Y seconds: the longer of them over the step."""
    for name, kind, required in (("Arrow", rivals.WaitingSource, 0.97), ("GIL-bound", rivals.BusySource, 0.95)):
        for seconds in (0.005, 0.01, 0.1):
            steps = 20 if seconds > 0.05 else 100
            found = [_efficiency(kind(seconds, steps), seconds, steps) for _ in range(how.times)]
            case = f"overlap, {name} source, {seconds * 1000:g} ms each: longer / step"
            yield replace(judged(case, found, required), part="overlap")


def pai_page(how: How) -> Iterator[Result]:
    """The example of PAI's page: loading takes 0.1 s and computing 0.9 s."""
    found = [_idle(rivals.WaitingSource(0.1, 8), 0.9) for _ in range(how.times)]
    case = "the PAI page's example, 0.1 s load and 0.9 s compute: idle share"
    yield replace(judged(case, found, 0.01, most=True), part="pai")


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


def seek(data: Data, how: How) -> Iterator[Result]:
    """The first batch from a position at 90 % of the input, beside the first of all, and beside reading a chunk."""
    for form, open_ in (("CSV", data.lines), ("table", data.table)):
        source = open_()
        plan = replace(plan_of(source, 1024, data.defaults, "block"), steps=1)
        alone = replace(plan, lanes=1)
        wanted = int(0.9 * data.shape.rows)
        at, after = _behind(source, plan, wanted), _behind(source, alone, wanted)
        ratios, extra = [], []
        for _ in range(how.times + 1):
            ratios.append(_first(source, plan, at) / _first(source, plan, None))
            # Of one lane and by one thread, so that a chunk is all that is read.
            extra.append((_first(source, alone, after, 1) - _chunk(source, alone, after)) * 1000)
        case = f"{data.shape.name} {form}: seek to 90 % / start"
        yield replace(judged(case, ratios[1:], 1.2, most=True), part="seek")
        case = f"{data.shape.name} {form}: seek to 90 %, ms beside reading one chunk"
        yield replace(judged(case, extra[1:], 10.0, most=True), part="seek")


def _first(source: Source, plan: FeedPlan, at: Position | None, parallel: int | None = None) -> float:
    began = time.perf_counter()
    with engine("tf_data", parallel).open(source, plan, at) as superbatches:
        next(superbatches)
        return time.perf_counter() - began


def _chunk(source: Source, plan: FeedPlan, at: Position) -> float:
    chunks = source.chunks()
    order = lay_out(chunks, plan).epoch(0, plan, at.epoch)
    began = time.perf_counter()
    read_rows(source, chunks[order[at.lanes[0][0]][0]], plan, encoded=True)
    return time.perf_counter() - began


def _behind(source: Source, plan: FeedPlan, rows: int) -> Position:
    """Reads so many rows and returns the position behind them."""
    with engine("tf_data").open(source, plan) as superbatches:
        for one in superbatches:
            rows -= sum(one.rows)
            if rows <= 0:
                return one.after
    raise RuntimeError("the input is shorter than it should be")


def memory(folder: Path, rows: int, how: How) -> Iterator[Result]:
    """The peak memory of a process that reads ten times as many rows."""
    small, large = (Data(folder, Shape(name, NARROW, count, (0,))) for name, count in _lengths(rows))
    for form in ("csv", "table"):
        for data in (small, large):
            _ = data.csv if form == "csv" else data.table()
        ratios = [_peak(form, large) / _peak(form, small) for _ in range(how.times)]
        case = f"peak memory, {form}, {large.shape.rows:,} rows / {small.shape.rows:,}"
        yield replace(judged(case, ratios, 1.1, most=True), part="memory")


def _lengths(rows: int) -> tuple[tuple[str, int], tuple[str, int]]:
    return ("tenth", rows // 10), ("narrow", rows)


def _peak(form: str, data: Data) -> float:
    program = Path(__file__).with_name("feed.py")
    command = [sys.executable, program, "--peak", form, data.shape.name, str(data.shape.rows), data.folder]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def peak(arguments: list[str]) -> None:
    """Reads one input to its end and prints the process's peak memory."""
    form, name, rows, folder = arguments
    data = Data(Path(folder), Shape(name, NARROW, int(rows), (0,)))
    read(data.lines() if form == "csv" else data.table(), 1024)
    # What getrusage tells of a program begins with the peak of the process that started it.
    status = Path("/proc/self/status").read_text(encoding="ascii")
    print(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))
