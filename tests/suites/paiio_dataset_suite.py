"""What TableRecordDataset must do over every table store: inherit, and give a `tables` fixture of an empty project."""

from __future__ import annotations

import gc

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf

from pai_train import paiio
from pai_train.errors import TableError
from pai_train.paiio import chunks
from tests.suites.paiio_rows import FRUIT_DEFAULTS, FRUIT_ROWS, Configured, make, make_fruit, make_numbers, number_rows

tf1 = tf.compat.v1


def ids(dataset):
    return [int(row[0]) for row in dataset]


class PaiioDatasetSuite(Configured):
    """The tests; `tables` is a fixture of the subclass."""

    # -- rows and batches

    def test_the_demo_of_pai(self, tables):
        make_fruit(tables)
        dataset = paiio.TableRecordDataset(
            ["odps://lab/tables/fruit"],
            record_defaults=(np.int64(0), "", np.float64(0)),
            selected_cols="uid,name,price",
        )
        assert isinstance(dataset, tf.data.Dataset)
        batches = list(dataset.repeat(1).batch(2).prefetch(1).as_numpy_iterator())
        rows = [
            (int(uid), name.decode(), float(price))
            for batch in batches
            for uid, name, price in zip(*batch, strict=True)
        ]
        assert rows == [row[:3] for row in FRUIT_ROWS]
        assert [len(batch[0]) for batch in batches] == [2, 1]

    def test_rows_one_by_one(self, tables):
        make_fruit(tables)
        dataset = paiio.TableRecordDataset("fruit", FRUIT_DEFAULTS)
        assert [spec.shape.rank for spec in dataset.element_spec] == [0, 0, 0, 0]
        assert [spec.dtype for spec in dataset.element_spec] == [tf.int64, tf.string, tf.float64, tf.bool]
        rows = [tuple(value.numpy() for value in row) for row in dataset]
        assert rows == [(uid, name.encode(), price, virtual) for uid, name, price, virtual in FRUIT_ROWS]
        assert (len(dataset), int(dataset.cardinality())) == (3, 3)

    def test_a_user_map_before_batch(self, tables):
        make_numbers(tables, 10)
        dataset = paiio.TableRecordDataset("numbers", [np.int64(0)], "id").map(lambda i: i * 2).batch(4)
        assert [batch.tolist() for batch in dataset.as_numpy_iterator()] == [[0, 2, 4, 6], [8, 10, 12, 14], [16, 18]]

    def test_batching_calls_python_by_the_chunk(self, tables, monkeypatch):
        make_numbers(tables, 1000)
        calls = []
        read = chunks.ChunkReader.read
        monkeypatch.setattr(chunks.ChunkReader, "read", lambda *args: calls.append(args[1:]) or read(*args))
        dataset = paiio.TableRecordDataset("numbers", [np.int64(0)], "id").repeat(2).batch(32)
        assert ids(dataset.unbatch().map(lambda i: (i,))) == [*range(1000)] * 2
        assert len(calls) == 2

    def test_epochs_cross_batches(self, tables):
        make_numbers(tables, 5)
        dataset = paiio.TableRecordDataset("numbers", [np.int64(0)], "id").repeat(2).batch(4)
        assert [batch[0].tolist() for batch in dataset.as_numpy_iterator()] == [[0, 1, 2, 3], [4, 0, 1, 2], [3, 4]]
        assert len(dataset) == 3

    @pytest.mark.parametrize("count", [None, -1])
    def test_endless(self, tables, count):
        make_numbers(tables, 3)
        dataset = paiio.TableRecordDataset("numbers", [np.int64(0)], "id").repeat(count)
        assert int(dataset.cardinality()) == tf.data.INFINITE_CARDINALITY
        batches = dataset.batch(7)
        assert int(batches.cardinality()) == tf.data.INFINITE_CARDINALITY
        taken = [batch[0].tolist() for batch in batches.take(2).as_numpy_iterator()]
        assert taken == [[0, 1, 2, 0, 1, 2, 0], [1, 2, 0, 1, 2, 0, 1]]

    def test_drop_remainder_gives_a_static_shape(self, tables):
        make_numbers(tables, 10)
        dataset = paiio.TableRecordDataset("numbers", [np.int64(0)], "id").batch(4, drop_remainder=True)
        assert dataset.element_spec[0].shape == (4,)
        assert ([len(batch[0]) for batch in dataset], len(dataset)) == ([4, 4], 2)

    def test_what_follows_the_batch_knows_the_length(self, tables):
        make_numbers(tables, 10)
        dataset = paiio.TableRecordDataset("numbers", [np.int64(0)], "id").batch(3).map(lambda i: i + 1).prefetch(2)
        assert int(dataset.cardinality()) == 4

    def test_an_empty_table(self, tables):
        make_numbers(tables)
        dataset = paiio.TableRecordDataset("numbers", [np.int64(0), np.float64(0), ""])
        assert (len(dataset), list(dataset), list(dataset.repeat(3).batch(2))) == (0, [], [])
        assert list(dataset.repeat().batch(2)) == []

    def test_a_batch_of_nothing_is_refused(self, tables):
        make_numbers(tables, 3)
        with pytest.raises(ValueError, match="greater than 0"):
            paiio.TableRecordDataset("numbers", [np.int64(0)], "id").batch(0)

    def test_options_and_apply_keep_the_chunks(self, tables):
        make_numbers(tables, 10)
        options = tf.data.Options()
        options.deterministic = True
        dataset = paiio.TableRecordDataset("numbers", [np.int64(0)], "id").with_options(options)
        dataset = dataset.apply(lambda rows: rows.take(5))
        assert isinstance(dataset, paiio.TableRecordDataset)
        assert dataset.options().deterministic
        batches = dataset.batch(5)
        assert batches.options().deterministic
        assert [batch[0].tolist() for batch in batches.as_numpy_iterator()] == [[0, 1, 2, 3, 4]]

    def test_shards_of_repeated_rows(self, tables):
        make_numbers(tables, 5)
        dataset = paiio.TableRecordDataset("numbers", [np.int64(0)], "id").repeat(2).shard(3, 1).batch(10)
        assert next(iter(dataset))[0].numpy().tolist() == [1, 4, 2]

    def test_zip_and_concatenate(self, tables):
        make_numbers(tables, 3)
        dataset = paiio.TableRecordDataset("numbers", [np.int64(0)], "id")
        assert ids(dataset.concatenate(dataset)) == [0, 1, 2, 0, 1, 2]
        pairs = tf.data.Dataset.zip((dataset, tf.data.Dataset.range(5)))
        assert [(int(i), int(n)) for (i,), n in pairs] == [(0, 0), (1, 1), (2, 2)]

    @pytest.mark.parametrize(("threads", "capacity"), [(1, 0), (4, 10), (64, 1)])
    def test_threads_and_capacity_keep_the_order(self, tables, threads, capacity):
        make_numbers(tables, 300)
        dataset = paiio.TableRecordDataset(
            "numbers", [np.int64(0)], "id", num_threads=threads, capacity=capacity
        ).batch(64)
        assert [i for batch in dataset.as_numpy_iterator() for i in batch[0].tolist()] == list(range(300))

    # -- names

    def test_several_tables_repeats_and_ranges(self, tables):
        make_numbers(tables, 6, 4)
        make(tables, "CREATE TABLE other (id BIGINT, f DOUBLE, kind STRING)", number_rows(100, 103))
        names = ["numbers?start=4&end=7", "lab.other", "numbers?start=8", "lab.other"]
        wanted = [4, 5, 6, 100, 101, 102, 8, 9, 100, 101, 102]
        assert ids(paiio.TableRecordDataset(names, [np.int64(0)], "id")) == wanted
        assert ids(paiio.TableRecordDataset("numbers?end=2,other", [np.int64(0)], "id")) == [0, 1, 100, 101, 102]
        assert ids(paiio.TableRecordDataset(tf.constant(names), [np.int64(0)], "id")) == wanted
        named = paiio.TableRecordDataset(tf.data.Dataset.from_tensor_slices(names), [np.int64(0)], "id")
        assert ids(named) == wanted
        assert int(named.cardinality()) == tf.data.UNKNOWN_CARDINALITY
        assert next(iter(named.repeat(2).batch(100)))[0].numpy().tolist() == wanted * 2
        assert ids(named.skip(2).take(3)) == [6, 100, 101]

    def test_partitions(self, tables):
        ddl = "CREATE TABLE daily (id BIGINT) PARTITIONED BY (pt STRING)"
        for day, lo in (("a", 0), ("b", 10)):
            make(tables, ddl, pa.record_batch({"id": [lo, lo + 1]}), address=f"odps://lab/tables/daily/pt={day}")
        assert ids(paiio.TableRecordDataset("odps://lab/tables/daily/pt=b", [np.int64(0)])) == [10, 11]
        both = paiio.TableRecordDataset("odps://lab/tables/daily/pt=a&pt=b", [np.int64(0), ""])
        assert sorted((int(i), pt.numpy()) for i, pt in both) == [(0, b"a"), (1, b"a"), (10, b"b"), (11, b"b")]

    def test_slices_cover_every_row_once(self, tables):
        make_numbers(tables, 7, 3)
        slices = [
            ids(paiio.TableRecordDataset("numbers", [np.int64(0)], "id", slice_id=index, slice_count=3))
            for index in range(3)
        ]
        assert slices == [[0, 1, 2, 3], [4, 5, 6], [7, 8, 9]]
        thin = [
            len(paiio.TableRecordDataset("numbers?end=2", [np.int64(0)], "id", slice_id=index, slice_count=4))
            for index in range(4)
        ]
        assert thin == [1, 1, 0, 0]

    @pytest.mark.parametrize(("index", "count"), [(3, 3), (-1, 2), (0, 0)])
    def test_no_such_slice(self, tables, index, count):
        make_numbers(tables, 3)
        with pytest.raises(TableError, match="no such slice"):
            paiio.TableRecordDataset("numbers", [0], "id", slice_id=index, slice_count=count)

    @pytest.mark.parametrize(
        ("names", "words"),
        [
            ("nmbers", r"no such table(.|\n)*did you mean 'numbers'"),
            ("numbers?start=1&end=99", "range of rows is not within"),
            ([], "names no table"),
        ],
    )
    def test_what_is_not_there(self, tables, names, words):
        make_numbers(tables, 3)
        with pytest.raises(TableError, match=words):
            paiio.TableRecordDataset(names, [0], "id")

    def test_a_name_of_a_dataset_that_is_not_there(self, tables):
        make_numbers(tables, 3)
        names = tf.data.Dataset.from_tensors("nmbers")
        with pytest.raises(tf.errors.InvalidArgumentError, match=r"did you mean 'numbers'"):
            list(paiio.TableRecordDataset(names, [np.int64(0)], "id"))

    # -- graph mode

    @pytest.mark.parametrize("kind", ["one_shot", "initializable", "module"])
    def test_graph_mode(self, tables, kind):
        make_numbers(tables, 10)
        with tf.Graph().as_default(), tf1.Session() as session:
            dataset = paiio.TableRecordDataset(["numbers"], [np.int64(0), np.float64(9), "x"])
            dataset = dataset.repeat(2).batch(8).prefetch(1)
            if kind == "one_shot":
                iterator = dataset.make_one_shot_iterator()
            elif kind == "module":
                iterator = tf1.data.make_one_shot_iterator(dataset)
            else:
                iterator = dataset.make_initializable_iterator()
                session.run(iterator.initializer)
            row = iterator.get_next()
            del dataset, iterator
            gc.collect()
            got = [session.run(row) for _ in range(3)]
            with pytest.raises(tf.errors.OutOfRangeError):
                session.run(row)
        assert [i for batch in got for i in batch[0].tolist()] == [*range(10)] * 2
        assert got[0][1].tolist()[5:] == [2.5, 9.0, 3.5]
        assert got[0][2].tolist()[3:6] == [b"k3", b"x", b"k5"]

    def test_graph_mode_row_by_row_and_by_names(self, tables):
        make_numbers(tables, 10)
        with tf.Graph().as_default(), tf1.Session() as session:
            rows = paiio.TableRecordDataset("numbers", [tf.constant(0, tf.int64)], "id").skip(8)
            row = rows.make_one_shot_iterator().get_next()
            names = tf1.data.Dataset.from_tensor_slices(["numbers?start=7", "numbers?end=1"])
            named = paiio.TableRecordDataset(names, [tf.constant([0], tf.int64)], "id").batch(9)
            batch = named.make_one_shot_iterator().get_next()
            assert [session.run(row)[0], session.run(row)[0]] == [8, 9]
            assert session.run(batch)[0].tolist() == [7, 8, 9, 0]
            for ended in (row, batch):
                with pytest.raises(tf.errors.OutOfRangeError):
                    session.run(ended)

    def test_errors_in_graph_mode(self, tables):
        make_fruit(tables)
        with tf.Graph().as_default(), tf1.Session() as session:
            row = paiio.TableRecordDataset("fruit", [0]).batch(2).make_one_shot_iterator().get_next()
            with pytest.raises(tf.errors.InvalidArgumentError, match="Column size of the record to be saved: '4'"):
                session.run(row)

    def test_inside_a_function(self, tables):
        make_numbers(tables, 10)
        dataset = paiio.TableRecordDataset("numbers", [np.int64(0)], "id").skip(6)

        @tf.function
        def total(rows):
            found = tf.constant(0, tf.int64)
            for (i,) in rows:
                found += tf.reduce_sum(i)
            return found

        assert (int(total(dataset)), int(total(dataset.batch(3)))) == (30, 30)
        assert ids(dataset) == [6, 7, 8, 9]

    # -- use

    def test_fit(self, tables):
        import keras

        make_numbers(tables, 64)
        dataset = paiio.TableRecordDataset("numbers", [0.0, np.int64(0)], selected_cols="f,id").repeat(2).batch(16)
        dataset = dataset.map(lambda f, i: (f[:, None], tf.cast(i, tf.float32)))
        model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
        model.compile(keras.optimizers.SGD(1e-6), "mse")
        history = model.fit(dataset, epochs=2, verbose=0, shuffle=False)
        assert (history.history["loss"][1] < history.history["loss"][0], int(model.optimizer.iterations)) == (True, 16)

    def test_a_strategy_keeps_the_batches(self, tables):
        make_numbers(tables, 100)
        dataset = paiio.TableRecordDataset("numbers", [np.int64(0)], "id").batch(32)
        strategy = tf.distribute.MirroredStrategy(["CPU:0"])
        assert [len(batch[0]) for batch in strategy.experimental_distribute_dataset(dataset)] == [32, 32, 32, 4]

    def test_a_snapshot_is_read_whatever_is_written_meanwhile(self, tables):
        make_numbers(tables, 10)
        dataset = paiio.TableRecordDataset("numbers", [np.int64(0)], "id").batch(10)
        names = tf.data.Dataset.from_tensor_slices(["numbers?end=6", "numbers?start=6&end=10"])
        rows = iter(paiio.TableRecordDataset(names, [np.int64(0)], "id", num_threads=1).repeat(2))
        first = int(next(rows)[0])
        make_numbers(tables, 3)
        assert next(iter(dataset))[0].numpy().tolist() == list(range(10))
        assert [first, *ids(rows)] == [*range(10)] * 2
        assert len(paiio.TableRecordDataset("numbers", [np.int64(0)], "id")) == 3

    def test_readers_end_with_their_datasets(self, tables):
        make_numbers(tables, 10)
        gc.collect()
        before = len(chunks.readers)
        for _ in range(5):
            assert len(list(paiio.TableRecordDataset("numbers", [np.int64(0)], "id").batch(3))) == 4
        with tf.Graph().as_default():
            paiio.TableRecordDataset("numbers", [np.int64(0)], "id").batch(3).make_one_shot_iterator()
        gc.collect()
        assert len(chunks.readers) <= before
