"""What TableReader must do over every table store: inherit, and give a `tables` fixture."""

from __future__ import annotations

import pytest
import tensorflow as tf

from pai_train import paiio
from pai_train.errors import TableError
from tests.suites.paiio_rows import FRUIT_ROWS, Configured, make_fruit, make_numbers

TUPLES = paiio.ReadStyle(strings="str", records="tuples", short_read="return")


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
