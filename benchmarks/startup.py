"""What a command costs before it does anything: CPU time beside a bare Hydra app, as interleaved ratios.

    python benchmarks/startup.py --json startup.json

Each repetition starts the bare app and then pai_train, each in a process of its own, and takes user plus system time
of the child. The ratio of the two does not depend on the machine, as absolute times do.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).resolve().parents[1]
LIMIT = 1.3

BARE = """
import hydra

@hydra.main(config_path=".", config_name="config", version_base="1.3")
def main(config):
    pass

main()
"""

CASES = {"--help": ["--help"], "--cfg job +recipe=iris": ["--cfg", "job", "+recipe=iris"]}


@dataclass(frozen=True)
class Result:
    """Ratios of CPU seconds, one per repetition, and the medians they are made of."""

    case: str
    median: float
    low: float
    high: float
    seconds: float
    bare_seconds: float
    repetitions: int


def cpu_seconds(command: Sequence[str], cwd: Path) -> float:
    """Runs a command without output and returns its user plus system time."""
    sink = [(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_WRONLY, 0) for number in (1, 2)]
    here = Path.cwd()
    os.chdir(cwd)
    try:
        pid = os.posix_spawn(command[0], command, {**os.environ, "PYTHONPATH": str(ROOT)}, file_actions=sink)
    finally:
        os.chdir(here)
    _, status, usage = os.wait4(pid, 0)
    if os.waitstatus_to_exitcode(status) != 0:
        raise RuntimeError(f"{' '.join(command)} ended with {os.waitstatus_to_exitcode(status)}")
    return usage.ru_utime + usage.ru_stime


def measure(case: str, arguments: Sequence[str], repetitions: int, folder: Path) -> Result:
    """Measures one command line beside the bare app, which is given the same mode."""
    mode = [argument for argument in arguments if not argument.startswith("+")]
    bare = [sys.executable, "app.py", *mode]
    ours = [sys.executable, "-m", "pai_train", *arguments]
    cpu_seconds(bare, folder), cpu_seconds(ours, folder)  # byte code and file cache
    pairs = [(cpu_seconds(bare, folder), cpu_seconds(ours, folder)) for _ in range(repetitions)]
    ratios = [own / theirs for theirs, own in pairs]
    return Result(
        case=case,
        median=statistics.median(ratios),
        low=min(ratios),
        high=max(ratios),
        seconds=statistics.median(own for _, own in pairs),
        bare_seconds=statistics.median(theirs for theirs, _ in pairs),
        repetitions=repetitions,
    )


def main() -> int:
    """Measures, prints and checks every case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="PATH", help="also write the results there")
    parser.add_argument("--repetitions", type=int, default=11, help="at least 7")
    options = parser.parse_args()
    if options.repetitions < 7:
        parser.error("at least 7 repetitions")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "app.py").write_text(BARE)
        (folder / "config.yaml").write_text("a: 1\nb: 2\n")
        results = [measure(case, arguments, options.repetitions, folder) for case, arguments in CASES.items()]
    for result in results:
        print(
            f"{result.case:<24} {result.median:.2f} of a bare Hydra app ({result.low:.2f} to {result.high:.2f}, "
            f"{result.repetitions} pairs, {result.seconds:.3f} s beside {result.bare_seconds:.3f} s of CPU)"
        )
    if options.json is not None:
        options.json.write_text(json.dumps([asdict(result) for result in results], indent=2) + "\n")
    return 0 if all(result.median <= LIMIT for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
