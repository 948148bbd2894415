"""The MaxCompute server is stopped and started again on its folder; what was told to it is still there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from odps.apis.storage_api import (
    ReadRowsRequest,
    SessionRequest,
    SessionStatus,
    SplitOptions,
    StorageApiArrowClient,
    TableBatchScanRequest,
    TableBatchWriteRequest,
    WriteRowsRequest,
)
from odps.errors import ODPSError
from odps.tunnel import TableTunnel

from tests.servers.maxcompute_fixture import serving_maxcompute

DDL = "CREATE TABLE t (A BIGINT NOT NULL COMMENT 'x', b STRUCT<c:STRING>) PARTITIONED BY (p STRING) LIFECYCLE 5"


def batch(*values: int) -> pa.Table:
    return pa.table({"a": values, "b": [{"c": str(value)} for value in values]})


def rows(session: Any) -> list[int]:
    with session.open_arrow_reader(0, session.count) as reader:
        return list(reader.read()["a"].to_pylist())


def test_everything_but_the_keys_outlives_the_server(tmp_path: Path) -> None:
    with serving_maxcompute(tmp_path) as (served, door):
        client = served.odps()
        client.execute_sql(DDL)
        tunnel, table = TableTunnel(client), client.get_table("t")
        first = tunnel.create_upload_session("t", partition_spec="p=1", create_partition=True)
        with first.open_arrow_writer(0) as writer:
            writer.write(batch(*range(1000)))
        first.commit([0])
        with door.own_orders():
            snapshot = tunnel.create_download_session("t", partition_spec="p=1")
        order = rows(snapshot)
        second = tunnel.create_upload_session("t", partition_spec="p=1", overwrite=True)
        for block in (0, 1):
            with second.open_arrow_writer(block) as writer:
                writer.write(batch(block))
        api = StorageApiArrowClient(client, table)
        by_row = SplitOptions.get_default_options(SplitOptions.SplitMode.ROW_OFFSET)
        scan = api.create_read_session(TableBatchScanRequest(split_options=by_row)).session_id
        write = api.create_write_session(TableBatchWriteRequest(partition_spec="p=1", overwrite=False)).session_id
        block = api.write_rows_arrow(WriteRowsRequest(write))
        block.write(batch(7).to_batches()[0])
        message, _ = block.finish()
        other = door.project()
        user, size = door.user(), table.get_partition("p=1").size
    with serving_maxcompute(tmp_path) as (served, _):
        client = served.odps()
        tunnel, table = TableTunnel(client), client.get_table("t")
        assert client.exist_project(other)
        assert (table.lifecycle, table.table_schema["a"].nullable, table.table_schema["a"].comment) == (5, False, "x")
        assert (table.get_partition("p=1").record_num, table.get_partition("p=1").size) == (1000, size)
        assert order != sorted(order)
        assert rows(tunnel.create_download_session("t", partition_spec="p=1", download_id=snapshot.id)) == order
        with pytest.raises(ODPSError, match="ODPS-0410051"):
            served.odps(user).exist_table("t")
        with pytest.raises(ODPSError, match="StatusConflict"):
            tunnel.create_upload_session("t", partition_spec="p=1", upload_id=first.id).commit([0])
        tunnel.create_upload_session("t", partition_spec="p=1", upload_id=second.id).commit([0, 1])
        assert rows(tunnel.create_download_session("t", partition_spec="p=1")) == [0, 1]
        api = StorageApiArrowClient(client, table)
        stream = api.read_rows_stream(ReadRowsRequest(scan, row_count=1000))
        assert pa.ipc.open_stream(stream).read_all()["a"].to_pylist() == list(range(1000))
        done = api.commit_write_session(SessionRequest(write), [message])
        assert done.session_status == SessionStatus.COMMITTED
        assert rows(tunnel.create_download_session("t", partition_spec="p=1")) == [0, 1, 7]


def test_files_that_nobody_needs_are_gone_after_a_restart(tmp_path: Path) -> None:
    def files() -> int:
        return len(list(tmp_path.glob("data/tables/*/*.arrow")))

    with serving_maxcompute(tmp_path) as (served, door):
        client = served.odps()
        client.create_table("kept", "a bigint")
        client.create_table("gone", "a bigint")
        tunnel = TableTunnel(client)
        for name in ("kept", "gone"):
            for _ in range(2):
                session = tunnel.create_upload_session(name, overwrite=True)
                with session.open_arrow_writer(0) as writer:
                    writer.write(pa.table({"a": [1]}))
                session.commit([0])
                door.expire(session.id)
        client.execute_sql("DROP TABLE gone")
        assert files() == 4
    with serving_maxcompute(tmp_path) as (served, _):
        assert files() == 1
        assert served.odps().get_table("kept").record_num == 1
        assert not served.odps().exist_table("gone")


def test_a_broken_server_fails_its_tests(tmp_path: Path) -> None:
    with (
        pytest.raises(RuntimeError, match=r"(?s)is broken.*ValueError"),
        serving_maxcompute(tmp_path) as (served, door),
    ):
        door._do("service", page="many")
        with pytest.raises(ODPSError):
            list(served.odps().list_tables())
