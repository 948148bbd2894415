"""What every table store must do when it is read by ranges, slices and several tables; part of the table suite."""

from __future__ import annotations

import pyarrow as pa
import pytest

from pai_train.errors import DataError, TableError
from pai_train.spec.address import parse_tables
from pai_train.spec.ddl import parse_ddl
from pai_train.spec.slices import slice_rows
from pai_train.tables.several import count_tables, open_tables
from tests.suites.table_rows import IRIS, PROJECT, ids, read, ref, rows, write


def several(text):
    return parse_tables(text, PROJECT)


class ReadingSuite:
    """The tests; `tables` is a fixture of the subclass, `iris` and `daily` are TableSuite's."""

    @pytest.fixture
    def filled(self, iris):
        write(iris, "iris", "t", rows(0, 60), rows(60, 100))
        return iris

    @pytest.fixture
    def two(self, filled):
        filled.ensure(ref("more"), parse_ddl(IRIS.replace("TABLE iris", "TABLE more")))
        write(filled, "more", "t", rows(100, 130))
        return filled

    # -- ranges of rows

    def test_an_address_names_rows(self, filled):
        whole = filled.source(ref("iris")).snapshot
        for query, want in {
            "?start=0&end=100": range(100),
            "?start=55&end=65": range(55, 65),
            "?end=3": range(3),
            "?start=97": range(97, 100),
            "?start=40&end=40": range(0),
            "?start=100": range(0),
        }.items():
            one = ref(f"iris{query}")
            source = filled.source(one)
            assert ids(source) == list(want), query
            assert source.snapshot.rows == filled.count(one) == len(want), query
            assert sum(chunk.rows for chunk in source.chunks()) == len(want), query
            assert self.has_sessions or source.snapshot.id == whole.id
        source = filled.source(ref("iris?start=50&end=70"), rows=range(5, 12))
        assert ids(source) == list(range(55, 62)), "rows count within the range of the address"
        with pytest.raises(TableError, match=r"within 0 to 20"):
            filled.source(ref("iris?start=50&end=70"), rows=range(5, 21))

    def test_a_range_beyond_the_rows_names_their_count(self, filled):
        for query in ("?start=101", "?start=101&end=200", "?start=5&end=101"):
            for opened in (filled.source, filled.count):
                with pytest.raises(TableError, match=r"goes beyond the table's rows(.|\n)*100 rows"):
                    opened(ref(f"iris{query}"))
        with pytest.raises(TableError, match=r"names a range of them(.|\n)*write to odps://lab/tables/iris"):
            filled.write(ref("iris?start=5"), "append", "t2")

    def test_a_range_counts_within_the_partitions(self, daily):
        for hour in range(3):
            address = f"odps://lab/tables/daily/pt=a/hh={hour}"
            write(daily, address, f"t{hour}", pa.record_batch({"id": [hour * 10 + n for n in range(4)]}))
        named = "odps://lab/tables/daily/pt=a/hh=1&pt=a/hh=2"
        whole = ids(daily.source(ref(named)))
        assert sorted(whole) == [10, 11, 12, 13, 20, 21, 22, 23]
        assert ids(daily.source(ref(f"{named}?start=2&end=6"))) == whole[2:6]
        assert daily.count(ref(f"{named}?start=2&end=6")) == 4
        with pytest.raises(TableError, match="8 rows"):
            daily.source(ref(f"{named}?start=2&end=9"))

    # -- counts and slices

    def test_counts_and_slices_are_of_a_snapshot(self, filled):
        old = filled.source(ref("iris")).snapshot.id
        write(filled, "iris", "more", rows(100, 107), mode="append")
        assert filled.count(ref("iris")) == 107
        assert filled.count(ref("iris"), old) == 100
        with pytest.raises(TableError, match="no such table"):
            filled.count(ref("irsi"))

        one = ref("iris?start=10&end=33")
        count = filled.count(one, old)
        slices = [filled.source(one, old, slice_rows(count, slice_id, 4)) for slice_id in range(4)]
        assert [ids(part) for part in slices] == [
            [*range(10, 16)],
            [*range(16, 22)],
            [*range(22, 28)],
            [*range(28, 33)],
        ]

    def test_an_empty_table_counts_nothing(self, iris):
        assert iris.count(ref("iris")) == 0
        assert iris.count(ref("iris?start=0")) == 0
        with pytest.raises(TableError, match="0 rows"):
            iris.count(ref("iris?end=1"))

    # -- several tables

    def test_several_tables_are_one_source(self, two):
        refs = several("iris?start=95,more")
        source = open_tables(two, refs)
        assert ids(source) == list(range(95, 130))
        chunks = source.chunks()
        assert [chunk.id for chunk in chunks] == list(range(len(chunks)))
        assert sum(chunk.rows for chunk in chunks) == source.snapshot.rows == count_tables(two, refs) == 35
        want = pa.Table.from_batches([rows(95, 130)]).select(["kind", "id"])
        assert read(source, ["kind", "id"]).equals(want.cast(read(source, ["kind", "id"]).schema))
        last = chunks[-1]
        tail = [i for batch in source.read(last, ["id"], last.rows - 1) for i in batch["id"].to_pylist()]
        assert tail == [129]
        alone = two.source(ref("iris"))
        joint = open_tables(two, several("iris"), alone.snapshot.id)
        assert (joint.snapshot, joint.chunks(), joint.schema) == (alone.snapshot, alone.chunks(), alone.schema)
        with pytest.raises(DataError, match="another source"):
            open_tables(two, several("more,iris?start=95")).read(chunks[0], ["id"])

    def test_their_snapshots_are_read_again(self, two):
        refs = several("iris,more")
        source = open_tables(two, refs)
        write(two, "more", "t2", rows(0, 5))
        first, second = source.snapshot.id.split(",")
        assert two.source(refs[0], first if self.has_sessions else None).snapshot.id == first
        assert two.source(refs[1], second).snapshot.id == second
        again = open_tables(two, refs, source.snapshot.id)
        assert (again.snapshot, again.chunks()) == (source.snapshot, source.chunks())
        assert open_tables(two, refs).snapshot.id != source.snapshot.id
        with pytest.raises(TableError, match=r"one snapshot each(.|\n)*1: 17(.|\n)*2 snapshot ids"):
            open_tables(two, refs, "17")

    def test_rows_are_counted_through_several(self, two):
        refs = several("iris?start=90,more?end=10")
        assert ids(open_tables(two, refs, rows=range(8, 13))) == [98, 99, 100, 101, 102]
        assert ids(open_tables(two, refs, rows=range(12, 20))) == list(range(102, 110))
        parts = [open_tables(two, refs, rows=slice_rows(20, slice_id, 3)) for slice_id in range(3)]
        assert [i for part in parts for i in ids(part)] == list(range(90, 110))
        assert [part.snapshot.rows for part in parts] == [7, 7, 6]
        with pytest.raises(TableError, match="within 0 to 20"):
            open_tables(two, refs, rows=range(21))

    def test_two_ranges_of_one_table_see_one_snapshot(self, filled):
        class Racing:
            """Commits to the table between the opening of the two."""

            def source(self, one, snapshot=None, rows=None):
                source = filled.source(one, snapshot, rows)
                write(filled, "iris", f"race-{one.rows[0]}", pa.record_batch({"id": [1]}))
                return source

        refs = several("iris?start=0&end=3,iris?start=97")
        assert ids(open_tables(Racing(), refs)) == [0, 1, 2, 97, 98, 99]

    def test_other_columns_are_shown_as_a_diff_and_another_order_is_fine(self, filled):
        filled.ensure(ref("other"), parse_ddl("CREATE TABLE other (id INT, kind STRING, f DOUBLE, g DOUBLE)"))
        with pytest.raises(TableError) as caught:
            open_tables(filled, several("iris,other"))
        text = str(caught.value)
        assert "--- odps://lab/tables/iris" in text
        assert "+++ odps://lab/tables/other" in text
        assert [line.strip() for line in text.splitlines() if line.strip()[:2] in ("- ", "+ ")] == [
            "- id int64",
            "+ id int32",
            "+ g double",
        ]
        filled.ensure(ref("turned"), parse_ddl("CREATE TABLE turned (kind STRING, id BIGINT, f DOUBLE)"))
        write(filled, "turned", "t", pa.record_batch({"id": [7], "kind": ["x"]}))
        source = open_tables(filled, several("iris?end=1,turned"))
        assert source.schema.names == ["id", "f", "kind"]
        assert read(source).to_pylist()[1] == {"id": 7, "f": None, "kind": "x"}
