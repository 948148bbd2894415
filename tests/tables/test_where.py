"""Filters: the rows a plain scan keeps, in order, from any row on; files and row groups that cannot hold any unread."""

from __future__ import annotations

import datetime as dt
import math
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyiceberg.types import DoubleType, LongType

from pai_train.errors import DataError, TableError
from pai_train.feed.batches import arrow_superbatches
from pai_train.feed.contracts import FeedPlan
from pai_train.spec.address import parse_tables
from pai_train.spec.ddl import parse_ddl
from pai_train.spec.slices import slice_rows
from pai_train.storage import open_store
from pai_train.tables import parquet
from pai_train.tables.catalog import StoreCatalog
from pai_train.tables.iceberg import IcebergTables
from pai_train.tables.several import open_tables
from tests.suites.table_rows import DAILY, EVERY_TYPE, IRIS, PROJECT, VALUES, ids, read, ref, rows, write
from tests.tables.delete_files import delete_positions
from tests.tables.test_reads import Watched, files_of


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    tables = IcebergTables(str(tmp_path_factory.mktemp("where")), PROJECT)
    tables.ensure(ref("iris"), parse_ddl(IRIS))
    write(tables, "iris", "t", *(rows(n * 50, n * 50 + 50) for n in range(8)))
    return tables


def kind(i):
    return None if i % 5 == 4 else f"kind {i % 3}"


# The filter, and the ids among 0 to 399 that fulfil it: f is id / 2, kind is missing in every fifth.
CASES = {
    "id > 395": lambda i: i > 395,
    "ID >= 10 and Id < 12 OR id = 399": lambda i: i in (10, 11, 399),
    "f < 1.5": lambda i: i < 3,
    "f = 7": lambda i: i == 14,
    "f in (0.5, 1.0)": lambda i: i in (1, 2),
    "id in (3, 500, 7)": lambda i: i in (3, 7),
    "id between 48 and 51": lambda i: 48 <= i <= 51,
    "kind = 'kind 1'": lambda i: kind(i) == "kind 1",
    "kind <> 'kind 1'": lambda i: kind(i) not in ("kind 1", None),
    "not kind = 'kind 1'": lambda i: kind(i) not in ("kind 1", None),
    "kind not in ('kind 1', 'kind 2')": lambda i: kind(i) == "kind 0",
    "not (kind in ('kind 1', 'kind 2') or id < 390)": lambda i: kind(i) == "kind 0" and i >= 390,
    "kind is null": lambda i: kind(i) is None,
    "kind is not null and id < 10": lambda i: kind(i) is not None and i < 10,
    "kind like 'kind%'": lambda i: kind(i) is not None,
    "kind not like 'kind%'": lambda i: False,
    "kind like 'kind 2'": lambda i: kind(i) == "kind 2",
    "kind > 'kind 1' or f >= 199": lambda i: kind(i) == "kind 2" or i >= 398,
    "kind = 'kind 0' or kind is null": lambda i: kind(i) in ("kind 0", None),
    "kind = 'it''s'": lambda i: False,
    "f is nan": lambda i: False,
    "f is not nan": lambda i: True,
    "true": lambda i: True,
    "false": lambda i: False,
    "id > 9999999999999999999999": lambda i: False,
    '"kind" = \'kind 1\' AND "id" < 9': lambda i: kind(i) == "kind 1" and i < 9,
}


@pytest.mark.parametrize("text", CASES)
def test_the_rows_that_fulfil_it_are_read(tables, text):
    want = [i for i in range(400) if CASES[text](i)]
    source = tables.source(ref("iris"), where=text)
    assert ids(source) == want
    assert source.snapshot.rows == len(want) == sum(chunk.rows for chunk in source.chunks())
    assert [chunk.id for chunk in source.chunks()] == list(range(len(source.chunks())))
    assert all(chunk.rows for chunk in source.chunks())
    assert source.snapshot.id == tables.source(ref("iris")).snapshot.id


def test_chunks_hold_the_rows_they_say_from_any_row_on(tables):
    source = tables.source(ref("iris"), where="kind = 'kind 1'")
    for chunk in source.chunks():
        whole = [i for batch in source.read(chunk, ["kind", "id"]) for i in batch["id"].to_pylist()]
        assert len(whole) == chunk.rows
        for start in range(chunk.rows + 1):
            assert [i for batch in source.read(chunk, ["id"], start) for i in batch["id"].to_pylist()] == whole[start:]
    names = {name for chunk in source.chunks() for batch in source.read(chunk, ["f"]) for name in batch.schema.names}
    assert names == {"f"}, "the filter's own columns are not delivered"


def test_a_range_of_rows_is_taken_before_the_filter(tables):
    named = ref("iris?start=90&end=110")
    assert ids(tables.source(named, where="id >= 100")) == list(range(100, 110))
    assert ids(tables.source(named, rows=range(5, 15), where="id >= 100")) == list(range(100, 105))
    parts = [tables.source(named, rows=slice_rows(20, n, 3), where="kind = 'kind 1'") for n in range(3)]
    assert [i for part in parts for i in ids(part)] == [i for i in range(90, 110) if kind(i) == "kind 1"]


def test_several_tables_are_filtered_alike(tables):
    refs = parse_tables("iris?start=80&end=100,iris?end=20", PROJECT)
    want = [*range(80, 100), *range(20)]
    assert ids(open_tables(tables, refs, where="id >= 90 or id < 5")) == [i for i in want if i >= 90 or i < 5]
    source = open_tables(tables, refs, rows=range(5, 35), where="id >= 90 or id < 5")
    assert ids(source) == [i for i in want[5:35] if i >= 90 or i < 5]
    assert source.snapshot.rows == 15


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("id >", r"not a filter(.|\n)*id >, not understood from character"),
        ("id > 1 and", r"not a filter(.|\n)*joined by AND"),
        ("kind like '%x'", r"not a filter(.|\n)*wildcard"),
        ("knid = 'a'", r"names a column 'knid'(.|\n)*did you mean 'kind'"),
        ("id = 'many'", r"compares column 'id' with a value of another type(.|\n)*of type long"),
        ("", "not a filter"),
    ],
)
def test_a_filter_that_does_not_fit_is_refused(tables, text, words):
    with pytest.raises(TableError, match=f"odps://lab/tables/iris: (.|\n)*{words}"):
        tables.source(ref("iris"), where=text)


def test_files_that_hold_none_are_not_opened(tables):
    store = Watched(open_store(tables.root))
    watched = IcebergTables(tables.root, PROJECT)
    watched._catalog = StoreCatalog(tables.root, store)
    source = watched.source(ref("iris"), where="id >= 120 and id < 130")
    opened = store.take()
    assert len(opened) == 1
    assert ids(source) == list(range(120, 130))
    assert opened == files_of(source) == store.take()
    assert watched.source(ref("iris"), where="id >= 0 and kind like 'x%'").chunks() == ()
    assert store.take() == [], "all lies outside the bounds of every file"
    assert watched.source(ref("iris"), where="id >= 0").snapshot.rows == 400
    assert store.take() == [], "all lies inside the bounds of every file"


def test_partitions_that_hold_none_are_not_opened(tmp_path):
    tables = IcebergTables(str(tmp_path), PROJECT)
    tables.ensure(ref("daily"), parse_ddl(DAILY))
    for hour in range(4):
        batch = pa.record_batch({"id": [hour * 10 + n for n in range(3)]})
        write(tables, f"odps://lab/tables/daily/pt=a/hh={hour}", f"t{hour}", batch)
    store = Watched(open_store(tables.root))
    tables._catalog = StoreCatalog(tables.root, store)
    source = tables.source(ref("daily"), where="hh >= 2 and pt = 'a'")
    assert source.snapshot.rows == 6
    assert store.take() == []
    assert sorted(ids(source)) == [20, 21, 22, 30, 31, 32]
    fixed = tables.source(ref("odps://lab/tables/daily/pt=a/hh=1"), where="hh = 1 and id > 10")
    assert ids(fixed) == [11, 12]
    assert "hh" not in fixed.schema.names


def test_row_groups_that_hold_none_are_not_decoded(tmp_path, monkeypatch):
    tables = IcebergTables(str(tmp_path), PROJECT)
    tables.ensure(ref("iris"), parse_ddl(IRIS))
    count = 200_000
    batch = pa.record_batch(
        {"id": pa.array(range(count)), "f": pa.array([n % 1000 for n in range(count)], pa.float64())}
    )
    write(tables, "iris", "t", batch)
    decoded = []
    real = parquet.ParquetReader._decoded
    monkeypatch.setattr(parquet.ParquetReader, "_decoded", lambda *a, **k: decoded.append(a[3:]) or real(*a, **k))
    source = tables.source(ref("iris"), where="id >= 150000 and id < 150010")
    assert {group for group, _ in decoded} == {2}
    assert ids(source) == list(range(150_000, 150_010))
    assert {group for group, _ in decoded} == {2}


# A filter for each column of EVERY_TYPE that is fulfilled by its value in VALUES, and one that is not.
TYPED = {
    "a": ("a = -128", "a > -128"),
    "b": ("b < 0", "b >= 0"),
    "c": ("c = -2147483648", "c <> -2147483648"),
    "d": ("d < -9223372036854775807", "d > 0"),
    "e": ("e = 0.5", "e > 0.5"),
    "f": ("f < -1.5", "f > 0"),
    "g": ("g = true", "g = false"),
    "h": ("h like 'ü%'", "h < 'a'"),
    "i": ("i = 'v'", "i > 'v'"),
    "j": ("j in ('c', 'd')", "j not in ('c')"),
    "l": ("l = '1969-12-31'", "l > '1969-12-31'"),
    "m": ("m > '2024-02-29T00:00:00'", "m >= '2024-03-01T00:00:00'"),
    "n": ("n = '0001-01-01T00:00:00.000007'", "n > '2000-01-01T00:00:00'"),
    "o": ("o >= '9999-12-31T00:00:00'", "o < '9999-12-31T00:00:00'"),
    "p": ("p = -12345678.90", "p > 0"),
    "q": ("q > 1", "q <= 1.0"),
    "t": ("t is not null", "t is null"),
    "r": ("r is not null", "r is null"),
}


@pytest.mark.parametrize("files", [1, 2])
def test_every_type_can_be_compared(tmp_path, files):
    tables = IcebergTables(str(tmp_path), PROJECT)
    ddl = parse_ddl(EVERY_TYPE)
    tables.ensure(ref("every"), ddl)
    schema = tables.source(ref("every")).schema
    held = [pa.array([value], field.type) for value, field in zip(VALUES, schema, strict=True)]
    empty = [pa.nulls(1, field.type) for field in schema]
    batches = [pa.record_batch(columns, schema=schema) for columns in (held, empty)]
    if files == 1:
        batches = pa.Table.from_batches(batches).combine_chunks().to_batches()
    write(tables, "every", "t", *batches)
    assert tables.count(ref("every")) == 2
    for column, (yes, no) in TYPED.items():
        found = read(tables.source(ref("every"), where=yes), [column])[column].to_pylist()
        assert found == [VALUES[ord(column) - ord("a")]], yes
        missing = 1 if "is null" in no else 0
        assert tables.source(ref("every"), where=no).snapshot.rows == missing, no


def test_values_that_are_no_number_fulfil_no_comparison(tmp_path):
    tables = IcebergTables(str(tmp_path), PROJECT)
    tables.ensure(ref("iris"), parse_ddl(IRIS))
    values = [1.0, math.nan, 3.0, None, -math.inf]
    write(tables, "iris", "t", pa.record_batch({"id": list(range(5)), "f": values}))
    for text, want in {
        "f < 5": [0, 2, 4],
        "f > -5": [0, 2],
        "f is nan": [1],
        "f is not nan": [0, 2, 4],
        "f < 5 or f >= 5": [0, 2, 4],
    }.items():
        assert ids(tables.source(ref("iris"), where=text)) == want, text


def test_a_filter_on_columns_renamed_widened_and_added(tmp_path):
    tables = IcebergTables(str(tmp_path), PROJECT)
    tables.ensure(ref("t"), parse_ddl("CREATE TABLE t (id INT, f FLOAT)"))
    write(tables, "t", "old", pa.record_batch({"id": [1, 2, 3], "f": [0.5, 1.5, None]}))
    with tables._catalog.load_table((PROJECT, "t")).update_schema() as update:
        update.update_column("id", LongType())
        update.update_column("f", DoubleType())
        update.rename_column("f", "width")
        update.add_column("more", LongType())
    write(
        tables, "t", "new", pa.record_batch({"id": [2**40, 4], "width": [1e300, 2.5], "more": [7, None]}), mode="append"
    )
    for text, want in {
        "id > 1 and width > 1": [2, 4, 2**40],
        "id > 2147483647": [2**40],
        "more = 7": [2**40],
        "more is null": [1, 2, 3, 4],
        "width is null or more = 7": [3, 2**40],
    }.items():
        assert sorted(ids(tables.source(ref("t"), where=text))) == want, text
    with pytest.raises(TableError, match="'f'"):
        tables.source(ref("t"), where="f > 1")


def test_a_filter_sees_no_deleted_row(tmp_path):
    tables = IcebergTables(str(tmp_path), PROJECT)
    tables.ensure(ref("iris"), parse_ddl(IRIS))
    write(tables, "iris", "t", rows(0, 100))
    table = tables._catalog.load_table((PROJECT, "iris"))
    (task,) = table.scan().plan_files()
    delete_positions(table, {task.file.file_path: [0, 3, 50, 51, 99]})
    left = [i for i in range(100) if i not in (0, 3, 50, 51, 99)]
    for text, keeps in {"id >= 0": lambda i: True, "kind = 'kind 0'": lambda i: kind(i) == "kind 0"}.items():
        source = tables.source(ref("iris"), where=text)
        assert ids(source) == [i for i in left if keeps(i)]
        assert source.snapshot.rows == len(ids(source))


def test_a_damaged_file_is_named_when_it_is_looked_into(tmp_path):
    tables = IcebergTables(str(tmp_path), PROJECT)
    tables.ensure(ref("iris"), parse_ddl(IRIS))
    write(tables, "iris", "t", rows(0, 100))
    store = open_store(tables.root)
    url = tables.source(ref("iris")).chunks()[0].ref.rpartition("@")[0]
    store.put(url, store.read(url)[:50])
    with pytest.raises(DataError, match="cut short or damaged"):
        tables.source(ref("iris"), where="id = 7")


def test_a_missing_value_is_told_with_its_place(tables):
    source = tables.source(ref("iris"), where="id >= 100 and id < 150 and (kind is null or f > 60)")
    plan = FeedPlan(("kind",), 64, {}, lanes=1)
    words = r"part-00002-.*parquet, row 0 of the \d+ that are read of rows \d+ to \d+"
    with pytest.raises(DataError, match=words), arrow_superbatches(source, plan, parallel=1) as deliveries:
        list(deliveries)


COLUMNS = {"id": st.integers(-3, 12), "f": st.sampled_from(["-1", "0.5", "3", "2.75"]), "kind": st.sampled_from("abc")}
leaves = st.one_of(
    st.tuples(st.just("id"), st.sampled_from(["<", "<=", "=", "<>", ">", ">="]), COLUMNS["id"].map(str)),
    st.tuples(st.just("f"), st.sampled_from(["<", "<=", "=", "<>", ">", ">="]), COLUMNS["f"]),
    st.tuples(st.just("kind"), st.sampled_from(["<", "=", "<>", ">="]), COLUMNS["kind"].map(lambda one: f"'{one}'")),
    st.tuples(st.sampled_from(["id", "f", "kind"]), st.sampled_from(["is null", "is not null"]), st.just("")),
).map(" ".join)
filters = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(lambda one: f"({one[0]} {one[1]} {one[2]})"),
        inner.map(lambda one: f"not ({one})"),
    ),
    max_leaves=5,
)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    tables = IcebergTables(str(tmp_path_factory.mktemp("small")), PROJECT)
    tables.ensure(ref("t"), parse_ddl("CREATE TABLE t (id BIGINT, f DOUBLE, kind STRING)"))
    held = [
        [(n, n / 4, "abc"[n % 3]) for n in range(12)],
        [(None, 0.5, None), (3, None, "b"), (None, None, None)],
        [(7, 3.0, "c")] * 5,
        [(None, None, "a")] * 2,
    ]
    names = ["id", "f", "kind"]
    types = [pa.int64(), pa.float64(), pa.string()]
    batches = [
        pa.record_batch(
            [pa.array(column, type_) for column, type_ in zip(zip(*part, strict=True), types, strict=True)], names
        )
        for part in held
    ]
    write(tables, "t", "t", *batches)
    return tables


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=filters)
def test_any_filter_keeps_what_sql_keeps(small, text):
    import polars

    frame = polars.from_arrow(read(small.source(ref("t"))))
    want = polars.SQLContext(t=frame).execute(f"SELECT * FROM t WHERE {text}").collect()  # noqa: S608
    assert read(small.source(ref("t"), where=text)).to_pylist() == want.to_dicts(), text


def test_dates_and_decimals_are_compared_as_values(tmp_path):
    tables = IcebergTables(str(tmp_path), PROJECT)
    tables.ensure(ref("t"), parse_ddl("CREATE TABLE t (id BIGINT, d DATE, p DECIMAL(10,2))"))
    days = [dt.date(2024, 1, 1) + dt.timedelta(days=n) for n in range(60)]
    prices = [Decimal(n) / 4 for n in range(60)]
    write(tables, "t", "t", pa.record_batch({"id": list(range(60)), "d": days, "p": pa.array(prices)}))
    assert ids(tables.source(ref("t"), where="d in ('2024-01-03', '2024-02-01')")) == [2, 31]
    assert ids(tables.source(ref("t"), where="p between 1.25 and 2 and d > '2024-01-07'")) == [7, 8]
    assert ids(tables.source(ref("t"), where="p in (1.5, 2.0) or p > 14.6")) == [6, 8, 59]
    with pytest.raises(TableError, match=r"'p' with a value of another type(.|\n)*decimal\(10, 2\)"):
        tables.source(ref("t"), where="p > 1.125")


def test_strings_stay_encoded_where_they_are_stored_so(tmp_path):
    tables = IcebergTables(str(tmp_path), PROJECT)
    tables.ensure(ref("iris"), parse_ddl(IRIS))
    write(tables, "iris", "t", rows(0, 2000))
    source = tables.source(ref("iris"), where="kind = 'kind 1' and id > 10")
    batches = [batch for chunk in source.chunks() for batch in source.read_encoded(chunk, ["kind", "id"])]
    assert any(pa.types.is_dictionary(batch.schema.field("kind").type) for batch in batches)
    want = [i for i in range(11, 2000) if kind(i) == "kind 1"]
    assert [i for batch in batches for i in batch["id"].to_pylist()] == want
    assert {value for batch in batches for value in batch["kind"].to_pylist()} == {"kind 1"}
