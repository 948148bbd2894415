"""Our tables opened by others: plain pyiceberg, and Polars."""

from __future__ import annotations

import polars
import pyarrow as pa
import pytest
from pyiceberg.table import StaticTable

from pai_train.spec.ddl import parse_ddl
from pai_train.tables.arrow import arrow_schema
from pai_train.tables.iceberg import IcebergTables
from tests.suites.table_rows import DAILY, EVERY_TYPE, IRIS, PROJECT, VALUES, ref, rows, write


@pytest.fixture
def tables(tmp_path):
    return IcebergTables(str(tmp_path), PROJECT)


def plain(tables, name):
    head = tables._catalog.load_table((PROJECT, name)).metadata_location
    return StaticTable.from_metadata(head)


def test_pyiceberg_reads_rows_and_statistics(tables):
    tables.ensure(ref("iris"), parse_ddl(IRIS))
    write(tables, "iris", "a", rows(0, 5))
    write(tables, "iris", "b", rows(0, 100), rows(100, 150))
    found = plain(tables, "iris").scan("id >= 120").to_arrow().sort_by("id")
    assert found.equals(pa.Table.from_batches([rows(120, 150)]).cast(found.schema))
    files = list(plain(tables, "iris").scan("id < 100").plan_files())
    assert [task.file.record_count for task in files] == [100], "the other file is pruned by its statistics"


def test_pyiceberg_reads_every_type(tables):
    ddl = parse_ddl(EVERY_TYPE)
    tables.ensure(ref("every"), ddl)
    schema = arrow_schema(ddl.columns)
    write(
        tables,
        "every",
        "t",
        pa.record_batch([pa.array([v], f.type) for v, f in zip(VALUES, schema, strict=True)], schema=schema),
    )
    assert list(plain(tables, "every").scan().to_arrow().to_pylist()[0].values()) == VALUES


def test_pyiceberg_prunes_partitions(tables):
    tables.ensure(ref("daily"), parse_ddl(DAILY))
    for hour in range(3):
        write(tables, f"odps://lab/tables/daily/pt=a/hh={hour}", f"t{hour}", pa.record_batch({"id": [hour]}))
    scan = plain(tables, "daily").scan("hh = 1")
    assert len(list(scan.plan_files())) == 1
    assert scan.to_arrow().to_pylist() == [{"id": 1, "f": None, "pt": "a", "hh": 1}]


def test_polars_scans(tables, monkeypatch):
    monkeypatch.setenv("POLARS_ICEBERG_PLANNER", "pyiceberg")
    tables.ensure(ref("iris"), parse_ddl(IRIS))
    write(tables, "iris", "t", rows(0, 100), rows(100, 150))
    frame = polars.scan_iceberg(plain(tables, "iris")).filter(polars.col("id") < 120).select("id", "kind").collect()
    want = pa.Table.from_batches([rows(0, 120)]).select(["id", "kind"])
    assert frame.sort("id").rows() == [tuple(row.values()) for row in want.to_pylist()]


def test_source_reads_what_pyiceberg_appended(tables):
    tables.ensure(ref("iris"), parse_ddl(IRIS))
    table = tables._catalog.load_table((PROJECT, "iris"))
    schema = table.schema().as_arrow()
    table.append(pa.Table.from_batches([rows(0, 10)]).cast(schema))
    source = tables.source(ref("iris"))
    batches = [batch for chunk in source.chunks() for batch in source.read(chunk, source.schema.names)]
    assert pa.Table.from_batches(batches).equals(pa.Table.from_batches([rows(0, 10)]).cast(source.schema))
