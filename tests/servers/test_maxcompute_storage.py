"""The Storage API of the MaxCompute server, as pyodps's own client of it asks."""

from __future__ import annotations

import datetime
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa
import pytest
from odps.apis.storage_api import (
    ArrowOptions,
    Compression,
    ReadRowsRequest,
    SessionRequest,
    SessionStatus,
    SplitOptions,
    Status,
    StorageApiArrowClient,
    TableBatchScanRequest,
    TableBatchWriteRequest,
    WriteRowsRequest,
)
from odps.errors import NoSuchPartition, ODPSError
from odps.tunnel import TableTunnel

from tests.servers.maxcompute_fixture import MaxComputeDoor, MaxComputeServed

BY_ROW = SplitOptions.SplitMode.ROW_OFFSET
PER_DAY = 10_000


def make(served: MaxComputeServed, columns: str = "a bigint, b string", partitions: str | None = "dt string") -> Any:
    name = served.table()
    client = served.odps()
    client.create_table(name, (columns, partitions) if partitions else columns)
    return StorageApiArrowClient(client, client.get_table(name))


@pytest.fixture(scope="module")
def days(maxcompute_server: MaxComputeServed) -> Any:
    """A table of three days that nobody changes."""
    api = make(maxcompute_server)
    for day in range(3):
        with api.table.open_writer(partition=f"dt='{day}'", create_partition=True, arrow=True) as writer:
            first = day * PER_DAY
            numbers = range(first, first + PER_DAY)
            writer.write(pa.table({"a": numbers, "b": [f"b{number % 7}" for number in numbers]}))
    return api


def scan(api: Any, mode: Any = BY_ROW, **more: Any) -> Any:
    options = SplitOptions.get_default_options(mode)
    options.split_number = more.pop("split_number", options.split_number)
    options.cross_partition = more.pop("cross_partition", True)
    return api.create_read_session(TableBatchScanRequest(split_options=options, **more))


def read(api: Any, session: Any, **more: Any) -> pa.Table:
    stream = api.read_rows_stream(ReadRowsRequest(session.session_id, **more))
    return pa.ipc.open_stream(stream).read_all()


def all_splits(api: Any, session: Any) -> pa.Table:
    return pa.concat_tables(read(api, session, split_index=split) for split in range(session.split_count))


def write(api: Any, session: Any, block: int, data: dict[str, Any], **more: Any) -> str:
    writer = api.write_rows_arrow(WriteRowsRequest(session.session_id, block_number=block, **more))
    assert writer.write(pa.RecordBatch.from_pydict(data))
    message, well = writer.finish()
    assert well
    return str(message)


def test_a_session_by_rows_tells_how_many_there_are(days: Any) -> None:
    session = scan(days)
    assert (session.status, session.session_status) == (Status.OK, SessionStatus.NORMAL)
    assert (session.record_count, session.split_count) == (3 * PER_DAY, -1)
    assert [column.name for column in session.data_schema.data_columns] == ["a", "b"]
    assert [column.name for column in session.data_schema.partition_columns] == ["dt"]
    assert abs(session.expiration_time / 1000 - datetime.datetime.now().timestamp() - 24 * 3600) < 60
    again = days.get_read_session(SessionRequest(session.session_id))
    assert (again.session_id, again.record_count) == (session.session_id, 3 * PER_DAY)


@pytest.mark.parametrize("compression", list(Compression), ids=lambda one: one.name)
def test_rows_of_a_range_are_given_over_partitions(days: Any, compression: Compression) -> None:
    session = scan(days, required_partitions=["dt=0", "dt='2'"])
    got = read(days, session, row_index=PER_DAY - 2, row_count=4, compression=compression)
    assert got.to_pydict() == {
        "a": [9998, 9999, 20_000, 20_001],
        "b": ["b2", "b3", "b1", "b2"],
        "dt": ["0", "0", "2", "2"],
    }
    assert read(days, session, row_index=7, row_count=0).num_rows == 0
    with pytest.raises(ODPSError, match="row range is not valid"):
        read(days, session, row_index=2 * PER_DAY, row_count=1)


def test_columns_are_those_that_are_named(days: Any) -> None:
    session = scan(days, required_data_columns=["B", "a"], required_partitions=["dt=1"])
    assert read(days, session, row_index=0, row_count=1).to_pydict() == {"b": ["b4"], "a": [PER_DAY]}
    session = scan(days, required_data_columns=["a"], required_partition_columns=["dt"])
    assert read(days, session, row_index=0, row_count=1).to_pydict() == {"a": [0], "dt": ["0"]}
    with pytest.raises(ODPSError, match="no such columns"):
        scan(days, required_data_columns=["nobody"])
    with pytest.raises(NoSuchPartition):
        scan(days, required_partitions=["dt=9"])


@pytest.mark.parametrize("mode", ["Size", "Parallelism"])
@pytest.mark.parametrize("cross", [True, False])
def test_splits_are_all_of_the_rows(days: Any, mode: str, cross: bool) -> None:
    number = 100_000 if mode == "Size" else 4
    session = scan(days, SplitOptions.SplitMode(mode), split_number=number, cross_partition=cross)
    assert 4 <= session.split_count <= 12
    splits = [read(days, session, split_index=split) for split in range(session.split_count)]
    assert pa.concat_tables(splits)["a"].to_pylist() == list(range(3 * PER_DAY))
    assert any(len(split["dt"].unique()) > 1 for split in splits) == cross
    with pytest.raises(ODPSError, match="split_index"):
        read(days, session, split_index=session.split_count)


def test_batches_have_at_most_so_many_rows(days: Any) -> None:
    stream = days.read_rows_stream(ReadRowsRequest(scan(days).session_id, row_count=PER_DAY, max_batch_rows=300))
    assert max(batch.num_rows for batch in pa.ipc.open_stream(stream)) == 300


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("a = 5", [5]),
        ("`a` >= 29998 AND a != 29999", [29_998]),
        ("a < 2 or (a > 29998 and dt = '2')", [0, 1, 29_999]),
        ("a in (1, 2, 40000) and not b = 'b1'", [2]),
        ("a < 14 and b not in ('b0', 'b1', 'b2', 'b3', 'b4')", [5, 6, 12, 13]),
        ("a is null", []),
        ("a < 1 and b is not null and dt <> '1'", [0]),
        ("A = -1", []),
    ],
)
def test_a_filter_leaves_the_rows_that_it_means(days: Any, text: str, wanted: list[int]) -> None:
    session = scan(days, SplitOptions.SplitMode.SIZE, filter_predicate=text)
    assert all_splits(days, session)["a"].to_pylist() == wanted


@pytest.mark.parametrize("text", ["a = ", "nobody = 1", "a like 'x'", "length(b) > 1", "a = 'x'", "a = 1 b = 2"])
def test_a_filter_that_is_not_understood_is_refused(days: Any, text: str) -> None:
    with pytest.raises(ODPSError, match="FilterPredicate"):
        scan(days, filter_predicate=text)


def test_a_range_of_a_filtered_session_counts_all_rows(days: Any) -> None:
    session = scan(days, filter_predicate="b = 'b0'")
    assert session.record_count == 3 * PER_DAY
    assert read(days, session, row_index=0, row_count=8)["a"].to_pylist() == [0, 7]


def test_times_come_in_the_units_that_are_asked_for(maxcompute_server: MaxComputeServed) -> None:
    api = make(maxcompute_server, "t timestamp, d datetime", None)
    at = datetime.datetime(2024, 2, 29, 1, 2, 3)
    session = api.create_write_session(TableBatchWriteRequest())
    batch = {"t": pa.array([at], pa.timestamp("us")), "d": pa.array([at], pa.timestamp("s"))}
    api.commit_write_session(SessionRequest(session.session_id), [write(api, session, 0, batch)])
    options = ArrowOptions(timestamp_unit=ArrowOptions.TimestampUnit.MICRO)
    got = read(api, scan(api, arrow_options=options), row_count=1)
    assert got.schema.types == [pa.timestamp("us"), pa.timestamp("ms")]
    assert got.to_pylist() == [{"t": at, "d": at}]


def test_a_read_session_is_a_snapshot_with_an_order(
    days: Any, maxcompute_server: MaxComputeServed, maxcompute_door: MaxComputeDoor
) -> None:
    with maxcompute_door.own_orders():
        first, second = scan(days), scan(days)
    one, other = (read(days, session, row_count=3 * PER_DAY)["a"].to_pylist() for session in (first, second))
    assert one != other
    assert sorted(one) == sorted(other) == list(range(3 * PER_DAY))
    assert read(days, first, row_index=500, row_count=1000)["a"].to_pylist() == one[500:1500]
    api = make(maxcompute_server, partitions=None)
    session = scan(api)
    with api.table.open_writer(arrow=True) as writer:
        writer.write(pa.table({"a": [1], "b": ["x"]}))
    assert api.get_read_session(SessionRequest(session.session_id)).record_count == 0
    assert scan(api).record_count == 1


def test_a_read_session_ends_unless_it_is_refreshed(days: Any, maxcompute_door: MaxComputeDoor) -> None:
    with maxcompute_door.session_life(100):
        session = scan(days)
        with maxcompute_door.clock(90):
            days.get_read_session(SessionRequest(session.session_id, refresh=True))
    with maxcompute_door.clock(150):
        assert read(days, session, row_count=1).num_rows == 1
    with maxcompute_door.clock(200):
        told = days.get_read_session(SessionRequest(session.session_id))
        assert told.session_status == SessionStatus.EXPIRED
        with pytest.raises(ODPSError, match="read session is expired"):
            read(days, session, row_count=1)


def test_a_session_may_take_its_time(days: Any, maxcompute_door: MaxComputeDoor) -> None:
    with maxcompute_door.slow_sessions(2):
        session = scan(days)
    with pytest.raises(ODPSError, match="read session is being made"):
        read(days, session, row_count=1)
    assert (session.status, session.session_status) == (Status.WAIT, SessionStatus.INIT)
    assert days.get_read_session(SessionRequest(session.session_id)).session_status == SessionStatus.INIT
    session = days.get_read_session(SessionRequest(session.session_id))
    assert (session.session_status, session.record_count) == (SessionStatus.NORMAL, 3 * PER_DAY)


def test_blocks_of_many_writers_are_seen_at_once(maxcompute_server: MaxComputeServed) -> None:
    api = make(maxcompute_server, partitions=None)
    session = api.create_write_session(TableBatchWriteRequest(overwrite=False))
    assert (session.session_status, session.max_block_num) == (SessionStatus.NORMAL, 20_000)

    def work(block: int) -> str:
        own = make_client(maxcompute_server, api.table.name)
        write(own, session, block, {"a": [block] * 100, "b": ["failed"] * 100}, attempt_number=0)
        return write(own, session, block, {"B": ["good"] * 100, "A": [block] * 100}, attempt_number=1)

    with ThreadPoolExecutor(4) as pool:
        messages = list(pool.map(work, (3, 0, 2, 1)))
    assert scan(api).record_count == 0
    done = api.commit_write_session(SessionRequest(session.session_id), messages)
    assert (done.status, done.session_status) == (Status.OK, SessionStatus.COMMITTED)
    got = read(api, scan(api), row_count=400).to_pydict()
    assert got == {"a": [block for block in range(4) for _ in range(100)], "b": ["good"] * 400}


def make_client(served: MaxComputeServed, name: str) -> Any:
    client = served.odps()
    return StorageApiArrowClient(client, client.get_table(name))


def test_a_write_session_is_committed_once(maxcompute_server: MaxComputeServed) -> None:
    api = make(maxcompute_server, partitions=None)
    session = api.create_write_session(TableBatchWriteRequest())
    message = write(api, session, 0, {"a": [1], "b": ["x"]})
    request = SessionRequest(session.session_id)
    for wrong, said in ((["nonsense"], "nonsense"), ([message] * 5000, "block 0 is there twice")):
        with pytest.raises(ODPSError, match=said):
            api.commit_write_session(request, wrong)
    api.commit_write_session(request, [message])
    with pytest.raises(ODPSError, match="session is committed") as caught:
        api.commit_write_session(request, [message])
    assert caught.value.code == "StatusConflict"
    assert api.get_write_session(request).session_status == SessionStatus.COMMITTED
    with pytest.raises(ODPSError, match="session is committed"):
        write(api, session, 1, {"a": [1], "b": ["x"]})
    assert scan(api).record_count == 1


@pytest.mark.parametrize(("overwrite", "wanted"), [(True, [9]), (False, [1, 9])])
def test_a_partition_is_replaced_or_added_to(
    maxcompute_server: MaxComputeServed, overwrite: bool, wanted: list[int]
) -> None:
    api = make(maxcompute_server)
    for value in "xy":
        with api.table.open_writer(partition=f"dt={value}", create_partition=True, arrow=True) as writer:
            writer.write(pa.table({"a": [1], "b": ["x"]}))
    request = TableBatchWriteRequest(partition_spec="dt=x", overwrite=overwrite)
    session = api.create_write_session(request)
    message = write(api, session, 0, {"a": [9], "b": ["x"]})
    api.commit_write_session(SessionRequest(session.session_id), [message])
    tunnel = TableTunnel(maxcompute_server.odps())
    for value, rows in (("x", wanted), ("y", [1])):
        download = tunnel.create_download_session(api.table.name, partition_spec=f"dt={value}")
        with download.open_arrow_reader(0, download.count) as reader:
            assert reader.read()["a"].to_pylist() == rows


def test_what_the_table_does_not_take_is_refused(maxcompute_server: MaxComputeServed) -> None:
    api = make(maxcompute_server)
    with pytest.raises(NoSuchPartition):
        api.create_write_session(TableBatchWriteRequest(partition_spec="dt=x"))
    with pytest.raises(ODPSError, match="no dynamic partitions"):
        api.create_write_session(TableBatchWriteRequest())
    api.table.create_partition("dt=x")
    session = api.create_write_session(TableBatchWriteRequest(partition_spec="dt=x"))
    for wrong in ({"a": [1]}, {"a": ["x"], "b": ["x"]}, {"a": [1], "c": ["x"]}):
        with pytest.raises(ODPSError, match="not"):
            write(api, session, 0, wrong)
