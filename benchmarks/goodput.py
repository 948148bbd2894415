"""Useful work under kills: the share of steps that count, and how soon a killed run takes its next step.

`python benchmarks/goodput.py --every 60 --kills 3`, in an empty folder, kills a run again and again. It says which
share of the steps told of had not to be taken again, and how long a start after a kill needs to tell of a new step,
against the first start; steps are told of at the end of each epoch of 9 steps.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

COMMAND = ["+recipe=iris", "train.epochs=1000000", "train.steps_per_call=1", "hydra.run.dir=runs/goodput-{}"]


def steps(folder: Path) -> int:
    """Returns the last step that a start has told of."""
    lines = folder / "metrics.jsonl"
    found = [json.loads(line) for line in lines.read_text().splitlines()] if lines.exists() else []
    return max((line["step"] for line in found), default=0)


def life(number: int, before: int, every_s: float, save_s: float) -> tuple[int, float]:
    """Runs one start and kills it; returns the step it had told of last, and the seconds to its first one."""
    folder = Path(COMMAND[-1].partition("=")[2].format(number))
    words = [*COMMAND[:-1], COMMAND[-1].format(number), f"train.checkpoint.every_seconds={save_s}"]
    begin = time.monotonic()
    process = subprocess.Popen([sys.executable, "-m", "pai_train", *words], stdout=subprocess.DEVNULL)
    first_s = math.nan
    try:
        while process.poll() is None and time.monotonic() < begin + every_s:
            if math.isnan(first_s) and steps(folder) > before:
                first_s = time.monotonic() - begin
            time.sleep(0.02)
        if process.poll() is not None:
            raise SystemExit(f"the run ended by itself, with exit {process.returncode}")
    finally:
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
        process.wait()
    return steps(folder), first_s


def saved() -> int:
    """Returns the step of the newest checkpoint."""
    found = Path("data/checkpoints/iris").glob("g0001-*/step-*/MANIFEST.json")
    return max((int(path.parent.name.split("-")[1]) for path in found), default=0)


def main() -> None:
    """Prints one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=float, default=60.0, help="seconds between two kills")
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--save", type=float, default=10.0, help="train.checkpoint.every_seconds")
    asked = parser.parse_args()
    taken, first, before = 0, [], 0
    for number in range(asked.kills):
        last, seconds = life(number, before, asked.every, asked.save)
        taken += max(0, last - before)
        before = saved()
        first.append(round(seconds, 2))
    rest = sorted(first[1:])
    result = {
        "steps_taken": taken,
        "steps_kept": before,
        "goodput": round(before / taken, 4) if taken else None,
        "first_step_s": first,
        "restart_ratio": round(rest[len(rest) // 2] / first[0], 3) if rest else None,
    }
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
