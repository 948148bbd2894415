"""TableRecordReader and TableRecordWriter in graphs with TF1 queues, as PAI's samples use them."""

from __future__ import annotations

import csv
import io

import hypothesis.strategies as st
import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf
from hypothesis import given

from pai_train import paiio
from pai_train.errors import TableError
from pai_train.paiio.lines import LineReader
from pai_train.paiio.settings import Settings
from pai_train.spec.ddl import parse_ddl
from pai_train.tables.iceberg import IcebergTables
from tests.paiio.test_dataset_order import Chunked
from tests.suites.paiio_rows import Configured, make, make_numbers
from tests.suites.table_rows import PROJECT, read, ref

tf1 = tf.compat.v1
IRIS = "CREATE TABLE iris (f1 DOUBLE, f2 DOUBLE, kind STRING, n BIGINT)"
ROWS = [(5.1, 3.5, "Iris-setosa", 1), (6.25, None, 'a "b", c', None), (1e-7, 2.0, "", -3)]


class TestQueues(Configured):
    @pytest.fixture
    def tables(self, tmp_path):
        return IcebergTables(str(tmp_path / "tables"), PROJECT)

    @pytest.fixture
    def session(self):
        with tf.Graph().as_default(), tf1.Session() as session:
            yield session

    def run_queues(self, session):
        session.run([tf1.global_variables_initializer(), tf1.local_variables_initializer()])
        coordinator = tf.train.Coordinator()
        return coordinator, tf1.train.start_queue_runners(session, coordinator)

    def test_rows_to_decode_csv_and_back(self, tables, session):
        columns = [pa.array(column) for column in zip(*ROWS, strict=True)]
        make(tables, IRIS, pa.record_batch(columns, ["f1", "f2", "kind", "n"]))
        tables.ensure(ref("copy"), parse_ddl("CREATE TABLE copy (kind STRING, f1 DOUBLE, n BIGINT)"))
        queue = tf1.train.string_input_producer(["odps://lab/tables/iris"], num_epochs=1)
        key, value = paiio.TableRecordReader().read(queue)
        defaults = [np.float64([1.0]), np.float64([0.5]), ["none"], np.int64([7])]
        f1, f2, kind, n = tf.io.decode_csv(value, [tf.constant(default) for default in defaults])
        writer = paiio.TableRecordWriter("copy", slice_id=0)
        write, close = writer.write([1, 0, 2], [f1, kind, n]), writer.close()
        coordinator, threads = self.run_queues(session)
        got = []
        with pytest.raises(tf.errors.OutOfRangeError):
            while not coordinator.should_stop():
                got.append(session.run([key, f2, write])[:2])
        assert got == [
            [b"odps://lab/tables/iris:0", 3.5],
            [b"odps://lab/tables/iris:1", 0.5],
            [b"odps://lab/tables/iris:2", 2.0],
        ]
        assert tables.source(ref("copy")).snapshot.rows == 0
        session.run(close)
        coordinator.request_stop()
        coordinator.join(threads)
        rows = [tuple(row.values()) for row in read(tables.source(ref("copy"))).to_pylist()]
        assert rows == [("Iris-setosa", 5.1, 1), ('a "b", c', 6.25, 7), ("none", 1e-7, -3)]

    def test_read_up_to_over_several_tables_and_threads(self, tables, session):
        make_numbers(tables, 100)
        names = ["numbers?end=30", "numbers?start=30&end=30", "numbers?start=30"]
        queue = tf1.train.string_input_producer(names, num_epochs=2, shuffle=False)
        reader = paiio.TableRecordReader(selected_cols="id", slice_count=2, slice_id=1)
        values = [reader.read_up_to(queue, 7)[1] for _ in range(3)]
        batch = tf1.train.batch_join(
            [[value] for value in values], 10, enqueue_many=True, allow_smaller_final_batch=True, capacity=50
        )
        coordinator, threads = self.run_queues(session)
        rows = []
        with pytest.raises(tf.errors.OutOfRangeError):
            while True:
                rows += [int(line) for line in session.run(batch)]
        coordinator.request_stop()
        coordinator.join(threads)
        assert sorted(rows) == sorted([*range(15, 30), *range(65, 100)] * 2)

    def test_vectors_and_faults(self, tables, session):
        tables.ensure(ref("t"), parse_ddl("CREATE TABLE t (a BIGINT, b STRING)"))
        writer = paiio.TableRecordWriter("t")
        good = writer.write((0, 1), [tf.constant([1, 2]), tf.constant(["x", "y"])])
        bad, close = writer.write((0,), [tf.constant(0.5)]), writer.close()
        session.run(good)
        with pytest.raises(tf.errors.InvalidArgumentError, match="row 2: a value does not fit column 'a'"):
            session.run(bad)
        session.run(close)
        assert [tuple(row.values()) for row in read(tables.source(ref("t"))).to_pylist()] == [(1, "x"), (2, "y")]

    def test_a_table_that_is_not_there(self, tables, session):
        make_numbers(tables, 3)
        value = paiio.TableRecordReader().read(tf1.train.string_input_producer(["nmbers"]))[1]
        coordinator, threads = self.run_queues(session)
        with pytest.raises(tf.errors.InvalidArgumentError, match=r"no such table(.|\n)*'numbers'"):
            session.run(value)
        coordinator.request_stop()
        coordinator.join(threads)

    @pytest.mark.parametrize("arguments", [{"csv_delimiter": ""}, {"csv_delimiter": "ab"}, {"slice_id": 1}])
    def test_what_is_refused(self, arguments):
        with pytest.raises(TableError, match=r"delimiter is one|no such slice"):
            paiio.TableRecordReader(**arguments)


def lines(reader, table, count):
    """Returns what a reader hands out next: the first row's number, and lines."""
    taken = reader.take(table, count)
    if not taken.count:
        return 0, []
    text, separator = reader.lines(taken.block, taken.at, taken.count)
    assert len(text.split(separator)) == taken.count
    return taken.first, text.split(separator)


def chunked(**columns):
    rows = pa.record_batch(columns)
    table = Chunked([rows.num_rows], 3)
    table.rows, table.schema = rows, rows.schema
    return table


@given(st.lists(st.text(st.sampled_from('a ,";\n\r'), max_size=6) | st.none(), min_size=1), st.sampled_from(",;"))
def test_any_text_comes_back_from_its_line(texts, delimiter):
    column = pa.array(texts, pa.string())
    reader = LineReader(Settings(chunked(a=column, b=column), "lab"), delimiter, "", 0, 1)
    got, table = [], "t"
    while (part := lines(reader, table, 2))[1]:
        assert part[0] == len(got)
        got, table = got + part[1], ""
    for line, text in zip(got, texts, strict=True):
        (row,) = csv.reader(io.StringIO(line.decode(), newline=""), delimiter=delimiter)
        assert row == [text or ""] * 2


@pytest.mark.parametrize("delimiter", [",", "§"])
def test_any_bytes_come_back_from_their_line(delimiter):
    texts = [b"\xff", b"", b"\xff\x00" * 3, None, b"a"]
    table = chunked(a=pa.array(texts, pa.binary()), b=pa.array([1, None, 3, 4, 5]))
    ends = [b"1", b"", b"3", b"4", b"5"]
    wanted = [(text or b"") + delimiter.encode() + end for text, end in zip(texts, ends, strict=True)]
    assert lines(LineReader(Settings(table, "lab"), delimiter, "", 0, 1), "t", 9) == (0, wanted)


def test_a_control_character_delimits_plain_text():
    table = chunked(a=['x, "y"'], b=[1.5], c=[True])
    assert lines(LineReader(Settings(table, "lab"), "\x02", "", 0, 1), "t", 1)[1] == [b'x, "y"\x021.5\x02true']


def test_lines_can_be_asked_for_later():
    numbers = list(range(40))
    table = Chunked([1] * 40, 1)
    table.rows = pa.record_batch({"a": pa.array(numbers)})
    table.schema = table.rows.schema
    reader = LineReader(Settings(table, "lab"), ",", "", 0, 1)
    taken = []
    for number in numbers:
        taken.append(reader.take(f"t?start={number}&end={number + 1}", 5))
    assert len({one.block for one in taken}) == 40
    for number in [*numbers, *reversed(numbers)]:
        one = taken[number]
        assert reader.lines(one.block, one.at, one.count)[0] == str(number).encode()
    with pytest.raises(TableError, match="too long ago"):
        reader.lines(41, 0, 1)
