"""Bad rows: what is left out is exactly what reading refuses, is counted once, and is written down."""

import base64
import gzip
import itertools
import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pai_train.errors import DataError
from pai_train.feed import lines
from pai_train.feed.bad_rows import BadRows, Found, Reported, TooManyBadRows
from pai_train.feed.batches import arrow_superbatches
from pai_train.feed.contracts import FeedPlan, Shard, Split
from pai_train.feed.csv import CsvSource
from pai_train.feed.engines import engine
from pai_train.feed.fields import FieldError, decode
from pai_train.feed.jsonl import JsonLines
from pai_train.feed.marks import mark
from pai_train.feed.text import TextLines
from pai_train.spec.contracts import MarkingSource
from pai_train.storage import open_store
from tests.feed.test_fields import FIELDS
from tests.suites.sources import MemorySource

INT, FLOAT, TEXT, BOOL = pa.int64(), pa.float64(), pa.string(), pa.bool_()
COLUMNS = {"i": INT, "f": FLOAT, "s": TEXT}
STORE = open_store("memory://bad-rows")
NUMBERS = itertools.count()


def csv(*contents, chunk_bytes=64, **options):
    folder = f"memory://bad-rows/{next(NUMBERS)}"
    objects = [STORE.put(f"{folder}/{number:03}.csv", content) for number, content in enumerate(contents)]
    options = {"columns": COLUMNS, "header": False, **options}
    return CsvSource(objects, store=STORE, chunk_bytes=chunk_bytes, **options)


def plan_of(**options):
    return FeedPlan(**{"columns": ("i", "f", "s"), "batch_size": 4, "defaults": {"i": -1, "f": 0.0}, **options})


def delivered(source, plan, at=None, shard=Shard()):
    with arrow_superbatches(source, plan, at, shard) as deliveries:
        return [(delivery.data.to_pylist(), delivery.after) for delivery in deliveries]


def told(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@settings(deadline=None, max_examples=80)
@given(
    rows=st.lists(st.lists(FIELDS, min_size=1, max_size=3).map(b",".join), max_size=6),
    end=st.sampled_from([b"\n", b"\r\n", b"\n\n"]),
    last=st.booleans(),
    kinds=st.tuples(*[st.sampled_from([INT, pa.int16(), FLOAT, BOOL, TEXT, TEXT, pa.date32()])] * 2),
)
def test_marked_rows_are_those_that_are_refused_alone(rows, end, last, kinds):
    text = end.join(rows) + (end if last else b"")
    columns = dict(zip("ab", kinds, strict=True))
    marked = mark(text, columns, ",", ["b", "a"])
    (batch,) = marked.batches
    offsets = lines.row_offsets(text)
    assert marked.rows == len(offsets) == batch.num_rows + len(marked.bad)
    good, bad = [], {row.row: row for row in marked.bad}
    assert list(bad) == sorted(bad)
    for row, offset in enumerate(offsets.tolist()):
        line = lines.line_at(text, offset)
        if line.startswith(b"\xef\xbb\xbf"):
            line = b"\n" + line
        if row not in bad:
            good += decode(line, columns, ",", ["b", "a"]).to_pylist()
            continue
        with pytest.raises(FieldError) as caught:
            decode(line, columns, ",", ["b", "a"])
        assert (bad[row].what, bad[row].column) == (caught.value.fault.what, caught.value.column)
        assert bad[row].wanted == caught.value.expectation
    assert str(batch.to_pylist()) == str(good)


@settings(deadline=None, max_examples=80)
@given(text=st.text(alphabet='",\nab', max_size=24).map(str.encode))
def test_fields_are_counted_as_by_splitting(text):
    text = lines.normalise(text)
    wanted = [lines._count(line, b",") for line in text.split(b"\n")[:-1]]
    assert lines.field_counts(text, b",").tolist() == wanted


def test_nothing_is_marked_where_the_column_is_not_wanted():
    marked = mark(b"x,1\n\xff,2\n1\n", {"a": INT, "b": INT}, ",", ["b"])
    assert marked.batches[0].to_pydict() == {"b": [1, 2]}
    assert [row.row for row in marked.bad] == [2]
    assert mark(b"x,1\n1\n", {"a": INT, "b": INT}, ",", []).batches[0].num_rows == 1


BROKEN = b"0,0.5,a\nx,1,b\n2\n3,3.5,c\n\n4,4,\xff\r\n5,,e\n6,6.5,f,\n7,7,g\n8,1e,h\n9,9,i"
GOOD = [0, 3, 5, 7, 9]


@pytest.mark.parametrize("chunk_bytes", [1, 9, 30, 1000])
@pytest.mark.parametrize("shuffle", ["none", "block"])
def test_the_others_are_delivered_in_their_order(tmp_path, chunk_bytes, shuffle):
    bad = BadRows("train", sink=tmp_path / "bad.jsonl")
    source = csv(BROKEN, chunk_bytes=chunk_bytes)
    plan = plan_of(bad_rows=bad, shuffle=shuffle, lanes=1 if shuffle == "none" else 3, epochs=3, seed=5)
    rows = [row["i"] for batch, _ in delivered(source, plan) for row in batch]
    assert len(rows) == 3 * len(GOOD)
    epochs = [rows[:5], rows[5:10], rows[10:]]
    assert epochs == [GOOD] * 3 if shuffle == "none" else [sorted(epoch) for epoch in epochs] == [GOOD] * 3
    assert (bad.count, bad.seen) == (5, 10)
    entries = sorted(told(tmp_path / "bad.jsonl"), key=lambda entry: entry["offset"])
    assert [entry["line"] for entry in entries] == [2, 3, 6, 8, 10]
    assert [BROKEN[entry["offset"] :].partition(b"\n")[0].rstrip(b"\r") for entry in entries] == [
        base64.b64decode(entry["raw_base64"]) if "raw_base64" in entry else entry["raw"].encode() for entry in entries
    ]
    assert [entry.get("column") for entry in entries] == ["i", None, "s", None, "f"]
    assert {entry["object"] for entry in entries} == {source.chunks()[0].ref.partition("#")[0]}


def test_a_null_without_default_is_a_bad_row():
    bad = BadRows("train")
    plan = plan_of(bad_rows=bad, defaults={"i": -1}, lanes=1)
    rows = [row["i"] for batch, _ in delivered(csv(BROKEN), plan) for row in batch]
    assert rows == [0, 3, 7, 9]
    assert bad.count == 6
    kept = plan_of(bad_rows=BadRows("train"), defaults=None, lanes=1, required=("i",))
    assert [row["f"] for batch, _ in delivered(csv(BROKEN), kept) for row in batch] == [0.5, 3.5, None, 7.0, 9.0]


def test_nulls_of_any_source_are_left_out(tmp_path):
    values = [None if i % 4 == 1 else i for i in range(30)]
    names = pa.array([f"n{i % 3}" for i in range(30)]).dictionary_encode()
    table = pa.table({"id": pa.array(values, INT), "name": names})
    bad = BadRows("train", sink=tmp_path / "bad.jsonl")
    source = MemorySource([7, 11, 12], table=table)
    plan = FeedPlan(("id", "name"), 4, {}, bad_rows=bad, lanes=1, epochs=2)
    rows = [row["id"] for batch, _ in delivered(source, plan) for row in batch]
    assert rows == [value for value in values if value is not None] * 2
    assert bad.count == 8
    assert sorted(entry["row"] for entry in told(tmp_path / "bad.jsonl")) == list(range(1, 30, 4))


@settings(deadline=None, max_examples=20)
@given(
    rows=st.lists(st.sampled_from([b"1,1.5,a", b"x,1,b", b"2", b"3,,c", b"4,4,\xff", b'5,5,"q', b""]), max_size=40),
    chunk_bytes=st.integers(1, 120),
    batch_size=st.integers(1, 9),
    lanes=st.integers(1, 4),
    split=st.sampled_from([None, Split(0.4, 3, "train")]),
    shuffle=st.sampled_from(["none", "block", "window"]),
    drop=st.booleans(),
)
def test_positions_and_workers_count_bad_rows_as_rows(rows, chunk_bytes, batch_size, lanes, split, shuffle, drop):
    source = csv(b"\n".join(rows) + b"\n", chunk_bytes=chunk_bytes)
    plan = plan_of(
        batch_size=batch_size, lanes=lanes, split=split, shuffle=shuffle, epochs=2, drop_remainder=drop, steps=2
    )
    plan = replace(plan, bad_rows=BadRows("train"))
    whole = delivered(source, plan)
    for stop in range(len(whole)):
        assert str(delivered(source, plan, whole[stop][1])) == str(whole[stop + 1 :])
    if not drop:
        halves = [
            row["i"]
            for index in range(2)
            for batch, _ in delivered(source, plan, None, Shard(index, 2))
            for row in batch
        ]
        assert sorted(halves) == sorted(row["i"] for batch, _ in whole for row in batch)


@settings(deadline=None, max_examples=6)
@given(
    rows=st.lists(st.sampled_from([b"1,1.5,a", b"x,1,b", b"2", b"3,,c\rd", b"4,4,\xff", b'5,5,"q', b""]), max_size=40),
    chunk_bytes=st.integers(1, 120),
    shuffle=st.sampled_from(["none", "block", "window"]),
)
def test_both_engines_leave_out_the_same_rows(rows, chunk_bytes, shuffle):
    source = csv(b"\n".join(rows) + b"\n", chunk_bytes=chunk_bytes)
    found = []
    for name in ("tf_data", "queue_runner"):
        bad = BadRows("train")
        plan = plan_of(
            bad_rows=bad, shuffle=shuffle, lanes=2, epochs=2, defaults={"i": 7}, split=Split(0.3, 1, "train")
        )
        with engine(name).open(source, plan) as stream:
            batches = [(one.rows, {k: np.asarray(v).tolist() for k, v in one.columns.items()}) for one in stream]
        found.append((str(batches), bad.count, bad.seen))
    assert found[0] == found[1]


def test_a_number_of_bad_rows_is_the_limit(tmp_path):
    text = b"1,1,a\n" * 50 + b"x,1,b\n" * 4 + b"1,1,a\n" * 50
    for limit in (4, None):
        bad = BadRows("train", limit=limit)
        delivered(csv(text), plan_of(bad_rows=bad, epochs=3))
        assert (bad.count, bad.seen) == (4, 104)
        bad.finish()
    bad = BadRows("train", limit=3, sink=tmp_path / "bad.jsonl")
    with pytest.raises(TooManyBadRows) as caught:
        delivered(csv(text, chunk_bytes=30), plan_of(bad_rows=bad, lanes=1))
    assert caught.value.fault.where == "inputs.train.max_bad_rows"
    assert "000.csv:51: column 'i' cannot be read as BIGINT; got 'x'" in str(caught.value.fault.got)
    assert "3 rows" in str(caught.value.fault.wanted)
    with pytest.raises(TooManyBadRows):
        delivered(csv(text), plan_of(bad_rows=BadRows("train", limit=0)))


@pytest.mark.parametrize("chunk_bytes", [1, 9, 1000])
def test_what_another_worker_reports_counts_as_what_is_found_here(tmp_path, chunk_bytes):
    source, limited = csv(BROKEN, chunk_bytes=chunk_bytes), BadRows("train", limit=4)
    takers = [BadRows("train", sink=tmp_path / "bad.jsonl"), Reported("train", writes=True)]
    reports = []
    for index, taker in enumerate(takers):
        for shard in (Shard(index, 2), Shard()):
            delivered(source, plan_of(bad_rows=taker, lanes=2, epochs=2), None, shard)
            if taker is takers[1]:
                reports += json.loads(json.dumps(taker.collect()))
    for found in reports:
        takers[0].take(Found(*found))
    assert takers[1].collect() == []
    assert (takers[0].count, takers[0].seen) == (5, 10)
    assert sorted(entry["line"] for entry in told(tmp_path / "bad.jsonl")) == [2, 3, 6, 8, 10]
    with pytest.raises(TooManyBadRows, match=r"5 bad among the \d+ rows read so far; the first:(\n.*csv:.*){3}\n"):
        for found in reports:
            limited.take(Found(*found))
        limited.finish()


@pytest.mark.parametrize("total", [100, None])
def test_a_share_of_bad_rows_is_the_limit(total):
    text = b"x,1,b\n" * 4 + b"1,1,a\n" * 96
    bad = BadRows("train", limit=0.05, total=total)
    delivered(csv(text), plan_of(bad_rows=bad))
    bad.finish()
    bad = BadRows("train", limit=0.03, total=total)
    with pytest.raises(TooManyBadRows, match=r"0\.03 of the rows"):
        # Where the rows are not counted before, few of them say little: the share is judged at the end.
        delivered(csv(text), plan_of(bad_rows=bad))
        assert total is None
        bad.finish()


def test_a_long_row_is_cut_where_it_is_written_down(tmp_path):
    bad = BadRows("train", sink=tmp_path / "bad.jsonl")
    long = b"z" * 200_000
    delivered(csv(b"1,1,a\nx,1," + long + b"\n", chunk_bytes=10**6), plan_of(bad_rows=bad))
    (entry,) = told(tmp_path / "bad.jsonl")
    assert entry["raw_bytes"] == 4 + len(long)
    assert len(entry["raw"]) == 2**16


def test_what_fails_a_whole_file_still_does(tmp_path):
    bad = BadRows("train")
    with pytest.raises(DataError, match="does not name column 'i'"):
        delivered(csv(b"a,b\n1,2\n", header=True), plan_of(bad_rows=bad))
    assert isinstance(csv(b""), MarkingSource)


JSON_ROWS = b'{"i":1,"s":"a\\r\\nb"}\n{"i":"x"}\n{"f":2.5,"s":null}\n[]\n\n{"i":4,"f":1,"s":"\xe4\xb8\xad"}\n{"i":5'
QUOTED = b'1,1,"a\nb"\r\n2,2\n3,"\n3",x\n4,4,"open\n5,5,"""\n"""\n\xff,6,y\n' * 3
IN_ANY_FORM = {
    "jsonl": lambda objects: JsonLines(objects, COLUMNS, store=STORE, chunk_bytes=40),
    "text": lambda objects: TextLines(objects, {"s": TEXT}, store=STORE, chunk_bytes=20),
    "quoted": lambda objects: CsvSource(
        objects, COLUMNS, store=STORE, header=False, quoted_newlines=True, chunk_bytes=16
    ),
    "gbk": lambda objects: CsvSource(objects, COLUMNS, store=STORE, header=False, encoding="gbk", chunk_bytes=16),
}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("form", IN_ANY_FORM)
def test_both_engines_leave_out_the_same_rows_of_any_form(form, packed):
    text = {"jsonl": JSON_ROWS, "text": b"a\r\n\nb\xff\nc\x00\nd\re", "gbk": BROKEN}.get(form, QUOTED)
    url = f"memory://bad-rows/{next(NUMBERS)}"
    source = IN_ANY_FORM[form]([STORE.put(url, gzip.compress(text) if packed else text)])
    found = []
    for name in ("tf_data", "queue_runner"):
        bad = BadRows("train")
        plan = plan_of(columns=tuple(source.schema.names), bad_rows=bad, shuffle="block", lanes=2, epochs=2)
        plan = replace(plan, defaults={"i": 7, "f": 0.5, "s": "none"})
        with engine(name).open(source, plan) as stream:
            batches = [(one.rows, {k: np.asarray(v).tolist() for k, v in one.columns.items()}) for one in stream]
        found.append((str(batches), bad.count, bad.seen))
    assert found[0] == found[1]
    assert 0 < found[0][1] < found[0][2]
