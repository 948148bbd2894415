"""Our tables opened by others: plain pyiceberg, and Polars."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import polars
import pyarrow as pa
import pytest
from pyiceberg.table import StaticTable

from pai_train.spec.address import TableRef
from pai_train.spec.ddl import parse_ddl
from pai_train.tables.arrow import arrow_schema
from pai_train.tables.iceberg import IcebergTables
from tests.suites.table_rows import DAILY, EVERY_TYPE, IRIS, PROJECT, VALUES, read, ref, rows, stage, write


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


MIXED = """CREATE TABLE mixed (
    id BIGINT, price DECIMAL(12,3), at TIMESTAMP, day DATE, seen DATETIME, tags ARRAY<STRING>,
    place STRUCT<name:STRING,point:ARRAY<DOUBLE>>, counts MAP<STRING,BIGINT>
) PARTITIONED BY (pt STRING, hh INT)"""


def mixed(n):
    """One row, whose every value tells its number; each third is empty but for it."""
    if n % 3 == 2:
        return dict.fromkeys(("price", "at", "day", "seen", "tags", "place", "counts"), None) | {"id": n}
    at = dt.datetime(2024, 2, 29, 23, 59, 59, 123456) + dt.timedelta(days=n)
    return {
        "id": n,
        "price": Decimal(n) / 8,
        "at": at,
        "day": at.date(),
        "seen": at.replace(microsecond=n * 1000),
        "tags": [f"t{i}" for i in range(n % 4)],
        "place": {"name": f"place {n}", "point": [n / 2, None]},
        "counts": [(f"k{n}", n), ("none", None)],
    }


@pytest.fixture
def several(tables):
    """A partitioned table of several snapshots, and what each of them holds, by snapshot id."""
    tables.ensure(ref("mixed"), parse_ddl(MIXED))
    schema = pa.schema([f for f in tables.source(ref("mixed")).schema if f.name not in ("pt", "hh")])
    held, states = {}, {}
    for number, (pt, hh, rows_, mode) in enumerate(
        [
            ("a", 0, range(6), "overwrite"),
            ("a", 1, range(6, 9), "overwrite"),
            ("b=ü", 0, range(9, 12), "overwrite"),
            ("a", 0, range(12, 14), "overwrite"),
            ("a", 1, range(14, 17), "append"),
        ]
    ):
        one = TableRef(PROJECT, "mixed", ((("pt", pt), ("hh", str(hh))),))
        session = tables.write(one, mode, f"t{number}")
        batch = pa.RecordBatch.from_pylist([mixed(n) for n in rows_], schema)
        snapshot = session.commit([stage(session, 0, batch)])
        new = [{**mixed(n), "pt": pt, "hh": hh} for n in rows_]
        held[pt, hh] = new if mode == "overwrite" else held[pt, hh] + new
        states[int(snapshot.id)] = [row for part in held.values() for row in part]
    return states


def by_id(rows_):
    return sorted(rows_, key=lambda row: row["id"])


def test_pyiceberg_reads_every_snapshot_of_a_nested_partitioned_table(tables, several):
    table = plain(tables, "mixed")
    assert len(several) == len(table.snapshots()) == 5
    for snapshot, want in several.items():
        found = table.scan(snapshot_id=snapshot).to_arrow().to_pylist()
        assert by_id(found) == by_id(want)
        ours = tables.source(ref("mixed"), str(snapshot))
        assert by_id(read(ours).to_pylist()) == by_id(want)
    scan = table.scan("pt = 'b=ü' and price > 1")
    assert len(list(scan.plan_files())) == 1
    assert by_id(scan.to_arrow().to_pylist()) == [{**mixed(n), "pt": "b=ü", "hh": 0} for n in (9, 10)]


def test_polars_reads_every_snapshot_of_a_nested_partitioned_table(tables, several, monkeypatch):
    monkeypatch.setenv("POLARS_ICEBERG_PLANNER", "pyiceberg")
    table = plain(tables, "mixed")
    for snapshot, want in several.items():
        found = polars.scan_iceberg(table, snapshot_id=snapshot).collect().to_arrow().to_pylist()
        assert by_id(map(_plain, found)) == by_id(map(_plain, want))
    frame = polars.scan_iceberg(table).filter(polars.col("hh") == 1, polars.col("price") > Decimal("1.8")).collect()
    assert sorted(frame["id"]) == [15, 16]
    assert frame.schema["price"] == polars.Decimal(12, 3)
    assert frame.schema["at"] == polars.Datetime("us")


def _plain(row):
    """A map as the list of its pairs, which is what Polars makes of one."""
    pairs = row["counts"] and [tuple(pair.values()) if isinstance(pair, dict) else pair for pair in row["counts"]]
    return {**row, "counts": pairs}


def test_parquet_readers_see_plain_files(tables, several):
    import pyarrow.parquet as pq

    table = plain(tables, "mixed")
    for task in table.scan().plan_files():
        held = pq.read_table(task.file.file_path.removeprefix("file://"), partitioning=None)
        assert held.schema.metadata is None or b"ARROW:schema" not in held.schema.metadata
        assert held.num_rows == task.file.record_count
        assert held["pt"].unique().to_pylist() == [task.file.partition[0]]
