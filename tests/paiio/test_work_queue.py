"""WorkQueue: works once per epoch in eager and graph mode, cut tables, and one queue for several processes."""

from __future__ import annotations

import gc
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tensorflow as tf

from pai_train import paiio
from pai_train.errors import TableError
from pai_train.paiio import work_queue
from pai_train.tables.iceberg import IcebergTables
from tests.suites.paiio_rows import Configured, make_numbers
from tests.suites.table_rows import PROJECT

tf1 = tf.compat.v1


def drained(queue):
    works = []
    while True:
        try:
            works.append(queue.take().numpy().decode())
        except tf.errors.OutOfRangeError:
            return works


class TestWorkQueue(Configured):
    @pytest.fixture
    def tables(self, tmp_path):
        return IcebergTables(str(tmp_path / "tables"), PROJECT)

    def test_every_work_once_per_epoch(self):
        assert drained(paiio.WorkQueue(["a", "b", "c"], num_epochs=2, shuffle=False)) == ["a", "b", "c"] * 2
        works = [str(number) for number in range(50)]
        first, second = (drained(paiio.WorkQueue(works, 2, seed=seed, prefix="p/")) for seed in (1, 2))
        again = drained(paiio.WorkQueue(works, 2, seed=1, prefix="p/"))
        assert (first == again, first != second, first[:50] != first[50:]) == (True, True, True)
        for found in (first[:50], first[50:], second[:50]):
            assert sorted(found) == sorted(f"p/{work}" for work in works)

    def test_one_name(self):
        assert drained(paiio.WorkQueue("only")) == ["only"]

    def test_tables_are_cut(self, tables):
        make_numbers(tables, 95)
        queue = paiio.WorkQueue(["lab.numbers?end=90", "numbers?start=90"], shuffle=False, num_slices=10)
        works = drained(queue)
        assert works[:2] == ["odps://lab/tables/numbers?start=0&end=10", "odps://lab/tables/numbers?start=10&end=20"]
        assert (len(works), works[-1]) == (10, "odps://lab/tables/numbers?start=90&end=95")
        assert drained(paiio.WorkQueue(["oss://b/a", "oss://b/b"], shuffle=False, num_slices=9)) == [
            "oss://b/a",
            "oss://b/b",
        ]

    def test_two_readers_share_a_table(self, tables):
        make_numbers(tables, 200)
        queue = paiio.WorkQueue("numbers", num_epochs=2, num_slices=20)
        readers = [
            iter(paiio.TableRecordDataset(queue.input_dataset(), [np.int64(0)], "id", num_threads=1).batch(7))
            for _ in range(2)
        ]
        del queue
        gc.collect()
        rows = []
        while readers:
            for reader in list(readers):
                batch = next(reader, None)
                if batch is None:
                    readers.remove(reader)
                else:
                    rows += batch[0].numpy().tolist()
        assert Counter(rows) == dict.fromkeys(range(200), 2)

    def test_graph_mode(self, tables):
        make_numbers(tables, 30)
        with tf.Graph().as_default(), tf1.Session() as session:
            queue = paiio.data.WorkQueue("numbers", shuffle=False, num_slices=3)
            work = queue.take()
            row = (
                paiio.TableRecordDataset(queue.input_dataset(), [np.int64(0)], "id").make_one_shot_iterator().get_next()
            )
            queue.add_summary()
            left = tf1.summary.merge_all()
            del queue
            gc.collect()
            assert session.run(work) == b"odps://lab/tables/numbers?start=0&end=10"
            summary = tf1.Summary.FromString(session.run(left)).value[0]
            assert (summary.tag, summary.simple_value) == ("work_queue/remaining", 2.0)
            assert [session.run(row)[0] for _ in range(20)] == list(range(10, 30))
            for ended in (row, work):
                with pytest.raises(tf.errors.OutOfRangeError):
                    session.run(ended)

    def test_input_producer(self):
        with tf.Graph().as_default(), tf1.Session() as session:
            works = paiio.WorkQueue(["a", "b", "c"], shuffle=False).input_producer()
            work = works.dequeue()
            coordinator = tf.train.Coordinator()
            threads = tf1.train.start_queue_runners(session, coordinator)
            assert [session.run(work) for _ in range(3)] == [b"a", b"b", b"c"]
            with pytest.raises(tf.errors.OutOfRangeError):
                session.run(work)
            coordinator.request_stop()
            coordinator.join(threads)

    def test_a_job_shares_its_works(self):
        works = [str(number) for number in range(40)]
        queues = [paiio.WorkQueue(works, 2, job="j") for _ in range(4)]
        with ThreadPoolExecutor(4) as pool:
            taken = list(pool.map(drained, queues))
        assert Counter(work for found in taken for work in found) == dict.fromkeys(works, 2)
        assert drained(paiio.WorkQueue(works, job="j")) == []
        assert len(drained(paiio.WorkQueue(works, job="j", name="other"))) == 40

    def test_summaries_need_a_graph(self):
        with pytest.raises(TableError, match="where the graph is built"):
            paiio.WorkQueue(["a"]).add_summary()

    def test_queues_end_with_what_uses_them(self):
        gc.collect()
        before = len(work_queue._queues)
        for _ in range(3):
            assert len(list(paiio.WorkQueue(["a"]).input_dataset())) == 1
        gc.collect()
        assert len(work_queue._queues) <= before

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            ({"works": []}, "0 works"),
            ({"works": ["a"], "num_epochs": 0}, "num_epochs=0"),
            ({"works": ["a"], "num_slices": 0}, "num_slices=0"),
            ({"works": ["nmbers"], "num_slices": 2}, r"no such table(.|\n)*'numbers'"),
            ({"works": ["numbers"], "num_slices": 2}, "hold no rows"),
            ({"works": ["a"], "job": "a/b"}, "'a/b'"),
        ],
    )
    def test_what_is_refused(self, tables, arguments, words):
        make_numbers(tables)
        with pytest.raises(TableError, match=words):
            paiio.WorkQueue(**arguments)
