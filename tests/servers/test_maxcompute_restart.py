"""The MaxCompute server is stopped and started again on its folder; what was told to it is still there."""

from __future__ import annotations

import itertools
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import requests
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
from odps.config import option_context
from odps.errors import ODPSError
from odps.tunnel import TableTunnel

from tests.servers.maxcompute_fixture import MaxComputeDoor, MaxComputeServed, serving_maxcompute

DDL = "CREATE TABLE t (A BIGINT NOT NULL COMMENT 'x', b STRUCT<c:STRING>) PARTITIONED BY (p STRING) LIFECYCLE 5"


def batch(*values: int) -> pa.Table:
    return pa.table({"a": values, "b": [{"c": str(value)} for value in values]})


def rows(session: Any) -> list[int]:
    with session.open_arrow_reader(0, session.count) as reader:
        return list(reader.read()["a"].to_pylist())


def leave_files(served: MaxComputeServed, door: MaxComputeDoor) -> None:
    """Leaves three files that nobody needs: one whose rows were replaced, and two of a table that was dropped."""
    client = served.odps()
    for name in ("kept", "gone"):
        client.create_table(name, "a bigint")
        for _ in range(2):
            session = TableTunnel(client).create_upload_session(name, overwrite=True)
            with session.open_arrow_writer(0) as writer:
                writer.write(pa.table({"a": [1]}))
            session.commit([0])
            door.expire(session.id)
    client.execute_sql("DROP TABLE gone")


def files(root: Path) -> int:
    return len(list(root.glob("data/tables/*/*.arrow")))


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
        leave_files(served, door)
        left = files(tmp_path)
    with serving_maxcompute(tmp_path) as (served, _):
        client = served.odps()
        tunnel, table = TableTunnel(client), client.get_table("t")
        assert files(tmp_path) == left - 3
        assert client.exist_project(other)
        assert client.get_table("kept").record_num == 1
        assert not client.exist_table("gone")
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


def test_a_server_that_is_killed_leaves_whole_commits(tmp_path: Path) -> None:
    written: list[int] = []

    def replace(served: MaxComputeServed) -> None:
        tunnel = TableTunnel(served.odps())
        with option_context() as options, suppress(requests.ConnectionError):
            options.retry_times = 0
            for number in itertools.count():
                session = tunnel.create_upload_session("t", overwrite=True)
                for block in range(3):
                    with session.open_arrow_writer(block) as writer:
                        writer.write(pa.table({"a": [number] * 10}))
                session.commit([0, 1, 2])
                written.append(number)

    with serving_maxcompute(tmp_path) as (served, door):
        served.odps().create_table("t", "a bigint")
        with ThreadPoolExecutor(1) as pool:
            done = pool.submit(replace, served)
            while len(written) < 5:
                time.sleep(0.01)
            door.kill()
            done.result()
    with serving_maxcompute(tmp_path) as (served, _):
        found = rows(TableTunnel(served.odps()).create_download_session("t"))
        # The answer to the last commit may be lost, the commit itself may not.
        assert found in ([written[-1]] * 30, [written[-1] + 1] * 30)


def test_a_broken_server_fails_its_tests(tmp_path: Path) -> None:
    with (
        pytest.raises(RuntimeError, match=r"(?s)is broken.*ValueError"),
        serving_maxcompute(tmp_path) as (served, door),
    ):
        door._do("service", page="many")
        with pytest.raises(ODPSError):
            list(served.odps().list_tables())
