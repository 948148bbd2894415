"""Files on their way up to OSS: parts, memory, giving up, and answers that are lost on the way."""

from __future__ import annotations

import errno
import gc
import os
import tracemalloc
from typing import TYPE_CHECKING

import pytest

from pai_train.storage import Limits, ObjectExists, Store, StoreUnavailable, crc64, join, oss_upload
from pai_train.storage.oss import OssObjects
from tests.servers.faults import faulty
from tests.servers.oss_content import crc64 as crc64_of
from tests.suites.storage_suite import write_then_stop

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.servers.faults import Control
    from tests.servers.oss_fixture import OssDoor
    from tests.servers.served import Served

MIB = 2**20
SMALL = Limits(parallel=3, part_bytes=MIB, timeout_s=20, deadline_s=20)


@pytest.fixture
def store(oss_server: Served, monkeypatch: pytest.MonkeyPatch) -> Store:
    oss_server.enter(monkeypatch)
    return oss_server.stores(SMALL).open("oss://")


@pytest.fixture
def url(oss_server: Served) -> str:
    return join(oss_server.root(), "deep", "er", "object.bin")


def pending(door: OssDoor, url: str) -> list[object]:
    """Returns the uploads under way below a URL."""
    bucket, _, key = url.removeprefix("oss://").partition("/")
    return list(door.uploads(bucket, key))


def test_a_long_stream_needs_little_memory(store: Store, url: str) -> None:
    block = bytes(range(256)) * (MIB // 256)
    store.put(url, b"warm")
    tracemalloc.start()
    try:
        with store.filesystem.open(url, "wb") as stream:
            for _ in range(40):
                stream.write(block)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # The buffer and its copy, and each part that is under way.
    assert peak < (SMALL.parallel + 3) * MIB
    assert store.info(url).size == 40 * MIB
    assert all(store.read(url, at * MIB, (at + 1) * MIB) == block for at in (0, 17, 39))


@pytest.mark.parametrize("size", [0, 1, MIB - 1, MIB, MIB + 1, 3 * MIB, 3 * MIB + 5])
def test_streams_around_the_length_of_a_part(store: Store, url: str, oss_door: OssDoor, size: int) -> None:
    content = bytes(range(251)) * (size // 251 + 1)
    oss_door.requests(forget=True)
    with store.filesystem.open(url, "wb") as stream:
        for start in range(0, size, 700_001):
            stream.write(memoryview(content)[start : min(start + 700_001, size)])
    assert store.read(url) == content[:size]
    sent = oss_door.requests()
    assert (sent.get("PutObject"), sent.get("UploadPart")) == ((1, None) if size <= MIB else (None, -(-size // MIB)))
    assert pending(oss_door, url) == []


def test_a_stream_that_is_given_up_leaves_no_parts(store: Store, url: str, oss_door: OssDoor) -> None:
    with pytest.raises(RuntimeError, match="stop"), store.filesystem.open(url, "wb") as stream:
        stream.write(b"x" * 5 * MIB)
        assert len(pending(oss_door, url)) == 1
        write_then_stop(stream)
    dropped = store.filesystem.open(url, "wb")
    dropped.write(b"x" * 5 * MIB)
    del dropped
    gc.collect()
    discarded = store.filesystem.open(url, "wb")
    discarded.write(b"x" * 5 * MIB)
    discarded.discard()
    discarded.close()
    assert (pending(oss_door, url), store.info(url)) == ([], None)
    with pytest.raises(ValueError, match="closed"):
        discarded.write(b"1")


def test_an_exclusive_stream_has_one_winner(store: Store, url: str, oss_door: OssDoor) -> None:
    first, second = (store.filesystem.open(url, "xb") for _ in range(2))
    first.write(b"1" * 3 * MIB)
    second.write(b"2" * 3 * MIB)
    second.close()
    with pytest.raises(FileExistsError):
        first.close()
    with pytest.raises(FileExistsError):
        store.filesystem.open(url, "xb")
    with store.filesystem.open(url.rpartition("/")[0], "xb") as folder:
        folder.write(b"an object may be named like a folder")
    assert store.read(url) == b"2" * 3 * MIB
    assert pending(oss_door, url) == []


def test_a_transaction_publishes_at_its_end(store: Store, url: str, oss_door: OssDoor) -> None:
    filesystem, small = store.filesystem, f"{url}.small"
    with filesystem.transaction:
        for name, content in ((url, b"x" * 3 * MIB), (small, b"y")):
            with filesystem.open(name, "wb") as stream:
                stream.write(content)
            assert store.info(name) is None
    assert (store.read(url), store.read(small)) == (b"x" * 3 * MIB, b"y")
    with pytest.raises(RuntimeError, match="stop"), filesystem.transaction:
        for name in (url, small):
            with filesystem.open(name, "wb") as stream:
                stream.write(b"z" * 3 * MIB)
        raise RuntimeError("stop")
    assert (store.read(url), store.read(small)) == (b"x" * 3 * MIB, b"y")
    assert pending(oss_door, url) == []


@pytest.mark.parametrize("sizes", [(0, 5), (3, 0), (5, 7), (1000, 100_001)])
def test_sums_of_parts_make_the_sum_of_the_whole(sizes: tuple[int, int]) -> None:
    first, second = (os.urandom(size) for size in sizes)
    assert crc64.joined(crc64_of(first), crc64_of(second), len(second)) == crc64_of(first + second)


# Faults


@pytest.fixture(scope="module")
def proxied(oss_server: Served) -> Iterator[tuple[Served, Control]]:
    with faulty(oss_server) as found:
        yield found


@pytest.fixture
def control(proxied: tuple[Served, Control]) -> Iterator[Control]:
    yield proxied[1]
    waiting = proxied[1].waiting()
    proxied[1].set(mode="up", share=0.0, once=[])
    assert not waiting, "a fault has met no request"


@pytest.fixture
def far(proxied: tuple[Served, Control], monkeypatch: pytest.MonkeyPatch) -> Store:
    proxied[0].enter(monkeypatch)
    return proxied[0].stores(SMALL).open("oss://")


LONG = bytes(range(256)) * (3 * MIB // 256 + 1)
KINDS = [("lost", None), ("reset", None), ("error", 503), ("error", 500)]


@pytest.mark.parametrize("mode", ["wb", "xb"])
@pytest.mark.parametrize(("kind", "status"), KINDS)
@pytest.mark.parametrize(
    ("method", "path"), [("POST", "uploads"), ("PUT", "partNumber=2"), ("POST", "uploadId"), ("PUT", "small")]
)
def test_what_fails_once_is_done_once(
    far: Store,
    control: Control,
    url: str,
    mode: str,
    kind: str,
    status: int | None,
    method: str,
    path: str,
    oss_door: OssDoor,
) -> None:
    control.once(kind, method=method, path=path, status=status)
    target, content = (join(url, "small"), b"1") if path == "small" else (join(url, "long"), LONG)
    with far.filesystem.open(target, mode) as stream:
        stream.write(content)
    assert far.read(target) == content
    if mode == "xb":
        with pytest.raises(ObjectExists):
            far.create(target, b"2")
        assert far.read(target) == content
    assert far.stats.counts().retries == 1
    # Of an upload whose id was lost nobody knows whether it is one's own or another writer's.
    assert len(pending(oss_door, url)) == (kind == "lost" and path == "uploads")


def test_a_lost_answer_makes_nobody_else_the_winner(far: Store, control: Control, url: str) -> None:
    far.filesystem.pipe_file(url, LONG, mode="create")
    for content in (LONG, b"1"):
        control.once(
            "reset", method="POST" if content is LONG else "PUT", path="uploadId" if content is LONG else url[-9:]
        )
        with pytest.raises(FileExistsError):
            far.filesystem.pipe_file(url, content, mode="create")
    assert far.read(url) == LONG


def test_a_part_is_sent_as_often_as_it_takes(far: Store, control: Control, url: str, oss_door: OssDoor) -> None:
    for kind, status in [*KINDS, ("error", 429), ("error", 503)]:
        control.once(kind, method="PUT", path="partNumber=1", status=status)
    with far.filesystem.open(url, "wb") as stream:
        stream.write(LONG)
    assert far.read(url) == LONG
    assert far.stats.counts().retries == len(KINDS) + 2
    assert pending(oss_door, url) == []


@pytest.mark.parametrize("content", [b"1", LONG])
def test_what_was_damaged_on_its_way_is_never_seen(
    store: Store, url: str, oss_door: OssDoor, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    md5 = oss_upload._md5
    monkeypatch.setattr(oss_upload, "_md5", lambda body: md5(body + b"damaged"))
    filesystem = OssObjects(store.filesystem.access, Limits(part_bytes=MIB, deadline_s=0.1), store.stats)
    with pytest.raises(ConnectionError, match="Content-MD5") as caught:
        filesystem.pipe_file(url, content)
    assert caught.value.code == "InvalidDigest"
    assert (store.info(url), pending(oss_door, url)) == (None, [])


def test_parts_put_together_wrongly_are_noticed(store: Store, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crc64, "joined", lambda first, second, size: 1)
    with pytest.raises(OSError, match="put together wrongly"):
        store.filesystem.pipe_file(url, LONG)


def test_a_store_that_stays_away_is_an_error_at_the_deadline(
    proxied: tuple[Served, Control],
    far: Store,
    control: Control,
    url: str,
    oss_door: OssDoor,
    caplog: pytest.LogCaptureFixture,
) -> None:
    impatient = proxied[0].stores(Limits(parallel=2, part_bytes=MIB, timeout_s=1, deadline_s=0.5)).open("oss://")
    with pytest.raises(ConnectionError) as caught, impatient.filesystem.open(url, "wb") as stream:
        stream.write(LONG)
        control.down()
        stream.write(LONG)
    assert caught.value.errno == errno.ECONNABORTED
    with pytest.raises(StoreUnavailable):
        impatient.put(url, b"1")
    control.up()
    assert far.info(url) is None
    # Nobody could end it: what is left of it is for a rule of the bucket to delete, and said so.
    assert len(pending(oss_door, url)) == 1
    assert "are left" in caplog.text


def test_parts_that_somebody_else_deleted(store: Store, url: str, oss_door: OssDoor) -> None:
    stream = store.filesystem.open(url, "wb")
    stream.write(LONG)
    [upload] = oss_door.uploads(prefix=url.split("/", 3)[3])
    bucket = store.filesystem._bucket(url.split("/")[2])
    bucket.ask("abort_multipart_upload", upload["key"], upload_id=upload["id"])
    with pytest.raises(OSError, match="NoSuchUpload") as caught:
        stream.close()
    assert not isinstance(caught.value, FileNotFoundError)
    assert store.info(url) is None
