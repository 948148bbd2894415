"""What the feed makes of CSV and tables, beside the limit of the machine, the old way, and the best of others.

    python benchmarks/feed.py --json feed.json --png feed.png --write-docs
    python benchmarks/feed.py --only csv-narrow seek --json feed.json
    python benchmarks/feed.py --only --json feed.json --png feed.png --write-docs   # of what was measured before

Narrow rows are 4 DOUBLE and 1 STRING of 3 values, wide ones 14 BIGINT and 26 STRING of 8 bytes with 1,000 values each;
`life` is as wide, with numbers of all digits, strings of 200,000 values and uneven length beside small vocabularies,
and nulls. Tables are Parquet with zstd. All is local and in the page cache. Each case runs its ways one after the
other, again and again, and judges the median of the ratios of rows per second. Ours counts rows as they reach the
loop: superbatches of 32,768 rows, as TensorFlow tensors. The A/A row is a way beside itself: it shows what the
machine's noise makes of nothing. With --json the parts that a file holds of an earlier run stay, but for those that
are measured anew.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

import feed_picture as picture  # noqa: E402
import feed_speed as speed  # noqa: E402
import feed_waits as waits  # noqa: E402
from feed_data import LIFE, NARROW, WIDE, Shape  # noqa: E402
from feed_forms import Data  # noqa: E402
from pairs import Result, load, save  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Cases = dict[str, "Callable[[speed.How], Iterator[Result]]"]
PARTS = (
    *("csv-narrow", "csv-wide", "csv-life", "table-narrow", "table-wide", "table-life", "ids"),
    *("peers-narrow", "peers-wide", "overlap", "pai", "seek", "memory"),
)
DOCS = ROOT / "docs" / "performance.md"


def parts(folder: Path, options: argparse.Namespace) -> Cases:
    """Returns what measures each part."""
    narrow = Data(folder, Shape("narrow", NARROW, options.narrow, (0,)))
    wide = Data(folder, Shape("wide", WIDE, options.wide, (1_000,)))
    life = Data(folder, Shape("life", LIFE, options.wide, (1_000, 200_000), as_in_life=True))
    return {
        "csv-narrow": lambda how: speed.csv(narrow, how, 0.60, 120, 30),
        "csv-wide": lambda how: speed.csv(wide, how, 0.45, 30, 15),
        "csv-life": lambda how: speed.csv(life, how, 0.45, 30, 15),
        "table-narrow": lambda how: speed.table(narrow, how, 12),
        "table-wide": lambda how: speed.table(wide, how, 4.5),
        "table-life": lambda how: speed.table(life, how, None),
        "ids": lambda how: speed.ids(wide, how),
        "peers-narrow": lambda how: speed.peers(narrow, how),
        "peers-wide": lambda how: speed.peers(wide, how),
        "overlap": waits.overlap,
        "pai": waits.pai_page,
        "seek": lambda how: waits.seek(narrow, how),
        "memory": lambda how: waits.memory(folder, options.narrow, how),
    }


def measured(options: argparse.Namespace, results: list[Result]) -> None:
    """Measures the parts that were asked for, and puts each in the place of what was known of it."""
    began = time.monotonic()

    def told(line: str) -> None:
        print(f"  {time.monotonic() - began:5.0f} s  {line}", file=sys.stderr, flush=True)

    how = speed.How(options.repetitions, tuple(options.sizes), told)
    with tempfile.TemporaryDirectory() as made:
        folder = options.data or Path(made)
        folder.mkdir(parents=True, exist_ok=True)
        for name, cases in parts(folder, options).items():
            if name not in options.only:
                continue
            told(name)
            found = []
            for one in cases(how):
                print(one, flush=True)
                found.append(one)
            results[:] = [*(one for one in results if one.part != name), *found]
            results.sort(key=lambda one: PARTS.index(one.part))
            if options.json is not None:
                save(results, options.json)


def main() -> int:
    """Measures, prints and checks every case."""
    if sys.argv[1:2] == ["--peak"]:
        waits.peak(sys.argv[2:])
        return 0
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=PARTS, default=PARTS, metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--json", type=Path, metavar="PATH", help="also keep the results there")
    parser.add_argument("--png", type=Path, metavar="PATH", help="also draw them there")
    parser.add_argument("--write-docs", action="store_true", help="also put them into docs/performance.md")
    parser.add_argument("--repetitions", type=int, default=5, help="at least 5, but for a trial")
    parser.add_argument("--sizes", type=int, nargs="+", default=(256, 1024, 8192), help="rows of a batch")
    parser.add_argument("--narrow", type=int, default=10_000_000, help="narrow rows")
    parser.add_argument("--wide", type=int, default=1_000_000, help="wide rows")
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="make the rows there, and find them the next time")
    options = parser.parse_args()
    if options.png is not None and importlib.util.find_spec("matplotlib") is None:
        parser.error("--png needs matplotlib: pip install 'pai_train[bench]'")
    results = load(options.json) if options.json is not None and options.json.exists() else []
    measured(options, results)
    if options.png is not None:
        picture.draw(results, options.png)
    if options.write_docs:
        picture.write_docs(results, DOCS)
    return 0 if all(result.kept for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
