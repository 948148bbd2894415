"""Two plain processes that read lanes: put together they have read what one worker reads, batch by batch."""

from __future__ import annotations

import json
import sys
from collections import Counter

import pyarrow as pa
import pytest

from pai_train.launch.supervisor import run_gang
from pai_train.spec.address import TableRef
from pai_train.spec.ddl import parse_ddl
from pai_train.tables.iceberg import IcebergTables

WORKER = """
import json, os, sys
from pai_train.feed.batches import arrow_superbatches
from pai_train.feed.contracts import FeedPlan, Shard, Split
from pai_train.spec.address import TableRef
from pai_train.tables.iceberg import IcebergTables

root, out, index, count = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
source = IcebergTables(root, "p").source(TableRef("p", "t"))
plan = FeedPlan(("id",), 32, {}, epochs=2, shuffle="block", seed=4, lanes=4, split=Split(0.1, 0, "train"), steps=3)
print("pai_train: ready", flush=True)
batches = []
with arrow_superbatches(source, plan, shard=Shard(index, count)) as deliveries:
    epoch, number = 0, 0
    for delivery in deliveries:
        ids = delivery.data.column("id").to_pylist()
        for rows in delivery.rows:
            batches.append([epoch, number, ids[:rows]])
            ids, number = ids[rows:], number + 1
        if delivery.after.epoch != epoch:
            epoch, number = delivery.after.epoch, 0
json.dump(batches, open(out, "w"))
"""


@pytest.mark.parametrize("count", [2, 3])
def test_workers_batches_equal_one_workers(count, tmp_path):
    root = str(tmp_path / "tables")
    tables = IcebergTables(root, "p")
    ref = TableRef("p", "t")
    tables.ensure(ref, parse_ddl("create table t(id BIGINT)"))
    session = tables.write(ref, "overwrite", "token")
    writers = [session.part(i, 0) for i in range(2)]
    for i, writer in enumerate(writers):
        writer.write(pa.record_batch({"id": pa.array(range(i * 1000, i * 1000 + 700), pa.int64())}))
    session.commit([writer.finish() for writer in writers])

    def read(workers):
        outs = [tmp_path / f"{workers}-{i}.json" for i in range(workers)]
        run_gang(
            [[sys.executable, "-c", WORKER, root, str(out), str(i), str(workers)] for i, out in enumerate(outs)],
            logs=tmp_path / f"logs{workers}",
            start_timeout_s=60,
            restarts=0,
            grace_s=5,
        )
        together: dict[tuple[int, int], Counter[int]] = {}
        for out in outs:
            for epoch, number, ids in json.loads(out.read_text()):
                together.setdefault((epoch, number), Counter()).update(ids)
        return together

    assert read(count) == read(1)
