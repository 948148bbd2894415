"""Adversarial text through both engines: the same values, or the same fault at the same place."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pai_train.errors import DataError
from pai_train.feed.batches import start
from pai_train.feed.contracts import FeedPlan, Shard, Split
from pai_train.feed.csv import CsvSource
from pai_train.feed.engines import engine
from pai_train.storage import open_store

ENGINES = ["tf_data", "queue_runner"]
COLUMNS = {"i": pa.int64(), "f": pa.float64(), "s": pa.string(), "b": pa.bool_()}
DEFAULTS = {"i": -7, "f": 0.25, "b": True}

INTEGERS = ["0", "+1", "-0", " 12 ", "", "0x10", "1_0", "1.0", "1e3", f"{2**63 - 1}", f"{2**63}", "nan"]
FLOATS = ["0", "+1.5", "-.5", "1.", "1e400", "nan", "-NaN", "inf", "Infinity", "NA", "", " 2 ", "0x1p3", "1,5", "NULL"]
STRINGS = ["", "NA", "NULL", "é", ' "x"', 'a"b', '"a""b"', '"a,b"', '""', "a\rb", "\r", "a\x00b", "\x10", "\x101", " "]
BOOLEANS = ["true", "FALSE", "1", "0", "", "yes", "2", " true"]


def deliver(name, source, plan):
    columns = {column: [] for column in plan.columns}
    rows = []
    try:
        with engine(name).open(source, plan) as stream:
            for superbatch in stream:
                rows.append(superbatch.rows)
                for column, values in superbatch.columns.items():
                    columns[column] += [repr(value) for value in np.asarray(values).tolist()]
    except DataError as fault:
        return "fault", fault.fault.where, fault.fault.what
    return rows, columns


def source_of(tmp_path, text, chunk_bytes=64):
    path = tmp_path / "adversarial.csv"
    path.write_bytes(text)
    store = open_store(f"file://{path}")
    return CsvSource([store.info(f"file://{path}")], COLUMNS, store=store, header=False, chunk_bytes=chunk_bytes)


def row(integer="1", number="1.5", text="x", flag="true"):
    return ",".join((integer, number, text, flag))


CASES = {
    **{f"integer {value!r}": row(integer=value) for value in INTEGERS},
    **{f"float {value!r}": row(number=value) for value in FLOATS},
    **{f"string {value!r}": row(text=value) for value in STRINGS},
    **{f"bool {value!r}": row(flag=value) for value in BOOLEANS},
    "too few fields": "1,2",
    "too many fields": "1,2,x,true,5",
    "open quote": '1,2,"x,true',
    "text behind a quote": '1,2,"x"y,true',
    "blank line": "",
    "carriage return at the end": "1,2,x,true\r",
}


@pytest.mark.parametrize("line", CASES.values(), ids=CASES)
def test_one_strange_row_among_good_ones(line, tmp_path):
    good = [row(str(i), f"{i}.5", f"t{i}", "0") for i in range(20)]
    text = "\n".join([*good[:11], line, *good[11:], ""]).encode()
    plan = FeedPlan(("i", "f", "s", "b"), 6, DEFAULTS, shuffle="block", lanes=2, steps=2)
    source = source_of(tmp_path, text)
    first, second = (deliver(name, source, plan) for name in ENGINES)
    assert first == second
    if first[0] == "fault":
        assert first[1].endswith("adversarial.csv:12")


field = st.text(st.characters(codec="utf-8", exclude_characters='\n"'), max_size=6)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.integers(-(2**63), 2**63 - 1), st.floats(), field, st.booleans()), min_size=1, max_size=30),
    st.integers(1, 200),
    st.sampled_from([None, Split(0.4, 3, "train"), Split(0.4, 3, "test")]),
)
def test_any_rows_in_any_chunks(tmp_path, rows, chunk_bytes, split):
    text = "".join(f'{i},{f!r},"{s}",{str(b).lower()}\n' for i, f, s, b in rows).encode()
    plan = FeedPlan(
        ("s", "i", "f", "b"),
        4,
        DEFAULTS,
        epochs=2,
        shuffle=("block", "window")[len(rows) % 2],
        lanes=3,
        split=split,
        steps=3,
        seed=len(rows),
    )
    source = source_of(tmp_path, text, chunk_bytes)
    first, second = (deliver(name, source, plan) for name in ENGINES)
    assert first == second
    assert first[0] != "fault"


def test_text_goes_through_readers_and_queues(tmp_path):
    from pai_train.feed.queue_runner import QueueLanes

    source = source_of(tmp_path, b"1,2,x,true\n" * 40)
    plan = FeedPlan(("i", "s"), 4, DEFAULTS, lanes=2)
    spool = tmp_path / "spool"
    spool.mkdir()
    lanes = QueueLanes(source, plan, start(source, plan, None, Shard()), spool)
    try:
        runners = lanes.graph.get_collection(tf.compat.v1.GraphKeys.QUEUE_RUNNERS)
        operations = {operation.type for operation in lanes.graph.get_operations()}
    finally:
        lanes.close()
    assert len(runners) == 6
    assert {"TextLineReaderV2", "ReaderReadUpToV2", "QueueEnqueueManyV2", "FIFOQueueV2"} <= operations


def test_an_object_that_vanishes_surfaces_through_the_coordinator(tmp_path):
    source = source_of(tmp_path, b"1,2,x,true\n" * 400)
    plan = FeedPlan(("i",), 4, DEFAULTS, lanes=1, epochs=None)
    from pai_train.errors import PaiTrainError

    with pytest.raises(PaiTrainError, match=r"adversarial\.csv"), engine("queue_runner").open(source, plan) as stream:
        next(stream)
        (tmp_path / "adversarial.csv").unlink()
        for _ in stream:
            continue


@pytest.mark.parametrize("name", ENGINES)
def test_an_empty_field_is_named_by_its_line(name, tmp_path):
    lines = [row() for _ in range(60)]
    lines[47] = row(integer="")
    source = source_of(tmp_path, "\n\n".join(lines).encode())
    plan = FeedPlan(("s", "i"), 8, {}, shuffle="block", seed=3, split=Split(0.2, 0, "train"))
    kind, where, what = deliver(name, source, plan)
    assert (kind, where) == ("fault", f"{tmp_path}/adversarial.csv:95")
    assert "'i'" in what
