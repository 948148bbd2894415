"""The declarative feed of a table in a process of its own: reads all of it for each line that comes, says how much."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from tables import tensors  # noqa: E402

from pai_train.spec.address import parse_table  # noqa: E402
from pai_train.tables.iceberg import IcebergTables  # noqa: E402

if __name__ == "__main__":
    tables = IcebergTables(sys.argv[1], "bench")
    for _ in sys.stdin:
        source = tables.source(parse_table(sys.argv[2], "bench"))
        print(tensors(source, tuple(source.schema.names)), flush=True)
