"""The tunnel of the MaxCompute server: ranges, blocks, commits, sessions that are snapshots and end."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa
import pytest
from odps.config import option_context
from odps.errors import NoSuchObject, NoSuchPartition, ODPSError
from odps.tunnel import TableTunnel
from odps.tunnel.errors import TunnelError

from tests.servers.maxcompute_fixture import MaxComputeDoor, MaxComputeServed

ROWS = 100_000


def rows(start: int, count: int, mark: str = "") -> pa.Table:
    numbers = pa.array(range(start, start + count), pa.int64())
    return pa.table({"a": numbers, "b": [f"{mark}{number}" for number in range(start, start + count)]})


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


def write(tunnel: TableTunnel, name: str, data: pa.Table, **more: Any) -> None:
    session = tunnel.create_upload_session(name, **more)
    with session.open_arrow_writer(0) as writer:
        writer.write(data)
    session.commit([0])


def read(session: Any, start: int = 0, count: int | None = None, **more: Any) -> pa.Table:
    count = session.count - start if count is None else count
    if not count:
        # pyodps asks for nothing then, and fails to read what it did not ask for.
        return pa.table({"a": pa.array([], pa.int64()), "b": pa.array([], pa.string())})
    with session.open_arrow_reader(start, count, **more) as reader:
        return reader.read()


def all_of(tunnel: TableTunnel, name: str, **more: Any) -> list[int]:
    return read(tunnel.create_download_session(name, **more))["a"].to_pylist()


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


def test_a_range_past_the_end_is_refused(tunnel: TableTunnel, filled: str) -> None:
    session = tunnel.create_download_session(filled)
    with pytest.raises(ODPSError, match="row range is not valid"):
        read(session, ROWS - 1, 2)


def test_one_session_serves_many(tunnel: TableTunnel, filled: str, maxcompute_server: MaxComputeServed) -> None:
    session = tunnel.create_download_session(filled)

    def part(number: int) -> list[int]:
        own = TableTunnel(maxcompute_server.odps()).create_download_session(filled, download_id=session.id)
        assert own.count == ROWS
        return read(own, number * 25_000, 25_000)["a"].to_pylist()

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


def test_nothing_is_seen_before_the_commit(tunnel: TableTunnel, name: str) -> None:
    session = tunnel.create_upload_session(name)
    with session.open_arrow_writer(0) as writer:
        writer.write(rows(0, 3))
    assert all_of(tunnel, name) == []
    session.commit([0])
    assert all_of(tunnel, name) == [0, 1, 2]


def test_workers_share_a_session_and_repeat_their_blocks(
    tunnel: TableTunnel, name: str, maxcompute_server: MaxComputeServed
) -> None:
    session = tunnel.create_upload_session(name)

    def work(block: int) -> None:
        own = TableTunnel(maxcompute_server.odps()).create_upload_session(name, upload_id=session.id)
        for attempt in ("failed", "good"):
            with own.open_arrow_writer(block) as writer:
                writer.write(rows(block * 1000, 1000, attempt))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    session.commit([0, 1, 2, 3])
    assert read(tunnel.create_download_session(name)).equals(rows(0, 4000, "good"))


def test_blocks_are_ordered_by_their_numbers(tunnel: TableTunnel, name: str) -> None:
    session = tunnel.create_upload_session(name)
    for block in (10, 2, 0):
        with session.open_arrow_writer(block) as writer:
            writer.write(rows(block, 1))
    session.commit([0, 2, 10])
    assert all_of(tunnel, name) == [0, 2, 10]


def test_a_commit_names_all_blocks(tunnel: TableTunnel, name: str) -> None:
    session = tunnel.create_upload_session(name)
    for block in (0, 1):
        with session.open_arrow_writer(block) as writer:
            writer.write(rows(block, 1))
    with pytest.raises(TunnelError, match="Blocks not match"):
        session.commit([0])
    with pytest.raises(TunnelError, match="Block not exists"):
        session.commit([0, 5])
    assert all_of(tunnel, name) == []
    session.commit([0, 1])


def test_a_session_is_committed_once(tunnel: TableTunnel, name: str) -> None:
    session = tunnel.create_upload_session(name)
    with session.open_arrow_writer(0) as writer:
        writer.write(rows(0, 2))
    session.commit([0])
    assert session.status == session.Status.Closed
    with pytest.raises(ODPSError) as caught:
        session.commit([0])
    assert (caught.value.code, caught.value.status_code) == ("StatusConflict", 400)
    with pytest.raises(ODPSError, match="upload or download status"), session.open_arrow_writer(1) as writer:
        writer.write(rows(0, 2))
    assert all_of(tunnel, name) == [0, 1]


def test_overwrite_replaces_one_partition(tunnel: TableTunnel, maxcompute_server: MaxComputeServed) -> None:
    name = maxcompute_server.table()
    maxcompute_server.odps().create_table(name, ("a bigint, b string", "p string"))
    for value in "xy":
        write(tunnel, name, rows(0, 2), partition_spec=f"p={value}", create_partition=True)
    write(tunnel, name, rows(7, 1), partition_spec="p=x", overwrite=True)
    assert all_of(tunnel, name, partition_spec="p='x'") == [7]
    assert all_of(tunnel, name, partition_spec="p='y'") == [0, 1]


def test_an_overwrite_without_rows_empties(tunnel: TableTunnel, name: str) -> None:
    write(tunnel, name, rows(0, 2))
    tunnel.create_upload_session(name, overwrite=True).commit([])
    assert all_of(tunnel, name) == []


def test_a_writer_without_rows_makes_an_empty_block(tunnel: TableTunnel, name: str) -> None:
    session = tunnel.create_upload_session(name)
    with session.open_arrow_writer(3):
        pass
    assert session.get_block_list() == [3]
    session.commit([3])
    assert all_of(tunnel, name) == []


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


@pytest.mark.parametrize("compression", ["zlib", None])
def test_a_body_may_be_deflated(tunnel: TableTunnel, name: str, compression: str | None) -> None:
    option = tunnel.create_upload_session(name)._get_default_compress_option()
    assert option is None
    session = tunnel.create_upload_session(name, compress_algo=compression)
    with session.open_arrow_writer(0, compress=compression is not None) as writer:
        writer.write(rows(0, 5000))
    session.commit([0])
    assert all_of(tunnel, name) == list(range(5000))


def test_another_compression_is_refused(tunnel: TableTunnel, name: str) -> None:
    session = tunnel.create_upload_session(name, compress_algo="zstd")
    with (
        pytest.raises(ODPSError, match="no Content-Encoding: zstd"),
        session.open_arrow_writer(0, compress=True) as one,
    ):
        one.write(rows(0, 1))


def test_null_is_refused_where_it_may_not_be(tunnel: TableTunnel, maxcompute_server: MaxComputeServed) -> None:
    client, name = maxcompute_server.odps(), maxcompute_server.table()
    client.execute_sql(f"CREATE TABLE {name} (a BIGINT NOT NULL, b STRING)")
    with pytest.raises(ODPSError, match="the column a is NOT NULL"):
        write(tunnel, name, pa.table({"a": pa.array([1, None], pa.int64()), "b": ["x", "y"]}))
    assert all_of(tunnel, name) == []


def test_a_download_session_ends(tunnel: TableTunnel, filled: str, maxcompute_door: MaxComputeDoor) -> None:
    session = tunnel.create_download_session(filled)
    maxcompute_door.expire(session.id)
    with pytest.raises(ODPSError, match="download session is expired") as caught:
        read(session)
    assert caught.value.code == "StatusConflict"
    session.reload()
    assert session.status == session.Status.Expired


def test_an_upload_session_ends(tunnel: TableTunnel, name: str, maxcompute_door: MaxComputeDoor) -> None:
    with maxcompute_door.session_life(3600):
        session = tunnel.create_upload_session(name)
    with session.open_arrow_writer(0) as writer:
        writer.write(rows(0, 1))
    with maxcompute_door.clock(3601):
        with pytest.raises(ODPSError, match="upload session is expired"):
            session.commit([0])
        assert session.status == session.Status.Expired
    session.commit([0])
    assert all_of(tunnel, name) == [0]


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
    assert maxcompute_door.requests()["GetDownload"] == 2


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


def test_a_reader_never_sees_half_of_a_commit(
    tunnel: TableTunnel, name: str, maxcompute_server: MaxComputeServed
) -> None:
    write(tunnel, name, rows(0, 100))

    def replace(number: int) -> None:
        own = TableTunnel(maxcompute_server.odps()).create_upload_session(name, overwrite=True)
        for block in range(4):
            with own.open_arrow_writer(block) as writer:
                writer.write(pa.table({"a": [number] * 25, "b": ["x"] * 25}))
        own.commit([0, 1, 2, 3])

    with ThreadPoolExecutor(2) as pool:
        done = [pool.submit(replace, number) for number in range(1, 9)]
        while not all(one.done() for one in done):
            seen = all_of(tunnel, name)
            assert len(seen) == 100
            assert len(set(seen)) == 1 or seen == list(range(100))
        for one in done:
            one.result()


def test_large_and_small_batches_come_back_in_order(tunnel: TableTunnel, name: str) -> None:
    session = tunnel.create_upload_session(name)
    with session.open_arrow_writer(0) as writer:
        for start in range(0, 300, 3):
            writer.write(rows(start, 3))
        writer.write(rows(300, 50_000))
    session.commit([0])
    with option_context() as options:
        options.chunk_size = 1000
        session = tunnel.create_upload_session(name)
        with session.open_arrow_writer(0) as writer:
            writer.write(rows(50_300, 10_000))
        session.commit([0])
    assert all_of(tunnel, name) == list(range(60_300))
