"""What TableWriter must do over every table store: inherit, and give a `tables` fixture."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import numpy as np
import pytest

from pai_train import paiio
from pai_train.errors import TableError
from tests.suites.paiio_rows import FRUIT, FRUIT_ROWS, Configured, create, held, make_fruit, make_numbers


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
            iter,
            np.array(FRUIT_ROWS, [("a", "i8"), ("b", "U12"), ("c", "f8"), ("d", "?")]),
            list(np.array(FRUIT_ROWS, [("a", "i8"), ("b", "S12"), ("c", "f8"), ("d", "?")])),
            np.array([*map(tuple, FRUIT_ROWS), None], object)[:3],
            np.array(FRUIT_ROWS, object),
        ],
        ids=["tuples", "lists", "iterator", "structured", "records", "objects", "matrix"],
    )
    def test_rows_in_every_form(self, fruit, values):
        values = iter(FRUIT_ROWS) if values is iter else values
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

    def test_the_buffer_is_bounded_by_its_text_too(self, fruit, monkeypatch):
        monkeypatch.setattr("pai_train.paiio.writer._MAX_BUFFER_BYTES", 100)
        with paiio.TableWriter("fruit") as writer:
            for row in range(50):
                writer.write((row, "x" * 30), (0, 1))
                assert writer._buffered <= 3
        assert [row[:2] for row in held(fruit)] == [(row, "x" * 30) for row in range(50)]

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

    def test_what_is_written_is_read(self, tables):
        create(tables, "CREATE TABLE copy (id BIGINT, f DOUBLE, kind STRING)")
        make_numbers(tables, 100)
        reader = paiio.TableReader("numbers")
        with paiio.TableWriter("copy") as writer:
            while reader.offset_pos < reader.end_pos:
                writer.write(reader.read(7, allow_smaller_final_batch=True), (0, 1, 2))
        assert held(tables, "copy") == held(tables, "numbers")
