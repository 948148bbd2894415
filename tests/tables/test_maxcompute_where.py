"""Filters on MaxCompute, which are answered by reading the columns that they look at."""

from __future__ import annotations

import pyarrow as pa
import pytest

from pai_train.errors import TableError
from pai_train.spec.address import parse_tables
from pai_train.spec.ddl import parse_ddl
from pai_train.spec.slices import slice_rows
from pai_train.tables.arrow import arrow_schema
from pai_train.tables.iceberg import IcebergTables
from pai_train.tables.several import open_tables
from tests.suites.table_rows import DAILY, EVERY_TYPE, IRIS, PROJECT, VALUES, ids, read, ref, rows, write
from tests.tables.maxcompute_tables import reopen, service, tables  # noqa: F401 - fixtures
from tests.tables.test_maxcompute import in_nanoseconds
from tests.tables.test_where import CASES, kind

# ruff: noqa: F811 - fixtures that are imported


@pytest.fixture
def iris(tables):
    tables.ensure(ref("iris"), parse_ddl(IRIS))
    write(tables, "iris", "t", *(rows(n * 50, n * 50 + 50) for n in range(8)))
    return tables


def test_the_rows_that_fulfil_it_are_read(iris):
    order = ids(iris.source(ref("iris")))
    for text, fulfils in CASES.items():
        source = iris.source(ref("iris"), where=text)
        assert ids(source) == [i for i in order if fulfils(i)], text
        assert source.snapshot.rows == len(ids(source)) == sum(chunk.rows for chunk in source.chunks())
        assert [chunk.id for chunk in source.chunks()] == list(range(len(source.chunks())))
        assert all(chunk.rows for chunk in source.chunks())


def test_chunks_hold_the_rows_they_say_from_any_row_on(iris):
    source = iris.source(ref("iris"), where="kind = 'kind 1'")
    for chunk in source.chunks():
        whole = [i for batch in source.read(chunk, ["kind", "id"]) for i in batch["id"].to_pylist()]
        assert len(whole) == chunk.rows
        for start in range(chunk.rows + 1):
            assert [i for batch in source.read(chunk, ["ID"], start) for i in batch["id"].to_pylist()] == whole[start:]
    names = {name for chunk in source.chunks() for batch in source.read(chunk, ["f"]) for name in batch.schema.names}
    assert names == {"f"}, "the filter's own columns are not delivered"


def test_a_snapshot_names_the_same_rows_again(iris):
    first = iris.source(ref("iris"), where="id >= 20")
    write(iris, "iris", "u", rows(500, 505), mode="append")
    again = iris.source(ref("iris"), first.snapshot.id, where="id >= 20")
    assert (again.snapshot, again.chunks(), ids(again)) == (first.snapshot, first.chunks(), ids(first))


def test_ranges_and_tables(iris):
    order = ids(iris.source(ref("iris")))
    named = ref("iris?start=90&end=110")
    assert ids(iris.source(named, where="id >= 100")) == [i for i in order[90:110] if i >= 100]
    parts = [iris.source(named, rows=slice_rows(20, n, 3), where="kind = 'kind 1'") for n in range(3)]
    assert [i for part in parts for i in ids(part)] == [i for i in order[90:110] if kind(i) == "kind 1"]
    refs = parse_tables("iris?start=80&end=100,iris?end=20", PROJECT)
    assert open_tables(iris, refs, where="id >= 0").snapshot.rows == 40


def test_a_filter_of_partitions_reads_no_row(tables, maxcompute_door):
    tables.ensure(ref("daily"), parse_ddl(DAILY))
    keys = [column.name for column in tables.describe(ref("daily")).partitions]
    assert keys == ["pt", "hh"]
    for pt, hh in (("a", 1), ("a", 2), ("b", 1)):
        write(
            tables,
            f"odps://{PROJECT}/tables/daily/pt={pt}/hh={hh}",
            f"t{pt}{hh}",
            rows(hh * 10, hh * 10 + 5).select(["id", "f"]),
        )
    maxcompute_door.requests(forget=True)
    source = tables.source(ref("daily"), where="pt = 'a' and hh > 1")
    assert source.snapshot.rows == 5
    assert "Download" not in maxcompute_door.requests()
    assert ids(source) == list(range(20, 25))
    assert maxcompute_door.requests()["Download"] == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("id >", r"not a filter"),
        ("knid = 'a'", r"names a column 'knid'(.|\n)*did you mean 'kind'"),
        ("id = 'many'", r"compares column 'id' with a value of another type"),
    ],
)
def test_a_filter_that_does_not_fit_is_refused(iris, text, words):
    with pytest.raises(TableError, match=f"odps://lab/tables/iris: (.|\n)*{words}"):
        iris.source(ref("iris"), where=text)


TYPES = [
    *("a = -128", "b <= -32768", "d > -5", "e = 0.5", "f < 0", "g = true", "h like 'ü%'", "i = 'v'", "j <> 'd'"),
    *("l = '1969-12-31'", "m > '2024-02-29T01:02:03'", "n < '2000-01-01T00:00:00'", "o is null", "k is not null"),
    *("p = -12345678.9", "p > 0", "q < 1.5", "not d between 3 and 15", "h in ('1', '2') or d < 2"),
]


def test_every_type_is_compared_as_iceberg_does(tables, tmp_path):
    other = IcebergTables(str(tmp_path / "iceberg"), PROJECT)
    ddl = parse_ddl(EVERY_TYPE)
    values = [{**dict(zip(arrow_schema(ddl.columns).names, map(in_nanoseconds, VALUES), strict=True))}]
    batch = pa.Table.from_pylist(values, arrow_schema(ddl.columns)).to_batches()[0]
    for one in (tables, other):
        one.ensure(ref("every"), ddl)
        write(one, "every", "t", batch)
        write(one, "every", "u", pa.record_batch({"d": range(20), "h": map(str, range(20))}), mode="append")
    counts = [len(read(other.source(ref("every"), where=text), ["d"])) for text in TYPES]
    assert [len(read(tables.source(ref("every"), where=text), ["d"])) for text in TYPES] == counts
    assert len({*counts}) > 2
