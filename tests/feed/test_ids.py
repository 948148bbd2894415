"""Texts as integer ids: TensorFlow's own numbers, the same by every engine, format and encoding."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from pai_train import Ids, open_feed
from pai_train.errors import DataError
from pai_train.feed.bad_rows import BadRows
from pai_train.feed.contracts import FeedPlan
from pai_train.feed.engines import engine
from pai_train.feed.fingerprint import fingerprints
from pai_train.feed.formats import FileFormat, open_files
from pai_train.feed.id_source import texts_beside, with_ids
from pai_train.feed.places import NOWHERE, Places
from pai_train.storage import open_store, resolve

CITIES = ["Berlin", "Paris", None, "Rome", "", "Oslo", "São Paulo"]
KINDS = {"city": "STRING", "n": "BIGINT"}
ENGINES = ["tf_data", "queue_runner"]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The same 3,000 rows as Parquet and as CSV."""
    folder = tmp_path_factory.mktemp("files")
    rng = np.random.default_rng(0)
    rows = pa.table(
        {"city": pa.array([CITIES[i] for i in rng.integers(0, 7, 3000)], pa.string()), "n": np.arange(3000)}
    )
    pq.write_table(rows, folder / "rows.parquet", row_group_size=700)
    options = pacsv.WriteOptions(include_header=False, quoting_style="none")
    pacsv.write_csv(rows, folder / "rows.csv", options)
    return {"parquet": str(folder / "rows.parquet"), "csv": str(folder / "rows.csv")}


def source_of(path):
    url = resolve("/", path)
    store = open_store(url)
    kind = path.rpartition(".")[2]
    return open_files(store.glob(url), {"city": pa.string(), "n": pa.int64()}, store, FileFormat(kind))


def by_row(batches):
    """The ids by the rows' numbers."""
    return dict(sorted((n, i) for batch in batches for n, i in zip(batch["n"].tolist(), batch["city"], strict=True)))


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.one_of(st.binary(max_size=70), st.binary(min_size=60, max_size=300)), min_size=1),
    st.integers(1, 2**62),
    st.integers(0, 3),
)
def test_the_hash_is_tensorflows(values, buckets, skipped):
    column = pa.array([b"x", b"yy", b"z" * 90, *values], pa.binary()).slice(skipped)
    wanted = tf.strings.to_hash_bucket_fast(column.to_pylist(), buckets).numpy()
    assert (fingerprints(column) % np.uint64(buckets)).astype(np.int64).tolist() == wanted.tolist()


HASHES = st.integers(0, 2**64 - 1) | st.integers(0, 40) | st.integers(2**64 - 40, 2**64 - 1)


@given(st.lists(HASHES, unique=True, min_size=1, max_size=80), st.lists(HASHES, max_size=40))
def test_a_hash_is_found_where_it_stands_and_no_other_is(there, others):
    asked = [*others, *there]
    found = Places(np.array(there, np.uint64)).of(np.array(asked, np.uint64)).tolist()
    assert found == [there.index(one) if one in there else NOWHERE for one in asked]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.text(max_size=9), unique=True, min_size=1, max_size=30),
    st.lists(st.text(max_size=9), max_size=30),
    st.integers(1, 5),
    st.booleans(),
)
def test_a_vocabulary_is_that_of_a_tensorflow_table(vocabulary, others, buckets, large):
    vocabulary += [f"further {i}" for i in range(5000)] if large else []
    column = pa.array(others + vocabulary[:40], pa.string())
    pairs = tf.lookup.KeyValueTensorInitializer(vocabulary, np.arange(len(vocabulary)), tf.string, tf.int64)
    table = tf.lookup.StaticVocabularyTable(pairs, buckets)
    ids = Ids(vocabulary, buckets)
    wanted = table.lookup(tf.constant(column.to_pylist(), tf.string)).numpy().tolist()
    assert ids.of(column).tolist() == wanted
    assert ids.of(column.dictionary_encode()).tolist() == wanted
    assert max(wanted) < ids.size == len(vocabulary) + buckets


@pytest.mark.parametrize(
    "ids",
    [["Berlin", "Paris"], 1000, Ids(["Rome", "Oslo"], 7), Ids(["Oslo", "Berlin", "São Paulo", "Rome", "Paris"])],
    ids=["vocabulary", "hash", "vocabulary and buckets", "closed"],
)
def test_engines_and_formats_give_the_same_ids(files, ids):
    found = []
    for name in ENGINES:
        for path in files.values():
            feed = open_feed(
                path,
                KINDS,
                batch_size=256,
                ids={"city": ids},
                defaults={"city": "Rome"},
                shuffle="block",
                engine=name,
            )
            batches = list(feed.numpy())
            assert {batch["city"].dtype for batch in batches} == {np.dtype(np.int32)}
            found.append(by_row(batches))
    assert all(one == found[0] for one in found)
    texts = pa.array([value or "Rome" for value in CITIES], pa.string())
    chosen = ids if isinstance(ids, Ids) else Ids(buckets=ids) if isinstance(ids, int) else Ids(ids, 1)
    assert set(found[0].values()) == set(chosen.of(texts).tolist())
    assert len(found[0]) == 3000


def test_a_dataset_holds_ids_beside_texts(files):
    feed = open_feed(files["parquet"], batch_size=500, ids={"city": 50}, defaults={"city": "-"})
    assert feed.dataset().element_spec["city"].dtype == tf.int32
    assert feed.schema.field("city").type == pa.int32()
    first = next(feed.numpy())["city"]
    texts = next(open_feed(files["parquet"], batch_size=500, defaults={"city": "-"}).numpy())["city"]
    assert first.tolist() == tf.strings.to_hash_bucket_fast(texts.tolist(), 50).numpy().tolist()


def test_a_null_without_a_default_is_a_fault_with_its_row(files):
    feed = open_feed(files["parquet"], batch_size=256, ids={"city": 50})
    with pytest.raises(DataError, match="'city' is empty in some rows and has no default") as caught:
        list(feed.numpy())
    assert "rows.parquet, row " in caught.value.fault.where


@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_text_outside_a_closed_vocabulary_is_a_row_that_cannot_be_read(files, kind, name):
    known = [value for value in CITIES if value not in (None, "Oslo", "São Paulo")]
    source = with_ids(source_of(files[kind]), {"city": Ids(known)}, {"city": "Rome"})
    plan = FeedPlan(("city", "n"), 256, {}, lanes=2)
    with pytest.raises(DataError, match="outside its vocabulary") as caught, engine(name).open(source, plan) as stream:
        list(stream)
    place = r"rows\.csv:\d+" if kind == "csv" else r"rows\.parquet, row \d+"
    assert caught.match(place)
    assert caught.value.fault.wanted == f"one of {len(known)} values: {', '.join(map(repr, known))}"
    bad = BadRows("train", total=3000)
    plan = FeedPlan(("city", "n"), 256, {}, lanes=2, bad_rows=bad)
    with engine(name).open(source, plan) as stream:
        rows = sum(sum(one.rows) for one in stream)
    outside = sum(text in ("Oslo", "São Paulo") for text in pq.read_table(files["parquet"])["city"].to_pylist())
    assert bad.count == outside
    assert rows == 3000 - outside


def test_texts_come_beside_their_ids(files):
    source, stored = texts_beside(with_ids(source_of(files["parquet"]), {"city": Ids(CITIES[:2], 1)}), ["n", "city"])
    assert stored["n"] == "n"
    batches = [one for chunk in source.chunks() for one in source.read(chunk, ["city", stored["city"]])]
    rows = pa.Table.from_batches(batches)
    assert rows[stored["city"]].to_pylist() == pq.read_table(files["parquet"])["city"].to_pylist()
    known = {None: None, "Berlin": 0, "Paris": 1}
    assert rows["city"].to_pylist() == [known.get(text, 2) for text in rows[stored["city"]].to_pylist()]


def test_a_column_may_be_called_like_texts_beside(tmp_path):
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"city": ["a", "b"], "city as stored": [1, 2]}), path)
    url = resolve("/", str(path))
    whole = open_files(open_store(url).glob(url), {}, open_store(url), FileFormat("parquet"))
    source, stored = texts_beside(with_ids(whole, {"city": Ids(["b", "a"])}), ["city"])
    names = ["city", "city as stored", stored["city"]]
    (batch,) = [one for chunk in source.chunks() for one in source.read(chunk, names)]
    assert [column.to_pylist() for column in batch.columns] == [[1, 0], [1, 2], ["a", "b"]]


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ({"town": 5}, "no column 'town'"),
        ({"n": 5}, "only texts get ids"),
        ({"city": ["a", "a"]}, "holds a value twice"),
        ({"city": 0}, "not a number of ids"),
        ({"city": "Paris"}, "is a list of texts"),
        ({"city": ["a", None]}, "is a list of texts"),
        ({"city": [1, 2]}, "is a list of texts"),
        ({"city": []}, "holds texts"),
        ({"city": Ids(["a"])}, "default of column 'city' is outside"),
    ],
    ids=["column", "type", "twice", "none", "text", "null", "numbers", "empty", "default"],
)
def test_a_mistake_is_said_before_a_row_is_read(files, ids, message):
    with pytest.raises(DataError, match=message):
        open_feed(files["parquet"], batch_size=8, ids=ids, defaults={"city": "Rome"})
