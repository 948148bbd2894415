"""What every store must do. A new provider subclasses StorageSuite and gives one fixture, `root_url`."""

from __future__ import annotations

import gc
import io
import sys
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pai_train.errors import StorageError
from pai_train.storage import (
    BucketMissing,
    ByteRange,
    Limits,
    ObjectChanged,
    ObjectExists,
    ObjectInfo,
    ObjectMissing,
    Store,
    Stores,
    join,
)
from tests.suites.publish_suite import PublishSuite

if TYPE_CHECKING:
    from pathlib import Path

ODD_NAMES = [
    *("a b.csv", "é.csv", "日本.csv", "a#1.csv", "a%41.csv", "a+b.csv", "a?b.csv", "a*b.csv", "a[1].csv", "~a"),
    *("a::b", "a&b=c;d", "'\"$HOME`", "..a", "a:b", ".hidden", "-rf", "a\\b"),
]
CONTENT = bytes(range(256)) * 40


class StorageSuite(PublishSuite):
    """Subclass it and give `root_url`, an empty folder, fresh for each test; a remote one gives `stores` too."""

    @pytest.fixture
    def stores(self) -> Stores:
        return Stores()

    @pytest.fixture
    def store(self, stores: Stores, root_url: str) -> Store:
        return stores.open(root_url)

    @pytest.fixture
    def url(self, root_url: str) -> str:
        return join(root_url, "deep", "er", "object.bin")

    # Reading and writing

    def test_when_an_object_was_written_is_told(self, store: Store, root_url: str, url: str) -> None:
        store.put(url, b"1")
        told = [store.info(url), *store.list(root_url)]
        assert len(told) == 2
        assert all(abs(time.time() - info.modified) < 120 for info in told)

    def test_put_then_read(self, store: Store, url: str) -> None:
        info = store.put(url, CONTENT)
        assert (info.url, info.size) == (url, len(CONTENT))
        assert store.read(url) == CONTENT
        assert store.info(url) == info

    def test_put_of_a_local_file(self, store: Store, url: str, tmp_path: Path) -> None:
        (tmp_path / "source file").write_bytes(CONTENT)
        assert store.put(url, tmp_path / "source file").size == len(CONTENT)
        assert store.read(url) == CONTENT
        with pytest.raises(ObjectMissing, match="absent"):
            store.put(url, tmp_path / "absent")
        assert store.read(url) == CONTENT

    def test_an_empty_object(self, store: Store, url: str) -> None:
        assert store.put(url, b"").size == 0
        assert store.read(url) == b""
        assert [info.url for info in store.list(url.rsplit("/", 1)[0])] == [url]

    def test_ranges(self, store: Store, url: str) -> None:
        store.put(url, CONTENT)
        size = len(CONTENT)
        for start, end in [(0, 1), (0, size), (255, 257), (7, 7), (size - 1, size), (size - 1, size + 9), (0, 0)]:
            assert store.read(url, start, end) == CONTENT[start:end]
        for start in (0, 1, size - 1, size):
            assert store.read(url, start) == CONTENT[start:]
        for start, end in [(-1, 4), (4, 3)]:
            with pytest.raises(ValueError, match="byte range"):
                store.read(url, start, end)

    def test_concurrent_range_reads(self, store: Store, url: str) -> None:
        store.put(url, CONTENT)
        with ThreadPoolExecutor(8) as pool:
            parts = list(pool.map(lambda start: store.read(url, start, start + 100), range(0, len(CONTENT), 100)))
        assert b"".join(parts) == CONTENT

    def test_input_stream(self, store: Store, url: str) -> None:
        store.put(url, b"one\ntwo\nthree")
        with store.open_input(url) as stream, store.open_input(url) as other:
            assert stream.read(2) == b"on"
            assert other.readline() == b"one\n"
            assert list(stream) == [b"e\n", b"two\n", b"three"]
            assert stream.seek(-5, io.SEEK_END) == 8
            assert stream.tell() == 8
            assert stream.read() == b"three"
            assert stream.read(1) == b""
        with io.TextIOWrapper(store.open_input(url), "utf-8") as text:
            assert text.read() == "one\ntwo\nthree"
        with pytest.raises(ValueError, match="closed"):
            stream.readline()

    def test_output_appears_whole_at_close(self, store: Store, url: str, root_url: str) -> None:
        stream = store.open_output(url)
        stream.write(b"first")
        assert (store.info(url), store.list(root_url), store.glob(join(root_url, "**"))) == (None, [], [])
        stream.write(b" second")
        assert stream.tell() == 12
        stream.close()
        stream.close()
        assert store.read(url) == b"first second"

    def test_output_given_up_leaves_the_old_content(self, store: Store, url: str, root_url: str) -> None:
        store.put(url, b"old")
        with pytest.raises(RuntimeError, match="stop"), store.open_output(url) as stream:
            write_then_stop(stream)
        dropped = store.open_output(url)
        dropped.write(b"half")
        del dropped
        gc.collect()
        assert store.read(url) == b"old"
        assert [info.url for info in store.list(root_url)] == [url]

    def test_the_filesystem_writes_whole_objects_too(self, store: Store, url: str) -> None:
        with pytest.raises(RuntimeError, match="stop"), store.filesystem.open(url, "wb") as stream:
            write_then_stop(stream)
        dropped = store.filesystem.open(url, "wb")
        dropped.write(b"half")
        del dropped
        gc.collect()
        assert not store.filesystem.exists(url)
        assert not store.filesystem.lexists(url)
        with store.filesystem.open(url, "wb") as stream:
            stream.write(CONTENT)
        assert store.filesystem.lexists(url)
        assert store.read(url) == CONTENT

    def test_overwrite_is_atomic_under_a_reader(self, store: Store, url: str) -> None:
        contents = [bytes([mark]) * (100_000 + 1000 * mark) for mark in range(4)]
        store.put(url, contents[0])
        stop, seen = threading.Event(), []

        def read() -> None:
            while not stop.is_set():
                with store.open_input(url) as stream:
                    seen.append(stream.read(50_000) + stream.read())
                seen.append(store.read(url))

        with ThreadPoolExecutor(2) as pool:
            readers = [pool.submit(read) for _ in range(2)]
            try:
                for turn in range(40):
                    store.put(url, contents[turn % 4])
            finally:
                stop.set()
            for reader in readers:
                reader.result()
        assert len(seen) > 4
        assert all(content in contents for content in seen)

    def test_the_etag_follows_the_content(self, store: Store, url: str, root_url: str) -> None:
        etags = [store.put(url, bytes([mark]) * 5).etag for mark in range(20)]
        assert len(set(etags)) == 20
        assert [info.etag for info in store.list(root_url)] == etags[-1:]
        assert [info.etag for info in store.glob(join(root_url, "**", "*.bin"))] == etags[-1:]

    # In parts

    def test_a_read_in_parts_is_the_read_at_once(self, store: Store, url: str) -> None:
        parted = in_small_parts(store)
        info = parted.put(url, CONTENT)
        size = len(CONTENT)
        for start, end in [
            (0, None),
            (1, None),
            (0, size),
            (999, 3001),
            (1, size - 1),
            (9000, size + 5000),
            (size, None),
        ]:
            assert parted.read(url, start, end) == CONTENT[start:end]
            assert parted.read(url, start, end, info.etag) == CONTENT[start:end]

    def test_many_ranges_are_read_in_order(self, store: Store, root_url: str) -> None:
        parted = in_small_parts(store)
        infos = [parted.put(join(root_url, f"{i}"), CONTENT[: 700 * i]) for i in range(12)]
        wanted = [ByteRange(info.url, info.size // 3, end, info.etag) for info in infos for end in (None, info.size)]
        assert list(parted.read_many(wanted)) == [
            CONTENT[info.size // 3 : info.size] for info in infos for _ in range(2)
        ]
        with pytest.raises(ObjectMissing):
            list(parted.read_many([ByteRange(join(root_url, "absent"))]))

    def test_an_object_of_another_size_is_not_taken(self, store: Store, url: str) -> None:
        parted = in_small_parts(store)
        info = parted.put(url, CONTENT)
        for size in (info.size - 1, info.size + 1):
            with pytest.raises(ObjectChanged) as caught:
                list(parted.read_many([ByteRange(url, 0, size, size=size)]))
            assert caught.value.fault.where == url

    def test_a_stream_in_parts_is_a_file(self, store: Store, url: str) -> None:
        parted = in_small_parts(store)
        info = parted.put(url, CONTENT)
        steps = [((0, 0), 10), ((0, 1), 3000), ((-1500, 2), 900), ((-300, 1), 300), ((99_999, 0), 5), ((5000, 0), 2000)]
        for known in (None, info):
            with parted.open_input(url, known) as stream, io.BytesIO(CONTENT) as real:
                for seek, size in steps:
                    assert stream.seek(*seek) == real.seek(*seek)
                    assert stream.read(size) == real.read(size)
                    assert stream.tell() == real.tell()
                assert (stream.seek(0), stream.read()) == (0, CONTENT)
                assert stream.readable()
                assert stream.seekable()

    def test_an_output_in_parts_appears_whole_or_never(self, store: Store, url: str, root_url: str) -> None:
        parted = in_small_parts(store)
        with parted.open_output(url) as stream:
            for start in range(0, len(CONTENT), 700):
                assert stream.write(memoryview(CONTENT)[start : start + 700]) == len(CONTENT[start : start + 700])
                assert store.list(root_url) == []
            assert stream.tell() == len(CONTENT)
        assert store.read(url) == CONTENT
        with pytest.raises(RuntimeError, match="stop"), parted.open_output(url) as stream:
            stream.write(CONTENT[::-1])
            write_then_stop(stream)
        dropped = parted.open_output(url)
        dropped.write(CONTENT[::-1])
        del dropped
        gc.collect()
        assert store.read(url) == CONTENT
        assert [info.url for info in store.list(root_url)] == [url]

    def test_one_version_is_read_or_a_change_is_said(self, store: Store, url: str) -> None:
        parted = in_small_parts(store)
        info = parted.put(url, CONTENT)
        stream = parted.open_input(url, info)
        begin = stream.read(10)
        store.put(url, CONTENT[::-1])
        try:
            assert begin + stream.read() == CONTENT
        except ObjectChanged as changed:
            assert changed.fault.where == url  # noqa: PT017 - both are right
        if not store.is_local:
            for read in (lambda: parted.read(url, 0, 5000, info.etag), lambda: parted.open_input(url, info).read()):
                with pytest.raises(ObjectChanged):
                    read()

    def test_columns_of_a_parquet_file(self, store: Store, url: str) -> None:
        table = pa.table({"id": range(20_000), "text": [f"row {i}" for i in range(20_000)], "more": [0.5] * 20_000})
        with store.open_output(url) as output:
            pq.write_table(table, output, row_group_size=3000)
        for parted in (store, in_small_parts(store, 10_000)):
            for opened in (parted.open_input, parted.open_arrow):
                with opened(url) as stream, pq.ParquetFile(stream, pre_buffer=True) as file:
                    assert file.read_row_group(5, ["text"]) == table.slice(15_000, 3000).select(["text"])
                    assert file.read() == table
        store.delete(url)
        with pytest.raises(ObjectMissing):
            store.open_arrow(url)

    # Exclusive create

    def test_the_store_knows_whether_it_creates_exclusively(self, store: Store, root_url: str) -> None:
        unsure = Store(
            store.scheme, store.filesystem, is_local=store.is_local, exclusive_create=None, retry=store.retry
        )
        assert unsure.creates_exclusively(root_url) is store.creates_exclusively(root_url) is True
        assert store.list(root_url) == []

    def test_create_refuses_what_exists(self, store: Store, url: str, root_url: str) -> None:
        store.create(url, b"first")
        with pytest.raises(ObjectExists) as caught:
            store.create(url, b"second")
        assert caught.value.fault.where == url
        assert caught.value.fault.todo
        assert store.read(url) == b"first"
        assert len(store.list(root_url)) == 1
        store.delete(url)
        store.create(url, b"third")
        assert store.read(url) == b"third"

    def test_create_has_one_winner_among_threads(self, store: Store, root_url: str) -> None:
        keys = [join(root_url, f"v{key}.json") for key in range(10)]
        start = threading.Barrier(8)

        def race(worker: int) -> list[str]:
            won = []
            for key in keys:
                start.wait(timeout=60)
                won += [key] if creates(store, key, b"%d" % worker * 1000) else []
            return won

        interval = sys.getswitchinterval()
        sys.setswitchinterval(1e-5)
        try:
            with ThreadPoolExecutor(8) as pool:
                won = list(pool.map(race, range(8)))
        finally:
            sys.setswitchinterval(interval)
        assert sorted(key for keys_won in won for key in keys_won) == sorted(keys)
        for worker, keys_won in enumerate(won):
            assert all(store.read(key) == b"%d" % worker * 1000 for key in keys_won)

    # Listing

    def test_list_is_recursive_and_sorted(self, store: Store, root_url: str) -> None:
        names = ["b/2", "a", "b/10", "b-", "B", "b/c/d/e", "c", "b.txt"]
        for name in names:
            store.put(join(root_url, name), name.encode())
        assert [info.url for info in store.list(root_url)] == sorted(join(root_url, name) for name in names)
        below = ["b/10", "b/2", "b/c/d/e"]
        for folder in (join(root_url, "b"), join(root_url, "b") + "/"):
            assert store.list(folder) == [store.info(join(root_url, name)) for name in below]

    def test_list_of_nothing(self, store: Store, root_url: str) -> None:
        assert store.list(root_url) == []
        assert store.list(join(root_url, "absent")) == []
        store.put(join(root_url, "object"), b"1")
        assert store.list(join(root_url, "object")) == []
        assert store.list(join(root_url, "object", "below")) == []
        assert store.list(join(root_url, "obj")) == []

    def test_list_is_fresh(self, store: Store, root_url: str) -> None:
        url = join(root_url, "a")
        for size in (1, 2, 3):
            store.put(url, b"x" * size)
            assert [info.size for info in store.list(root_url)] == [size]
            assert [info.size for info in store.glob(join(root_url, "*"))] == [size]
        store.delete(url)
        assert store.list(root_url) == []

    @pytest.mark.parametrize(
        ("pattern", "expected"),
        [
            ("*.csv", ["1.csv", "10.csv", "2.csv"]),
            ("?.csv", ["1.csv", "2.csv"]),
            ("[13].csv", ["1.csv"]),
            ("[!1].csv", ["2.csv"]),
            ("*/*.csv", ["a/3.csv", "b/3.csv"]),
            ("**/3.csv", ["a/3.csv", "a/c/3.csv", "b/3.csv"]),
            ("a/**", ["a/3.csv", "a/c/3.csv"]),
            ("*", ["1.csv", "10.csv", "2.csv", "x.txt"]),
            ("1.csv", ["1.csv"]),
            ("absent*", []),
            ("absent/*.csv", []),
            ("absent", []),
            ("a", []),
            ("[9].csv", []),
            ("1*", ["1.csv", "10.csv"]),
            ("1*.csv", ["1.csv", "10.csv"]),
            ("a*", []),
            ("a/*", ["a/3.csv"]),
            ("a*/3.csv", ["a/3.csv"]),
            ("a/*/*", ["a/c/3.csv"]),
            ("**/*.csv", ["1.csv", "10.csv", "2.csv", "a/3.csv", "a/c/3.csv", "b/3.csv"]),
        ],
    )
    def test_glob(self, store: Store, root_url: str, pattern: str, expected: list[str]) -> None:
        for name in ["2.csv", "10.csv", "1.csv", "x.txt", "a/3.csv", "b/3.csv", "a/c/3.csv"]:
            store.put(join(root_url, name), name.encode())
        assert store.glob(join(root_url, pattern)) == [store.info(join(root_url, name)) for name in expected]

    def test_a_glob_that_matches_nothing_stands_for_itself(self, store: Store, root_url: str) -> None:
        url = join(root_url, "[2024] x.csv")
        store.put(url, b"1")
        assert [info.url for info in store.glob(url)] == [url]
        store.put(join(root_url, "2 x.csv"), b"1")
        assert [info.url for info in store.glob(url)] == [join(root_url, "2 x.csv")]

    def test_a_malformed_glob(self, store: Store, root_url: str) -> None:
        with pytest.raises(StorageError, match="pattern") as caught:
            store.glob(join(root_url, "a**b"))
        assert caught.value.fault.wanted

    @pytest.mark.parametrize("name", ODD_NAMES)
    def test_odd_names(self, store: Store, root_url: str, name: str) -> None:
        url = join(root_url, "fold er#%", name)
        decoy = join(root_url, "fold er#%", "aXb.csv")
        store.put(decoy, b"decoy")
        (store.create if store.creates_exclusively(root_url) else store.put)(url, b"123")
        with store.open_output(url) as stream:
            stream.write(b"1234")
        assert store.read(url) == b"1234"
        assert store.info(url) == ObjectInfo(url, 4, store.info(url).etag)
        assert store.info(url) in store.list(root_url)
        assert store.info(url) in store.glob(join(root_url, "fold er#%", "*"))
        assert len(store.list(root_url)) == 2
        store.delete(url)
        assert [info.url for info in store.list(root_url)] == [decoy]
        store.put(join(url, "below"), b"1")
        store.delete_tree(url)
        assert [info.url for info in store.list(root_url)] == [decoy]

    # Missing and foreign

    def test_missing_objects(self, store: Store, url: str, root_url: str) -> None:
        assert store.info(url) is None
        for read in (store.read, store.open_input):
            with pytest.raises(ObjectMissing) as caught:
                read(url)
            assert caught.value.fault.where == url
            assert caught.value.fault.todo
        store.put(url, b"1")
        assert store.info(join(root_url, "deep")) is None
        with pytest.raises(StorageError):
            store.read(join(root_url, "deep"))
        assert store.info(join(url, "below")) is None
        with pytest.raises(ObjectMissing):
            store.read(join(url, "below"))

    def test_a_missing_bucket(self, store: Store, root_url: str) -> None:
        absent = f"{root_url.partition('://')[0]}://{'/' * (store.scheme == 'file')}no-such-bucket-{uuid.uuid4().hex}/x"
        for read in (store.read, store.open_input):
            with pytest.raises(ObjectMissing) as caught:
                read(absent)
            assert caught.value.fault.where == absent
        if store.scheme in ("file", "memory"):  # these have folders, and none need be made
            assert store.info(absent) is None
            return
        for look in (store.info, store.list, lambda url: store.glob(join(url, "*"))):
            with pytest.raises(BucketMissing, match="no such bucket"):
                look(absent)

    def test_what_is_asked_costs_no_more_requests_than_it_must(self, store: Store, root_url: str) -> None:
        urls = [join(root_url, f"folder/{i:02}") for i in range(20)]
        for url in urls:
            store.put(url, b"12345")
        works = [
            (1, lambda: store.info(urls[0])),
            (1, lambda: store.read(urls[0])),
            (1, lambda: store.read(urls[0], 1, 3)),
            (2, lambda: store.open_input(urls[0]).read()),
            (1, lambda: store.list(root_url)),
            (1, lambda: store.glob(join(root_url, "folder/0*"))),
            (1, lambda: store.glob(join(root_url, "*/0*"))),
            (2, lambda: store.put(urls[0], b"12345")),
            (2, lambda: store.delete_tree(join(root_url, "folder"))),
        ]
        for most, work in works:
            before = store.stats.counts().requests
            work()
            assert store.stats.counts().requests - before <= most
        assert store.list(root_url) == []

    def test_reading_makes_no_folder(self, store: Store, url: str, root_url: str) -> None:
        with pytest.raises(ObjectMissing):
            store.open_input(url)
        assert not store.filesystem.exists(store.path(join(root_url, "deep")))

    def test_delete_is_idempotent(self, store: Store, url: str, root_url: str) -> None:
        store.put(url, b"1")
        for _ in range(2):
            store.delete(url)
        store.delete(join(url, "below"))
        for name in ("tree/a", "tree/b/c", "tree2/a", "treb"):
            store.put(join(root_url, name), b"1")
        for _ in range(2):
            store.delete_tree(join(root_url, "tree"))
        left = [info.url for info in store.list(root_url)]
        assert left == [join(root_url, "treb"), join(root_url, "tree2/a")]

    def test_a_foreign_url_is_refused(self, store: Store) -> None:
        for url in ("elsewhere://bucket/key", "/no/scheme", "relative"):
            with pytest.raises(StorageError) as caught:
                store.read(url)
            assert caught.value.fault.where == url


def in_small_parts(store: Store, part_bytes: int = 1000) -> Store:
    """Returns the same store, which reads and writes in small parts."""
    return Store(
        store.scheme,
        store.filesystem,
        is_local=store.is_local,
        exclusive_create=store.exclusive_create,
        limits=Limits(parallel=4, part_bytes=part_bytes),
        stats=store.stats,
        retry=store.retry,
    )


def write_then_stop(stream: Any) -> None:
    """Writes a little, then fails."""
    stream.write(b"half")
    raise RuntimeError("stop")


def creates(store: Store, url: str, data: bytes) -> bool:
    """Returns whether an exclusive create won."""
    try:
        store.create(url, data)
    except ObjectExists:
        return False
    return True
