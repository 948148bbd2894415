"""Tables whose columns plain pyiceberg has changed: old files and new ones are read by field id, at every depth."""

from __future__ import annotations

from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg.types import DecimalType, DoubleType, IntegerType, LongType, NestedField, StringType, StructType

from pai_train.errors import DataError
from pai_train.spec.ddl import parse_ddl
from pai_train.tables.iceberg import IcebergTables
from tests.suites.table_rows import PROJECT, read, ref, write

FLAT = "CREATE TABLE t (a INT, b FLOAT, c DECIMAL(6,2), d STRING, e TINYINT)"
NESTED = """CREATE TABLE t (
    id BIGINT, s STRUCT<x:INT,y:STRING,z:STRUCT<p:INT,q:FLOAT>>, l ARRAY<STRUCT<u:INT,v:STRING>>,
    m MAP<STRING,STRUCT<k:INT,w:DOUBLE>>
)"""
ROW = {
    "id": 1,
    "s": {"x": 1, "y": "one", "z": {"p": 2, "q": 0.5}},
    "l": [{"u": 1, "v": "a"}, None, {"u": 2, "v": None}],
    "m": [("k", {"k": 1, "w": 2.0}), ("n", None)],
}
EMPTY = {"id": 2, "s": None, "l": None, "m": None}
HOLLOW = {"id": 3, "s": {"x": None, "y": "three", "z": None}, "l": [], "m": []}


@pytest.fixture
def tables(tmp_path):
    return IcebergTables(str(tmp_path), PROJECT)


def table_of(tables):
    return tables._catalog.load_table((PROJECT, "t"))


def put(tables, token, *held, mode="append"):
    schema = tables.source(ref("t")).schema
    write(tables, "t", token, pa.RecordBatch.from_pylist(list(held), schema), mode=mode)


def types(tables):
    return {column.name: str(column.type) for column in tables.describe(ref("t")).columns}


def rows_of(tables, *names):
    source = tables.source(ref("t"))
    return sorted(read(source, list(names) or None).to_pylist(), key=str)


def test_columns_renamed_moved_dropped_and_added_again(tables):
    tables.ensure(ref("t"), parse_ddl(FLAT))
    put(tables, "old", {"a": 1, "b": 0.5, "c": Decimal("1.25"), "d": "old", "e": 7})
    with table_of(tables).update_schema() as update:
        update.rename_column("a", "first")
        update.move_first("d")
        update.delete_column("b")
    with table_of(tables).update_schema() as update:
        update.add_column("b", StringType())
        update.add_column("a", LongType())
    assert list(types(tables)) == ["d", "first", "c", "e", "b", "a"]
    assert types(tables)["e"] == "TINYINT"
    put(tables, "new", {"first": 2, "c": None, "d": "new", "e": -8, "b": "text", "a": 2**40})
    assert rows_of(tables) == [
        {"d": "new", "first": 2, "c": None, "e": -8, "b": "text", "a": 2**40},
        {"d": "old", "first": 1, "c": Decimal("1.25"), "e": 7, "b": None, "a": None},
    ]
    assert rows_of(tables, "a", "d") == [{"a": 2**40, "d": "new"}, {"a": None, "d": "old"}]


def test_columns_made_wider(tables):
    tables.ensure(ref("t"), parse_ddl(FLAT))
    put(tables, "old", {"a": 2**31 - 1, "b": 0.1, "c": Decimal("-9999.99"), "d": "old", "e": -128})
    with table_of(tables).update_schema() as update:
        update.update_column("a", LongType())
        update.update_column("b", DoubleType())
        update.update_column("c", DecimalType(20, 2))
        update.update_column("e", LongType())
    assert types(tables) == {"a": "BIGINT", "b": "DOUBLE", "c": "DECIMAL(20,2)", "d": "STRING", "e": "BIGINT"}
    put(tables, "new", {"a": 2**40, "b": 1e300, "c": Decimal("123456789012345678.90"), "d": "new", "e": 2**33})
    small = pa.scalar(0.1, pa.float32()).as_py()
    assert sorted(rows_of(tables), key=lambda row: row["e"]) == [
        {"a": 2**31 - 1, "b": small, "c": Decimal("-9999.99"), "d": "old", "e": -128},
        {"a": 2**40, "b": 1e300, "c": Decimal("123456789012345678.90"), "d": "new", "e": 2**33},
    ]


def test_nested_fields_renamed_moved_dropped_widened_and_added(tables):
    tables.ensure(ref("t"), parse_ddl(NESTED))
    put(tables, "old", ROW, EMPTY, HOLLOW)
    with table_of(tables).update_schema(allow_incompatible_changes=True) as update:
        update.rename_column(("s", "x"), "renamed")
        update.update_column(("s", "z", "p"), LongType())
        update.add_column(("s", "z", "r"), StringType())
        update.delete_column(("s", "z", "q"))
        update.move_after(("s", "x"), ("s", "y"))
        update.rename_column(("l", "element", "v"), "text")
        update.add_column(("l", "element", "more"), IntegerType())
        update.move_first(("l", "element", "v"))
        update.update_column(("m", "value", "k"), LongType())
        update.delete_column(("m", "value", "w"))
    assert types(tables)["s"] == "STRUCT<y:STRING,renamed:INT,z:STRUCT<p:BIGINT,r:STRING>>"
    assert types(tables)["l"] == "ARRAY<STRUCT<text:STRING,u:INT,more:INT>>"
    new = {
        "id": 4,
        "s": {"y": "four", "renamed": 4, "z": {"p": 2**40, "r": "r"}},
        "l": [{"text": "t", "u": 9, "more": 8}],
        "m": [("k", {"k": 2**41})],
    }
    put(tables, "new", new)
    want = [
        {
            "id": 1,
            "s": {"y": "one", "renamed": 1, "z": {"p": 2, "r": None}},
            "l": [{"text": "a", "u": 1, "more": None}, None, {"text": None, "u": 2, "more": None}],
            "m": [("k", {"k": 1}), ("n", None)],
        },
        EMPTY,
        {**HOLLOW, "s": {"y": "three", "renamed": None, "z": None}},
        new,
    ]
    assert rows_of(tables) == want
    plain = table_of(tables).scan().to_arrow().sort_by("id").to_pylist()
    # A null list of an old file is an empty one to pyiceberg 0.12.
    assert [row for row in plain if row["id"] != 2] == [row for row in want if row["id"] != 2], "as pyiceberg reads it"


def test_nested_fields_are_right_from_any_row_on(tables):
    tables.ensure(ref("t"), parse_ddl(NESTED))
    put(tables, "old", *({**ROW, "id": n, "l": [{"u": n, "v": str(n)}] * (n % 4) or None} for n in range(300)))
    with table_of(tables).update_schema() as update:
        update.rename_column(("l", "element", "u"), "number")
        update.rename_column(("m", "value", "k"), "number")
    source = tables.source(ref("t"), rows=range(101, 299))
    found = read(source).to_pylist()
    assert [row["id"] for row in found] == list(range(101, 299))
    for row in found:
        assert row["l"] == ([{"number": row["id"], "v": str(row["id"])}] * (row["id"] % 4) or None)
        assert row["m"][0] == ("k", {"number": 1, "w": 2.0})


def test_an_old_snapshot_is_read_with_the_columns_of_today(tables):
    tables.ensure(ref("t"), parse_ddl(FLAT))
    put(tables, "old", {"a": 1, "b": 0.5, "c": None, "d": "old", "e": 7})
    old = tables.source(ref("t")).snapshot.id
    with table_of(tables).update_schema() as update:
        update.rename_column("a", "first")
    put(tables, "new", {"first": 2})
    assert read(tables.source(ref("t"), old), ["first", "d"]).to_pylist() == [{"first": 1, "d": "old"}]


def test_files_without_ids_are_read_by_mapped_names_or_refused(tables, tmp_path):
    tables.ensure(ref("t"), parse_ddl(FLAT))
    path = tmp_path / "foreign.parquet"
    pq.write_table(pa.table({"a": pa.array([5], pa.int32()), "d": ["foreign"]}), path)
    table = table_of(tables)
    # pyiceberg maps the names, for files that do not have ids.
    table.add_files([f"file://{path}"])
    assert rows_of(tables, "d", "a", "b") == [{"d": "foreign", "a": 5, "b": None}]
    with table_of(tables).transaction() as change:
        change.remove_properties("schema.name-mapping.default")
    with pytest.raises(DataError, match=r"foreign.parquet: a data file does not say which(.|\n)*name-mapping"):
        rows_of(tables)


def test_a_whole_struct_added_later_is_null_in_old_files(tables):
    tables.ensure(ref("t"), parse_ddl(FLAT))
    put(tables, "old", {"a": 1})
    with table_of(tables).update_schema() as update:
        update.add_column("s", StructType(NestedField(1, "x", IntegerType())))
    put(tables, "new", {"a": 2, "s": {"x": 3}})
    assert rows_of(tables, "a", "s") == [{"a": 1, "s": None}, {"a": 2, "s": {"x": 3}}]
