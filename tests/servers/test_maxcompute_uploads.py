"""The tunnel of the MaxCompute server, upwards: blocks, commits, what is seen of them and when."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pytest
from odps.config import option_context
from odps.errors import ODPSError
from odps.tunnel import TableTunnel
from odps.tunnel.errors import TunnelError

from tests.servers.maxcompute_clients import all_of, read, rows, write
from tests.servers.maxcompute_fixture import MaxComputeDoor, MaxComputeServed


@pytest.fixture
def tunnel(maxcompute_server: MaxComputeServed) -> TableTunnel:
    return TableTunnel(maxcompute_server.odps())


@pytest.fixture
def name(maxcompute_server: MaxComputeServed) -> str:
    """An empty table."""
    name = maxcompute_server.table()
    maxcompute_server.odps().create_table(name, "a bigint, b string")
    return name


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


def test_a_block_whose_writer_is_gone_is_no_block(
    tunnel: TableTunnel, name: str, maxcompute_server: MaxComputeServed
) -> None:
    session = tunnel.create_upload_session(name)

    def half() -> Iterator[bytes]:
        yield (65_536).to_bytes(4, "big") + bytes(1000)
        raise OSError("the writer is gone")

    with pytest.raises(OSError, match="the writer is gone"), option_context() as options:
        options.retry_times = 0
        params = {"uploadid": session.id, "blockid": 0, "arrow": ""}
        tunnel.tunnel_rest.put(session._table.table_resource(client=tunnel.tunnel_rest), data=half(), params=params)
    # The session's client holds the connection until it is told otherwise.
    tunnel.tunnel_rest.session.close()
    assert session.get_block_list() == []
    session.commit([])
    assert all_of(tunnel, name) == []
