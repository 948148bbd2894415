"""The tunnel of the MaxCompute server, downwards: ranges, columns, sessions that are snapshots and end."""

from __future__ import annotations

import itertools
import time
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pytest
from odps.errors import NoSuchObject, NoSuchPartition, ODPSError
from odps.tunnel import TableTunnel

from tests.servers.maxcompute_clients import read, rows, write
from tests.servers.maxcompute_fixture import MaxComputeDoor, MaxComputeServed

ROWS = 100_000


@pytest.fixture
def tunnel(maxcompute_server: MaxComputeServed) -> TableTunnel:
    return TableTunnel(maxcompute_server.odps())


@pytest.fixture
def name(maxcompute_server: MaxComputeServed) -> str:
    """An empty table."""
    name = maxcompute_server.table()
    maxcompute_server.odps().create_table(name, "a bigint, b string")
    return name


@pytest.fixture(scope="module")
def filled(maxcompute_server: MaxComputeServed) -> str:
    """A table that nobody changes."""
    name = maxcompute_server.table()
    maxcompute_server.odps().create_table(name, "a bigint, b string")
    write(TableTunnel(maxcompute_server.odps()), name, rows(0, ROWS))
    return name


@pytest.mark.parametrize(("start", "count"), [(0, ROWS), (0, 1), (16_383, 2), (ROWS - 1, 1), (33_333, 40_000)], ids=str)
def test_a_range_is_given_without_the_rest(tunnel: TableTunnel, filled: str, start: int, count: int) -> None:
    session = tunnel.create_download_session(filled)
    assert session.count == ROWS
    assert read(session, start, count).equals(rows(start, count))


@pytest.mark.parametrize("start", [0, 5, ROWS])
def test_a_range_of_nothing_is_frames_without_rows(tunnel: TableTunnel, filled: str, start: int) -> None:
    session = tunnel.create_download_session(filled)
    body = session._build_input_stream(start, 0, arrow=True).read()
    assert body == (65_536).to_bytes(4, "big") + bytes(4)


def test_columns_are_given_without_the_rest(tunnel: TableTunnel, filled: str) -> None:
    session = tunnel.create_download_session(filled)
    assert read(session, 10, 2, columns=["b"]).to_pydict() == {"b": ["10", "11"]}
    with pytest.raises(ODPSError, match="specified columns are not valid"):
        session._build_input_stream(0, 1, columns=["nobody"], arrow=True)


def test_a_wide_table_is_read_by_its_columns(tunnel: TableTunnel, maxcompute_server: MaxComputeServed) -> None:
    client, name = maxcompute_server.odps(), maxcompute_server.table()
    columns = [f"feature_column_{number:04}" for number in range(1200)]
    client.create_table(name, ", ".join(f"{column} bigint" for column in columns))
    write(tunnel, name, pa.table({column: [number] for number, column in enumerate(columns)}))
    session = tunnel.create_download_session(name)
    assert read(session, columns=columns[1:]).to_pydict() == {column: [at] for at, column in enumerate(columns) if at}


def test_a_range_past_the_end_is_refused(tunnel: TableTunnel, filled: str) -> None:
    session = tunnel.create_download_session(filled)
    with pytest.raises(ODPSError, match="row range is not valid"):
        read(session, ROWS - 1, 2)


def test_one_session_serves_many(tunnel: TableTunnel, filled: str, maxcompute_server: MaxComputeServed) -> None:
    session = tunnel.create_download_session(filled)

    def part(number: int) -> list[int]:
        own = TableTunnel(maxcompute_server.odps()).create_download_session(filled, download_id=session.id)
        assert own.count == ROWS
        return list(read(own, number * 25_000, 25_000)["a"].to_pylist())

    with ThreadPoolExecutor(4) as pool:
        assert list(itertools.chain(*pool.map(part, range(4)))) == list(range(ROWS))


def test_a_session_is_a_snapshot(tunnel: TableTunnel, name: str) -> None:
    write(tunnel, name, rows(0, 10))
    before = tunnel.create_download_session(name)
    write(tunnel, name, rows(10, 5))
    between = tunnel.create_download_session(name)
    write(tunnel, name, rows(100, 3), overwrite=True)
    after = tunnel.create_download_session(name)
    assert read(before)["a"].to_pylist() == list(range(10))
    assert read(between)["a"].to_pylist() == list(range(15))
    assert read(after)["a"].to_pylist() == [100, 101, 102]


def test_partitions_must_be_named_and_there(tunnel: TableTunnel, maxcompute_server: MaxComputeServed) -> None:
    name = maxcompute_server.table()
    maxcompute_server.odps().create_table(name, ("a bigint, b string", "p string, q string"))
    with pytest.raises(ODPSError, match="need to specify a partitionspec"):
        tunnel.create_upload_session(name)
    with pytest.raises(ODPSError, match="partition spec is not valid"):
        tunnel.create_download_session(name, partition_spec="p=1")
    for make in (tunnel.create_upload_session, tunnel.create_download_session):
        with pytest.raises(NoSuchPartition, match="partition does not exist"):
            make(name, partition_spec="p=1,q=2")
        with pytest.raises(NoSuchObject, match="Table not found"):
            make("nobody", partition_spec="p=1,q=2")


def test_a_download_session_ends(tunnel: TableTunnel, filled: str, maxcompute_door: MaxComputeDoor) -> None:
    session = tunnel.create_download_session(filled)
    maxcompute_door.expire(session.id)
    with pytest.raises(ODPSError, match="download session is expired") as caught:
        read(session)
    assert caught.value.code == "StatusConflict"
    session.reload()
    assert session.status == session.Status.Expired


def test_sessions_that_are_not_there_are_refused(tunnel: TableTunnel, filled: str, name: str) -> None:
    session = tunnel.create_download_session(filled)
    for make, given in (
        (tunnel.create_download_session, {"download_id": "nobody"}),
        (tunnel.create_download_session, {"download_id": session.id}),
        (tunnel.create_upload_session, {"upload_id": session.id}),
    ):
        with pytest.raises(ODPSError, match="id does not exist"):
            make(name, **given)


def test_a_session_may_take_its_time(tunnel: TableTunnel, filled: str, maxcompute_door: MaxComputeDoor) -> None:
    maxcompute_door.requests(forget=True)
    with maxcompute_door.slow_sessions(3):
        session = tunnel.create_download_session(filled)
    assert session.count == ROWS
    assert maxcompute_door.requests()["GetDownload"] == 3


def test_each_session_may_have_an_order_of_its_own(
    tunnel: TableTunnel, filled: str, maxcompute_door: MaxComputeDoor
) -> None:
    with maxcompute_door.own_orders():
        first, second = (tunnel.create_download_session(filled) for _ in range(2))
    one, other = (read(session)["a"].to_pylist() for session in (first, second))
    assert one != other
    assert sorted(one) == sorted(other) == list(range(ROWS))
    assert one[:100] != sorted(one[:100])
    assert read(first, 40_000, 20_000)["a"].to_pylist() == one[40_000:60_000]
    assert read(tunnel.create_download_session(filled), 0, 5)["a"].to_pylist() == [0, 1, 2, 3, 4]


def test_streams_may_be_slow_and_are_slow_side_by_side(
    filled: str, maxcompute_server: MaxComputeServed, maxcompute_door: MaxComputeDoor
) -> None:
    session = TableTunnel(maxcompute_server.odps()).create_download_session(filled)
    size = len(session._build_input_stream(0, ROWS, arrow=True).read())

    def timed(streams: int) -> float:
        start = time.monotonic()
        with ThreadPoolExecutor(streams) as pool:
            list(pool.map(lambda _: session._build_input_stream(0, ROWS, arrow=True).read(), range(streams)))
        return time.monotonic() - start

    with maxcompute_door.stream_rate(size):
        alone, together = timed(1), timed(4)
    assert alone >= 0.9
    assert together < 3 * alone
