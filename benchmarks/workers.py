"""What a second worker costs and brings: seconds per step by model and batch, alone and with another over loopback.

    python benchmarks/workers.py [--json PATH]

Each worker is held on one processor of its own, as if that were its machine; they exchange gradients over loopback.
Seconds are those of the worker's processor, which other work on the machine stretches little, and the least of several
calls; what a worker waits for the other is not in them, and shows by the clock. The model that is fitted to them:

    T(n, B, P) = f + c * B / n + (a + 2 (n - 1) / n * 4 P / w, for n > 1)

with B rows per global batch and P parameters: f and c, of one worker, are what a step and a row cost with this model; a
and w, of two, what an exchange costs and how many bytes per second it moves. Reading goes on beside the steps, on the
same processor: it takes from them what a row costs to read.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

import numpy as np  # noqa: E402

from pai_train.launch import tf_config  # noqa: E402

FEATURES = tuple(f"f{i}" for i in range(4))
CALLS = 5


@dataclass(frozen=True)
class Size:
    """A model and its two batches."""

    hidden: tuple[int, ...]
    batches: tuple[int, int]


SIZES = (
    Size((32, 32), (512, 8192)),
    Size((256, 256), (256, 4096)),
    Size((1024, 1024), (64, 1024)),
    Size((2048, 2048, 2048), (32, 256)),
)


def columns(rows: int, own: list[int] | None) -> dict[str, Any]:
    """Makes rows; `own` counts those of this worker by batch, where there are others."""
    from pai_train.feed.align import OWN

    values = np.random.default_rng(0).normal(size=(len(FEATURES) + 1, rows))
    made: dict[str, Any] = dict(zip((*FEATURES, "y"), values, strict=True))
    return made if own is None else {**made, OWN: own}


def worker() -> None:
    """Trains every size as one of the workers that TF_CONFIG names; prints the parameters and seconds per step."""
    workers = tf_config.read(os.environ)
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[workers.rank % len(cores)]})

    from pai_train.models.contracts import ColumnSpec, LabelSpec
    from pai_train.models.load import build
    from pai_train.training.devices import Devices
    from pai_train.training.learner import Learner
    from pai_train.training.workers import WorkerLearner, span

    alone = workers.size == 1
    devices = Devices(("/cpu:0",), "cpu", cluster=None if alone else span(workers, 300.0))
    label, specs = LabelSpec("y", "regression"), [ColumnSpec(name, "float") for name in FEATURES]
    found = []
    for size in SIZES:
        learner = (Learner if alone else WorkerLearner)(
            lambda size=size: build("mlp", {"hidden": list(size.hidden)}, specs, label),
            label,
            optimizer="adam",
            learning_rate=0.001,
            devices=devices,
        )
        for batch in size.batches:
            found.append([learner.parameters, batch, *seconds(learner, batch, workers)])
    if workers.rank == 0:
        told = {"steps": found, "reading": reading() if alone else []}
        print(json.dumps(told), flush=True)


def seconds(learner: Any, batch: int, workers: tf_config.Workers) -> tuple[float, float]:
    """Returns a step's seconds, of this processor and by the clock; each worker has its share of the batch's rows."""
    own = batch // workers.size

    def call(steps: int) -> tuple[float, float]:
        rows = columns(own * steps, None if workers.size == 1 else [own] * steps)
        begin, clock = time.process_time(), time.perf_counter()
        learner.train(rows, [batch] * steps)
        return (time.process_time() - begin) / steps, (time.perf_counter() - clock) / steps

    call(2)
    # A number that follows from the model: all workers have to take as many steps.
    steps = STEPS[learner.parameters > 50_000, learner.parameters > 2_000_000]
    taken = [call(steps) for _ in range(CALLS)]
    return min(one for one, _ in taken), min(clock for _, clock in taken)


def reading() -> list[list[Any]]:
    """Returns, of narrow and of wide tables, a row's bytes on disk and its processor seconds until it is in tensors."""
    from feed_data import NARROW, WIDE, Shape, write_table

    from pai_train.feed.contracts import FeedPlan
    from pai_train.feed.engines import engine
    from pai_train.storage import Stores
    from pai_train.tables.iceberg import IcebergTables

    found = []
    for shape in (Shape("narrow", NARROW, 2**21, (0,)), Shape("wide", WIDE, 2**17, (200_000, 1_000))):
        with tempfile.TemporaryDirectory() as folder:
            tables = IcebergTables(folder, "bench", Stores())
            source = tables.source(write_table(shape, tables))
            size = sum(path.stat().st_size for path in Path(folder).rglob("*.parquet"))
            plan = FeedPlan(tuple(shape.columns), 4096, {}, epochs=1, lanes=1, steps=8)
            taken = []
            for _ in range(CALLS):
                begin = time.process_time()
                with engine("tf_data").open(source, plan) as superbatches:
                    rows = sum(sum(one.rows) for one in superbatches)
                taken.append((time.process_time() - begin) / rows)
            found.append([shape.name, size / rows, min(taken)])
    return found


STEPS = {(False, False): 64, (True, False): 8, (True, True): 2}


def run(count: int) -> dict[str, list[list[Any]]]:
    """Runs so many workers and returns what the first one found: of the steps, and of the reading where it is alone."""
    with ExitStack() as stack:
        doors = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        addresses = [f"127.0.0.1:{door.getsockname()[1]}" for door in doors]
    started = []
    with tempfile.TemporaryFile("w+") as out:
        for rank in range(count):
            env = {**os.environ, tf_config.VARIABLE: tf_config.write(addresses, rank)}
            words = [sys.executable, __file__, "--worker"]
            started.append(subprocess.Popen(words, env=env, stdout=out if rank == 0 else None))
        codes = [one.wait() for one in started]
        if any(codes):
            raise SystemExit(f"the workers ended with {codes}")
        out.seek(0)
        return json.loads(out.read())


def fit(one: list[list[Any]], two: list[list[Any]]) -> tuple[list[dict[str, float]], float, float]:
    """Returns a row per model, and what an exchange costs: seconds, and bytes per second."""
    rows = []
    for at in range(0, len(one), 2):
        (parameters, low, fast, _), (_, high, slow, clock) = one[at : at + 2]
        per_row = (slow - fast) / (high - low)
        per_step = fast - per_row * low
        extra = [two[at + i][2] - per_step - per_row * two[at + i][1] / 2 for i in (0, 1)]
        rows.append(
            {
                "parameters": parameters,
                "per_step_s": per_step,
                "per_row_s": per_row,
                "exchange_s": sum(extra) / 2,
                "batch": high,
                "one_s": slow,
                "two_s": two[at + 1][2],
                "one_clock_s": clock,
                "two_clock_s": two[at + 1][3],
            }
        )
    sizes = np.array([4.0 * row["parameters"] for row in rows])
    costs = np.array([row["exchange_s"] for row in rows])
    # Each weighed by what it is itself, else the largest model would decide alone.
    weights = 1 / np.maximum(costs, 1e-5)
    slope, fixed = np.polyfit(sizes, costs, 1, w=weights)
    if fixed < 0:
        fixed, slope = 0.0, np.sum(weights**2 * sizes * costs) / np.sum((weights * sizes) ** 2)
    return rows, float(fixed), float(1 / slope)


def pays_from(row: dict[str, float], n: int, fixed: float, bytes_per_s: float) -> float:
    """Returns the rows of a global batch from which n workers are at least 0.7 n times as fast as one."""
    exchange = fixed + 2 * (n - 1) / n * 4 * row["parameters"] / bytes_per_s
    part = 1 / (0.7 * n)
    return max(0.0, (row["per_step_s"] * (1 - part) + exchange) / (row["per_row_s"] * (part - 1 / n)))


def main() -> None:
    """Measures, fits and prints the table of docs/scale.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="PATH", help="also write the figures there")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.worker:
        worker()
        return
    alone = run(1)
    rows, fixed, bytes_per_s = fit(alone["steps"], run(2)["steps"])
    for name, size, taken in alone["reading"]:
        print(f"reading, {name}: {size:,.0f} bytes and {taken * 1e6:.2f} µs of a processor a row")
    print(f"an exchange between two workers: a = {fixed * 1e3:.2f} ms, w = {bytes_per_s / 1e6:,.0f} MB/s\n")
    of_two = ("1 worker, ms", "each of 2, ms", "faster", "by the clock", "2 pay from", "8 pay from")
    titles = ("parameters", "f, ms", "c, µs", "B", *of_two)
    print(f"| {' | '.join(titles)} |\n|{'---|' * len(titles)}")
    for row in rows:
        pays = [pays_from(row, n, fixed, bytes_per_s) for n in (2, 8)]
        print(
            f"| {row['parameters']:,} | {row['per_step_s'] * 1e3:.2f} | {row['per_row_s'] * 1e6:.2f} |"
            f" {row['batch']:,} | {row['one_s'] * 1e3:.1f} | {row['two_s'] * 1e3:.1f} |"
            f" {row['one_s'] / row['two_s']:.2f} | {row['one_clock_s'] / row['two_clock_s']:.2f} |"
            f" {pays[0]:,.0f} | {pays[1]:,.0f} |"
        )
    figures = {"models": rows, "a_s": fixed, "w_bytes_per_s": bytes_per_s, "reading": alone["reading"]}
    if asked.json is not None:
        asked.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
