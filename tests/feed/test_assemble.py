"""Pieces put in order, whatever their columns are encoded in, and strings in the form that tensors are made from."""

import hypothesis.strategies as st
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings

from pai_train.errors import DataError
from pai_train.feed.assemble import in_order, plain
from pai_train.feed.assemble import whole as all_of
from pai_train.feed.contracts import FeedPlan
from pai_train.feed.nulls import fill
from pai_train.feed.runs import Runs
from pai_train.feed.tensors import text_parts
from pai_train.feed.tf_data import Tensors, TfDataEngine
from pai_train.spec.ddl import parse_ddl
from pai_train.tables.iceberg import IcebergTables
from tests.suites.table_rows import ref, write

TEXTS = st.text(st.characters(codec="utf-8"), max_size=3)
FIELD = pa.field("s", pa.string())


@st.composite
def pieces(draw):
    found = []
    for rows in draw(st.lists(st.integers(0, 40), min_size=1, max_size=5)):
        few = st.sampled_from(["a", "b", "", "line\nline", None])
        texts = pa.array(draw(st.lists(few | TEXTS, min_size=rows, max_size=rows)), pa.string())
        numbers = st.none() | st.integers(-9, 9) if draw(st.booleans()) else st.integers(-9, 9)
        values = pa.array(draw(st.lists(numbers, min_size=rows, max_size=rows)), pa.int64())
        if draw(st.booleans()):
            texts = texts.dictionary_encode()
        cut = draw(st.integers(0, rows))
        found.append(pa.record_batch({"s": texts, "n": values, "at": pa.array(range(rows), pa.int64())}).slice(cut))
    return found


def _decoded(batch):
    return pa.table({name: plain(batch.column(name)) for name in batch.schema.names})


@settings(deadline=None, max_examples=80)
@given(st.data())
def test_any_pieces_in_any_order(data):
    parts = data.draw(pieces())
    whole = pa.concat_tables([_decoded(part) for part in parts]).combine_chunks()
    kind = data.draw(st.sampled_from(["as they are", "runs", "single rows"]))
    order = None
    if kind == "runs":
        edges = sorted(data.draw(st.lists(st.integers(0, whole.num_rows), max_size=4)))
        cuts = list(zip([0, *edges], [*edges, whole.num_rows], strict=True))
        order = np.concatenate([np.arange(lo, hi) for lo, hi in reversed(cuts)]).astype(np.int64)
    elif kind == "single rows":
        order = np.array(data.draw(st.permutations(range(whole.num_rows))), np.int64)
    count = data.draw(st.integers(0, whole.num_rows))
    wanted = (whole if order is None else whole.take(pa.array(order))).slice(0, count)
    assert _decoded(in_order(all_of(parts), None if order is None else Runs.of(order), count)).equals(wanted)


def test_what_is_encoded_in_all_pieces_stays_so():
    first, second = (pa.array(texts).dictionary_encode() for texts in (["a", "b", "a"], ["c", "b"]))
    batch = in_order(
        all_of([pa.record_batch({"s": first}), pa.record_batch({"s": second})]), Runs.of(np.array([4, 0, 3, 2, 1])), 5
    )
    assert batch.column(0).to_pylist() == ["b", "a", "c", "a", "b"]
    assert batch.column(0).dictionary.to_pylist() == ["a", "b", "c"]


@settings(deadline=None, max_examples=80)
@given(st.data(), st.integers(0, 30), st.integers(1, 6))
def test_any_texts_become_the_same_tensors(data, rows, columns):
    some = TEXTS | st.sampled_from(["", "\n", "a\nb", "\x00", "a\x00"])
    texts = [data.draw(st.lists(some, min_size=rows, max_size=rows)) for _ in range(columns)]
    arrays = []
    for column in texts:
        array = pa.array(["dropped", *column], pa.string())
        arrays.append((array.dictionary_encode() if data.draw(st.booleans()) else array).slice(1))
    numbers = pa.array(range(rows), pa.int64())
    batch = pa.record_batch([numbers, *arrays], names=list("nabcdef"[: columns + 1]))
    fields = [pa.field("n", pa.int64()), *(pa.field(name, pa.string()) for name in batch.schema.names[1:])]
    made = Tensors(fields)(batch)
    assert made["n"].numpy().tolist() == list(range(rows))
    assert [made[field.name].numpy().tolist() for field in fields[1:]] == [[t.encode() for t in c] for c in texts]


@pytest.mark.parametrize(
    ("texts", "encoded", "way"),
    [(["a", "b"], False, "split"), (["a", "a"], True, "gather"), (["a\n"], False, "whole"), ([], False, "whole")],
)
def test_the_way_that_is_chosen(texts, encoded, way):
    column = pa.array(texts, pa.string())
    assert text_parts(FIELD, column.dictionary_encode() if encoded else column)[0] == way


def test_nulls_have_no_tensor():
    for column in (pa.array(["a", None]), pa.array(["a", None]).dictionary_encode()):
        with pytest.raises(DataError, match="'s' holds 1 NULLs"):
            text_parts(FIELD, column)


def test_defaults_reach_what_is_encoded():
    for texts in (["a", None, ""], ["a", "", "a"]):
        plainly, encoded = pa.array(texts), pa.array(texts).dictionary_encode()
        filled = [fill(pa.record_batch({"s": column}), {"s": "d"}).column(0) for column in (plainly, encoded)]
        assert plain(filled[1]).to_pylist() == filled[0].to_pylist() == [text or "d" for text in texts]


def test_a_table_gives_the_engine_what_it_holds(tmp_path):
    tables = IcebergTables(str(tmp_path), "lab")
    tables.ensure(ref("t"), parse_ddl("create table t (id BIGINT, few STRING, many STRING, odd STRING)"))
    rows = [
        {"id": i, "few": ["x", "y", ""][i % 3], "many": f"value {i}", "odd": "a\nb" if i == 7000 else str(i % 5)}
        for i in range(20_000)
    ]
    half = pa.Table.from_pylist(rows).to_batches(max_chunksize=10_000)
    write(tables, "t", "w", *half)
    source = tables.source(ref("t"))
    [encoded] = source.read_encoded(source.chunks()[0], ["few", "many"])
    assert [pa.types.is_dictionary(kind) for kind in encoded.schema.types] == [True, False]
    plan = FeedPlan(("id", "few", "many", "odd"), batch_size=128, defaults={}, steps=8, shuffle="block", lanes=3)
    found = []
    with TfDataEngine().open(source, plan) as superbatches:
        for one in superbatches:
            columns = [one.columns[name].numpy().tolist() for name in plan.columns]
            found += list(zip(*columns, strict=True))
    by_id = {row["id"]: row for row in rows}
    assert sorted(row[0] for row in found) == sorted(by_id)
    for number, *texts in found:
        assert texts == [by_id[number][name].encode() for name in ("few", "many", "odd")]
