"""Statements, rows and short ways to write and read them, for the tests of tables."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import TYPE_CHECKING

import pyarrow as pa

from pai_train.spec.address import TableRef, parse_table

if TYPE_CHECKING:
    from pai_train.spec.contracts import Part, Snapshot, Source, WriteSession
    from pai_train.tables.contracts import Tables, WriteMode

PROJECT = "lab"
IRIS = "CREATE TABLE iris (id BIGINT NOT NULL, f DOUBLE COMMENT 'width', kind STRING) COMMENT 'flowers' LIFECYCLE 7"
DAILY = "CREATE TABLE daily (id BIGINT, f DOUBLE) PARTITIONED BY (pt STRING, hh INT)"
EVERY_TYPE = """CREATE TABLE every (
    a TINYINT, b SMALLINT, c INT, d BIGINT, e FLOAT, f DOUBLE, g BOOLEAN, h STRING, i VARCHAR(10), j CHAR(3),
    k BINARY, l DATE, m DATETIME, n TIMESTAMP, o TIMESTAMP_NTZ, p DECIMAL(10,2), q DECIMAL,
    r ARRAY<TINYINT>, s MAP<STRING,ARRAY<INT>>, t STRUCT<x:SMALLINT,`y z`:STRING>
)"""
VALUES = [
    *(-128, -32768, -(2**31), -(2**63), 0.5, -1e300, True, "ü\n'\"", "v", "c"),
    *(b"\x00\xff", dt.date(1969, 12, 31), dt.datetime(2024, 2, 29, 1, 2, 3, 4000), dt.datetime(1, 1, 1, 0, 0, 0, 7)),
    *(dt.datetime(9999, 12, 31), Decimal("-12345678.90"), Decimal("1.000000000000000001")),
    *([1, None, -1], [("k", [1, 2]), ("l", None)], {"x": 1, "y z": None}),
]


def ref(text: str) -> TableRef:
    return parse_table(text, PROJECT)


def rows(lo: int, hi: int) -> pa.RecordBatch:
    ids = range(lo, hi)
    kinds = [None if i % 5 == 4 else f"kind {i % 3}" for i in ids]
    return pa.record_batch({"id": list(ids), "f": [i / 2 for i in ids], "kind": pa.array(kinds, pa.string())})


def stage(session: WriteSession, slice_id: int, *batches: pa.RecordBatch, attempt: int = 0) -> Part:
    writer = session.part(slice_id, attempt)
    for batch in batches:
        writer.write(batch)
    return writer.finish()


def write(tables: Tables, text: str, token: str, *batches: pa.RecordBatch, mode: WriteMode = "overwrite") -> Snapshot:
    session = tables.write(ref(text), mode, token)
    return session.commit([stage(session, index, batch) for index, batch in enumerate(batches)])


def read(source: Source, columns: list[str] | None = None) -> pa.Table:
    names = source.schema.names if columns is None else columns
    schema = pa.schema([source.schema.field(name) for name in names])
    return pa.Table.from_batches([b for chunk in source.chunks() for b in source.read(chunk, names)], schema)


def ids(source: Source) -> list[int]:
    return read(source, ["id"])["id"].to_pylist()
