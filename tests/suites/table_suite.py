"""What every table store must do: inherit, and give a `tables` fixture with an empty project."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import count, pairwise
from typing import TYPE_CHECKING

import hypothesis.strategies as st
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings

from pai_train.errors import TableError
from pai_train.spec.contracts import Part
from pai_train.spec.ddl import parse_ddl
from pai_train.tables.arrow import arrow_schema
from tests.suites.table_reading import ReadingSuite
from tests.suites.table_rows import DAILY, EVERY_TYPE, IRIS, PROJECT, VALUES, ids, read, ref, rows, stage, write

if TYPE_CHECKING:
    from pai_train.tables.contracts import Tables

COUNT = count()


class TableSuite(ReadingSuite):
    """The tests; `tables` is a fixture of the subclass."""

    # What one column of each type may hold, in the order of EVERY_TYPE.
    values = VALUES
    # Whether each reading has a session, which gives its rows their order and is a part of its snapshot's id.
    has_sessions = False

    def is_snapshot(self, found, wanted):
        """Whether what is read is the snapshot that a commit answered."""
        return (found.answers(wanted.id) and found.rows == wanted.rows) if self.has_sessions else found == wanted

    @pytest.fixture
    def iris(self, tables: Tables) -> Tables:
        tables.ensure(ref("iris"), parse_ddl(IRIS))
        return tables

    @pytest.fixture
    def daily(self, tables: Tables) -> Tables:
        tables.ensure(ref("daily"), parse_ddl(DAILY))
        return tables

    # -- what a table is

    def test_absent_table(self, tables):
        assert tables.describe(ref("iris")) is None
        assert tables.names(PROJECT) == []
        assert tables.compare(ref("iris"), parse_ddl(IRIS)).lines == ()

    def test_ensure_creates_once_and_describe_gives_the_statement_back(self, tables):
        ddl = parse_ddl(IRIS)
        assert tables.ensure(ref("iris"), ddl).created
        again = tables.ensure(ref("iris"), ddl)
        assert (again.created, again.lines) == (False, ())
        info = tables.describe(ref("iris"))
        assert info.columns == ddl.columns
        assert (info.partitions, info.snapshot) == ((), None)
        assert tables.names(PROJECT) == ["iris"]
        assert tables.names("elsewhere") == []

    def test_every_declared_type_is_given_back(self, tables):
        ddl = parse_ddl(EVERY_TYPE)
        tables.ensure(ref("every"), ddl)
        assert tables.describe(ref("every")).columns == ddl.columns
        assert tables.compare(ref("every"), ddl).lines == ()

    def test_names_are_without_case(self, tables):
        tables.ensure(ref("Iris"), parse_ddl("create table IRIS (ID bigint, Kind string)"))
        assert tables.names(PROJECT.upper()) == ["iris"]
        assert tables.describe(ref(f"odps://{PROJECT.upper()}/tables/IRIS")) is not None
        assert tables.ensure(ref("iRIS"), parse_ddl("create table iris (id bigint, KIND string)")).lines == ()
        write(tables, "iris", "t", pa.record_batch({"KIND": ["x"], "Id": [1]}))
        assert read(tables.source(ref("IRIS")), ["kind", "id"]).to_pylist() == [{"kind": "x", "id": 1}]

    def test_differences_read_like_a_diff(self, iris):
        said = parse_ddl("CREATE TABLE iris (id BIGINT, f FLOAT, kind STRING, more INT) PARTITIONED BY (pt STRING)")
        diff = iris.ensure(ref("iris"), said)
        assert not diff.created
        assert diff.lines == (
            *("- id BIGINT NOT NULL", "+ id BIGINT", "- f DOUBLE", "+ f FLOAT", "+ more INT"),
            "+ PARTITION pt STRING",
        )
        assert iris.compare(ref("iris"), said) == diff
        assert [str(column.type) for column in iris.describe(ref("iris")).columns] == ["BIGINT", "DOUBLE", "STRING"]

    def test_comments_and_lifecycle_are_no_difference(self, iris):
        assert (
            iris.compare(ref("iris"), parse_ddl("CREATE TABLE iris (id BIGINT NOT NULL, f DOUBLE, kind STRING)")).lines
            == ()
        )

    def test_a_type_that_cannot_be_kept_names_column_and_type(self, tables):
        with pytest.raises(TableError, match=r"'b'.*\n.*JSON in ARRAY<JSON>"):
            tables.ensure(ref("bad"), parse_ddl("CREATE TABLE bad (a INT, b ARRAY<JSON>)"))
        assert tables.describe(ref("bad")) is None

    # -- writing

    def test_two_slices_are_read_back(self, iris):
        first, second = rows(0, 100), rows(100, 150)
        snapshot = write(iris, "iris", "t", first, second)
        source = iris.source(ref("iris"))
        assert read(source).equals(pa.Table.from_batches([first, second]).cast(source.schema))
        assert snapshot.rows == 150
        assert self.is_snapshot(source.snapshot, snapshot)
        assert iris.describe(ref("iris")).snapshot == snapshot

    def test_every_type_round_trips_with_nulls(self, tables):
        ddl = parse_ddl(EVERY_TYPE)
        tables.ensure(ref("every"), ddl)
        schema = arrow_schema(ddl.columns)
        columns = [pa.array([v, None], f.type) for v, f in zip(self.values, schema, strict=True)]
        batch = pa.record_batch(columns, schema=schema)
        write(tables, "every", "t", batch)
        assert read(tables.source(ref("every"))).equals(pa.Table.from_batches([batch]))

    def test_many_small_batches_become_one_part(self, iris):
        session = iris.write(ref("iris"), "overwrite", "t")
        part = stage(session, 0, *(rows(i, i + 3) for i in range(0, 300, 3)))
        assert (part.rows, Part(**part.to_json())) == (300, part)
        session.commit([part])
        assert ids(iris.source(ref("iris"))) == list(range(300))

    def test_overwrite_replaces_append_adds(self, iris):
        write(iris, "iris", "a", rows(0, 10))
        write(iris, "iris", "b", rows(10, 20), mode="append")
        assert sorted(ids(iris.source(ref("iris")))) == list(range(20))
        assert write(iris, "iris", "c", rows(20, 25)).rows == 5
        assert ids(iris.source(ref("iris"))) == list(range(20, 25))

    def test_a_write_of_nothing_empties_under_overwrite(self, iris):
        write(iris, "iris", "a", rows(0, 10))
        assert write(iris, "iris", "b", mode="append").rows == 10
        assert write(iris, "iris", "c", rows(0, 0)).rows == 0
        assert ids(iris.source(ref("iris"))) == []
        assert write(iris, "iris", "d").rows == 0

    @pytest.mark.parametrize("mode", ["overwrite", "append", "fail"])
    def test_one_token_is_published_once(self, iris, mode):
        session = iris.write(ref("iris"), mode, "once")
        parts = [stage(session, 0, rows(0, 10))]
        snapshot = session.commit(parts)
        assert session.commit(parts) == snapshot
        again = iris.write(ref("iris"), mode, "once")
        assert again.commit([stage(again, 0, rows(0, 10), attempt=1)]) == snapshot
        write(iris, "iris", "other", rows(10, 20), mode="append")
        assert iris.write(ref("iris"), mode, "once").commit(parts) == snapshot
        assert sorted(ids(iris.source(ref("iris")))) == list(range(20))

    def test_an_attempt_given_up_is_not_published(self, iris):
        session = iris.write(ref("iris"), "overwrite", "t")
        stage(session, 0, rows(0, 5))
        abandoned = session.part(1, 0)
        abandoned.write(rows(50, 60))
        abandoned.abort()
        session.commit([stage(session, 0, rows(0, 10), attempt=1)])
        assert ids(iris.source(ref("iris"))) == list(range(10))

    def test_two_attempts_of_a_slice_are_refused(self, iris):
        session = iris.write(ref("iris"), "append", "t")
        parts = [stage(session, 3, rows(0, 5)), stage(session, 3, rows(0, 5), attempt=1)]
        with pytest.raises(TableError, match="slice 3 is committed twice"):
            session.commit(parts)
        assert ids(iris.source(ref("iris"))) == []

    def test_abort_leaves_nothing_visible_and_spares_what_is_published(self, iris):
        session = iris.write(ref("iris"), "overwrite", "t")
        parts = [stage(session, 0, rows(0, 10))]
        session.abort()
        assert iris.describe(ref("iris")).snapshot is None
        parts = [stage(session, 0, rows(0, 10))]
        session.commit(parts)
        session.abort()
        assert ids(iris.source(ref("iris"))) == list(range(10))

    def test_mode_fail_refuses_rows_at_once(self, iris):
        write(iris, "iris", "a", mode="fail")
        write(iris, "iris", "b", rows(0, 3), mode="fail")
        with pytest.raises(TableError, match=r"holds rows\n.*3 rows(.|\n)*write: overwrite"):
            iris.write(ref("iris"), "fail", "c")

    def test_mode_fail_refuses_rows_that_came_meanwhile(self, iris):
        session = iris.write(ref("iris"), "fail", "a")
        part = stage(session, 0, rows(0, 3))
        write(iris, "iris", "b", rows(3, 5))
        with pytest.raises(TableError, match="holds rows"):
            session.commit([part])
        assert ids(iris.source(ref("iris"))) == [3, 4]

    def test_columns_are_matched_by_name_and_missing_ones_are_null(self, iris):
        write(iris, "iris", "t", pa.record_batch({"F": pa.array([1], pa.int8()), "id": [7]}))
        assert read(iris.source(ref("iris"))).to_pylist() == [{"id": 7, "f": 1.0, "kind": None}]

    @pytest.mark.parametrize(
        ("batch", "words"),
        [
            ({"id": [1], "knd": ["x"]}, r"no column 'knd'(.|\n)*did you mean 'kind'"),
            ({"f": [1.0]}, r"'id' is NOT NULL\n.*\n.*no such column"),
            ({"id": [1, None]}, r"'id' is NOT NULL\n.*\n.*1 nulls"),
            ({"id": [1.5]}, r"'id' does not fit"),
            ({"id": [1], "f": ["wide"]}, r"'f' does not fit(.|\n)*string"),
        ],
    )
    def test_rows_that_do_not_fit_are_refused(self, iris, batch, words):
        writer = iris.write(ref("iris"), "overwrite", "t").part(0, 0)
        with pytest.raises(TableError, match=words.replace(r"\n.*\n", r"(.|\n)*")):
            writer.write(pa.record_batch(batch))
        writer.abort()

    def test_a_value_out_of_its_declared_range_is_refused(self, tables):
        tables.ensure(ref("small"), parse_ddl("CREATE TABLE small (a TINYINT)"))
        writer = tables.write(ref("small"), "overwrite", "t").part(0, 0)
        with pytest.raises(TableError, match="'a' does not fit"):
            writer.write(pa.record_batch({"a": [128]}))
        writer.abort()

    def test_racing_commits_lose_nothing(self, iris):
        sessions = [iris.write(ref("iris"), "append", f"t{n}") for n in range(4)]
        staged = [[stage(s, 0, rows(n * 10, n * 10 + 10))] for n, s in enumerate(sessions)]
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda session, parts: session.commit(parts), sessions, staged))
        assert sorted(ids(iris.source(ref("iris")))) == list(range(40))

    # -- reading

    def test_a_table_without_rows_has_no_chunks(self, iris):
        source = iris.source(ref("iris"))
        assert (list(source.chunks()), source.snapshot.id, source.snapshot.rows) == ([], "empty", 0)
        write(iris, "iris", "t", rows(0, 3))
        assert ids(iris.source(ref("iris"), snapshot="empty")) == []

    def test_a_snapshot_is_read_again_after_an_overwrite(self, iris):
        old = write(iris, "iris", "a", rows(0, 10))
        source = iris.source(ref("iris"))
        write(iris, "iris", "b", rows(10, 12))
        assert ids(source) == list(range(10))
        again = iris.source(ref("iris"), snapshot=old.id)
        assert (again.snapshot, again.chunks()) == (source.snapshot, source.chunks())
        assert ids(again) == list(range(10))

    def test_projection_keeps_the_order_asked_for(self, iris):
        write(iris, "iris", "t", rows(0, 10))
        source = iris.source(ref("iris"))
        batch = next(source.read(source.chunks()[0], ["kind", "ID"]))
        assert batch.schema.names == ["kind", "id"]
        assert batch.schema.types == [pa.string(), pa.int64()]

    def test_a_chunk_is_read_from_any_row_on(self, iris):
        write(iris, "iris", "t", rows(0, 100))
        source = iris.source(ref("iris"))
        chunk = source.chunks()[3]
        whole = pa.Table.from_batches(source.read(chunk, ["id"]))["id"].to_pylist()
        assert len(whole) == chunk.rows > 2
        for start in range(chunk.rows + 1):
            assert [i for b in source.read(chunk, ["id"], start) for i in b["id"].to_pylist()] == whole[start:]

    @settings(
        deadline=None,
        max_examples=10,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.differing_executors],
    )
    @given(counts=st.lists(st.integers(0, 300), min_size=1, max_size=3), workers=st.integers(1, 5))
    def test_slices_cover_every_row_exactly_once(self, iris, counts, workers):
        edges = [sum(counts[:n]) for n in range(len(counts) + 1)]
        batches = [rows(lo, hi) for lo, hi in pairwise(edges)]
        snapshot = write(iris, "iris", f"w{next(COUNT)}", *batches)
        whole = iris.source(ref("iris"), snapshot=snapshot.id)
        total = edges[-1]
        assert ids(whole) == list(range(total))
        base, more = divmod(total, workers)
        cuts = [n * base + min(n, more) for n in range(workers + 1)]
        slices = [iris.source(ref("iris"), snapshot.id, range(lo, hi)) for lo, hi in pairwise(cuts)]
        assert [i for part in slices for i in ids(part)] == list(range(total))
        assert [part.snapshot.rows for part in slices] == [hi - lo for lo, hi in pairwise(cuts)]
        by_chunks = [chunk.rows for chunk in whole.chunks()]
        assert (sum(by_chunks), [c.id for c in whole.chunks()]) == (total, list(range(len(by_chunks))))

    def test_a_range_outside_the_table_is_refused(self, iris):
        write(iris, "iris", "t", rows(0, 10))
        with pytest.raises(TableError, match=r"within 0 to 10"):
            iris.source(ref("iris"), rows=range(5, 11))

    # -- partitions

    def test_partitions_are_written_and_read_apart(self, daily):
        for hour in (0, 1):
            write(daily, f"odps://lab/tables/daily/pt=a/hh={hour}", f"a{hour}", pa.record_batch({"id": [hour]}))
        write(daily, "odps://lab/tables/daily/pt=b/hh=0", "b0", pa.record_batch({"id": [2], "f": [0.5]}))
        write(daily, "odps://lab/tables/daily/hh=1/pt=a", "again", pa.record_batch({"id": [3]}))
        assert sorted(ids(daily.source(ref("daily")))) == [0, 2, 3]
        assert sorted(ids(daily.source(ref("odps://lab/tables/daily/pt=a")))) == [0, 3]
        assert sorted(ids(daily.source(ref("odps://lab/tables/daily/hh=0&hh=1/pt=a")))) == [0, 2, 3]
        one = daily.source(ref("odps://lab/tables/daily/pt=b"))
        assert (one.snapshot.rows, read(one).to_pylist()) == (1, [{"id": 2, "f": 0.5, "hh": 0}])

    def test_partition_columns_come_last_where_they_are_not_fixed(self, daily):
        write(daily, "odps://lab/tables/daily/pt=a/hh=7", "t", pa.record_batch({"id": [1]}))
        assert daily.describe(ref("daily")).partitions == parse_ddl(DAILY).partitions
        assert read(daily.source(ref("daily"))).to_pylist() == [{"id": 1, "f": None, "pt": "a", "hh": 7}]
        assert daily.source(ref("odps://lab/tables/daily/pt=a/hh=7")).schema.names == ["id", "f"]

    def test_mode_fail_looks_at_the_partition_alone(self, daily):
        write(daily, "odps://lab/tables/daily/pt=a/hh=0", "a", pa.record_batch({"id": [1]}), mode="fail")
        write(daily, "odps://lab/tables/daily/pt=a/hh=1", "b", pa.record_batch({"id": [2]}), mode="fail")
        with pytest.raises(TableError, match="holds rows"):
            daily.write(ref("odps://lab/tables/daily/pt=a/hh=1"), "fail", "c")

    @pytest.mark.parametrize(
        "text", ["daily", "odps://lab/tables/daily/pt=a", "odps://lab/tables/daily/pt=a/hh=1&pt=b/hh=1"]
    )
    def test_a_write_needs_one_whole_partition(self, daily, text):
        with pytest.raises(TableError, match=r"one whole partition(.|\n)*pt=value/hh=value"):
            daily.write(ref(text), "overwrite", "t")

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("daily/pt=20240102", r"no such partition(.|\n)*did you mean 'pt=20240101'"),
            ("daily/dt=20240101", r"'dt' is no partition column(.|\n)*known: hh, pt"),
            ("daily/hh=noon", r"'hh' is not a INT(.|\n)*'noon'"),
            ("iris/pt=1", r"no partitions"),
        ],
    )
    def test_wrong_partitions_are_named(self, daily, iris, text, words):
        write(daily, "odps://lab/tables/daily/pt=20240101/hh=0", "t", pa.record_batch({"id": [1]}))
        write(iris, "iris", "t", rows(0, 1))
        with pytest.raises(TableError, match=words):
            daily.source(ref(f"odps://lab/tables/{text}"))

    # -- texts

    def test_a_missing_table_names_the_nearest(self, iris):
        for opened in (iris.source, lambda name: iris.write(name, "append", "t")):
            with pytest.raises(TableError, match=r"odps://lab/tables/irsi: no such table(.|\n)*did you mean 'iris'"):
                opened(ref("irsi"))

    def test_an_unknown_column_names_the_nearest(self, iris):
        write(iris, "iris", "t", rows(0, 1))
        source = iris.source(ref("iris"))
        with pytest.raises(TableError, match=r"no column 'knid'(.|\n)*did you mean 'kind'"):
            list(source.read(source.chunks()[0], ["knid"]))

    def test_an_unknown_snapshot_is_named(self, iris):
        snapshot = write(iris, "iris", "t", rows(0, 1))
        with pytest.raises(TableError, match=rf"no such snapshot(.|\n)*12345(.|\n)*{snapshot.id}"):
            iris.source(ref("iris"), snapshot="12345")

    def test_a_token_is_a_name(self, iris):
        with pytest.raises(TableError, match=r"'\.\./x'"):
            iris.write(ref("iris"), "append", "../x")
