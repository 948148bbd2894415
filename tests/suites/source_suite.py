"""What every source of files must do, whatever their format and wherever they are; a format is a subclass."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pytest

from pai_train.errors import DataError, PaiTrainError
from pai_train.feed.contracts import FeedPlan
from pai_train.feed.engines import engine
from pai_train.feed.formats import FileFormat, look, open_files
from pai_train.storage import join, open_store, resolve
from pai_train.tables.cut import MAX_ROWS

COLUMNS = {"id": pa.int64(), "x": pa.float32(), "name": pa.string(), "raw": pa.binary()}
DEFAULTS = {"id": -1, "x": -1.0, "name": "none", "raw": "-"}


def table(lo, hi):
    """Rows that tell where they belong, with nulls and with texts of uneven length."""
    ids = range(lo, hi)
    return pa.table(
        {
            "id": pa.array(ids, pa.int64()),
            "x": pa.array([None if i % 13 == 5 else i / 4 for i in ids], pa.float32()),
            "name": pa.array([None if i % 17 == 3 else "é\n" * (i % 5) + str(i % 7) for i in ids], pa.string()),
            "raw": pa.array([None if i % 19 == 4 else b"\x00\xff" * (i % 3) for i in ids], pa.binary()),
        }
    )


def rows_of(source, columns=None, start=0):
    """All rows of all chunks as one table, each chunk checked on the way."""
    names = list(columns or source.schema.names)
    schema = pa.schema([source.schema.field(name) for name in names])
    tables = []
    for number, chunk in enumerate(source.chunks()):
        assert chunk.id == number
        assert chunk.rows is not None or chunk.bytes is not None
        batches = list(source.read(chunk, names, start))
        assert all(batch.schema == schema and batch.num_rows <= MAX_ROWS for batch in batches)
        tables.append(pa.Table.from_batches(batches, schema))
        assert chunk.rows is None or tables[-1].num_rows == max(chunk.rows - start, 0)
    return pa.concat_tables([schema.empty_table(), *tables])


def delivered(name, source, plan):
    """All batches as lists, and the row counts of each."""
    with engine(name).open(source, plan) as stream:
        return [
            (one.rows, {column: np.asarray(values).tolist() for column, values in one.columns.items()})
            for one in stream
        ]


class SourceSuite:
    """The tests of a format. `content` is the subclass's; on other stores `store` and `root` are fixtures of it."""

    written = FileFormat()
    columns = COLUMNS
    names_columns = True
    truncations = (0.3, 0.9)
    many = 120
    is_unpacked = False

    def content(self, rows):
        """Returns a table as the content of a file."""
        raise NotImplementedError

    @pytest.fixture
    def root(self, tmp_path):
        return resolve("/", str(tmp_path))

    @pytest.fixture
    def store(self, root):
        return open_store(root)

    @pytest.fixture
    def put(self, store, root):
        def put(*tables):
            contents = [one if isinstance(one, bytes) else self.content(one) for one in tables]
            return [store.put(join(root, f"{number:05}.data"), data) for number, data in enumerate(contents)]

        return put

    @pytest.fixture
    def opened(self, store):
        def opened(objects, columns=None):
            return open_files(objects, self.columns if columns is None else columns, store, self.written)

        return opened

    def faults(self, store, objects, columns=None):
        columns = self.columns if columns is None else columns
        return look(store, objects, columns, self.written)

    # -- rows

    def test_chunks_hold_every_row_once_in_order(self, put, opened):
        want = table(0, 1000)
        objects = put(want.slice(0, 600), want.slice(600, 1), want.slice(601))
        source = opened(objects)
        assert source.schema == want.schema
        assert rows_of(source).equals(want)
        assert source.snapshot.rows in (None, 1000)
        assert source.snapshot.bytes == sum(info.size for info in objects)

    def test_columns_come_in_the_order_asked_for(self, put, opened):
        want = table(0, 300)
        source = opened(put(want))
        assert rows_of(source, ["name", "id"]).equals(want.select(["name", "id"]))
        assert rows_of(source, ["x"]).equals(want.select(["x"]))
        with pytest.raises(DataError, match=r"no column 'nam'(.|\n)*'name'"):
            list(source.read(source.chunks()[0], ["nam"]))

    def test_a_chunk_is_read_from_a_row_on(self, put, opened):
        source = opened(put(table(0, 90), table(90, 100)))
        for chunk in source.chunks():
            whole = pa.Table.from_batches(list(source.read(chunk, ["id", "name"])))
            for start in {0, 1, whole.num_rows - 1, whole.num_rows, whole.num_rows + 5}:
                rest = pa.Table.from_batches(list(source.read(chunk, ["id", "name"], start)), whole.schema)
                assert rest.equals(whole.slice(start)), start

    def test_reading_is_pure_and_by_many_threads(self, put, opened):
        source = opened(put(table(0, 500)))
        chunks = list(source.chunks()) * 4
        first = {chunk.id: list(source.read(chunk, ["id", "raw"])) for chunk in source.chunks()}
        with ThreadPoolExecutor(8) as pool:
            again = list(pool.map(lambda chunk: list(source.read(chunk, ["id", "raw"])), chunks))
        assert all(batches == first[chunk.id] for chunk, batches in zip(chunks, again, strict=True))

    def test_many_small_files_are_as_natural_as_one_large_one(self, put, opened):
        want = table(0, self.many)
        source = opened(put(*(want.slice(i, 1) for i in range(self.many))))
        assert rows_of(source).equals(want)
        assert len(source.chunks()) <= self.many / 2

    def test_files_without_rows_are_fine(self, put, opened):
        want = table(0, 20)
        source = opened(put(want.slice(0, 0), want, want.slice(0, 0)))
        assert rows_of(source).equals(want)
        nothing = opened(put(want.slice(0, 0)))
        assert rows_of(nothing).num_rows == 0
        assert nothing.snapshot.rows == 0
        assert nothing.schema == want.schema

    def test_both_engines_deliver_the_same(self, put, opened):
        source = opened(put(table(0, 150), table(150, 157)))
        for plan in (
            FeedPlan(tuple(COLUMNS), 16, DEFAULTS, lanes=1),
            FeedPlan(("name", "id"), 16, DEFAULTS, shuffle="block", seed=3, epochs=2, steps=3),
        ):
            first, second = (delivered(name, source, plan) for name in ("tf_data", "queue_runner"))
            assert first == second
        ids = [i for _, columns in first for i in columns["id"]]
        assert sorted(ids) == sorted([*range(157), *range(157)])

    def test_a_null_without_default_is_named_by_file_and_row(self, put, opened, root):
        source = opened(put(table(0, 4), table(4, 40)))
        with pytest.raises(DataError) as caught:
            delivered("tf_data", source, FeedPlan(("x",), 8, {}, lanes=1))
        assert "00001.data, row 1" in caught.value.fault.where

    # -- what is there

    def test_the_snapshot_changes_with_the_data(self, put, opened):
        objects = put(table(0, 40), table(40, 60))
        one = opened(objects).snapshot.id
        assert opened(list(objects)).snapshot.id == one
        assert opened(objects[::-1]).snapshot.id != one
        assert opened(put(table(0, 40), table(40, 61))).snapshot.id != one
        assert opened(put(table(0, 40))).snapshot.id != one

    def test_columns_that_are_not_there_are_named(self, put, store):
        objects = put(table(0, 10))
        if not self.names_columns:
            pytest.skip("any column may be absent from any record")
        (fault,) = self.faults(store, objects, {"id": pa.int64(), "nmae": pa.string()})
        assert "no column 'nmae'" in fault.what
        assert "'name'" in fault.todo
        assert fault.where.endswith("00000.data")

    def test_types_that_differ_are_faults_and_wider_ones_are_not(self, put, opened, store):
        objects = put(table(0, 10))
        found = self.faults(store, objects, {"id": pa.string(), "x": pa.int64(), "name": pa.string()})
        assert ["'id'" in found[0].what, "'x'" in found[-1].what, len(found)] == [True, True, 2]
        if self.names_columns:
            wide = opened(objects, {"x": pa.float64()})
            assert rows_of(wide).equals(table(0, 10).select(["x"]).cast(pa.schema([("x", pa.float64())])))

    def test_files_of_other_columns_are_refused(self, put, store):
        if not self.names_columns:
            pytest.skip("the files do not name their columns")
        other = table(10, 20).set_column(1, "x", pa.array(range(10), pa.int64()))
        (fault,) = self.faults(store, put(table(0, 10), other, table(20, 30)), {})
        assert "'x'" in fault.what
        assert fault.where.endswith("00001.data")
        assert "BIGINT" in fault.got
        less = table(10, 20).drop_columns(["raw"])
        (fault,) = self.faults(store, put(table(0, 10), less), {})
        assert "'raw'" in fault.what
        (fault,) = self.faults(store, put(less, table(0, 10)), {})
        assert "'raw'" in fault.what
        assert not self.faults(store, put(table(0, 10), less), {"id": pa.int64()})

    # -- what goes wrong

    def test_a_file_that_is_cut_short_is_named(self, put, opened, store):
        whole = self.content(table(0, 400))
        for share in self.truncations:
            objects = put(table(0, 40), whole[: int(share * len(whole))])
            with pytest.raises(PaiTrainError) as caught:
                rows_of(opened(objects))
            assert "00001.data" in caught.value.fault.where, share
            assert any(word in caught.value.fault.what for word in ("cut short", "damaged", "in the middle"))

    def test_bytes_that_are_no_such_file_are_named(self, put, opened):
        with pytest.raises(PaiTrainError) as caught:
            rows_of(opened(put(table(0, 40), b"a,b\n1,2\n" * 50)))
        assert "00001.data" in caught.value.fault.where

    def test_a_file_that_changes_while_it_is_read_is_named(self, put, opened):
        source = opened(put(table(0, 400), table(400, 800)))
        last = source.chunks()[-1]
        before = list(source.read(last, ["id"]))
        put(table(0, 400), table(400, 801))
        if self.is_unpacked:
            assert list(source.read(last, ["id"])) == before
            return
        with pytest.raises(DataError, match="changed while it was read") as caught:
            list(source.read(last, ["name", "x"]))
        assert "00001.data" in caught.value.fault.where

    def test_a_file_that_vanishes_is_named(self, put, opened, store):
        objects = put(table(0, 400), table(400, 800))
        source = opened(objects)
        last = source.chunks()[-1]
        store.delete(objects[1].url)
        if self.is_unpacked:
            assert list(source.read(last, ["id"]))
            return
        with pytest.raises(DataError, match="changed while it was read") as caught:
            list(source.read(last, ["name", "x"]))
        assert "00001.data" in caught.value.fault.where

    # -- memory

    def test_memory_does_not_grow_with_the_file(self, put, opened):
        source = opened(put(self.large(200_000)))
        before, peak, read = pa.total_allocated_bytes(), 0, 0
        for chunk in source.chunks():
            for batch in source.read(chunk, ["id", "raw"]):
                read += batch.nbytes
                peak = max(peak, pa.total_allocated_bytes() - before)
        assert read > 20 * 2**20
        assert peak < 8 * 2**20

    def large(self, rows):
        """Returns a large file."""
        return self.content(large_table(rows))


def large_table(rows, width=120):
    """Rows of so many bytes, which say nothing."""
    return pa.table(
        {
            "id": pa.array(np.arange(rows)),
            "x": pa.array(np.zeros(rows, np.float32)),
            "name": pa.array([""] * rows),
            "raw": pa.array([b"x" * width] * rows),
        }
    )
