"""What TableReader and TableWriter must do over every table store: inherit, and give a `tables` fixture."""

from __future__ import annotations

import datetime as dt
import re
from decimal import Decimal

import numpy as np
import pytest
import tensorflow as tf

from pai_train import paiio
from pai_train.errors import TableError
from pai_train.spec.ddl import parse_ddl
from tests.suites.paiio_rows import FRUIT, FRUIT_ROWS, Configured, make_fruit, make_numbers
from tests.suites.table_rows import read, ref

TUPLES = paiio.ReadStyle(strings="str", records="tuples", short_read="return")


def create(tables, ddl):
    statement = parse_ddl(ddl)
    tables.ensure(ref(statement.name), statement)


def held(tables, name="fruit"):
    return [tuple(row.values()) for row in read(tables.source(ref(name))).to_pylist()]


class NoLock:
    """What the lock of another machine is to this one."""

    def __init__(self, *_: object) -> None:
        pass

    def release(self) -> None:
        pass


class PaiioReaderSuite(Configured):
    """The tests of TableReader; `tables` is a fixture of the subclass."""

    def test_records_as_pai_gives_them(self, tables):
        make_fruit(tables)
        with paiio.TableReader("odps://lab/tables/fruit") as reader:
            records = reader.read(2)
        assert (records.shape, records.dtype, records[:, 0].tolist()) == ((2, 4), object, [25, 38])
        assert [tuple(row) for row in records] == [(25, b"Apple", 5.0, False), (38, b"Pear", 4.5, False)]

    def test_records_as_common_io_gives_them(self, tables):
        make_fruit(tables)
        assert paiio.TableReader("fruit", style=TUPLES).read(5) == FRUIT_ROWS
        paiio.configure(tables, project="lab", strings="str", records="tuples")
        assert paiio.TableReader("fruit").read() == FRUIT_ROWS[:1]

    def test_null_is_none(self, tables):
        make_numbers(tables, 7)
        records = paiio.TableReader("numbers").read(7)
        assert (records[4, 2], records[6, 1], records[3].tolist()) == (None, None, [3, 1.5, b"k3"])

    def test_too_few_rows_end_the_reading_with_a_warning(self, tables):
        make_numbers(tables, 5)
        reader = paiio.TableReader("numbers", "id")
        assert reader.read(3)[:, 0].tolist() == [0, 1, 2]
        with pytest.warns(RuntimeWarning, match=r"the last 2 rows"), pytest.raises(paiio.OutOfRangeException):
            reader.read(3)
        assert reader.read(3, allow_smaller_final_batch=True)[:, 0].tolist() == [3, 4]
        for _ in range(2):
            with pytest.raises(tf.errors.OutOfRangeError, match=r"No more data to read\."):
                reader.read(3, allow_smaller_final_batch=True)

    def test_the_other_rule(self, tables):
        make_numbers(tables, 5)
        reader = paiio.TableReader("numbers", "id", style=paiio.ReadStyle(short_read="return"))
        assert [len(reader.read(3)), len(reader.read(3))] == [3, 2]
        with pytest.raises(paiio.python_io.OutOfRangeException):
            reader.read(3)

    def test_seek_and_positions(self, tables):
        make_numbers(tables, 10)
        reader = paiio.TableReader("numbers", "id", slice_id=1, slice_count=3)
        assert (reader.start_pos, reader.end_pos, reader.offset_pos, reader.get_row_count()) == (4, 7, 4, 3)
        assert (reader.read(2)[:, 0].tolist(), reader.offset_pos) == ([4, 5], 6)
        reader.seek(1)
        assert (reader.offset_pos, reader.read()[0, 0]) == (5, 5)
        reader.seek()
        assert reader.read(3)[:, 0].tolist() == [4, 5, 6]
        reader.seek(3)
        for beyond in (4, -1):
            with pytest.raises(paiio.OutOfRangeException, match=f"no row {beyond}"):
                reader.seek(beyond)
        with pytest.raises(paiio.OutOfRangeException):
            reader.read()

    def test_slices_and_ranges(self, tables):
        make_numbers(tables, 4, 6)
        slices = [paiio.TableReader("numbers", "id", slice_id=index, slice_count=3) for index in range(3)]
        assert [part.read(100, True)[:, 0].tolist() for part in slices] == [[0, 1, 2, 3], [4, 5, 6], [7, 8, 9]]
        ranged = paiio.TableReader("numbers?start=2&end=5", "id", slice_id=1, slice_count=2)
        assert (ranged.start_pos, ranged.end_pos, ranged.read()[0, 0]) == (4, 5, 4)
        empty = paiio.TableReader("numbers?end=2", "id", slice_id=3, slice_count=4)
        assert (empty.get_row_count(), empty.start_pos, empty.end_pos) == (0, 2, 2)
        with pytest.raises(paiio.OutOfRangeException):
            empty.read()

    @pytest.mark.parametrize(("threads", "capacity", "count"), [(0, 0, 1), (3, 20, 7), (1, 1, 64)])
    def test_any_block_size_gives_the_rows_in_order(self, tables, threads, capacity, count):
        make_numbers(tables, 50, 83)
        reader = paiio.TableReader("numbers", "id", num_threads=threads, capacity=capacity)
        rows = []
        while reader.offset_pos < reader.end_pos:
            rows += reader.read(count, allow_smaller_final_batch=True)[:, 0].tolist()
        assert rows == list(range(133))

    def test_the_schema_reads_as_scripts_read_it(self, tables):
        make_fruit(tables)
        schema = paiio.TableReader("fruit", selected_cols="price,uid").get_schema()
        assert schema["colname"].tolist() == ["price", "uid"]
        assert schema["typestr"].tolist() == ["double", "bigint"]
        assert [(c["colname"], c["typestr"], c[0]) for c in schema][1] == ("uid", "bigint", "uid")

    def test_columns(self, tables):
        make_fruit(tables)
        assert paiio.TableReader("fruit", "price,uid", style=TUPLES).read() == [(5.0, 25)]
        assert paiio.TableReader("fruit", excluded_cols="name,virtual", style=TUPLES).read() == [(25, 5.0)]
        with pytest.raises(TableError, match="mutually exclusive"):
            paiio.TableReader("fruit", "uid", "name")
        with pytest.raises(TableError, match="did you mean 'price'"):
            paiio.TableReader("fruit", "prise")

    def test_a_closed_reader(self, tables):
        make_fruit(tables)
        reader = paiio.TableReader("fruit")
        reader.close()
        reader.close()
        for used in (reader.read, reader.seek):
            with pytest.raises(TableError, match="closed"):
                used()

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            ({"table": "friut"}, r"no such table(.|\n)*did you mean 'fruit'"),
            ({"table": "fruit", "slice_id": 2, "slice_count": 2}, "no such slice"),
            ({"table": "fruit,fruit"}, "several tables"),
            ({"table": "fruit", "num_threads": 65}, "num_threads=65"),
        ],
    )
    def test_what_is_refused(self, tables, arguments, words):
        make_fruit(tables)
        with pytest.raises(TableError, match=words):
            paiio.TableReader(**arguments)


class PaiioWriterSuite(Configured):
    """The tests of TableWriter; `tables` is a fixture of the subclass."""

    @pytest.fixture
    def fruit(self, tables):
        create(tables, FRUIT)
        return tables

    @pytest.mark.parametrize(
        "values",
        [
            FRUIT_ROWS,
            [list(row) for row in FRUIT_ROWS],
            zip(*zip(*FRUIT_ROWS, strict=True), strict=True),
            np.array(FRUIT_ROWS, [("a", "i8"), ("b", "U12"), ("c", "f8"), ("d", "?")]),
            list(np.array(FRUIT_ROWS, [("a", "i8"), ("b", "S12"), ("c", "f8"), ("d", "?")])),
            np.array([*map(tuple, FRUIT_ROWS), None], object)[:3],
            np.array(FRUIT_ROWS, object),
        ],
        ids=["tuples", "lists", "zip", "structured", "records", "objects", "matrix"],
    )
    def test_rows_in_every_form(self, fruit, values):
        with paiio.TableWriter("odps://lab/tables/fruit") as writer:
            writer.write(values, indices=[0, 1, 2, 3])
        assert held(fruit) == FRUIT_ROWS

    @pytest.mark.parametrize(
        "row", [FRUIT_ROWS[0], list(FRUIT_ROWS[0]), np.array(FRUIT_ROWS[0], object)], ids=["tuple", "list", "array"]
    )
    @pytest.mark.parametrize("indices", [(0, 1, 2, 3), [0, 1, 2, 3], np.arange(4), range(4)])
    def test_one_row_in_every_form(self, fruit, row, indices):
        writer = paiio.TableWriter("fruit", slice_id=0)
        writer.write(row, indices)
        writer.close()
        writer.close()
        assert held(fruit) == FRUIT_ROWS[:1]

    def test_columns_by_number(self, fruit):
        with paiio.TableWriter("fruit") as writer:
            writer.write([(5.0, 25)], col_indices=(2, 0))
            writer.write(np.array([4.5, 3.5]).reshape(2, 1), (2,))
            writer.write(np.array([7]), (0,))
        assert held(fruit) == [
            (25, None, 5.0, None),
            (None, None, 4.5, None),
            (None, None, 3.5, None),
            (7, None, None, None),
        ]

    def test_opening_and_closing_truncates_and_so_does_reopening(self, fruit):
        for rows in (FRUIT_ROWS, FRUIT_ROWS[:1], []):
            with paiio.TableWriter("fruit") as writer:
                writer.write(rows, range(4))
            assert held(fruit) == rows

    def test_nothing_shows_before_close(self, fruit):
        make_fruit(fruit)
        writer = paiio.TableWriter("fruit")
        for row in range(20_000):
            writer.write((row, "x", 0.5, True), range(4))
        assert held(fruit) == FRUIT_ROWS
        writer.close()
        assert [row[0] for row in held(fruit)] == list(range(20_000))

    def test_an_exception_publishes_nothing(self, fruit):
        make_fruit(fruit)
        with pytest.raises(KeyError), paiio.TableWriter("fruit") as writer:
            writer.write((1, "x", 0.5, True), range(4))
            raise KeyError
        with pytest.raises(TableError, match="closed"):
            writer.write((1, "x", 0.5, True), range(4))
        assert held(fruit) == FRUIT_ROWS

    def test_a_writer_that_is_dropped_publishes_nothing(self, fruit):
        make_fruit(fruit)
        with pytest.warns(ResourceWarning, match="not closed"):
            paiio.TableWriter("fruit").__del__()
        assert held(fruit) == FRUIT_ROWS

    def test_one_partition_is_replaced(self, tables):
        create(tables, "CREATE TABLE daily (id BIGINT) PARTITIONED BY (pt STRING)")
        for day, row in (("a", 1), ("b", 2), ("a", 3)):
            with paiio.TableWriter(f"odps://lab/tables/daily/pt={day}") as writer:
                writer.write([row], [0])
        assert sorted(held(tables, "daily")) == [(2, "b"), (3, "a")]

    def test_a_live_slice_has_one_writer(self, fruit):
        with paiio.TableWriter("fruit") as first:
            with pytest.raises(TableError, match=r"slice 0 of the table has a writer already"):
                paiio.TableWriter("fruit")
            first.write(FRUIT_ROWS, range(4))
        with paiio.TableWriter("fruit"):
            pass
        assert held(fruit) == []

    @pytest.mark.parametrize(
        ("row", "column", "shown"),
        [
            ((1.5, "x", 0.5, True), "uid", "1.5 (float)"),
            ((True, "x", 0.5, True), "uid", "True (bool)"),
            (("1", "x", 0.5, True), "uid", "'1' (str)"),
            ((1, 7, 0.5, True), "name", "7 (int)"),
            ((1, "x", "0.5", True), "price", "'0.5' (str)"),
            ((1, "x", 0.5, 1), "virtual", "1 (int)"),
        ],
    )
    def test_a_value_of_another_type_is_named(self, fruit, row, column, shown):
        writer = paiio.TableWriter("fruit")
        writer.write(FRUIT_ROWS, range(4))
        with pytest.raises(TableError, match=rf"fruit, row 4: a value does not fit column '{column}'") as raised:
            writer.write([FRUIT_ROWS[0], row], range(4))
        assert f"got: {shown}" in str(raised.value)
        writer.write(FRUIT_ROWS[:1], range(4))
        writer.close()
        assert held(fruit) == [*FRUIT_ROWS, FRUIT_ROWS[0]]

    def test_types_are_cast_where_that_is_allowed(self, fruit):
        with paiio.TableWriter("fruit") as writer:
            writer.write([("1", 7, "0.5", "true"), (2.0, b"x", 3, True)], range(4), allow_type_cast=True)
            with pytest.raises(TableError, match=r"row 2: a value does not fit column 'uid'"):
                writer.write(("one", 7, "0.5", "true"), range(4), True)
        assert held(fruit) == [(1, "7", 0.5, True), (2, "x", 3.0, True)]

    @pytest.mark.parametrize(
        ("kind", "good", "bad"),
        [
            ("TINYINT", 127, 128),
            ("BIGINT", np.int64(-(2**63)), 2**63),
            ("INT", np.int32(5), -(2**31) - 1),
            ("FLOAT", 0.5, 1e39),
            ("DOUBLE", np.float32(0.5), 2**63 + 1),
            ("STRING", "ü", b"\xff"),
            ("DECIMAL(4,2)", Decimal("12.34"), Decimal("123.45")),
            ("ARRAY<BIGINT>", [1, None], ["x"]),
        ],
    )
    def test_a_value_out_of_range_is_named_by_close(self, tables, kind, good, bad):
        create(tables, f"CREATE TABLE one (a {kind})")
        with paiio.TableWriter("one") as writer:
            writer.write([(good,)] * 5, [0])
        wanted = good.item() if isinstance(good, np.generic) else good
        assert held(tables, "one") == [(wanted,)] * 5
        writer = paiio.TableWriter("one")
        writer.write([(good,)] * 3 + [(bad,)] + [(good,)] * 4, [0])
        with pytest.raises(TableError, match=r"row 3: a value does not fit column 'a'"):
            writer.close()
        assert held(tables, "one") == [(wanted,)] * 5

    def test_dates_times_bytes_and_nulls(self, tables):
        create(tables, "CREATE TABLE kinds (d DATE, t DATETIME, b BINARY, m MAP<STRING,BIGINT>, s STRUCT<x:INT>)")
        row = (dt.date(2024, 2, 29), dt.datetime(2024, 2, 29, 1, 2, 3), b"\x00\xff", {"k": 1}, {"x": 2})
        with paiio.TableWriter("kinds") as writer:
            writer.write(row, range(5))
            writer.write((None,) * 5, range(5))
        assert held(tables, "kinds") == [(*row[:3], [("k", 1)], row[4]), (None,) * 5]

    @pytest.mark.parametrize(
        ("values", "indices", "words"),
        [
            ((1, 2), (0,), "another number of values"),
            ((1,), (4,), "0 to 3"),
            ((1, 2), (0, 0), "at most once"),
            ("abc", (0,), "not a row"),
            (5, (0,), "not a row"),
            ([(1,), 2], (0,), "not a row"),
        ],
    )
    def test_rows_that_are_none(self, fruit, values, indices, words):
        with paiio.TableWriter("fruit") as writer, pytest.raises(TableError, match=words):
            writer.write(values, indices)

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            ({"table": "friut"}, r"no such table(.|\n)*did you mean 'fruit'"),
            ({"table": "fruit", "slice_id": 1}, "would replace the others"),
            ({"table": "fruit", "slice_count": 2}, "would replace the others"),
            ({"table": "fruit", "slice_id": 2, "slice_count": 2, "job": "j"}, "no such slice"),
            ({"table": "fruit?end=3"}, "not to a range"),
            ({"table": "fruit", "job": "../j"}, "letters"),
        ],
    )
    def test_what_is_refused(self, fruit, arguments, words):
        with pytest.raises(TableError, match=words):
            paiio.TableWriter(**arguments)

    # -- slices of a job

    def write(self, slice_id, rows, **job):
        with paiio.TableWriter("fruit", slice_id, **job) as writer:
            writer.write([(row, None, None, None) for row in rows], range(4))

    def uids(self, tables):
        return [row[0] for row in held(tables)]

    def test_the_last_slice_publishes_all(self, fruit):
        make_fruit(fruit)
        for slice_id in (2, 0, 1):
            assert self.uids(fruit) == [25, 38, 17]
            self.write(slice_id, range(slice_id * 10, slice_id * 10 + slice_id), job="j", slice_count=3)
        assert sorted(self.uids(fruit)) == [10, 20, 21]

    def test_the_job_comes_from_the_environment(self, fruit, monkeypatch):
        monkeypatch.setenv("PAI_TRAIN_JOB", "nightly-1")
        monkeypatch.setenv("PAI_TRAIN_SLICE_COUNT", "2")
        self.write(0, [1])
        assert self.uids(fruit) == []
        self.write(1, [2])
        assert sorted(self.uids(fruit)) == [1, 2]

    @pytest.mark.parametrize("count", ["two", "0", "-1"])
    def test_a_count_of_slices_that_is_none(self, fruit, monkeypatch, count):
        monkeypatch.setenv("PAI_TRAIN_SLICE_COUNT", count)
        with pytest.raises(TableError, match=f"PAI_TRAIN_SLICE_COUNT: not a number of slices(.|\n)*{count}"):
            paiio.TableWriter("fruit", job="j")

    def test_an_explicit_commit_publishes_what_is_finished(self, fruit):
        with pytest.raises(TableError, match="finished no slice"):
            paiio.commit("fruit", "j")
        for slice_id in range(2):
            self.write(slice_id, [slice_id], job="j")
        assert self.uids(fruit) == []
        snapshot = paiio.commit("fruit", "j")
        assert (sorted(self.uids(fruit)), paiio.commit("fruit", "j")) == ([0, 1], snapshot)
        with pytest.raises(TableError, match="no job is named"):
            paiio.commit("fruit")

    def test_a_slice_that_is_written_again_replaces_itself(self, fruit):
        self.write(0, [1, 2], job="j", slice_count=2)
        self.write(0, [3], job="j", slice_count=2)
        self.write(1, [4], job="j", slice_count=2)
        assert sorted(self.uids(fruit)) == [3, 4]

    def test_a_slice_that_fails_keeps_what_was_finished(self, fruit):
        self.write(0, [1], job="j", slice_count=2)
        with pytest.raises(KeyError), paiio.TableWriter("fruit", 0, job="j", slice_count=2):
            raise KeyError
        self.write(1, [4], job="j", slice_count=2)
        assert sorted(self.uids(fruit)) == [1, 4]

    def test_a_job_publishes_once(self, fruit):
        self.write(0, [1], job="j", slice_count=1)
        with pytest.raises(TableError, match=r"job 'j' has published the table"):
            paiio.TableWriter("fruit", 0, job="j", slice_count=1)
        self.write(0, [2], job="k", slice_count=1)
        assert self.uids(fruit) == [2]

    def test_two_machines_with_one_slice(self, fruit, monkeypatch):
        """The lock of the machine does not see the other one; the record of the slice does."""
        monkeypatch.setattr("pai_train.paiio.writer.SliceLock", NoLock)
        one, other = (paiio.TableWriter("fruit", 0, job="j", slice_count=2) for _ in range(2))
        for writer, row in ((one, 1), (other, 2)):
            writer.write((row,), (0,))
        one.close()
        with pytest.raises(TableError, match=re.escape("slice 0 of the table was written by another writer")):
            other.close()
        self.write(1, [3], job="j", slice_count=2)
        assert sorted(self.uids(fruit)) == [1, 3]

    def test_what_is_written_is_read(self, tables):
        create(tables, "CREATE TABLE copy (id BIGINT, f DOUBLE, kind STRING)")
        make_numbers(tables, 100)
        reader = paiio.TableReader("numbers")
        with paiio.TableWriter("copy") as writer:
            while reader.offset_pos < reader.end_pos:
                writer.write(reader.read(7, allow_smaller_final_batch=True), (0, 1, 2))
        assert held(tables, "copy") == held(tables, "numbers")
