"""Columns that files bring with them: which types are read as which, what is refused, and damage that is found."""

from __future__ import annotations

import datetime as dt
import io
import itertools

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pai_train.errors import PaiTrainError
from pai_train.feed import declared
from pai_train.feed.formats import FileFormat, look, open_files
from pai_train.storage import open_store

STORE = open_store("memory://declared")
NUMBERS = itertools.count()


@pytest.mark.parametrize(
    ("found", "own"),
    [
        (pa.uint8(), pa.int16()),
        (pa.uint32(), pa.int64()),
        (pa.float16(), pa.float32()),
        (pa.large_string(), pa.string()),
        (pa.string_view(), pa.string()),
        (pa.dictionary(pa.int8(), pa.large_string()), pa.string()),
        (pa.timestamp("ns", "UTC"), pa.timestamp("us")),
        (pa.timestamp("s"), pa.timestamp("ms")),
        (pa.decimal128(10, 2), pa.decimal128(10, 2)),
        (pa.large_list(pa.int64()), pa.list_(pa.int64())),
        (pa.uint64(), None),
        (pa.duration("s"), None),
    ],
    ids=str,
)
def test_a_stored_type_is_read_as_the_smallest_that_holds_it(found, own):
    assert declared.own_type(found) == own


@pytest.mark.parametrize(
    ("kind", "found", "holds"),
    [
        (pa.int64(), pa.int32(), True),
        (pa.int32(), pa.int64(), False),
        (pa.int64(), pa.uint32(), True),
        (pa.int32(), pa.uint32(), False),
        (pa.float64(), pa.float32(), True),
        (pa.float32(), pa.float64(), False),
        (pa.float64(), pa.int32(), False),
        (pa.string(), pa.binary(), False),
        (pa.timestamp("us"), pa.timestamp("ms"), True),
        (pa.timestamp("ms"), pa.timestamp("us"), False),
    ],
    ids=str,
)
def test_a_declared_type_holds_all_values_or_is_refused(kind, found, holds):
    assert declared.holds(kind, found) is holds


def stored(table, write=pq.write_table):
    file = io.BytesIO()
    write(table, file)
    return STORE.put(f"memory://declared/{next(NUMBERS)}", file.getvalue())


def test_every_type_is_read_without_loss_or_not_at_all():
    table = pa.table(
        {
            "u": pa.array([255], pa.uint8()),
            "h": pa.array([1.5], pa.float32()),
            "t": pa.array([dt.datetime(2024, 12, 31)], pa.timestamp("ns")),
            "k": pa.array(["x"]).dictionary_encode(),
            "l": pa.array([[1, 2]], pa.list_(pa.int64())),
        }
    )
    source = open_files([stored(table)], {}, STORE, FileFormat("parquet"))
    (batch,) = source.read(source.chunks()[0], source.schema.names)
    assert batch.to_pylist() == [{"u": 255, "h": 1.5, "t": dt.datetime(2024, 12, 31), "k": "x", "l": [1, 2]}]
    finer = open_files([stored(pa.table({"t": pa.array([1], pa.timestamp("ns"))}))], {}, STORE, FileFormat("parquet"))
    with pytest.raises(PaiTrainError, match=r"'t' holds a value(.|\n)*rows 0 to 0|rows 0 to 0(.|\n)*'t' holds a value"):
        list(finer.read(finer.chunks()[0], ["t"]))


def test_a_type_that_is_not_read_is_named_with_what_to_do():
    (fault,) = look(
        STORE, [stored(pa.table({"a": [1], "d": pa.array([1], pa.duration("s"))}))], {}, FileFormat("parquet")
    )
    assert "'d'" in fault.what
    assert "leave this one out" in fault.todo
    twice = pa.table([pa.array([1]), pa.array([2])], names=["a", "a"])
    (fault,) = look(STORE, [stored(twice)], {}, FileFormat("parquet"))
    assert "twice" in fault.what


TABLE = pa.table(
    {"i": range(60), "s": [f"é{n % 7}" for n in range(60)], "k": pa.array(["a", "b"] * 30).dictionary_encode()}
)


def ipc(new):
    def write(table, file):
        with new(file, table.schema) as writer:
            writer.write_table(table, 20)

    return write


@settings(max_examples=80, deadline=None)
@given(st.data(), st.sampled_from([pa.ipc.new_file, pa.ipc.new_stream]))
def test_damage_in_an_arrow_file_is_an_error_or_another_value_and_never_a_crash(data, new):
    file = io.BytesIO()
    ipc(new)(TABLE, file)
    content = bytearray(file.getvalue())
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] ^= 1 << data.draw(st.integers(0, 7))
    info = STORE.put(f"memory://declared/{next(NUMBERS)}", bytes(content))
    source = open_files([info], {"i": pa.int64(), "s": pa.string(), "k": pa.string()}, STORE, FileFormat("arrow"))
    try:
        for chunk in source.chunks():
            for batch in source.read(chunk, ["i", "s", "k"]):
                batch.validate(full=True)
                batch.to_pylist()
    except PaiTrainError as error:
        told = error.fault
    else:
        return
    assert told.where is None or info.url in told.where
