"""What the input cost, against delays that are known: reading from a store, decoding, and the loop's own work."""

from __future__ import annotations

import io
import threading
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pai_train import open_feed
from pai_train.feed import feed as feed_module
from pai_train.feed.contracts import FeedPlan
from pai_train.feed.feed import Feed
from pai_train.spec.ddl import parse_ddl
from pai_train.storage import CacheOptions, Limits, StorageOptions, Store, Stores, open_store
from pai_train.storage.meter import metered
from pai_train.storage.registry import Provider
from pai_train.tables.iceberg import IcebergTables
from tests.storage.shaky import ShakyObjects
from tests.suites.sources import MemorySource
from tests.suites.table_rows import ref, write

BATCHES = 24
URL = "memory://waiting/block"


class Slept:
    """Sleeps, and knows for how long it really did."""

    def __init__(self):
        self.seconds = 0.0

    def __call__(self, seconds):
        began = time.perf_counter()
        time.sleep(seconds)
        self.seconds += time.perf_counter() - began


class SlowStore(Store):
    def __init__(self, seconds):
        super().__init__("memory", open_store(URL).filesystem, is_local=True, exclusive_create=True)
        self.slept, self._seconds = Slept(), seconds

    def _read(self, url, start, end, etag):
        self.slept(self._seconds)
        return super()._read(url, start, end, etag)


class SlowSource(MemorySource):
    """Reads a block's bytes from a store, then takes its time to decode them."""

    def __init__(self, store, seconds):
        super().__init__([8] * BATCHES)
        self._store, self._seconds, self.slept = store, seconds, Slept()

    def read(self, chunk, columns, start=0):
        self._store.read(URL)
        self.slept(self._seconds)
        return super().read(chunk, columns, start)


def shares(read_s, decode_s, step_s, engine, form="numpy"):
    """Returns (stalled, reading) as they were told, and as they were."""
    store = SlowStore(read_s)
    store.put(URL, b"x" * 100)
    source, used = SlowSource(store, decode_s), Slept()
    feed = Feed(source, FeedPlan(("id",), 8, {}, lanes=1), parallel=1, engine=engine, name="rows")
    began, warm = 0.0, 0.0
    for number, _ in enumerate(getattr(feed, form)()):
        # The first round is left out, as it is in the meter.
        if number == 1:
            began, warm = time.perf_counter(), used.seconds
        used(step_s)
        ended = time.perf_counter()
    told = feed.stats.stall_fraction, feed.stats.read_share("rows")
    assert feed.stats.bytes == 100 * BATCHES
    assert feed.stats.to_json()["rows"] == 8 * BATCHES
    truth = (
        1 - (used.seconds - warm) / (ended - began),
        store.slept.seconds / (store.slept.seconds + source.slept.seconds),
    )
    return told, truth


@pytest.mark.parametrize("engine", ["tf_data", "queue_runner"])
@pytest.mark.parametrize(
    ("read_s", "decode_s", "step_s"),
    [
        (0.030, 0.010, 0.010),
        (0.010, 0.030, 0.020),
        (0.004, 0.004, 0.030),
    ],
)
def test_shares_are_the_truth_within_five_points(monkeypatch, engine, read_s, decode_s, step_s):
    monkeypatch.setattr(feed_module, "SUPERBATCH_ROWS", 8)
    # Of two, as a machine under load may stop the loop between its own clock and the meter's.
    for attempt in range(2):
        told, truth = shares(read_s, decode_s, step_s, engine)
        if told == pytest.approx(truth, abs=0.05) or attempt:
            break
    assert told == pytest.approx(truth, abs=0.05)


def test_a_dataset_knows_what_its_consumer_waited_for(monkeypatch):
    monkeypatch.setattr(feed_module, "SUPERBATCH_ROWS", 8)
    # Delays beside which it is little what TensorFlow itself takes to hand a batch on.
    told, truth = shares(0.12, 0.04, 0.06, "tf_data", "dataset")
    assert told == pytest.approx(truth, abs=0.05)


def test_the_sentence_of_a_feed_says_what_to_do(monkeypatch):
    monkeypatch.setattr(feed_module, "SUPERBATCH_ROWS", 8)
    store = SlowStore(0.01)
    store.put(URL, b"x")
    feed = Feed(SlowSource(store, 0), FeedPlan(("id",), 8, {}, lanes=1), parallel=1, name="oss://b/part-*")
    for _ in feed.arrow():
        pass
    assert "input-bound: " in feed.waited_for
    assert "waiting on oss://b/part-*, mostly reading; raise engine.parallel, or keep" in feed.waited_for


def test_reads_of_a_stream_count_wherever_they_are_made_and_those_at_once_count_once():
    store = open_store(URL)
    store.put(URL, bytes(range(100)))
    with metered() as meter:
        stream = store.open_input(URL)

    def slowly(read=stream._stream.read):
        time.sleep(0.05)
        return read(10)

    stream._stream.read = lambda size: slowly()
    threads = [threading.Thread(target=stream.read, args=(10,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stream.close()
    assert meter.bytes == 40
    assert 0.05 <= meter.seconds < 0.15
    store.read(URL)
    assert meter.bytes == 40


@pytest.mark.parametrize("use", ["read", "readline", "read1"])
def test_a_metered_stream_is_the_stream(use):
    store = open_store(URL)
    store.put(URL, b"one\ntwo\n")
    with metered() as meter, store.open_input(URL) as stream:
        assert getattr(stream, use)(-1).startswith(b"one\n")
        assert stream.seek(0) == stream.tell() == 0
        assert (stream.name, stream.seekable(), stream.readable()) == (URL, True, True)
        assert pa.PythonFile(stream, mode="r").read() == b"one\ntwo\n"
    assert stream.closed
    assert meter.bytes >= 12


def test_bytes_of_a_local_table_are_those_of_the_columns_read(tmp_path):
    tables = IcebergTables(str(tmp_path), "lab")
    tables.ensure(ref("t"), parse_ddl("create table t (id BIGINT, name STRING)"))
    write(tables, "t", "w", pa.record_batch({"id": np.arange(50_000), "name": [f"row {i}" for i in range(50_000)]}))
    source = tables.source(ref("t"))
    group = pq.read_metadata(next(tmp_path.rglob("*.parquet"))).row_group(0)
    for columns, number in ((("id",), 1), (("id", "name"), 2)):
        feed = Feed(source, FeedPlan(columns, 1000, {}))
        assert sum(len(batch["id"]) for batch in feed.numpy()) == 50_000
        assert feed.stats.bytes == sum(group.column(i).total_compressed_size for i in range(number))


def test_bytes_from_a_cache_are_told(monkeypatch, tmp_path):
    files, content = ShakyObjects(), io.BytesIO()
    numbers = np.random.default_rng(1).integers(0, 2**60, 60_000)
    pq.write_table(pa.table({"n": numbers}), content, row_group_size=10_000)
    monkeypatch.setattr(Provider, "load", lambda self: lambda access, limits, stats: files)
    options = StorageOptions(limits=Limits(part_bytes=50_000), cache=CacheOptions(str(tmp_path / "cache"), 2**22))
    found = []
    for _ in range(2):
        stores = Stores(options)
        store = stores.open("s3://b/rows.parquet")
        store.filesystem._strip_protocol = lambda path: "/" + path
        store.put("s3://b/rows.parquet", content.getvalue())
        feed = open_feed("s3://b/rows.parquet", batch_size=100, stores=stores)
        assert sum(len(batch["n"]) for batch in feed.numpy()) == 60_000
        found.append((feed.stats.to_json(), feed.waited_for))
    (first, _), (second, told) = found
    assert first["cached_bytes"] < first["bytes"] / 2
    assert second["cached_bytes"] == second["bytes"] > 400_000
    assert "100 % of its bytes from the cache" in told
