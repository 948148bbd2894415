"""Both engines deliver the same rows in the same order, whatever the source."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from itertools import islice

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf

from pai_train.errors import DataError
from pai_train.feed.contracts import FeedPlan, Shard, Split
from pai_train.feed.engines import engine
from tests.suites.sources import MemorySource

ENGINES = ["tf_data", "queue_runner"]


def deliver(name, source, plan, at=None, shard=Shard(), limit=None):
    """Returns rows per batch, the columns laid end to end as lists, and the positions."""
    rows, columns, positions = [], {column: [] for column in plan.columns}, []
    with engine(name).open(source, plan, at, shard) as stream:
        for superbatch in islice(stream, limit):
            rows.append(superbatch.rows)
            for column, values in superbatch.columns.items():
                columns[column] += np.asarray(values).tolist()
            positions.append(superbatch.after)
    return rows, columns, positions


PLANS = {
    "source order": FeedPlan(("id", "name"), 8, {}, lanes=1),
    "lanes": FeedPlan(("name", "id"), 8, {}, lanes=4, steps=3),
    "shuffled split": FeedPlan(
        ("id", "name"), 8, {}, epochs=3, shuffle="block", seed=5, lanes=3, split=Split(0.3, 1, "train"), steps=4
    ),
    "windows": FeedPlan(
        ("id", "name"),
        8,
        {},
        epochs=2,
        shuffle="window",
        window=3,
        seed=5,
        lanes=2,
        split=Split(0.3, 1, "train"),
        steps=4,
    ),
    "tiny batches": FeedPlan(("id",), 1, {}, epochs=2, shuffle="block", steps=5),
    "one column, drop remainder": FeedPlan(("name",), 7, {}, epochs=2, steps=2, drop_remainder=True),
}


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
@pytest.mark.parametrize("known", [True, False], ids=["known rows", "unknown rows"])
def test_same_rows_in_the_same_order(plan, known):
    source = MemorySource([9, 0, 31, 4, 4, 17, 1], known=known)
    first, second = (deliver(name, source, plan) for name in ENGINES)
    assert first[:2] == second[:2]
    assert [p.to_json() for p in first[2]][-1] == [p.to_json() for p in second[2]][-1]
    assert sum(map(sum, first[0])) > 0


@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize("other", ENGINES)
def test_a_position_of_one_engine_is_good_for_the_other(name, other):
    source = MemorySource([9, 0, 31, 4, 4, 17, 1])
    plan = PLANS["shuffled split"]
    _, straight, _ = deliver(name, source, plan)
    _, begun, positions = deliver(name, source, plan, limit=3)
    _, rest, _ = deliver(other, source, replace(plan, steps=2), positions[-1])
    assert {column: begun[column] + rest[column] for column in begun} == straight


@pytest.mark.parametrize("name", ENGINES)
def test_workers_read_their_own_lanes_only(name):
    source = MemorySource([9, 12, 31, 4, 4, 17, 1])
    plan = replace(PLANS["lanes"], columns=("id",))
    ids = [deliver(name, source, plan, shard=Shard(i, 2))[1]["id"] for i in (0, 1)]
    assert not set(ids[0]) & set(ids[1])
    assert sorted(ids[0] + ids[1]) == list(range(78))


@pytest.mark.parametrize("name", ENGINES)
def test_stopping_early_leaves_nothing_running(name):
    import threading

    before = set(threading.enumerate())
    source = MemorySource([50] * 20)
    with engine(name).open(source, replace(PLANS["lanes"], epochs=None)) as stream:
        assert len(list(islice(stream, 2))) == 2
    left = [t for t in set(threading.enumerate()) - before if t.name.startswith("read") or "Queue" in t.name]
    assert not [t for t in left if t.is_alive()]


class Broken(MemorySource):
    """Fails at one chunk."""

    def read(self, chunk, columns, start=0):
        if chunk.id == 3:
            raise DataError("field cannot be read", where="file.csv:17", got="x", wanted="a number")
        return super().read(chunk, columns, start)


@pytest.mark.parametrize("name", ENGINES)
def test_a_readers_fault_reaches_the_consumer_as_it_was_raised(name):
    source = Broken([9, 12, 31, 4, 4, 17, 1])
    with pytest.raises(DataError, match=r"file\.csv:17"):
        deliver(name, source, FeedPlan(("id",), 4, {}, lanes=1))


@pytest.mark.parametrize("name", ENGINES)
def test_every_tensor_type(name):
    table = pa.table(
        {
            "d": pa.array([1.5, float("nan"), float("-inf")]),
            "f": pa.array([1.5, 2.5, None], pa.float32()),
            "i": pa.array([1, None, 3], pa.int64()),
            "t": pa.array([1, 2, -128], pa.int8()),
            "b": pa.array([True, None, False]),
            "s": pa.array(["é\n", "", None]),
            "y": pa.array([b"\x00\xff", b"", b"\r"]),
        }
    )
    defaults = {"f": -1.0, "i": 7, "b": True, "s": "none"}
    plan = FeedPlan(tuple(table.column_names), 3, defaults, lanes=1)
    _, columns, _ = deliver(name, MemorySource([3], table=table), plan)
    assert str(columns.pop("d")) == "[1.5, nan, -inf]"
    assert columns == {
        "f": [1.5, 2.5, -1.0],
        "i": [1, 7, 3],
        "t": [1, 2, -128],
        "b": [True, True, False],
        "s": ["é\n".encode(), b"none", b"none"],
        "y": [b"\x00\xff", b"", b"\r"],
    }


@pytest.mark.parametrize("name", ENGINES)
def test_a_null_without_default_is_a_fault(name):
    table = pa.table({"i": pa.array([1, None, 3], pa.int64())})
    with pytest.raises(DataError, match="'i'"):
        deliver(name, MemorySource([3], table=table), FeedPlan(("i",), 3, {}, lanes=1))


def test_the_queue_runner_engine_is_made_of_queue_runners(tmp_path):
    from pai_train.feed.batches import start
    from pai_train.feed.queue_runner import QueueLanes

    source = MemorySource([9, 12, 31])
    plan = FeedPlan(("id",), 4, {}, lanes=2)
    with closing(QueueLanes(source, plan, start(source, plan, None, Shard()), tmp_path)) as lanes:
        runners = lanes.graph.get_collection(tf.compat.v1.GraphKeys.QUEUE_RUNNERS)
        operations = {operation.type for operation in lanes.graph.get_operations()}
    assert len(runners) == 4
    assert {"FIFOQueueV2", "QueueEnqueueManyV2", "QueueDequeueManyV2"} <= operations


@pytest.mark.parametrize("shuffle", ["none", "block"])
@pytest.mark.parametrize("name", ENGINES)
def test_a_null_is_named_by_its_place_in_the_data(name, shuffle):
    table = pa.table({"i": pa.array([None if i == 33 else i for i in range(40)], pa.int64())})
    plan = FeedPlan(("i",), 8, {}, shuffle=shuffle, split=Split(0.1, 0, "train"))
    with pytest.raises(DataError) as caught:
        deliver(name, MemorySource([25, 15], table=table), plan)
    assert caught.value.fault.where == "memory://rows, row 33"


def test_what_cannot_be_opened_leaves_no_folder(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    table = pa.table({"d": pa.array([1, 2, 3], pa.date32())})
    with pytest.raises(DataError, match="'d'"):
        deliver("queue_runner", MemorySource([3], table=table), FeedPlan(("d",), 3, {}))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("late", [None, DataError("the store is gone")], ids=["reads on", "fails"])
def test_a_slow_reader_does_not_hide_why_a_reading_ended(late, monkeypatch, caplog):
    import threading

    from pai_train.feed import queue_runner

    monkeypatch.setattr(queue_runner, "GRACE_S", 0)
    reading, go_on = threading.Event(), threading.Event()

    class Slow(MemorySource):
        def read(self, chunk, columns, start=0):
            if chunk.id == 1:
                reading.set()
                go_on.wait(30)
                if late is not None:
                    raise late
            return super().read(chunk, columns, start)

    with (
        pytest.raises(KeyError, match="the reason"),
        engine("queue_runner").open(Slow([50, 50]), FeedPlan(("id",), 4, {}, lanes=1)) as stream,
    ):
        next(stream)
        assert reading.wait(30)
        raise KeyError("the reason")
    assert "still reading" in caplog.text
    go_on.set()
    for thread in threading.enumerate():
        if thread.name.startswith("QueueRunner"):
            thread.join(30)
            assert not thread.is_alive()
