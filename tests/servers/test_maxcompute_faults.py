"""Faults that are ordered from the MaxCompute server happen once, to whom they are meant for, and to nobody else."""

from __future__ import annotations

import time
from typing import Any

import pyarrow as pa
import pytest
import requests
import urllib3
from odps.apis.storage_api import (
    ReadRowsRequest,
    SplitOptions,
    StorageApiArrowClient,
    TableBatchScanRequest,
)
from odps.config import option_context
from odps.errors import NoPermission, ODPSError
from odps.tunnel import TableTunnel

from tests.servers.maxcompute_fixture import MaxComputeDoor, MaxComputeServed

ROWS = 40_000


@pytest.fixture(scope="module")
def name(maxcompute_server: MaxComputeServed) -> str:
    client, name = maxcompute_server.odps(), maxcompute_server.table()
    client.create_table(name, "a bigint")
    with client.get_table(name).open_writer(arrow=True) as writer:
        writer.write(pa.table({"a": range(ROWS)}))
    return name


@pytest.fixture
def tunnel(maxcompute_server: MaxComputeServed) -> Any:
    with option_context() as options:
        options.retry_delay = 0.01
        yield TableTunnel(maxcompute_server.odps())


def body(session: Any, count: int = ROWS) -> bytes:
    """Returns what comes, as it comes."""
    return bytes(session._build_input_stream(0, count, arrow=True).read())


def rows(session: Any, **more: Any) -> list[int]:
    with session.open_arrow_reader(0, session.count, **more) as reader:
        return list(reader.read()["a"].to_pylist())


def test_an_error_is_answered_as_often_as_ordered(
    maxcompute_server: MaxComputeServed, maxcompute_door: MaxComputeDoor, name: str
) -> None:
    client = maxcompute_server.odps()
    maxcompute_door.fault("GetTable", "error", times=2, status=403, code="NoPermission", message="ODPS-0130013: no")
    assert len(list(client.list_tables(prefix=name))) == 1
    for _ in range(2):
        with pytest.raises(NoPermission, match="ODPS-0130013"):
            client.get_table(name).reload()
    client.get_table(name).reload()
    assert maxcompute_door.forget() == 0


def test_an_error_leaves_some_alone_first(maxcompute_door: MaxComputeDoor, tunnel: TableTunnel, name: str) -> None:
    maxcompute_door.fault("Download", "error", skip=1, status=400, code="FlowExceeded", message="Your flow quota")
    session = tunnel.create_download_session(name)
    whole = body(session)
    with pytest.raises(ODPSError, match="FlowExceeded") as caught:
        body(session)
    assert caught.value.status_code == 400
    assert body(session) == whole


def test_an_error_of_the_service_is_tried_again(
    maxcompute_door: MaxComputeDoor, tunnel: TableTunnel, name: str
) -> None:
    maxcompute_door.requests(forget=True)
    maxcompute_door.fault("CreateDownload", "error", status=503, code="ServiceUnavailable")
    assert tunnel.create_download_session(name).count == ROWS
    assert maxcompute_door.requests()["CreateDownload"] == 2


def test_a_body_may_be_empty_and_well(maxcompute_door: MaxComputeDoor, tunnel: TableTunnel, name: str) -> None:
    session = tunnel.create_download_session(name)
    maxcompute_door.fault("Download", "empty")
    assert body(session) == b""
    maxcompute_door.fault("Download", "empty")
    assert rows(session) == list(range(ROWS))


def test_a_body_may_be_empty_where_too_many_rows_are_asked_for(
    maxcompute_door: MaxComputeDoor, tunnel: TableTunnel, name: str
) -> None:
    session = tunnel.create_download_session(name)
    maxcompute_door.fault("Download", "empty", times=3, above=10_000)
    assert body(session, 10_001) == b""
    assert len(body(session, 10_000)) > 80_000
    assert body(session) == b""


def test_a_body_may_be_cut(maxcompute_door: MaxComputeDoor, tunnel: TableTunnel, name: str) -> None:
    session = tunnel.create_download_session(name)
    whole = body(session)
    for after, coming in ((None, 1000), (0, 0), (70_000, 65_000), (200_000, 190_000)):
        maxcompute_door.fault("Download", "cut", after=after)
        stream = session._build_input_stream(0, ROWS, arrow=True)
        assert stream.read(coming) == whole[:coming]
        with pytest.raises(urllib3.exceptions.ProtocolError):
            stream.read()
    maxcompute_door.fault("Download", "cut")
    assert rows(session) == list(range(ROWS))


def test_a_body_may_end_early_as_if_it_were_whole(
    maxcompute_door: MaxComputeDoor, tunnel: TableTunnel, name: str
) -> None:
    session = tunnel.create_download_session(name)
    whole = body(session)
    maxcompute_door.fault("Download", "short", after=70_000)
    assert body(session) == whole[:70_000]
    maxcompute_door.fault("Download", "short")
    assert whole.startswith(body(session))


def test_rows_may_be_missing_from_a_body_that_is_right(
    maxcompute_door: MaxComputeDoor, tunnel: TableTunnel, name: str
) -> None:
    session = tunnel.create_download_session(name)
    maxcompute_door.fault("Download", "fewer", rows=3)
    assert rows(session) == list(range(ROWS - 3))


@pytest.mark.parametrize("arrow", [True, False])
def test_a_sum_may_be_wrong(maxcompute_door: MaxComputeDoor, tunnel: TableTunnel, name: str, arrow: bool) -> None:
    session = tunnel.create_download_session(name)
    stream = {"compress": False, "arrow": arrow}
    right = session._build_input_stream(0, 10, **stream).read()
    maxcompute_door.fault("Download", "corrupt")
    wrong = session._build_input_stream(0, 10, **stream).read()
    assert len(wrong) == len(right)
    assert sum(one != other for one, other in zip(wrong, right, strict=True)) == 1
    maxcompute_door.requests(forget=True)
    maxcompute_door.fault("Download", "corrupt")
    if arrow:
        assert rows(session) == list(range(ROWS))
    else:
        with session.open_record_reader(0, 10) as reader:
            assert [record[0] for record in reader] == list(range(10))
    assert maxcompute_door.requests()["Download"] == 2


def test_a_block_may_be_refused_for_its_sum(maxcompute_door: MaxComputeDoor, tunnel: TableTunnel, name: str) -> None:
    session = tunnel.create_upload_session(name)
    maxcompute_door.fault("UploadBlock", "corrupt")
    with pytest.raises(ODPSError, match="data stream was corrupted"), session.open_arrow_writer(0) as writer:
        writer.write(pa.table({"a": [1]}))
    assert session.get_block_list() == []


def test_a_block_with_a_wrong_sum_is_refused(tunnel: TableTunnel, name: str) -> None:
    session = tunnel.create_upload_session(name)
    for spoiled in (bytes(7), (65_536).to_bytes(4, "big") + b"x" * 100, (65_536).to_bytes(4, "big")):
        with pytest.raises(ODPSError, match="data stream was corrupted"):
            put(tunnel, session, spoiled)
    assert session.get_block_list() == []


def put(tunnel: TableTunnel, session: Any, data: bytes) -> None:
    params = {"uploadid": session.id, "blockid": 0, "arrow": ""}
    tunnel.tunnel_rest.put(session._table.table_resource(client=tunnel.tunnel_rest), data=data, params=params)


def test_a_connection_may_be_reset_before_anything_is_done(
    maxcompute_door: MaxComputeDoor, tunnel: TableTunnel, maxcompute_server: MaxComputeServed
) -> None:
    name = maxcompute_server.table()
    maxcompute_door.fault("CreateInstance", "reset")
    with pytest.raises(requests.ConnectionError):
        maxcompute_server.odps().create_table(name, "a bigint")
    assert not maxcompute_server.odps().exist_table(name)


def test_an_answer_may_be_lost_after_the_commit(
    maxcompute_door: MaxComputeDoor, tunnel: TableTunnel, maxcompute_server: MaxComputeServed
) -> None:
    client, name = maxcompute_server.odps(), maxcompute_server.table()
    client.create_table(name, "a bigint")
    session = tunnel.create_upload_session(name)
    with session.open_arrow_writer(0) as writer:
        writer.write(pa.table({"a": [1, 2]}))
    maxcompute_door.fault("CommitUpload", "lost")
    with option_context() as options, pytest.raises(requests.ConnectionError):
        options.retry_times = 0
        session.commit([0])
    assert tunnel.create_download_session(name).count == 2
    assert tunnel.create_upload_session(name, upload_id=session.id).status == session.Status.Closed
    # What pyodps itself makes of it: it asks again, and takes the refusal for a failure.
    session = tunnel.create_upload_session(name)
    with session.open_arrow_writer(0) as writer:
        writer.write(pa.table({"a": [3]}))
    maxcompute_door.fault("CommitUpload", "lost")
    with pytest.raises(ODPSError, match="StatusConflict"):
        session.commit([0])
    assert tunnel.create_download_session(name).count == 3


def test_a_request_may_wait(maxcompute_door: MaxComputeDoor, maxcompute_server: MaxComputeServed, name: str) -> None:
    client = maxcompute_server.odps()
    maxcompute_door.fault("*", "delay", seconds=0.3)
    start = time.monotonic()
    client.get_table(name).reload()
    assert time.monotonic() - start >= 0.3
    assert maxcompute_door.forget() == 0


def test_answers_without_a_stream_may_be_spoiled_too(
    maxcompute_door: MaxComputeDoor, maxcompute_server: MaxComputeServed, name: str
) -> None:
    rest = maxcompute_server.odps().rest
    url = f"{maxcompute_server.endpoint}/projects/{maxcompute_server.project}/tables/{name}"
    whole = rest.get(url).content
    maxcompute_door.fault("GetTable", "empty")
    assert rest.get(url).content == b""
    maxcompute_door.fault("GetTable", "short", after=10)
    assert rest.get(url).content == whole[:10]
    maxcompute_door.fault("GetTable", "cut", times=9)
    with option_context() as options, pytest.raises(requests.RequestException):
        options.retry_times = 0
        rest.get(url)
    assert maxcompute_door.forget() == 8
    assert rest.get(url).content == whole


def test_the_storage_api_is_spoiled_alike(
    maxcompute_door: MaxComputeDoor, maxcompute_server: MaxComputeServed, name: str
) -> None:
    client = maxcompute_server.odps()
    api = StorageApiArrowClient(client, client.get_table(name))
    by_row = SplitOptions.get_default_options(SplitOptions.SplitMode.ROW_OFFSET)
    session = api.create_read_session(TableBatchScanRequest(split_options=by_row)).session_id

    def stream() -> bytes:
        return bytes(api.read_rows_stream(ReadRowsRequest(session, row_index=0, row_count=ROWS)).read())

    whole = stream()
    assert pa.ipc.open_stream(whole).read_all().num_rows == ROWS
    maxcompute_door.fault("ReadRows", "fewer", rows=5)
    assert pa.ipc.open_stream(stream()).read_all().num_rows == ROWS - 5
    maxcompute_door.fault("ReadRows", "empty")
    assert stream() == b""
    maxcompute_door.fault("ReadRows", "short", after=1000)
    assert stream() == whole[:1000]
    maxcompute_door.fault("ReadRows", "cut")
    with pytest.raises(urllib3.exceptions.ProtocolError):
        stream()
    maxcompute_door.fault("ReadRows", "corrupt")
    assert sum(one != other for one, other in zip(stream(), whole, strict=True)) == 1
    maxcompute_door.fault(
        "ReadRows", "error", status=400, code="StatusConflict", message="The read session is expired."
    )
    with pytest.raises(ODPSError, match="session is expired"):
        stream()


def test_what_nobody_used_is_forgotten(maxcompute_door: MaxComputeDoor) -> None:
    maxcompute_door.fault("GetTable", "error", times=5)
    assert maxcompute_door.forget() == 5
    with pytest.raises(ValueError, match="no such kind"):
        maxcompute_door.fault("GetTable", "tired")
