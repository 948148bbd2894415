"""The storage suite on a remote store with a bad network, and what parts, streams, listings and counts must be."""

from __future__ import annotations

import io
import multiprocessing
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

from pai_train.errors import StorageError
from pai_train.storage import (
    BucketMissing,
    ByteRange,
    Limits,
    ObjectChanged,
    ObjectExists,
    ObjectMissing,
    Store,
    StoreUnavailable,
    fetch,
    join,
    publish,
)
from pai_train.storage.memory import MemoryObjects
from tests.storage.shaky import CUT, LOST, RESET, ShakyObjects, seeded, shaky_store
from tests.suites.storage_suite import StorageSuite

if TYPE_CHECKING:
    from pathlib import Path

_BUCKETS = count()
CONTENT = bytes(range(256)) * 100


@pytest.fixture
def root_url() -> str:
    return f"memory://remote-{next(_BUCKETS)}/folder"


@pytest.fixture
def files() -> ShakyObjects:
    return ShakyObjects()


@pytest.fixture
def store(files: ShakyObjects) -> Store:
    return shaky_store(files)


@pytest.fixture
def url(root_url: str) -> str:
    return join(root_url, "object")


class TestRemoteStorage(StorageSuite):
    """Over a good network."""

    @pytest.fixture
    def root_url(self) -> str:
        return f"memory://remote-{next(_BUCKETS)}"

    @pytest.fixture
    def store(self) -> Store:
        return shaky_store(limits=Limits(parallel=4))


class TestShakyStorage(TestRemoteStorage):
    """In small parts, with one operation in five failing; whoever asks sees nothing of it."""

    @pytest.fixture
    def store(self, request: pytest.FixtureRequest) -> Store:
        files = ShakyObjects()
        files.plan = seeded(len(request.node.name), 0.2)
        return shaky_store(files, limits=Limits(parallel=4, part_bytes=4000))

    def test_the_filesystem_writes_whole_objects_too(self, store: Store, url: str) -> None:
        store.filesystem.plan = lambda name, number: None  # nobody repeats what is asked of it directly
        super().test_the_filesystem_writes_whole_objects_too(store, url)

    def test_overwrite_is_atomic_under_a_reader(self, store: Store, url: str) -> None:
        contents = [bytes([mark]) * (10_000 + 1000 * mark) for mark in range(4)]
        store.put(url, contents[0])
        stop = threading.Event()

        def write() -> None:
            for turn in count():
                store.put(url, contents[turn % 4])
                if stop.wait(0.002):
                    return

        with ThreadPoolExecutor(1) as pool:
            writer = pool.submit(write)
            try:
                for _ in range(100):
                    assert store.read(url) in contents
                    with store.open_input(url) as stream, suppress(ObjectChanged):
                        assert stream.read(5000) + stream.read() in contents
            finally:
                stop.set()
            writer.result()


# Parts


@pytest.mark.parametrize("part_bytes", [1, 999, 1000, 4096, 100_000])
def test_a_read_in_parts_is_the_read_at_once(url: str, part_bytes: int) -> None:
    store = shaky_store(limits=Limits(parallel=3, part_bytes=part_bytes))
    size = 50 if part_bytes == 1 else len(CONTENT)
    content = CONTENT[:size]
    etag = store.put(url, content).etag
    for start, end in [
        (0, None),
        (1, None),
        (0, size),
        (3, size - 1),
        (0, size + 5000),
        (size, size + 9),
        (size, None),
    ]:
        assert store.read(url, start, end) == content[start:end]
        assert store.read(url, start, end, etag) == content[start:end]


def test_parts_are_read_at_once_and_no_more_than_allowed(url: str) -> None:
    files = ShakyObjects(delay_s=0.01)
    store = shaky_store(files)
    info = store.put(url, CONTENT)
    files.most_at_once = 0
    files.calls.clear()
    assert store.read(url, 0, info.size, info.etag) == CONTENT
    assert files.most_at_once == 4
    assert files.calls == {"cat": 26}


def test_each_part_is_repeated_on_its_own(url: str, store: Store, files: ShakyObjects) -> None:
    info = store.put(url, CONTENT)
    files.calls.clear()
    files.plan = lambda name, number: RESET if number % 5 == 0 else None
    assert store.read(url, 0, info.size, info.etag) == CONTENT
    assert files.calls["cat"] == 26 + store.stats.counts().retries
    assert store.stats.counts().retries in (6, 7)


def test_a_part_that_is_cut_short_is_repeated(url: str, store: Store, files: ShakyObjects) -> None:
    info = store.put(url, CONTENT)
    files.plan = lambda name, number: CUT if name == "cat" and number % 3 == 0 else None
    assert store.read(url, 0, info.size, info.etag) == CONTENT
    assert list(store.read_many([ByteRange(url, 5, 2500, info.etag, info.size)])) == [CONTENT[5:2500]]
    with store.open_input(url) as stream:
        assert stream.read() == CONTENT


def test_a_small_read_is_one_request(url: str, store: Store, files: ShakyObjects) -> None:
    info = store.put(url, b"x" * 999)
    for read in (
        lambda: store.read(url),
        lambda: store.read(url, 10, 20),
        lambda: store.open_input(url, info).read(),
        lambda: list(store.read_many([ByteRange(url)])),
    ):
        files.calls.clear()
        read()
        assert files.calls == {"cat": 1}
    files.calls.clear()
    store.open_input(url).read()
    assert files.calls == {"info": 1, "cat": 1}


def test_a_version_that_is_gone_is_said_to_be(url: str, store: Store, files: ShakyObjects) -> None:
    info = store.put(url, CONTENT)
    store.put(url, CONTENT[::-1])
    for read in (
        lambda: store.read(url, 0, 5000, info.etag),
        lambda: store.read(url, 0, None, info.etag),
        lambda: store.open_input(url, info).read(),
        lambda: list(store.read_many([ByteRange(url, 0, 9, info.etag)])),
    ):
        with pytest.raises(ObjectChanged) as caught:
            read()
        assert caught.value.fault.where == url
        assert caught.value.fault.todo
    stream = store.open_input(url)
    assert stream.read(10) == CONTENT[::-1][:10]
    store.put(url, CONTENT)
    with pytest.raises(ObjectChanged):
        stream.read()
    store.delete(url)
    with pytest.raises(ObjectMissing):
        store.open_input(url, info).read()


class BlindObjects(ShakyObjects):
    """Cannot be asked for a version."""

    def cat_file(self, path: str, start: Any = None, end: Any = None, **_: Any) -> bytes:
        return super().cat_file(path, start, end)


@pytest.mark.parametrize("size", [len(CONTENT), len(CONTENT) - 1, len(CONTENT) + 1])
def test_a_change_is_found_where_no_version_can_be_asked_for(url: str, size: int) -> None:
    files = BlindObjects()
    store = shaky_store(files)
    assert not store.reads_versions
    info = store.put(url, CONTENT)

    def replace(name: str, number: int) -> None:
        if files.calls["cat"] == 9 and name == "cat":
            MemoryObjects(skip_instance_cache=True).pipe_file(url, b"2" * size)

    for read in (
        lambda: store.read(url, 0, info.size, info.etag),
        lambda: list(store.read_many([ByteRange(url, 0, info.size, info.etag, info.size)])),
        lambda: store.open_input(url).read(),
    ):
        MemoryObjects(skip_instance_cache=True).pipe_file(url, CONTENT)
        files.calls.clear()
        files.plan = replace
        with pytest.raises(ObjectChanged):
            read()


def test_many_are_read_in_order_and_not_far_ahead(root_url: str) -> None:
    files = ShakyObjects(delay_s=0.001)
    store = shaky_store(files)
    contents = [bytes([i % 251]) * (i * 37 % 1700) for i in range(60)]
    infos = [store.put(join(root_url, f"{i:02}"), content) for i, content in enumerate(contents)]
    asked: list[int] = []

    def requests() -> Any:
        for i, info in enumerate(infos):
            asked.append(i)
            yield ByteRange(info.url, 0, info.size if i % 2 else None, info.etag, info.size)

    seen = 0
    for content in store.read_many(requests()):
        assert content == contents[seen]
        seen += 1
        assert len(asked) - seen <= 2 * store.limits.parallel
    assert seen == 60
    assert files.most_at_once == store.limits.parallel


def test_reading_many_stops_where_one_is_missing(root_url: str, store: Store) -> None:
    urls = [join(root_url, str(i)) for i in range(20)]
    for url in urls[:3] + urls[4:]:
        store.put(url, b"1")
    seen = []
    with pytest.raises(ObjectMissing) as caught:
        seen.extend(store.read_many(ByteRange(url) for url in urls))
    assert caught.value.fault.where == urls[3]


# Streams


def test_a_stream_reads_ahead_and_holds_no_more_than_allowed(url: str) -> None:
    files = ShakyObjects()
    store = shaky_store(files)
    info = store.put(url, CONTENT)
    with store.open_input(url, info) as stream:
        files.calls.clear()
        assert stream.read(1) == CONTENT[:1]
        position = 1
        while piece := stream.read(100):
            assert piece == CONTENT[position : position + 100]
            position += len(piece)
            assert files.calls["cat"] * 1000 - position <= store.limits.parallel * 1000
    assert files.calls == {"cat": 26}


def test_a_stream_that_jumps_asks_for_what_is_wanted_alone(url: str) -> None:
    files = ShakyObjects()
    store = shaky_store(files, limits=Limits(parallel=4, part_bytes=2**20))
    content = CONTENT * 400
    info = store.put(url, content)
    before = store.stats.counts().bytes_read
    with store.open_input(url, info) as stream:
        for start in (9_000_000, 3, 5_000_000, 10_200_000):
            stream.seek(start)
            assert stream.read(1000) == content[start : start + 1000]
    assert store.stats.counts().bytes_read - before <= 4 * 64 * 1024
    assert files.calls["cat"] == 4


def test_a_stream_is_a_file(url: str, store: Store) -> None:
    content = b"".join(b"line %d\n" % i for i in range(700))
    store.put(url, content)
    with store.open_input(url) as stream, io.BytesIO(content) as real:
        assert stream.size == len(content)
        for seek, read in [
            ((5, 0), 10),
            ((0, 1), 2000),
            ((-1500, 2), 900),
            ((-300, 1), 300),
            ((9999, 0), 5),
            ((0, 0), -1),
        ]:
            assert stream.seek(*seek) == real.seek(*seek)
            assert stream.read(read) == real.read(read)
            assert stream.tell() == real.tell()
        stream.seek(0)
        assert list(stream) == content.splitlines(keepends=True)
        with pytest.raises(ValueError, match="negative"):
            stream.seek(-1)
    for use in (stream.tell, stream.read, lambda: stream.seek(0)):
        with pytest.raises(ValueError, match="closed"):
            use()


def test_a_small_output_is_one_request_that_is_repeated(url: str, store: Store, files: ShakyObjects) -> None:
    files.plan = lambda name, number: {1: RESET, 2: LOST}.get(number)
    with store.open_output(url) as stream:
        stream.write(CONTENT[:600])
        stream.write(memoryview(CONTENT[600:1000]))
    assert files.calls == {"pipe": 3}
    assert store.stats.counts().bytes_written == 1000
    assert store.read(url) == CONTENT[:1000]


def test_a_large_output_streams_and_a_failure_leaves_nothing(
    url: str, store: Store, files: ShakyObjects, monkeypatch: pytest.MonkeyPatch
) -> None:
    with store.open_output(url) as stream:
        for start in range(0, len(CONTENT), 700):
            stream.write(CONTENT[start : start + 700])
    assert store.read(url) == CONTENT
    assert store.stats.counts().bytes_written == len(CONTENT)
    files.plan = lambda name, number: PermissionError(13, "Permission denied") if name == "pipe" else None
    stream = store.open_output(url)
    stream.write(b"x" * 5000)
    with pytest.raises(StorageError, match="access refused"):
        stream.close()
    stream.close()
    assert stream.closed
    assert store.read(url) == CONTENT


# Exclusive create


@pytest.mark.parametrize("fault", [RESET, LOST])
def test_a_create_whose_answer_was_lost_is_recognised(url: str, store: Store, files: ShakyObjects, fault: str) -> None:
    files.plan = lambda name, number: fault if number == 1 else None
    store.create(url, b"mine, 17")
    assert store.read(url) == b"mine, 17"
    with pytest.raises(ObjectExists):
        store.create(url, b"mine, 18")
    with pytest.raises(ObjectExists):
        store.create(url, b"mine, 17 and more")


@pytest.mark.parametrize(("honest", "number", "fault"), [
    (honest, number, fault) for honest in (True, False) for number in (0, 1, 2, 3) for fault in (RESET, LOST)
])  # fmt: skip
def test_exclusive_create_is_found_out_by_trying(root_url: str, honest: bool, number: int, fault: str) -> None:
    class Unsure(ShakyObjects):
        def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **options: Any) -> None:
            super().pipe_file(path, value, mode if honest else "overwrite", **options)

    files = Unsure()
    files.plan = lambda name, nth: fault if nth == number else None
    store = shaky_store(files, exclusive_create=None)
    assert store.creates_exclusively(root_url) is honest
    calls = files.calls.total()
    assert store.creates_exclusively(root_url) is honest
    assert files.calls.total() == calls
    assert store.list(root_url) == []
    if not honest:
        with pytest.raises(StorageError, match="no exclusive create"):
            store.create(join(root_url, "x"), b"1")


def test_a_probe_that_fails_leaves_nothing(root_url: str) -> None:
    files = ShakyObjects()
    files.plan = lambda name, nth: PermissionError(13, "Permission denied") if nth == 2 else None
    store = shaky_store(files, exclusive_create=None)
    with pytest.raises(StorageError, match="access refused"):
        store.creates_exclusively(root_url)
    assert store.list(root_url) == []
    assert store.exclusive_create is None


def test_a_filesystem_may_know_whether_it_creates_exclusively(root_url: str) -> None:
    for known in (True, False):
        files = ShakyObjects()
        files.exclusive_create = known
        assert shaky_store(files, exclusive_create=None).creates_exclusively(root_url) is known
        assert files.calls.total() == 0


# Listing


def test_a_pattern_is_one_listing(root_url: str, store: Store, files: ShakyObjects) -> None:
    for name in ["a1.csv", "a2.csv", "b1.csv", "deep/a1.csv", "deep/er/a1.csv"]:
        store.put(join(root_url, name), b"1")
    for pattern, how, number in [
        ("a*.csv", "ls", 2), ("*", "ls", 3), ("deep/*.csv", "ls", 1), ("*/a*.csv", "find", 1), ("**", "find", 5),
        ("**/a1.csv", "find", 3), ("d*/*/*", "find", 1),
    ]:  # fmt: skip
        files.calls.clear()
        assert len(store.glob(join(root_url, pattern))) == number
        assert files.calls == {how: 1}
    with pytest.raises(StorageError, match="malformed"):
        store.glob("memory://*/x")


class PrefixedObjects(ShakyObjects):
    """Can list what begins with a prefix."""

    def find(self, path: str, maxdepth: Any = None, prefix: str = "", detail: bool = False, **_: Any) -> Any:
        self.prefixes = [*getattr(self, "prefixes", []), prefix]
        found = super().find(path, maxdepth=maxdepth, detail=True)
        base = f"{self._strip_protocol(path)}/{prefix}"
        return {name: raw for name, raw in found.items() if name.startswith(base)}


def test_a_pattern_asks_for_no_more_than_its_literal_beginning(root_url: str) -> None:
    files = PrefixedObjects()
    store = shaky_store(files)
    for name in ["part-1.csv", "part-2.csv", "other.csv", "part/3.csv"]:
        store.put(join(root_url, name), b"1")
    assert len(store.glob(join(root_url, "part-*"))) == 2
    assert len(store.glob(join(root_url, "par*/*.csv"))) == 1
    assert len(store.glob(join(root_url, "[op]*.csv"))) == 3
    assert files.prefixes == ["part-", "par"]


def test_a_missing_bucket_is_not_an_empty_one(root_url: str, store: Store, files: ShakyObjects) -> None:
    gone = FileNotFoundError(2, "The specified bucket does not exist")
    gone.code = "NoSuchBucket"
    files.plan = lambda name, number: gone
    for look in (store.info, store.list, lambda url: store.glob(join(url, "*"))):
        with pytest.raises(BucketMissing, match="no such bucket"):
            look(root_url)


# Counting


def test_what_is_counted(url: str, store: Store, files: ShakyObjects) -> None:
    files.plan = lambda name, number: {2: RESET, 4: RESET}.get(number)
    info = store.put(url, CONTENT[:900])
    assert store.read(url) == CONTENT[:900]
    assert info.size == 900
    counts = store.stats.counts()
    assert (counts.requests, counts.retries, counts.bytes_written, counts.bytes_read) == (5, 2, 900, 900)
    assert counts.requests == files.calls.total()
    files.counts_requests = True
    other = Store("memory", files, is_local=False, exclusive_create=True)
    other.read(url)
    assert (other.stats.counts().requests, other.stats.counts().bytes_read) == (0, 900)


def test_waiting_is_counted_once_for_each_caller(url: str) -> None:
    files = ShakyObjects(delay_s=0.02)
    store = shaky_store(files)
    info = store.put(url, CONTENT[:8000])
    before = store.stats.counts().waiting_s
    assert 0.04 <= before < 1
    store.read(url, 0, 8000, info.etag)
    once = store.stats.counts().waiting_s - before
    assert 0.04 <= once < 8 * 0.02  # two rounds of four at once
    with store.open_input(url, info) as stream:
        stream.read()
    assert store.stats.counts().waiting_s - before > once


class DictCache:
    """Keeps parts in memory, and says so when it is asked for anything but whole parts."""

    def __init__(self, part: int) -> None:
        self.parts: dict[tuple[str, str, int, int], bytes] = {}
        self.part = part

    def get(self, url: str, etag: str, start: int, end: int) -> bytes | None:
        assert start % self.part == 0
        assert end == start + self.part
        return self.parts.get((url, etag, start, end))

    def put(self, url: str, etag: str, start: int, end: int, data: bytes) -> None:
        assert self.get(url, etag, start, end) is None
        assert 0 < len(data) <= self.part
        self.parts[url, etag, start, end] = data


def test_parts_of_a_known_version_come_from_the_cache(url: str, files: ShakyObjects) -> None:
    cache = DictCache(1000)
    store = shaky_store(files, cache=cache)
    info = store.put(url, CONTENT)

    def read_all() -> None:
        assert store.read(url, 500, 4300, info.etag) == CONTENT[500:4300]
        with store.open_input(url, info) as stream:
            assert stream.read() == CONTENT
            stream.seek(-1050, io.SEEK_END)
            assert stream.read(1040) == CONTENT[-1050:-10]
        assert list(store.read_many([ByteRange(url, 7, 2007, info.etag)])) == [CONTENT[7:2007]]

    files.calls.clear()
    read_all()
    assert files.calls == {"cat": 26}
    assert b"".join(cache.parts[key] for key in sorted(cache.parts, key=lambda key: key[2])) == CONTENT
    before = store.stats.counts()
    read_all()
    assert files.calls == {"cat": 26}
    after = store.stats.counts()
    assert after.cached_bytes - before.cached_bytes == 3800 + len(CONTENT) + 1050 + 2000
    assert after.bytes_read == before.bytes_read
    store.read(url)
    store.read(url, 0, 5000)
    assert files.calls["cat"] > 26
    other = store.put(url, CONTENT[::-1])
    assert store.read(url, 500, 4300, other.etag) == CONTENT[::-1][500:4300]
    with pytest.raises(ObjectChanged):
        store.read(url, 0, 60_000, "another")


def test_a_part_that_many_want_is_fetched_once(url: str) -> None:
    files = ShakyObjects(delay_s=0.02)
    store = shaky_store(files, cache=DictCache(1000))
    info = store.put(url, CONTENT[:1000])
    files.calls.clear()
    with ThreadPoolExecutor(8) as pool:
        parts = list(pool.map(lambda i: store.read(url, i, i + 100, info.etag), range(8)))
    assert parts == [CONTENT[i : i + 100] for i in range(8)]
    assert files.calls == {"cat": 1}


# Publishing, forks, the end


def test_a_publication_survives_a_bad_network(root_url: str, tmp_path: Path) -> None:
    files = ShakyObjects()
    store = shaky_store(files)
    sizes = [0, 1, 999, 1000, 1001, 25_000, 40, 40, 40, 3000]
    names = {f"part {i}": tmp_path / f"{i}" for i in range(len(sizes))}
    for size, path in zip(sizes, names.values(), strict=True):
        path.write_bytes(CONTENT[:size])
    files.plan = seeded(7, 0.2)
    manifest = publish(store, root_url, names, {})
    fetch(store, manifest, tmp_path / "to")
    assert [(tmp_path / "to" / name).read_bytes() for name in names] == [CONTENT[:size] for size in sizes]
    assert store.stats.counts().retries > 5


def _read_in_child(store: Store, url: str, size: int, answer: Any) -> None:
    answer.put((store.read(url, 0, size), store.stats.counts().requests))


def test_a_forked_child_reads_with_threads_of_its_own(url: str) -> None:
    opened = []

    def reopen() -> ShakyObjects:
        opened.append(ShakyObjects())
        return opened[-1]

    store = shaky_store(reopen(), reopen=reopen)
    store.put(url, CONTENT)
    assert store.read(url, 0, len(CONTENT)) == CONTENT
    context = multiprocessing.get_context("fork")
    answer = context.Queue()
    child = context.Process(target=_read_in_child, args=(store, url, len(CONTENT), answer))
    child.start()
    assert answer.get(timeout=60) == (CONTENT, 26)
    child.join(60)
    assert child.exitcode == 0
    assert len(opened) == 1


def test_nobody_waits_for_what_was_given_up(url: str) -> None:
    """The repetitions of a part end when its reader has ended; else the process would not."""
    files = ShakyObjects()
    limits = Limits(parallel=4, part_bytes=1000, deadline_s=300)
    store = Store("memory", files, is_local=False, exclusive_create=True, limits=limits)
    info = store.put(url, CONTENT)
    at_work = threading.Event()

    def plan(name: str, number: int) -> Any:
        if name != "cat":
            return None
        if number % 2:
            return lambda: PermissionError(13, "Permission denied") if at_work.wait(10) else None
        at_work.set()
        return RESET

    files.plan = plan
    with pytest.raises(StorageError, match="access refused"):
        store.read(url, 0, info.size, info.etag)
    store._ranged._pool.shutdown(wait=True)  # returns long before the deadline


def test_a_store_that_is_down_is_said_to_be(url: str, store: Store, files: ShakyObjects) -> None:
    files.plan = lambda name, number: RESET
    for use in (store.read, store.info, store.list, store.delete, store.open_input, lambda url: store.put(url, b"1")):
        with pytest.raises(StoreUnavailable) as caught:
            use(url)
        assert caught.value.fault.where == url
        assert "times in 120 s" in caught.value.fault.what
