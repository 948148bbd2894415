"""What measuring the input costs per step: the metered host queue against a bare one, and the meter of a block.

    python benchmarks/metering.py [--json PATH]

Each figure is the least of several runs, in microseconds of this thread's CPU time, which a loaded machine does not
stretch. Required: 1 microsecond per step.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from queue import Queue

from pai_train.feed.ahead import ahead
from pai_train.feed.stats import Stats

STEPS, RUNS, BLOCKS = 20_000, 9, 2_000
REQUIRED_US = 1.0


def per_item(items, count: int) -> float:
    """Returns the microseconds that taking one of the items costs."""
    began = time.thread_time()
    assert sum(1 for _ in items) == count
    return (time.thread_time() - began) / count * 1e6


def metered_step() -> float:
    """Takes from the host queue, which measures."""
    stats = Stats()
    with ahead(iter(range(STEPS)), STEPS + 1, stats, name="rows") as elements:
        while elements._queue.qsize() < STEPS + 1:
            time.sleep(0.001)
        return per_item(elements, STEPS)


def bare_step() -> float:
    """Takes from a queue that does not."""
    queue: Queue[int] = Queue()
    for item in range(STEPS + 1):
        queue.put(item)
    return per_item(iter(queue.get, STEPS), STEPS)


def block() -> float:
    """Measures blocks in which nothing is read."""
    stats = Stats()
    began = time.thread_time()
    for _ in range(BLOCKS):
        with stats.reading("rows"):
            pass
    return (time.thread_time() - began) / BLOCKS * 1e6


def main() -> None:
    """Prints the figures, and writes them where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    path = parser.parse_args().json
    figures = [(metered_step(), bare_step(), block()) for _ in range(RUNS)]
    metered, bare, of_block = (min(column) for column in zip(*figures, strict=True))
    rows = [
        {"case": "meter per step", "us": metered - bare, "required": REQUIRED_US, "repetitions": RUNS},
        {"case": "meter per block of thousands of rows", "us": of_block, "required": None, "repetitions": RUNS},
    ]
    for row in rows:
        print(f"{row['case']:40} {row['us']:.2f} us" + (f", at most {row['required']}" if row["required"] else ""))
    if path is not None:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))


if __name__ == "__main__":
    main()
