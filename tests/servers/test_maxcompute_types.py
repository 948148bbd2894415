"""Values of every type through the MaxCompute server and pyodps's own codecs, as Arrow and as records."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from odps.apis.storage_api import ReadRowsRequest, SplitOptions, StorageApiArrowClient, TableBatchScanRequest
from odps.compat import Monthdelta
from odps.config import option_context
from odps.models import Record
from odps.tunnel import TableTunnel
from odps.tunnel.io.types import odps_schema_to_arrow_schema

from tests.servers.maxcompute_fixture import MaxComputeServed

SIMPLE: dict[str, list[Any]] = {
    "TINYINT": [-128, 127, 0],
    "SMALLINT": [-32768, 32767, 0],
    "INT": [-(2**31), 2**31 - 1, 0],
    "BIGINT": [-(2**63) + 1, 2**63 - 1, 0],
    "FLOAT": [-1.5, 3.0e38, 0.0],
    "DOUBLE": [-0.1, 1.7e308, 5e-324],
    "BOOLEAN": [True, False, True],
    "STRING": ["", "日本 \0 'x' \\", "x" * 70_000],
    "BINARY": [b"", bytes(range(256)), b"\xff"],
    "VARCHAR(9)": ["", "äöü", "x"],
    "CHAR(3)": ["abc", "x", "äöü"],
    "DECIMAL(38,18)": [Decimal("-1.5"), Decimal("99999999999999999999.123456789012345678"), Decimal(0)],
    "DECIMAL(5,2)": [Decimal("-999.99"), Decimal("0.01"), Decimal("1.00")],
    "DATE": [datetime.date(1, 1, 1), datetime.date(9999, 12, 31), datetime.date(1970, 1, 1)],
    "DATETIME": [
        datetime.datetime(1900, 1, 1, 0, 0, 0, 1000),
        datetime.datetime(2024, 2, 29, 23, 59, 59, 999_000),
        datetime.datetime(1970, 1, 1),
    ],
    "TIMESTAMP": [pd.Timestamp("1960-01-01"), pd.Timestamp("2024-02-29 23:59:59.123456789"), pd.Timestamp(0)],
    "TIMESTAMP_NTZ": [pd.Timestamp("1960-01-01"), pd.Timestamp("2024-02-29 23:59:59.123456789"), pd.Timestamp(0)],
}
NESTED: dict[str, list[Any]] = {
    "ARRAY<BIGINT>": [[], [1, None, 3], [0] * 1000],
    "ARRAY<ARRAY<STRING>>": [[["a", None], []], [None], []],
    "MAP<STRING,DOUBLE>": [{}, {"a": 1.5, "b": None}, {"": 0.0}],
    "STRUCT<x:INT,y:ARRAY<STRING>>": [{"x": 1, "y": ["a"]}, {"x": None, "y": None}, {"x": 2, "y": []}],
    "VECTOR(FLOAT,3)": [[1.0, 2.0, 3.0], [0.0, 0.0, 0.0], [-1.0, 0.5, 0.25]],
}


@pytest.fixture(autouse=True)
def _utc() -> Iterator[None]:
    with option_context() as options:
        options.local_timezone = False
        options.allow_antique_date = True
        yield


@pytest.fixture(scope="module")
def name(maxcompute_server: MaxComputeServed) -> str:
    name = maxcompute_server.table()
    types = [*SIMPLE, *NESTED]
    columns = ", ".join(f"c{at} {kind}" for at, kind in enumerate(types))
    maxcompute_server.odps().execute_sql(f"CREATE TABLE {name} ({columns}) PARTITIONED BY (p STRING)")
    return name


def test_the_schema_names_the_types_as_they_were_declared(maxcompute_server: MaxComputeServed, name: str) -> None:
    schema = maxcompute_server.odps().get_table(name).table_schema
    found = [str(column.type).replace("`", "").upper() for column in schema.simple_columns]
    assert found == [kind.upper() for kind in [*SIMPLE, *NESTED]]


def test_arrow_brings_every_type_back(maxcompute_server: MaxComputeServed, name: str) -> None:
    table = maxcompute_server.odps().get_table(name)
    schema = odps_schema_to_arrow_schema(table.table_schema)
    rows = [[*values, None] for values in [*SIMPLE.values(), *NESTED.values()]]
    arrays = [
        pa.array(
            [list(one.items()) if isinstance(one, dict) and pa.types.is_map(kind) else one for one in values], kind
        )
        for values, kind in zip(rows, schema.types, strict=True)
    ]
    sent = pa.Table.from_arrays(arrays, schema=schema)
    with table.open_writer(partition="p=arrow", create_partition=True, arrow=True) as writer:
        writer.write(sent)
    session = TableTunnel(maxcompute_server.odps()).create_download_session(name, partition_spec="p=arrow")
    with session.open_arrow_reader(0, session.count) as reader:
        got = reader.read()
    for column in schema.names:
        assert got[column].combine_chunks().equals(sent[column].combine_chunks()), column


def test_records_bring_every_type_back(maxcompute_server: MaxComputeServed, name: str) -> None:
    tunnel = TableTunnel(maxcompute_server.odps())
    rows = list(zip(*[*SIMPLE.values(), *NESTED.values()], strict=True))
    upload = tunnel.create_upload_session(name, partition_spec="p=records", create_partition=True)
    with upload.open_record_writer(0) as writer:
        for row in rows:
            writer.write(upload.new_record(list(row)))
        writer.write(upload.new_record([None] * len(rows[0])))
    upload.commit([0])
    download = tunnel.create_download_session(name, partition_spec="p=records")
    assert download.count == len(rows) + 1
    with download.open_record_reader(0, download.count, append_partitions=False) as reader:
        got = [list(record.values) for record in reader]
    assert got[-1] == [None] * len(rows[0])
    for kind, wanted, values in zip(
        [*SIMPLE, *NESTED], zip(*rows, strict=True), zip(*got[:-1], strict=True), strict=True
    ):
        assert [_plain(value) for value in values] == [_plain(value) for value in wanted], kind


def test_records_are_read_as_arrow_wrote_them(maxcompute_server: MaxComputeServed) -> None:
    client, name = maxcompute_server.odps(), maxcompute_server.table()
    client.create_table(name, "a bigint, b string, c double")
    count = 10_000
    with client.get_table(name).open_writer(arrow=True) as writer:
        writer.write(
            pa.table({"a": range(count), "b": [str(n) for n in range(count)], "c": [n / 7 for n in range(count)]})
        )
    session = TableTunnel(client).create_download_session(name)
    with session.open_record_reader(4000, 5000, columns=["c", "a"]) as reader:
        assert [record.values for record in reader] == [[n / 7, n] for n in range(4000, 9000)]


def test_what_arrow_cannot_say_goes_as_records(maxcompute_server: MaxComputeServed) -> None:
    client, name = maxcompute_server.odps(), maxcompute_server.table()
    client.create_table(name, "m interval_year_month, j json, d interval_day_time")
    days = pd.Timedelta(days=-3, seconds=5, nanoseconds=7)
    with client.get_table(name).open_writer() as writer:
        writer.write([[Monthdelta(-14), {"a": [1, None]}, days], [None, None, None]])
    with client.get_table(name).open_reader() as reader:
        first, second = list(reader)
    assert isinstance(first, Record)
    assert [str(first[0]), first[1], first[2]] == [str(Monthdelta(-14)), {"a": [1, None]}, days]
    assert second.values == [None, None, None]
    with pytest.raises(TypeError, match="INTERVAL_YEAR_MONTH"):
        TableTunnel(client).create_download_session(name).open_arrow_reader(0, 2)


def test_a_decimal_without_a_scale_has_none_on_the_wire(maxcompute_server: MaxComputeServed) -> None:
    client, name = maxcompute_server.odps(), maxcompute_server.table()
    client.create_table(name, "a decimal(20,0), b array<decimal(5,0)>")
    values = [[Decimal(12_345_678_901_234_567_890), [Decimal(-7), None]], [None, []]]
    with client.get_table(name).open_writer() as writer:
        writer.write(values)
    with client.get_table(name).open_reader() as reader:
        assert [list(record.values) for record in reader] == values
    api = StorageApiArrowClient(client, client.get_table(name))
    by_row = SplitOptions.get_default_options(SplitOptions.SplitMode.ROW_OFFSET)
    session = api.create_read_session(TableBatchScanRequest(split_options=by_row)).session_id
    got = pa.ipc.open_stream(api.read_rows_stream(ReadRowsRequest(session, row_count=2))).read_all()
    assert got.schema.types == [pa.decimal128(20, 0), pa.list_(pa.decimal128(5, 0))]
    assert [list(row.values()) for row in got.to_pylist()] == values


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, dict):
        return list(value.items())
    if hasattr(value, "_asdict"):
        return list(value._asdict().items())
    if isinstance(value, float):
        return np.float32(value).item() if abs(value) < 3.5e38 and value == np.float32(value) else value
    return value
