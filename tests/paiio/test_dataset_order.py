"""For any table, chunks, batch and repeat, the batches are those that tf.data makes of the same rows."""

from __future__ import annotations

from itertools import accumulate

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from pai_train import paiio
from pai_train.paiio import settings as paiio_settings
from pai_train.paiio.arrays import texts
from pai_train.paiio.chunks import text_column
from pai_train.paiio.sequence import FOREVER, Run, Unit, count, cut, repeat, run, shard, skip, take
from pai_train.spec.contracts import Chunk, Snapshot
from pai_train.spec.slices import slice_rows

LONGEST = 60


class Chunked:
    """A table store of one table in memory, cut into chunks of any size and read in batches of any size."""

    def __init__(self, chunks: list[int], batch: int) -> None:
        total = sum(chunks)
        kinds = [None if i % 3 == 1 else f"k{i}" for i in range(total)]
        self.rows = pa.record_batch({"id": pa.array(range(total), pa.int64()), "kind": pa.array(kinds, pa.string())})
        self._edges = list(accumulate(chunks, initial=0))
        self._chunks = [Chunk(index, rows, None, f"memory@{index}") for index, rows in enumerate(chunks)]
        self._batch = batch
        self.schema = self.rows.schema
        self.snapshot = Snapshot("1", total, total * 8)

    def source(self, ref, snapshot=None, rows=None):
        assert (snapshot, rows) in ((None, None), ("1", None))
        return self

    def chunks(self):
        return self._chunks

    def read(self, chunk, columns, start=0):
        lo, hi = self._edges[chunk.id] + start, self._edges[chunk.id + 1]
        for at in range(lo, hi, self._batch):
            yield self.rows.slice(at, min(self._batch, hi - at)).select(columns)


def apply(dataset, steps):
    for name, argument in steps:
        dataset = dataset.shard(*argument) if name == "shard" else getattr(dataset, name)(argument)
    return dataset


STEPS = st.one_of(
    st.tuples(st.just("repeat"), st.integers(0, 3)),
    st.tuples(st.just("take"), st.integers(-1, 40)),
    st.tuples(st.just("skip"), st.integers(-1, 40)),
    st.tuples(st.just("prefetch"), st.integers(1, 3)),
    st.integers(1, 4).flatmap(lambda n: st.tuples(st.just("shard"), st.tuples(st.just(n), st.integers(0, n - 1)))),
)


@settings(deadline=None, max_examples=40)
@given(
    chunks=st.lists(st.integers(0, 9), max_size=6),
    inner=st.integers(1, 9),
    capacity=st.integers(0, 12),
    slices=st.integers(1, 3).flatmap(lambda n: st.tuples(st.integers(0, n - 1), st.just(n))),
    steps=st.lists(STEPS, max_size=3),
    batch=st.integers(1, 12),
    drop=st.booleans(),
)
def test_batches_are_those_of_tf_data(chunks, inner, capacity, slices, steps, batch, drop):
    table = Chunked(chunks, inner)
    part = slice_rows(table.rows.num_rows, *slices)
    plain = [row.as_py() for row in table.rows.column("kind")]
    kinds = np.array([b"none" if kind is None else kind.encode() for kind in plain], object)[part.start : part.stop]
    wanted = tf.data.Dataset.from_tensor_slices((np.arange(part.start, part.stop), kinds.astype("S5")))
    before = paiio_settings._configured
    try:
        paiio.configure(table, project="lab")
        got = paiio.TableRecordDataset("t", [np.int64(0), "none"], None, None, *slices, 1, capacity)
    finally:
        paiio_settings._configured = before
    got, wanted = apply(got, steps), apply(wanted, steps)
    assert int(got.cardinality()) == int(wanted.cardinality())
    got, wanted = got.batch(batch, drop), wanted.batch(batch, drop)
    assert got.element_spec == wanted.element_spec
    assert int(got.cardinality()) == int(wanted.cardinality())
    pairs = list(zip(got.as_numpy_iterator(), wanted.as_numpy_iterator(), strict=True))
    assert all(ours[0].tolist() == theirs[0].tolist() for ours, theirs in pairs)
    assert all(ours[1].tolist() == theirs[1].tolist() for ours, theirs in pairs)


def numbers(rows):
    found = []
    for part in rows:
        if isinstance(part, Run):
            found += [row for unit in part.units for row in unit.rows]
        else:
            found += numbers(part.parts) * (LONGEST if part.times == FOREVER else part.times)
        if len(found) > 100_000:
            return found
    return found


def expected(rows, steps):
    for name, argument in steps:
        if name == "repeat":
            rows = rows * (LONGEST * 10 if argument < 0 else argument)
        elif name == "take":
            rows = rows if argument < 0 else rows[:argument]
        else:
            rows = [] if argument < 0 else rows[argument:]
    return rows


@given(
    lengths=st.lists(st.integers(0, 5), max_size=4),
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("repeat"), st.integers(0, 3)),
            st.tuples(st.just("take"), st.integers(-1, 30)),
            st.tuples(st.just("skip"), st.integers(-1, 30)),
        ),
        max_size=5,
    ),
    ending=st.booleans(),
)
def test_sequences_are_lists(lengths, steps, ending):
    edges = list(accumulate(lengths, initial=0))
    rows = run(Unit(0, range(lo, lo + n)) for lo, n in zip(edges, lengths, strict=False))
    steps = [*steps, ("repeat", -1), ("skip", 7), ("take", 50)] if ending else steps
    for name, argument in steps:
        rows = {"repeat": repeat, "take": take, "skip": skip}[name](rows, argument)
    wanted = expected(list(range(edges[-1])), steps)
    assert (numbers(rows), count(rows)) == (wanted, len(wanted))


@given(st.integers(0, 40), st.lists(st.integers(1, 5), max_size=3))
def test_shards_of_shards(total, counts):
    rows, wanted = run([Unit(0, range(total // 2)), Unit(0, range(total // 2, total))]), list(range(total))
    for size in counts:
        rows, wanted = shard(rows, size, size // 2), wanted[size // 2 :: size]
    assert numbers(rows) == wanted


@given(st.lists(st.integers(0, 9), min_size=1, max_size=8), st.integers(1, 12), st.data())
def test_units_cover_the_rows_and_keep_to_the_edges(lengths, most, data):
    edges = list(accumulate(lengths, initial=0))
    start = data.draw(st.integers(0, edges[-1]))
    rows = range(start, data.draw(st.integers(start, edges[-1])))
    units = cut(edges, rows, most)
    assert [row for unit in units for row in unit] == list(rows)
    assert all(0 < len(unit) <= most for unit in units)
    inside = [edge for edge in edges if rows.start < edge < rows.stop]
    for unit in units:
        if unit.stop != rows.stop and unit.stop not in inside:
            assert len(unit) == most


def test_many_tables_are_opened_again_at_their_snapshot(monkeypatch):
    table, opened = Chunked([4, 3], 3), []
    source = table.source
    monkeypatch.setattr(table, "source", lambda ref, snapshot=None: opened.append((ref.name, snapshot)) or source(ref))
    monkeypatch.setattr(paiio_settings, "_configured", None)
    paiio.configure(table, project="lab")
    names = [f"t{index}" for index in range(7)]
    dataset = paiio.TableRecordDataset(names, [np.int64(0), ""], num_threads=1).repeat(2).batch(10)
    assert sorted(opened) == [(name, None) for name in names]
    rows = [row for batch in dataset.as_numpy_iterator() for row in batch[0].tolist()]
    assert rows == list(range(7)) * 14
    assert {snapshot for _, snapshot in opened[7:]} == {"1"}


_BYTES = st.lists(st.none() | st.sampled_from([b"", b"\xff", b"a\xff\x00", b"\n"]) | st.binary(max_size=5), min_size=1)


@settings(deadline=None)
@given(_BYTES, st.sampled_from([b"", b"\xff"]), st.booleans())
def test_any_bytes_become_a_tensor(values, null, encoded):
    column = pa.array(values, pa.binary())
    if encoded:
        letters = pa.array([None if value is None else "b" * (value > b"a") for value in values], pa.string())
        column = letters.dictionary_encode()
        values = column.cast(pa.binary()).to_pylist()
    made = text_column(*map(tf.convert_to_tensor, texts(column, null)))
    assert made.numpy().tolist() == [null if value is None else value for value in values]


def test_rows_that_a_table_gives_short_are_missed(monkeypatch):
    table = Chunked([5, 5], 3)
    monkeypatch.setattr(table, "read", lambda chunk, columns, start=0: iter([table.rows.slice(0, 2).select(columns)]))
    monkeypatch.setattr(paiio_settings, "_configured", None)
    paiio.configure(table, project="lab")
    with pytest.raises(tf.errors.InvalidArgumentError, match="gave fewer rows than it has"):
        list(paiio.TableRecordDataset("t", [np.int64(0), ""]).batch(10))
