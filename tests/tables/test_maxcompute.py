"""Tables on MaxCompute: the suite, what pyodps sees of them, and reading through sessions that end and fail."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from pai_train.errors import DataError, TableError
from pai_train.spec.ddl import parse_ddl
from pai_train.storage import StoreUnavailable
from tests.suites.table_rows import IRIS, VALUES, ids, read, ref, rows, write
from tests.suites.table_suite import TableSuite
from tests.tables.maxcompute_tables import reopen, service, tables  # noqa: F401 - fixtures

# ruff: noqa: F811 - fixtures that are imported

LARGE = 70_000
"""More rows than are read in one piece."""


def in_nanoseconds(value: Any) -> Any:
    """Returns a time that MaxCompute can keep, whose times are 64 bits of nanoseconds."""
    is_far = isinstance(value, dt.datetime) and not 1678 <= value.year <= 2261
    return value.replace(year=2024) if is_far else value


class TestMaxCompute(TableSuite):
    values = tuple(in_nanoseconds(value) for value in VALUES)
    has_sessions = True

    def test_a_snapshot_is_read_again_after_an_overwrite(self, iris):
        """Its session keeps the rows; without the session it is gone, and says so."""
        written = write(iris, "iris", "a", rows(0, 10))
        source = iris.source(ref("iris"), snapshot=written.id)
        write(iris, "iris", "b", rows(10, 12))
        assert ids(source) == list(range(10))
        again = iris.source(ref("iris"), snapshot=source.snapshot.id)
        assert (again.snapshot, again.chunks()) == (source.snapshot, source.chunks())
        assert ids(again) == list(range(10))
        with pytest.raises(TableError, match=r"it was changed\n(.|\n)*2 rows, not 10(.|\n)*train.resume=never"):
            iris.source(ref("iris"), snapshot=written.id)


@pytest.fixture
def iris(tables):
    tables.ensure(ref("iris"), parse_ddl(IRIS))
    return tables


def sessions(source):
    return source.snapshot.id.partition("@")[2].split("+")


def whole(source):
    """Reads chunk by chunk, each from its own request."""
    return [i for chunk in source.chunks() for batch in source.read(chunk, ["id"]) for i in batch["id"].to_pylist()]


# Types, and what unmodified pyodps sees


def test_every_type_is_the_same_for_pyodps(tables, service):
    ddl = parse_ddl("CREATE TABLE t (id BIGINT, d DECIMAL(5), e DECIMAL(10,2), s STRUCT<x:INT>, l ARRAY<STRING>)")
    tables.ensure(ref("t"), ddl)
    values = [[1, 2], [Decimal(-12345), None], [Decimal("0.25"), None], [{"x": 1}, None], [["a", None], []]]
    types = [pa.int64(), pa.decimal128(5, 0), pa.decimal128(10, 2), pa.struct({"x": pa.int32()}), pa.list_(pa.string())]
    columns = [pa.array(one, kind) for one, kind in zip(values, types, strict=True)]
    batch = pa.record_batch(columns, [column.name for column in ddl.columns])
    write(tables, "t", "a", batch)
    assert read(tables.source(ref("t"))).to_pylist() == batch.to_pylist()
    with service.get_table("t").open_reader() as reader:
        record = next(iter(reader))
        assert reader.count == 2
    assert (record["id"], record["d"], record["e"]) == (1, Decimal(-12345), Decimal("0.25"))
    assert record["l"] == ["a", None]


def test_what_pyodps_wrote_is_read(tables, service):
    service.execute_sql("CREATE TABLE t (id BIGINT, at TIMESTAMP, j JSON) PARTITIONED BY (pt STRING)")
    table = service.get_table("t")
    with table.open_writer(partition="pt='a'", create_partition=True) as writer:
        writer.write([[1, dt.datetime(2024, 1, 1), None]])
    source = tables.source(ref("odps://lab/tables/t/pt=a"))
    assert read(source, ["id"]).to_pylist() == [{"id": 1}]


def test_a_column_without_a_twin_is_refused_where_it_is_asked_for(tables, service):
    service.execute_sql("CREATE TABLE t (id BIGINT, j JSON)")
    assert [str(column.type) for column in tables.describe(ref("t")).columns] == ["BIGINT", "JSON"]
    with service.get_table("t").open_writer() as writer:
        writer.write([[7, None]])
    source = tables.source(ref("t"))
    assert (source.schema.names, ids(source)) == (["id"], [7])
    with pytest.raises(TableError, match=r"column 'j' has a type that tables cannot keep\n.*JSON"):
        list(source.read(source.chunks()[0], ["j"]))
    with pytest.raises(TableError, match=r"column 'j' has a type that tables cannot keep"):
        tables.write(ref("t"), "append", "t")


def test_a_time_finer_than_a_microsecond_is_not_cut(tables, service):
    service.execute_sql("CREATE TABLE t (id BIGINT, at TIMESTAMP_NTZ)")
    fine = pa.table({"id": [1], "at": pa.array([1_000_000_001], pa.timestamp("ns"))})
    with service.get_table("t").open_writer(arrow=True) as writer:
        writer.write(fine)
    source = tables.source(ref("t"))
    with pytest.raises(DataError, match=r"column 'at' holds a value that cannot be read without loss"):
        list(source.read(source.chunks()[0], ["at"]))


def test_times_do_not_depend_on_this_machine(tables, service, monkeypatch):
    """What SQL says in UTC is what is read, wherever the process runs."""
    import time

    tables.ensure(ref("t"), parse_ddl("CREATE TABLE t (id BIGINT, at DATETIME)"))
    try:
        monkeypatch.setenv("TZ", "Asia/Shanghai")
        time.tzset()
        write(tables, "t", "a", pa.record_batch({"id": [1], "at": [dt.datetime(2024, 1, 1, 12)]}))
        monkeypatch.setenv("TZ", "America/New_York")
        time.tzset()
        assert read(tables.source(ref("t")))["at"].to_pylist() == [dt.datetime(2024, 1, 1, 12)]
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_new_table_has_all_that_the_statement_says(tables, service):
    statement = (
        "CREATE TABLE t (id BIGINT COMMENT 'key') COMMENT 'of the tests' PARTITIONED BY (pt STRING, hh INT)"
        " TBLPROPERTIES ('columnar.nested.type'='true') LIFECYCLE 9"
    )
    tables.ensure(ref("t"), parse_ddl(statement))
    table = service.get_table("t")
    assert (table.comment, table.lifecycle) == ("of the tests", 9)
    assert table.table_schema.columns[0].comment == "key"
    assert [column.name for column in table.table_schema.partitions] == ["pt", "hh"]
    found = tables.describe(ref("t")).properties
    assert (found["columnar.nested.type"], found["lifecycle"]) == ("true", "9")
    assert tables.compare(ref("t"), parse_ddl(statement)).lines == ()


def test_types_of_2_0_are_asked_for(tables, maxcompute_door):
    with maxcompute_door.old_types():
        assert tables.ensure(ref("t"), parse_ddl("CREATE TABLE t (a TINYINT, b DECIMAL(10,2))")).created


# Sessions


def test_the_order_is_that_of_the_session(iris, maxcompute_door):
    write(iris, "iris", "t", rows(0, 300))
    with maxcompute_door.own_orders():
        one, other = iris.source(ref("iris")), iris.source(ref("iris"))
        assert ids(one) != ids(other)
        assert sorted(ids(one)) == sorted(ids(other)) == list(range(300))
        again = iris.source(ref("iris"), one.snapshot.id)
        assert ids(again) == ids(one)
        slices = [iris.source(ref("iris"), one.snapshot.id, range(lo, lo + 100)) for lo in (0, 100, 200)]
        assert [i for part in slices for i in ids(part)] == ids(one)
    assert (one.snapshot.order_stable, one.snapshot.rows) == (True, 300)
    assert one.snapshot.content == other.snapshot.content


def test_a_session_that_ended_is_said_and_its_rows_have_another_name(iris, maxcompute_door):
    write(iris, "iris", "t", rows(0, 30))
    source = iris.source(ref("iris"))
    maxcompute_door.expire(*sessions(source))
    with pytest.raises(TableError, match=r"has ended(.|\n)*table is unchanged(.|\n)*snapshot=[0-9.]+-30 ") as caught:
        iris.source(ref("iris"), source.snapshot.id)
    assert f"snapshot={source.snapshot.content} " in str(caught.value)
    assert ids(iris.source(ref("iris"), source.snapshot.content)) == list(range(30))
    write(iris, "iris", "more", rows(30, 31), mode="append")
    with maxcompute_door.clock(5):
        write(iris, "iris", "last", rows(31, 32), mode="append")
    with pytest.raises(TableError, match=r"it was changed(.|\n)*last change"):
        iris.source(ref("iris"), source.snapshot.id)


def test_a_session_that_ends_while_it_is_read(iris, maxcompute_door):
    write(iris, "iris", "t", *(rows(lo, lo + LARGE // 2) for lo in (0, LARGE // 2)))
    source = iris.source(ref("iris"))
    chunks = source.chunks()
    assert sum(batch.num_rows for batch in source.read(chunks[0], ["id"])) == chunks[0].rows
    maxcompute_door.expire(*sessions(source))
    with pytest.raises(DataError, match=r"rows \d+ to \d+: the session that numbers the rows has ended(.|\n)*24 hours"):
        list(source.read(chunks[1], ["id"]))


def test_sessions_that_are_slow_to_be_made(iris, maxcompute_door):
    write(iris, "iris", "t", rows(0, 3))
    with maxcompute_door.slow_sessions(2):
        assert ids(iris.source(ref("iris"))) == [0, 1, 2]


def test_small_tables_are_asked_for_once(iris, maxcompute_door):
    write(iris, "iris", "t", rows(0, 500))
    source = iris.source(ref("iris"))
    maxcompute_door.requests(forget=True)
    for _ in range(3):
        assert whole(source) == list(range(500))
    assert len(source.chunks()) > 50
    assert maxcompute_door.requests()["Download"] == 1


def test_partitions_have_sessions_of_their_own(tables, maxcompute_door):
    tables.ensure(ref("p"), parse_ddl("CREATE TABLE p (id BIGINT) PARTITIONED BY (pt STRING, hh INT)"))
    with maxcompute_door.page(2):
        for number, (pt, hh) in enumerate((pt, hh) for pt in "ab" for hh in (8, 10)):
            batch = pa.record_batch({"id": list(range(10 * number, 10 * number + 10))})
            write(tables, f"odps://lab/tables/p/pt={pt}/hh={hh}", f"{pt}{hh}", batch)
        source = tables.source(ref("p"))
    assert len(sessions(source)) == 4
    assert sorted(ids(source)) == list(range(40))
    two = tables.source(ref("odps://lab/tables/p/pt=a/hh=08&pt=b/hh=10"))
    assert read(two).group_by(["pt", "hh"]).aggregate([("id", "sum")]).to_pylist() == [
        {"pt": "a", "hh": 8, "id_sum": 45},
        {"pt": "b", "hh": 10, "id_sum": 345},
    ]
    assert read(tables.source(ref("odps://lab/tables/p/hh=10")), ["pt", "id"]).num_rows == 20
    assert tables.source(ref("odps://lab/tables/p/hh=10")).schema.names == ["id", "pt"]
    again = tables.source(ref("p"), source.snapshot.id, range(5, 35))
    assert ids(again) == ids(source)[5:35]


def test_ranges_of_rows_count_over_what_is_named(iris):
    write(iris, "iris", "t", rows(0, 100))
    assert ids(iris.source(ref("odps://lab/tables/iris?start=10&end=40"))) == list(range(10, 40))
    assert ids(iris.source(ref("odps://lab/tables/iris?start=90"))) == list(range(90, 100))
    within = iris.source(ref("odps://lab/tables/iris?start=10&end=40"), rows=range(5, 25))
    assert (ids(within), within.snapshot.rows) == (list(range(15, 35)), 20)
    assert iris.count(ref("odps://lab/tables/iris?start=10&end=40")) == 30
    with pytest.raises(TableError, match=r"within 0 to 30"):
        iris.source(ref("odps://lab/tables/iris?start=10&end=40"), rows=range(5, 31))
    with pytest.raises(TableError, match=r"goes beyond the table's rows(.|\n)*within 0 to 100"):
        iris.source(ref("odps://lab/tables/iris?start=10&end=101"))


# Answers that are empty, cut, damaged, late


@pytest.mark.parametrize(
    "fault", ["empty", "cut", "short", "fewer", "corrupt", "reset", "error"], ids=lambda kind: f"an answer {kind}"
)
def test_no_row_is_lost_or_read_twice(fault, iris, maxcompute_door):
    write(iris, "iris", "t", *(rows(lo, lo + LARGE // 2) for lo in (0, LARGE // 2)))
    source = iris.source(ref("iris"))
    more = {"rows": 100} if fault == "fewer" else {"after": 70_000} if fault in ("cut", "short") else {}
    maxcompute_door.fault("Download", fault, times=2, **more)
    chunks = source.chunks()
    for chunk in (chunks[0], chunks[-1]):
        found = [i for batch in source.read(chunk, ["id", "f", "kind"], 3) for i in batch["id"].to_pylist()]
        lo, hi = map(int, chunk.ref.rpartition("@")[2].split("-"))
        assert found == list(range(lo + 3, hi))
    assert maxcompute_door.forget() == 0


def test_an_answer_that_stays_empty_names_table_and_rows(iris, maxcompute_door):
    write(iris, "iris", "t", rows(0, 30))
    source = iris.source(ref("iris"))
    maxcompute_door.fault("Download", "empty", times=100)
    with pytest.raises(DataError, match=r"odps://lab/tables/iris rows 0 to 30: MaxCompute answers without rows"):
        ids(source)
    assert 90 < maxcompute_door.forget() < 98


def test_ranges_that_are_too_large_for_the_service_are_halved(iris, maxcompute_door):
    write(iris, "iris", "t", rows(0, 1000))
    source = iris.source(ref("iris"))
    maxcompute_door.fault("Download", "empty", times=100, above=200)
    assert ids(source) == list(range(1000))


def test_a_quota_is_waited_for_and_then_named(iris, maxcompute_door):
    write(iris, "iris", "t", rows(0, 30))
    source = iris.source(ref("iris"))
    flow = {"status": 429, "code": "FlowExceeded", "message": "Your flow quota is exceeded."}
    maxcompute_door.fault("Download", "error", times=1, **flow)
    assert ids(source) == list(range(30))
    maxcompute_door.fault("CreateDownload", "error", times=1000, **flow)
    with pytest.raises(StoreUnavailable, match=r"a quota is used up, \d+ times in \d s(.|\n)*larger tunnel quota"):
        iris.source(ref("iris"))


def test_memory_does_not_grow_with_the_table(tables):
    tables.ensure(ref("wide"), parse_ddl("CREATE TABLE wide (id BIGINT, text STRING)"))
    session = tables.write(ref("wide"), "overwrite", "t")
    part = session.part(0, 0)
    count, step = 160_000, 8_000
    before = pa.total_allocated_bytes()
    for lo in range(0, count, step):
        part.write(pa.record_batch({"id": list(range(lo, lo + step)), "text": ["x" * 500] * step}))
        assert pa.total_allocated_bytes() - before < 10 * 2**20
    session.commit([part.finish()])
    source, seen, most = tables.source(ref("wide")), 0, 0
    for chunk in source.chunks():
        for batch in source.read(chunk, ["text", "id"]):
            seen += batch.num_rows
            most = max(most, pa.total_allocated_bytes() - before)
        del batch
    assert seen == count
    assert most < 40 * 2**20 < count * 500
