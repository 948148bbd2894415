"""The feed as a library: the same batches as tensors, numpy and Arrow, from any address, and from any position on."""

from __future__ import annotations

import json
from collections import Counter
from itertools import islice

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

import pai_train
from pai_train.errors import DataError, PaiTrainError, StorageError
from pai_train.feed import feed as feed_module
from pai_train.feed.contracts import FeedPlan, Shard
from pai_train.feed.feed import Feed
from tests.suites.sources import MemorySource

ENGINES = ["tf_data", "queue_runner"]
SIZES = [30, 17, 44, 0, 61, 22]
ROWS = sum(SIZES)


@pytest.fixture(autouse=True)
def _small_superbatches(monkeypatch):
    monkeypatch.setattr(feed_module, "SUPERBATCH_ROWS", 40)


def feed_of(source=None, **more):
    known = {"columns": ("id", "name"), "batch_size": 8, "defaults": {}, "shuffle": "window", "window": 2, "seed": 3}
    plan = {name: more.pop(name) for name in list(more) if name in FeedPlan.__dataclass_fields__ and name != "epochs"}
    return Feed(source or MemorySource(SIZES), FeedPlan(**(known | plan)), **more)


def ids(batches):
    return [np.asarray(batch["id"]).tolist() for batch in batches]


@pytest.mark.parametrize("engine", ENGINES)
def test_tensors_numpy_and_arrow_are_the_same_batches(engine):
    arrow = [batch.to_pydict() for batch in feed_of(engine=engine).arrow()]
    arrays = list(feed_of(engine=engine).numpy())
    tensors = list(feed_of(engine=engine).dataset())
    assert [len(batch["id"]) for batch in arrow] == [8] * (ROWS // 8) + [ROWS % 8]
    assert ids(arrow) == ids(arrays) == ids(tensors)
    for one, other, third in zip(arrow, arrays, tensors, strict=True):
        assert [text.encode() for text in one["name"]] == list(other["name"]) == third["name"].numpy().tolist()
    assert Counter(i for batch in arrow for i in batch["id"]) == Counter(range(ROWS))


def test_engines_deliver_the_same_batches():
    assert ids(feed_of().numpy()) == ids(feed_of(engine="queue_runner").numpy())


def test_a_dataset_says_what_it_holds():
    whole = feed_of(label="id").dataset()
    assert whole.cardinality() == -(-ROWS // 8)
    assert whole.element_spec == ({"name": tf.TensorSpec([None], tf.string)}, tf.TensorSpec([None], tf.int64))
    fixed = feed_of(drop_remainder=True, epochs=3)
    assert fixed.dataset().cardinality() == 3 * (ROWS // 8)
    assert fixed.dataset().element_spec["id"] == tf.TensorSpec([8], tf.int64)
    assert [len(batch) for batch in ids(fixed.dataset())] == [8] * (3 * (ROWS // 8))
    assert feed_of(epochs=None).dataset().cardinality() == tf.data.INFINITE_CARDINALITY
    uncounted = feed_of(MemorySource(SIZES, known=False))
    assert uncounted.dataset().cardinality() == tf.data.UNKNOWN_CARDINALITY
    assert sum(map(len, ids(uncounted.dataset()))) == ROWS


def test_each_pass_is_the_next_epoch_whatever_is_asked_for():
    feed = feed_of()
    passes = [ids(feed.numpy()), ids(feed.dataset()), ids(feed.dataset())]
    assert passes[0] != passes[1] != passes[2]
    assert [*passes[0], *passes[1], *passes[2]] == ids(feed_of(epochs=3).numpy())


def test_a_pass_that_is_left_is_begun_anew():
    feed = feed_of()
    whole = ids(feed_of().numpy())
    dataset = feed.dataset()
    assert ids(dataset.take(2)) == whole[:2]
    assert ids(islice(feed.numpy(), 5)) == whole[:5]
    # As `fit` does it, which asks for as many batches as there are and not for one more.
    assert ids(dataset.take(len(whole) - 1)) == whole[:-1]
    assert ids(dataset.take(len(whole))) == whole
    assert feed.position["epoch"] == 1
    assert ids(dataset) != whole


def test_what_is_prefetched_and_left_does_not_count():
    feed = feed_of()
    whole = ids(feed_of().numpy())
    next(iter(feed.dataset().prefetch(4)))
    assert ids(feed.dataset()) == whole


def test_another_pass_ends_the_one_under_way():
    feed = feed_of()
    first = feed.numpy()
    next(first)
    second = iter(feed.dataset())
    next(second)
    with pytest.raises(DataError, match="another one has begun"):
        list(first)
    third = feed.arrow()
    next(third)
    with pytest.raises(tf.errors.InvalidArgumentError, match="another one has begun"):
        list(second)
    feed.close()
    with pytest.raises(DataError, match="the feed was closed"):
        list(third)


@settings(deadline=None, max_examples=15)
@given(
    st.lists(st.integers(0, 40), min_size=1, max_size=8),
    st.sampled_from(["none", "block", "window"]),
    st.integers(1, 20),
    st.integers(1, 3),
    st.integers(1, 2),
    st.booleans(),
    st.integers(0, 200),
)
def test_any_position_goes_on_where_it_was_taken(sizes, shuffle, batch_size, workers, epochs, known, stop):
    source = MemorySource(sizes, known=known)

    def opened(**more):
        plan = FeedPlan(("id",), batch_size, {}, shuffle=shuffle, window=2, seed=1)
        return Feed(source, plan, epochs=epochs, shard=Shard(workers - 1, workers), **more)

    feed = opened()
    straight = [*ids(feed.numpy()), *ids(feed.numpy())]
    stop %= len(straight) + 1
    saved = json.loads(json.dumps(feed.position_after(stop)))
    again = opened(position=saved)
    if known:
        assert again.left == (len(straight) - stop if stop >= len(straight) // 2 else len(straight) // 2 - stop) or (
            stop == len(straight)
        )
    rest = ids(again.numpy())
    if len(rest) + stop < len(straight):
        rest += ids(again.numpy())
    assert rest[: len(straight) - stop] == straight[stop:]


@pytest.mark.parametrize("engine", ENGINES)
def test_positions_of_a_dataset_are_behind_what_was_consumed(engine):
    straight = ids(feed_of(epochs=2).numpy())
    feed = feed_of(engine=engine)
    dataset, taken = feed.dataset(), 0
    next(iter(dataset))
    for _ in range(2):
        for batch in dataset:
            taken += 1
            assert ids([batch])[0] == straight[taken - 1]
            if taken % 7 == 0:
                rest = feed_of(epochs=2, position=feed.position_after(taken))
                assert ids(islice(rest.dataset(), 3)) == straight[taken : taken + 3]
    assert feed.position == feed.position_after(taken)
    with pytest.raises(DataError, match="not known") as caught:
        feed.position_after(taken + 1)
    assert caught.value.fault.wanted.endswith(f"{taken}, what was handed out last")


def test_a_resumed_dataset_leaves_its_length_open_and_the_next_pass_is_whole():
    feed = feed_of()
    list(islice(feed.numpy(), 9))
    resumed = feed_of(position=feed.position)
    dataset = resumed.dataset()
    assert (dataset.cardinality(), resumed.left) == (tf.data.UNKNOWN_CARDINALITY, -(-ROWS // 8) - 9)
    assert ids(dataset) == ids(feed_of().numpy())[9:]
    assert resumed.dataset().cardinality() == -(-ROWS // 8)


def test_workers_share_the_rows_and_know_how_many_batches_they_get():
    seen = Counter()
    for index in range(3):
        feed = feed_of(shard=Shard(index, 3), batch_size=7)
        batches = ids(feed.dataset())
        assert len(batches) == feed.batches == feed.dataset().cardinality()
        seen.update(i for batch in batches for i in batch)
    assert seen == Counter(range(ROWS))


@settings(deadline=None, max_examples=15)
@given(
    st.lists(st.integers(0, 40), min_size=2, max_size=8),
    st.integers(2, 20),
    st.integers(2, 4),
    st.integers(1, 4),
    st.integers(0, 50),
)
def test_other_workers_go_on_from_the_positions_of_all(sizes, batch_size, before, then, stop):
    source = MemorySource(sizes)

    def opened(worker, workers, position=None):
        plan = FeedPlan(("id",), batch_size, {}, shuffle="window", window=2, seed=1)
        return Feed(source, plan, shard=Shard(worker, workers), position=position)

    feeds = [opened(worker, before) for worker in range(before)]
    stop %= (max(feed.batches for feed in feeds) + 1) or 1
    positions = []
    for feed in feeds:
        for _ in zip(range(stop), feed.numpy(), strict=False):
            pass
        positions.append(feed.position)
    taken = -(-source.snapshot.rows // batch_size) - stop
    if not any(feed.batches for feed in feeds) or not taken:
        return
    whole = ids(opened(0, 1).numpy())
    merged = pai_train.merge_positions(json.loads(json.dumps(positions)))
    assert ids(opened(0, 1, merged).numpy()) == whole[stop:]
    rest = Counter(i for worker in range(then) for batch in ids(opened(worker, then, merged).numpy()) for i in batch)
    assert rest == Counter(i for batch in whole[stop:] for i in batch)


def test_positions_that_do_not_belong_together_are_refused():
    feeds = [feed_of(shard=Shard(worker, 2)) for worker in range(2)]
    for number, feed in enumerate(feeds):
        list(islice(feed.numpy(), 3 + number))
    with pytest.raises(DataError, match="do not belong together"):
        pai_train.merge_positions([feed.position for feed in feeds])


def test_a_position_of_other_data_is_refused():
    position = feed_of().position
    with pytest.raises(DataError, match="data changed"):
        feed_of(MemorySource([3, 4]), position=position)


TEXTS = ["", "a\nb", "\x00", "ÿ", "", "ÿ\n"]


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.binary()])
def test_texts_of_any_content_become_tensors(kind):
    table = pa.table({"s": pa.array([text.encode() for text in TEXTS], pa.binary()).cast(kind)})
    feed = feed_of(MemorySource([4, 2], table=table), columns=("s",), batch_size=3, shuffle="none", lanes=1)
    assert [text for batch in feed.dataset() for text in batch["s"].numpy()] == [text.encode() for text in TEXTS]


def test_fit_trains_on_every_batch_of_each_epoch():
    import keras

    table = pa.table({"x": np.arange(50, dtype=np.float32), "y": np.arange(50, dtype=np.float32)})
    feed = feed_of(MemorySource([20, 30], table=table), columns=("x", "y"), label="y")
    model = keras.Sequential(
        [keras.layers.Lambda(lambda batch: tf.reshape(batch["x"], [-1, 1])), keras.layers.Dense(1)]
    )
    model.compile("sgd", "mse")
    history = model.fit(feed.dataset(), epochs=3, verbose=0, shuffle=False)
    assert len(history.history["loss"]) == 3
    assert (feed.position["epoch"], feed.position["batch"], int(model.optimizer.iterations)) == (3, 0, 3 * 7)


CSV = {"id": "BIGINT", "x": "DOUBLE", "name": "STRING"}


def lines(first, last):
    return "".join(f"{i},{i / 4},n{i}\n" for i in range(first, last)).encode()


def test_files_of_a_store(s3_server, monkeypatch):
    s3_server.enter(monkeypatch)
    root = s3_server.root()
    store = s3_server.stores().open(root)
    for number in range(3):
        store.put(f"{root}/feed/part-{number}.csv", lines(100 * number, 100 * number + 100))
    more = {"batch_size": 32, "shuffle": "block", "stores": s3_server.stores()}
    feed = pai_train.open_feed(f"{root}/feed/part-*.csv", CSV, label="x", **more)
    seen = [(batch["id"].numpy(), label.numpy()) for batch, label in feed.dataset()]
    assert sorted(np.concatenate([one for one, _ in seen]).tolist()) == list(range(300))
    assert all((4 * label == one).all() for one, label in seen)
    named = pai_train.open_feed([f"{root}/feed/part-2.csv", f"{root}/feed/part-0.csv"], CSV, select=["id"], **more)
    assert sum(batch.num_rows for batch in named.arrow()) == 200
    assert named.schema.names == ["id"]
    with pytest.raises(StorageError, match="did you mean 'part-"):
        pai_train.open_feed(f"{root}/feed/part-.csv", CSV, **more)


@pytest.mark.parametrize("name", ["rows.csv.gz", "rows.parquet", "rows.jsonl", "rows"])
def test_the_ending_tells_the_format(tmp_path, name):
    import gzip

    import pyarrow.parquet as pq

    path, columns = tmp_path / name, CSV
    if name == "rows.parquet":
        columns = ["id", "name"]
        pq.write_table(pa.table({"id": range(50), "x": np.arange(50) / 4, "name": [f"n{i}" for i in range(50)]}), path)
    elif name == "rows.jsonl":
        path.write_text("".join(json.dumps({"id": i, "x": i / 4, "name": f"n{i}"}) + "\n" for i in range(50)))
    else:
        path.write_bytes(gzip.compress(lines(0, 50)) if name.endswith("gz") else lines(0, 50))
    feed = pai_train.open_feed(str(path), columns, batch_size=16, shuffle="block")
    assert feed.schema.names == list(columns)
    rows = {
        int(i): text for batch in feed.dataset() for i, text in zip(batch["id"], batch["name"].numpy(), strict=True)
    }
    assert rows == {i: f"n{i}".encode() for i in range(50)}


def test_rows_of_a_table(tmp_path, monkeypatch):
    from pai_train.spec.address import parse_table
    from pai_train.spec.ddl import parse_ddl
    from pai_train.tables.iceberg import IcebergTables

    tables, ref = IcebergTables(str(tmp_path / "data/tables"), "pai_train"), parse_table("points", "pai_train")
    tables.ensure(ref, parse_ddl("CREATE TABLE points (id BIGINT, kind STRING)"))
    session = tables.write(ref, "overwrite", "token-1")
    part = session.part(0, 0)
    part.write(
        pa.record_batch({"id": list(range(5000)), "kind": [f"k{i % 3}" if i % 5 else None for i in range(5000)]})
    )
    session.commit([part.finish()])
    more = {"batch_size": 512, "shuffle": "window", "defaults": {"kind": "?"}}
    feed = pai_train.open_feed("points", tables=str(tmp_path / "data/tables"), where="id >= 1000", **more)
    rows = {
        int(i): kind for batch in feed.dataset() for i, kind in zip(batch["id"], batch["kind"].numpy(), strict=True)
    }
    assert rows == {i: f"k{i % 3}".encode() if i % 5 else b"?" for i in range(1000, 5000)}
    monkeypatch.chdir(tmp_path)
    by_address = pai_train.open_feed("odps://pai_train/tables/points", ["id"], batch_size=512, split=(0.1, "test"))
    assert 300 < sum(len(batch["id"]) for batch in by_address.numpy()) < 700
    told = by_address.stats.to_json()
    assert 300 < told["rows"] < 700
    assert told["sources"]["odps://pai_train/tables/points"]["decode"] > 0


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"select": ["idd"]}, "did you mean 'id'"),
        ({"label": "nam"}, "did you mean 'name'"),
        ({"defaults": {"y": 1}}, "no column 'y'"),
        ({"batch_size": 0}, "batch_size is too small"),
        ({"batch_size": "8"}, "batch_size is no whole number"),
        ({"split": (1.5, "test")}, "not a split"),
        ({"split": (0.2, "tset")}, "not a split"),
        ({"position": {"epoch": 1}}, "not a position"),
        ({"shuffle": "rows"}, "none or block or window"),
        ({"engine": "tfdata"}, "did you mean 'tf_data'"),
        ({"worker": 2, "workers": 2}, "no such worker"),
        ({"worker": 2, "workers": 5}, "at most lanes=4"),
        ({"columns": {"id": "BIGNT"}}, "not a column type"),
        ({"columns": None}, "columns"),
        ({"columns": {}}, "columns names no column"),
        ({"select": []}, "select names no column"),
        ({"where": "id > 1"}, "where is about tables"),
        ({"format": "cvs"}, "did you mean 'csv'"),
        ({"address": []}, "nothing to read"),
        ({"address": "*.tsv"}, "nothing matches"),
        ({"address": "."}, "is a folder"),
    ],
)
def test_a_mistake_is_said_before_a_row_is_read(tmp_path, monkeypatch, more, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.csv").write_bytes(lines(0, 10))
    with pytest.raises(PaiTrainError, match=message):
        pai_train.open_feed(**({"address": "rows.csv", "columns": CSV, "batch_size": 4} | more))


def test_a_bad_row_ends_a_dataset_with_its_place(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_bytes(lines(0, 10) + b"x,1,2\n")
    feed = pai_train.open_feed(str(path), CSV, batch_size=4, lanes=1)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"rows.csv:11: column 'id' cannot be read as BIGINT"):
        list(feed.dataset())
    assert isinstance(feed.fault, DataError)
    with pytest.raises(DataError, match=r"rows.csv:11"):
        list(feed.arrow())


def test_a_dataset_that_is_gone_leaves_nothing():
    import gc
    import threading

    from pai_train.feed import dataset as made

    for _ in range(3):
        feed = feed_of()
        iterator = iter(feed.dataset().map(lambda batch: batch["id"]).prefetch(1))
        next(iterator)
        del iterator, feed
    gc.collect()
    assert (made._feeds, made._readings) == ({}, {})
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("read")] == []
