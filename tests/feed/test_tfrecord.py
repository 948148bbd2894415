"""TFRecord files: frames found at any cut, checksums that tell, Examples whose faults are named by record and byte."""

from __future__ import annotations

import gzip
import itertools
import struct

import google_crc32c
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pai_train import open_feed
from pai_train.errors import DataError
from pai_train.feed import tfrecord
from pai_train.feed.formats import FileFormat, look
from pai_train.feed.tfrecord_source import TfRecordSource
from pai_train.storage import open_store
from tests.suites.records import example
from tests.suites.records import tfrecord as written

STORE = open_store("memory://records")
NUMBERS = itertools.count()
COLUMNS = {"a": pa.int64(), "s": pa.string(), "f": pa.float64(), "b": pa.bool_(), "t": pa.int8()}


def framed(records):
    def masked(data):
        crc = google_crc32c.value(data)
        return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)

    heads = [struct.pack("<Q", len(record)) for record in records]
    return b"".join(head + masked(head) + record + masked(record) for head, record in zip(heads, records, strict=True))


def source(content, columns=COLUMNS, **options):
    info = STORE.put(f"memory://records/{next(NUMBERS)}", content)
    return TfRecordSource([info], columns, store=STORE, **options)


def contents(read):
    """The records of all chunks, and how many each chunk says it holds."""
    found = []
    for chunk in read.chunks():
        places = read.locate(chunk, range(chunk.rows))
        assert [place.row for place in places] == list(range(len(found), len(found) + chunk.rows))
        found += [place.raw for place in places]
    return found


def test_frames_are_those_of_tensorflows_writer():
    records = [b"", b"\0", b"abc", bytes(1000), b"x" * 70_000]
    assert framed(records) == written(records)


RECORDS = st.lists(
    st.binary(max_size=40) | st.integers(0, 300).map(bytes) | st.lists(st.binary(max_size=9), max_size=3).map(framed),
    max_size=30,
)


@settings(max_examples=60, deadline=None)
@given(RECORDS, st.integers(16, 400), st.sampled_from(["none", "gzip", "zstd"]))
def test_any_cut_gives_every_record_once(records, chunk_bytes, packed):
    content = framed(records)
    if packed == "gzip":
        content = gzip.compress(content)
    elif packed == "zstd":
        content = pa.compress(content, "zstd", asbytes=True)
    read = source(content, chunk_bytes=chunk_bytes)
    try:
        found = contents(read)
    except DataError as error:
        fault = error.fault
    else:
        assert found == records
        assert read.snapshot.rows == len(records)
        return
    # A record may hold what looks like records; to be told so is all that is asked.
    assert packed == "none"
    assert "looks like records" in fault.what


def test_records_within_records_are_read_right_where_they_are_not_cut():
    inner = framed([b"one", b"two"])
    records = [inner, b"", inner * 3]
    assert contents(source(framed(records), chunk_bytes=10**6)) == records
    with pytest.raises(DataError, match="looks like records"):
        contents(source(framed([inner * 100]), chunk_bytes=300))
    assert contents(source(gzip.compress(framed([inner * 100])), chunk_bytes=300)) == [inner * 100]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_bit_that_flips_is_found(data):
    records = [bytes([n]) * (7 * n) for n in range(1, 20)]
    content = bytearray(framed(records))
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] ^= 1 << data.draw(st.integers(0, 7))
    read = source(bytes(content), {"a": pa.int64()}, chunk_bytes=data.draw(st.sampled_from([64, 10**6])))
    with pytest.raises(DataError, match=r"damaged|cut short"):
        contents(read)


def test_the_wrong_record_is_found_among_many():
    records = [bytes([n % 251]) * (n % 50) for n in range(3000)]
    content = np.frombuffer(framed(records), np.uint8).copy()
    frames = tfrecord.chain(tfrecord.headers(content, len(content)), 0)
    assert len(frames) == 3000
    assert tfrecord.first_wrong(content, frames) is None
    for row in (0, 1, 1499, 2999):
        damaged = content.copy()
        damaged[frames.ends[row] - 2] ^= 4
        assert tfrecord.first_wrong(damaged, frames) == row


GOOD = [example(a=n, s=f"é{n}".encode(), f=n / 2, b=n % 2, t=n) for n in range(40)]


def rows(read):
    return [row for chunk in read.chunks() for batch in read.read(chunk, list(COLUMNS)) for row in batch.to_pylist()]


def test_features_become_columns_and_missing_ones_null():
    examples = [*GOOD[:1], example(f=2.0, zzz=b"of no interest"), example(), example(s=b"", b=0)]
    nothing = dict.fromkeys(COLUMNS)
    assert rows(source(framed(examples))) == [
        {"a": 0, "s": "é0", "f": 0.0, "b": False, "t": 0},
        nothing | {"f": 2.0},
        nothing,
        nothing | {"s": "", "b": False},
    ]


@pytest.mark.parametrize(
    ("record", "column", "told"),
    [
        (example(a=1.0), "a", "float_list"),
        (example(s=1), "s", "int64_list"),
        (example(a=[1, 2]), "a", "2 values"),
        (example(s=b"\xff"), "s", "UTF-8"),
        (example(t=200), "t", "-128 to 127"),
        (example(b=2), "b", "0 or 1"),
        (b"\x0azzz", None, "tf.train.Example"),
    ],
    ids=["another kind", "a text's", "several values", "no text", "too large", "no truth", "no Example"],
)
@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_a_record_at_fault_is_named_by_number_byte_and_column(record, column, told, pack):
    records = [*GOOD[:25], record, *GOOD[25:]]
    offset = len(framed(records[:25]))
    with pytest.raises(DataError) as caught:
        rows(source(pack(framed(records)), chunk_bytes=500))
    fault = caught.value.fault
    assert f"record 25 at byte {offset}" in fault.where
    assert column is None or f"column {column!r}" in fault.what
    assert told in f"{fault.got} {fault.wanted}"


def test_a_look_names_types_and_slips_of_the_pen():
    info = STORE.put(f"memory://records/{next(NUMBERS)}", framed(GOOD))
    faults = look(STORE, [info], {"a": pa.int64(), "d": pa.date32()}, FileFormat("tfrecord"))
    assert ["'d'" in fault.what for fault in faults] == [True]
    found = look(STORE, [info], {"a": pa.int64(), "rare": pa.int64()}, FileFormat("tfrecord"))
    assert found == [], "a feature may be missing from the first records"


def test_what_looks_like_gzip_may_be_a_record():
    """A record of 559,903 bytes begins like a gzip file: 1f 8b 08 00."""
    records = [bytes(559_903)]
    content = framed(records)
    assert content.startswith(b"\x1f\x8b\x08\x00")
    assert contents(source(content)) == records
    with pytest.raises(DataError, match="not compressed by gzip"):
        source(content, compression="gzip").chunks()
    with pytest.raises(DataError, match="damaged"):
        source(gzip.compress(content), compression="none").chunks()


@pytest.mark.parametrize("engine", ["tf_data", "queue_runner"])
def test_a_feature_of_several_values_is_a_vector(tmp_path, engine):
    rows = [{"x": [n / 4, 1.0, -n], "pair": [n, n + 1], "n": [n]} for n in range(300)]
    content = written([example(**row) for row in rows])
    (tmp_path / "rows.tfrecord").write_bytes(content)
    columns = {"x": "VECTOR(FLOAT, 3)", "pair": "VECTOR(BIGINT, 2)", "n": "BIGINT"}
    feed = open_feed(str(tmp_path / "rows.tfrecord"), columns, batch_size=64, shuffle="block", engine=engine)
    batches = [*feed.numpy(), *feed.dataset().as_numpy_iterator()]
    assert sum(len(batch["n"]) for batch in batches) == 600
    for batch in batches:
        numbers = batch["n"]
        assert batch["x"].dtype == np.float32
        assert batch["x"].tolist() == [[n / 4, 1.0, -n] for n in numbers]
        assert batch["pair"].tolist() == [[n, n + 1] for n in numbers]


def test_a_vector_of_another_length_is_a_fault_and_a_missing_one_a_null():
    kind = pa.fixed_shape_tensor(pa.float32(), [2])
    read = source(written([example(x=[1.0, 2.0]), example(n=[1]), example(x=[3.0, 4.0])]), {"x": kind})
    (batch,) = read.read(read.chunks()[0], ["x"])
    assert batch.column(0).storage.to_pylist() == [[1.0, 2.0], None, [3.0, 4.0]]
    read = source(written([example(x=[1.0, 2.0]), example(x=[1.0])]), {"x": kind})
    with pytest.raises(DataError, match="another number of values") as caught:
        list(read.read(read.chunks()[0], ["x"]))
    assert caught.value.fault.wanted == "2 values, or none"
