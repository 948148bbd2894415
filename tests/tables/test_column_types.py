"""The types that Iceberg does not have: kept as a near one with the declaration beside it, or refused. Both ways."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pyarrow as pa
import pytest
from pyiceberg.schema import Schema
from pyiceberg.types import FixedType, NestedField, TimestamptzType, TimeType, UUIDType

from pai_train.errors import TableError
from pai_train.spec.ddl import parse_ddl
from pai_train.tables.iceberg import IcebergTables
from tests.suites.table_rows import PROJECT, read, ref, write

NOON_US = 1_709_208_000_000_000


@pytest.fixture
def tables(tmp_path):
    return IcebergTables(str(tmp_path), PROJECT)


def ns(*values):
    return pa.array(values, pa.timestamp("ns"))


# Declared type; how it is declared again; how plain pyiceberg sees it; values given; values read.
KEPT = {
    "tinyint": ("TINYINT", "TINYINT", "int", pa.array([-128, 127], pa.int64()), [-128, 127]),
    "smallint": ("SMALLINT", "SMALLINT", "int", pa.array([-(2**15), 2**15 - 1]), [-(2**15), 2**15 - 1]),
    "decimal": (
        "DECIMAL",
        "DECIMAL(38,18)",
        "decimal(38, 18)",
        pa.array([Decimal("99999999999999999999.999999999999999999"), Decimal(-1)]),
        [Decimal("99999999999999999999.999999999999999999"), Decimal(-1)],
    ),
    "decimal-precision": (
        "DECIMAL(10)",
        "DECIMAL(10,0)",
        "decimal(10, 0)",
        pa.array([Decimal(9999999999)]),
        [10**10 - 1],
    ),
    "timestamp-ns": (
        "TIMESTAMP",
        "TIMESTAMP",
        "timestamp",
        ns(NOON_US * 1000 + 7000, -1000),
        [dt.datetime(2024, 2, 29, 12, 0, 0, 7), dt.datetime(1969, 12, 31, 23, 59, 59, 999999)],
    ),
    "timestamp-ntz-ns": ("TIMESTAMP_NTZ", "TIMESTAMP_NTZ", "timestamp", ns(0), [dt.datetime(1970, 1, 1)]),
    "datetime-us": (
        "DATETIME",
        "DATETIME",
        "timestamp",
        pa.array([NOON_US + 5000], pa.timestamp("us")),
        [dt.datetime(2024, 2, 29, 12, 0, 0, 5000)],
    ),
    "timestamp-zone": (
        "TIMESTAMP",
        "TIMESTAMP",
        "timestamp",
        pa.array([NOON_US], pa.timestamp("us", "Asia/Shanghai")),
        [dt.datetime(2024, 2, 29, 12)],
    ),
    "varchar": ("VARCHAR(3)", "VARCHAR(3)", "string", pa.array(["äöü", ""]), ["äöü", ""]),
    "char": ("CHAR(2)", "CHAR(2)", "string", pa.array(["ab", "a"]), ["ab", "a"]),
    "nested": (
        "ARRAY<STRUCT<a:TINYINT,t:TIMESTAMP>>",
        "ARRAY<STRUCT<a:TINYINT,t:TIMESTAMP>>",
        "list<struct<3: a: optional int, 4: t: optional timestamp>>",
        pa.array([[{"a": 5, "t": None}]]),
        [[{"a": 5, "t": None}]],
    ),
}


@pytest.mark.parametrize(("declared", "again", "stored", "given", "want"), KEPT.values(), ids=KEPT.keys())
def test_a_near_type_keeps_the_values_and_the_declaration(tables, declared, again, stored, given, want):
    tables.ensure(ref("t"), parse_ddl(f"CREATE TABLE t (x {declared})"))
    write(tables, "t", "a", pa.record_batch({"x": given}))
    assert [str(column.type) for column in tables.describe(ref("t")).columns] == [again]
    assert str(tables._catalog.load_table((PROJECT, "t")).schema().find_type("x")) == stored
    assert [row["x"] for row in read(tables.source(ref("t"))).to_pylist()] == want
    assert tables.compare(ref("t"), parse_ddl(f"CREATE TABLE t (x {declared})")).lines == ()


# Declared type; values given, the last but one of which does not fit; what the error says of it.
MISFITS = {
    "tinyint": ("TINYINT", pa.array([1, 128, 2]), "row 1: 128"),
    "smallint": ("SMALLINT", pa.array([0, 0, 0, -32769, 1]), "row 3: -32769"),
    "int": ("INT", pa.array([2**31, 1]), "row 0: 2147483648"),
    "decimal": ("DECIMAL", pa.array([Decimal(10**20), Decimal(1)]), "row 0: Decimal('100000000000000000000')"),
    "decimal-scale": ("DECIMAL(5,1)", pa.array([Decimal("1.10"), Decimal("1.25"), None]), "row 1: Decimal('1.25')"),
    "timestamp-ns": ("TIMESTAMP", ns(0, NOON_US * 1000 + 1, 5000), "row 1: 2024-02-29 12:00:00.000000001"),
    "timestamp-ntz-ns": ("TIMESTAMP_NTZ", ns(None, 999, 0), "row 1: 1970-01-01 00:00:00.000000999"),
    "datetime-us": ("DATETIME", pa.array([NOON_US, 1, 0], pa.timestamp("us")), "row 1: 1970-01-01 00:00:00.000001"),
    "varchar": ("VARCHAR(3)", pa.array(["abc", "abcd", ""]), "row 1: 'abcd', 4 characters"),
    "char": ("CHAR(2)", pa.array(["ü", "üüü", "x"]), "row 1: 'üüü', 3 characters"),
    "text-as-number": ("BIGINT", pa.array(["1", "x1", "2"]), "row 1: 'x1'"),
    "fraction-as-whole": ("BIGINT", pa.array([1.0, 2.5, 3.0]), "row 1: 2.5"),
    "long": ("INT", pa.array(["7" * 200, "1"]), "row 0: '" + "7" * 79 + "…"),
}


@pytest.mark.parametrize(("declared", "given", "words"), MISFITS.values(), ids=MISFITS.keys())
def test_a_value_that_does_not_fit_is_named_with_column_and_row(tables, declared, given, words):
    tables.ensure(ref("t"), parse_ddl(f"CREATE TABLE t (x {declared})"))
    writer = tables.write(ref("t"), "append", "a").part(0, 0)
    writer.write(pa.record_batch({"x": given.slice(len(given) - 1)}))
    with pytest.raises(TableError) as caught:
        writer.write(pa.record_batch({"x": given}))
    place, _, value = words.partition(": ")
    row = int(place.removeprefix("row ")) + 1
    assert "column 'x' does not fit its type" in str(caught.value)
    assert f"got: row {row}: {value}" in str(caught.value), "rows count through the part"
    writer.write(pa.record_batch({"x": given.slice(len(given) - 1)}))
    assert writer.finish().rows == 2


def test_a_null_in_a_column_that_takes_none_is_named_with_its_row(tables):
    tables.ensure(ref("t"), parse_ddl("CREATE TABLE t (x BIGINT NOT NULL)"))
    writer = tables.write(ref("t"), "append", "a").part(0, 0)
    with pytest.raises(TableError, match=r"'x' is NOT NULL(.|\n)*2 nulls, first in row 1"):
        writer.write(pa.record_batch({"x": [1, None, 2, None]}))
    writer.abort()


def test_a_type_that_never_fits_names_no_row(tables):
    tables.ensure(ref("t"), parse_ddl("CREATE TABLE t (x BIGINT)"))
    writer = tables.write(ref("t"), "append", "a").part(0, 0)
    with pytest.raises(TableError, match=r"'x' does not fit its type(.|\n)*got: list<"):
        writer.write(pa.record_batch({"x": [[1]]}))
    writer.abort()


@pytest.mark.parametrize(
    ("declared", "inner", "todo"),
    [
        ("JSON", "JSON", "declare it STRING"),
        ("MAP<STRING,JSON>", "JSON", "declare it STRING"),
        ("INTERVAL_DAY_TIME", "INTERVAL_DAY_TIME", "keep seconds"),
        ("INTERVAL_YEAR_MONTH", "INTERVAL_YEAR_MONTH", "keep months"),
        ("VECTOR(FLOAT,3)", "VECTOR(FLOAT,3)", "ARRAY of its element type"),
    ],
)
def test_a_type_without_a_near_one_is_refused_before_anything_is_made(tables, declared, inner, todo):
    with pytest.raises(TableError) as caught:
        tables.ensure(ref("t"), parse_ddl(f"CREATE TABLE t (y INT, x {declared})"))
    text = str(caught.value)
    assert "column 'x' has a type that tables cannot keep" in text
    assert inner in text
    assert todo in text
    assert tables.describe(ref("t")) is None


def made_by_others(tables, type_):
    schema = Schema(NestedField(1, "x", type_))
    return tables._catalog.create_table((PROJECT, "t"), schema)


def test_a_time_with_a_zone_is_read_as_a_timestamp_in_utc(tables):
    table = made_by_others(tables, TimestamptzType())
    table.append(pa.table({"x": pa.array([NOON_US], pa.timestamp("us", "UTC"))}))
    assert [str(column.type) for column in tables.describe(ref("t")).columns] == ["TIMESTAMP"]
    assert read(tables.source(ref("t"))).to_pylist() == [{"x": dt.datetime(2024, 2, 29, 12)}]


@pytest.mark.parametrize("type_", [TimeType(), UUIDType(), FixedType(3)], ids=str)
def test_a_type_of_others_that_maxcompute_does_not_have_is_refused(tables, type_):
    made_by_others(tables, type_)
    for opened in (tables.describe, tables.source, tables.count):
        with pytest.raises(TableError, match="column 'x': a stored type has no MaxCompute twin"):
            opened(ref("t"))
