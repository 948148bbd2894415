"""What filesystems over buckets of keys must do beside StorageSuite: one winner, bounded memory, few requests."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import tracemalloc
from dataclasses import replace
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any

import pytest

from pai_train.errors import StorageError
from pai_train.storage import Limits, ObjectExists, Store, join
from pai_train.storage.object_streams import ObjectChangedError
from tests.servers.faults import faulty
from tests.suites.storage_suite import StorageSuite

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pai_train.storage import Stores
    from tests.servers.served import Served

_SMALL = Limits(parallel=2, part_bytes=2**20, timeout_s=20)


class KeyedSuite(StorageSuite):
    """Subclass it and give `served`.

    Attributes:
        stream_blocks: How long a stream is, in MiB, whose memory is measured.
        peak_bytes: What it may take of memory, in the smallest parts.
        etags_of_content: Whether equal contents have one etag.
    """

    stream_blocks = 40
    peak_bytes = 20 * 2**20
    etags_of_content = False

    @pytest.fixture
    def served(self) -> Served:
        raise NotImplementedError

    @pytest.fixture
    def stores(self, served: Served, monkeypatch: pytest.MonkeyPatch) -> Stores:
        served.enter(monkeypatch)
        return served.stores()

    @pytest.fixture
    def root_url(self, served: Served) -> str:
        return served.root()

    @pytest.fixture
    def small(self, served: Served, stores: Stores, root_url: str) -> Store:
        """A store of small parts."""
        return served.stores(_SMALL).open(root_url)

    def test_of_four_processes_one_wins_each_key(self, served: Served, store: Store, root_url: str) -> None:
        keys = [join(root_url, f"v{key}.json") for key in range(10)]
        context = get_context("spawn")
        with context.Pool(4) as pool:
            won = pool.starmap(create_all, [(served, dict(served.env), keys, worker) for worker in range(4)], 1)
        assert sorted(key for keys_won in won for key in keys_won) == sorted(keys)
        for worker, keys_won in enumerate(won):
            assert all(store.read(key) == b"%d" % worker for key in keys_won)

    def test_a_long_stream_is_written_and_read_in_bounded_memory(self, small: Store, url: str, root_url: str) -> None:
        block, written, read = os.urandom(2**20), hashlib.sha256(), hashlib.sha256()
        small.put(join(root_url, "first"), b"1")  # libraries are loaded
        tracemalloc.start()
        try:
            with small.filesystem.open(url, "wb") as stream:
                for number in range(self.stream_blocks):
                    piece = number.to_bytes(4) + block
                    stream.write(piece)
                    written.update(piece)
                assert small.info(url) is None
            with small.filesystem.open(url, "rb") as source:
                while piece := source.read(2**20):
                    read.update(piece)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert small.info(url).size == self.stream_blocks * (2**20 + 4)
        assert read.hexdigest() == written.hexdigest()
        assert peak < self.peak_bytes

    def test_all_ways_of_writing_in_parts(self, small: Store, url: str, tmp_path: Any) -> None:
        for size in (2**20 - 1, 2**20, 2**20 + 1, 3 * 2**20, 3 * 2**20 + 7):
            content = os.urandom(size)
            (tmp_path / "file").write_bytes(content)
            with small.filesystem.open(url, "wb") as stream:
                stream.write(content[:5])
                stream.write(memoryview(content)[5:])
            etags = [small.info(url).etag]
            assert small.filesystem.cat_file(url) == content
            etags.append(small.put(url, content[::-1]).etag)
            assert small.filesystem.cat_file(url) == content[::-1]
            etags.append(small.put(url, tmp_path / "file").etag)
            assert small.filesystem.cat_file(url) == content
            assert small.info(url).etag == etags[-1]
            assert len(set(etags)) == (2 if self.etags_of_content else 3)
            small.filesystem.get_file(url, str(tmp_path / "back"))
            assert (tmp_path / "back").read_bytes() == content

    def test_a_long_exclusive_create(self, small: Store, url: str) -> None:
        contents = [os.urandom(2**21 + 5) for _ in range(2)]
        small.create(url, contents[0])
        with pytest.raises(ObjectExists):
            small.create(url, contents[1])
        with pytest.raises(FileExistsError), small.filesystem.open(url, "xb") as stream:
            stream.write(contents[1])
        assert small.read(url) == contents[0]

    def test_a_long_stream_given_up_leaves_nothing(self, small: Store, url: str, root_url: str) -> None:
        stream = small.filesystem.open(url, "wb")
        stream.write(bytes(3 * 2**20))
        stream.discard()
        stream.close()
        with pytest.raises(ValueError, match="closed"):
            stream.write(b"1")
        with pytest.raises(RuntimeError, match="stop"), small.filesystem.open(url, "wb") as stream:
            stream.write(bytes(3 * 2**20))
            raise RuntimeError("stop")
        assert small.list(root_url) == []

    def test_listing_and_deleting_cost_pages(self, store: Store, root_url: str) -> None:
        assert store.filesystem.page_keys == 1000
        store.filesystem.page_keys = 20
        names = [f"{number:02}" for number in range(55)]
        store.filesystem.pipe({join(root_url, "many", name): name.encode() for name in names})
        store.put(join(root_url, "other"), b"1")
        before = store.stats.counts().requests
        infos = store.list(join(root_url, "many"))
        assert store.stats.counts().requests - before == 3
        assert [info.url.rpartition("/")[2] for info in infos] == names
        before = store.stats.counts().requests
        assert len(store.glob(join(root_url, "many", "1*"))) == 10
        assert store.stats.counts().requests - before == 1
        before = store.stats.counts().requests
        store.delete_tree(join(root_url, "many"))
        assert store.stats.counts().requests - before == 6
        assert [info.url for info in store.list(root_url)] == [join(root_url, "other")]

    def test_other_operations_cost_one_request(self, store: Store, url: str) -> None:
        costs = {}
        for name, operation in {
            "put": lambda: store.put(url, b"123"),
            "info": lambda: store.info(url),
            "read": lambda: store.read(url, 0, 2),
            "delete": lambda: store.delete(url),
            "create": lambda: store.create(url, b"1"),
        }.items():
            before = store.stats.counts().requests
            operation()
            costs[name] = store.stats.counts().requests - before
        assert set(costs.values()) == {1}
        assert store.stats.counts().retries == 0

    def test_one_version_is_read(self, small: Store, url: str) -> None:
        size = 3 * small.filesystem.limits.part_bytes
        small.put(url, b"1" * size)
        etag = small.info(url).etag
        with small.filesystem.open(url, "rb") as stream:
            assert stream.read(10) == b"1" * 10
            small.put(url, b"2" * size)
            with pytest.raises(ObjectChangedError):
                stream.read()
        with pytest.raises(ObjectChangedError):
            small.filesystem.cat_file(url, 0, 10, etag=etag)
        fresh = small.filesystem.open(url, "rb")
        small.put(url, b"3" * size)
        assert fresh.read() == b"3" * size

    def test_what_fsspec_asks(self, store: Store, root_url: str, served: Served) -> None:
        for name in ("a/1", "a/b/2", "c"):
            store.put(join(root_url, name), b"1")
        files, top = store.filesystem, store.path(root_url)
        assert files.ls(top, detail=False) == [f"{top}/a", f"{top}/c"]
        assert [info["type"] for info in files.ls(top, detail=True)] == ["directory", "file"]
        assert files.ls(f"{top}/c", detail=False) == [f"{top}/c"]
        assert files.find(top) == [f"{top}/a/1", f"{top}/a/b/2", f"{top}/c"]
        assert files.find(f"{top}/c") == [f"{top}/c"]
        assert files.find(top, maxdepth=1, withdirs=True) == [f"{top}/a", f"{top}/c"]
        assert files.find(top, maxdepth=2, withdirs=True) == [f"{top}/a", f"{top}/a/1", f"{top}/a/b", f"{top}/c"]
        assert [name for name, _, _ in files.walk(top)] == [top, f"{top}/a", f"{top}/a/b"]
        assert (files.isdir(f"{top}/a"), files.isfile(f"{top}/a"), files.exists(f"{top}/a")) == (True, False, True)
        assert (files.isdir(f"{top}/c"), files.isfile(f"{top}/c"), files.exists(f"{top}/c/d")) == (False, True, False)
        assert files.info(served.bucket)["type"] == "directory"
        assert files.cat_file(f"{top}/c", -5) == b"1"
        with pytest.raises(FileNotFoundError):
            files.ls(f"{top}/absent")
        with pytest.raises(FileNotFoundError):
            files.rm(f"{top}/absent", recursive=True)
        with pytest.raises(IsADirectoryError):
            files.open(f"{top}/a", "rb")
        with pytest.raises(ValueError, match="whole"):
            files.open(f"{top}/c", "ab")

    def test_a_bucket_that_is_not_there(self, store: Store, served: Served) -> None:
        url = f"{served.scheme}://no-such-bucket/folder/object"
        for work in (store.filesystem.info, store.filesystem.find, store.filesystem.cat_file):
            with pytest.raises(FileNotFoundError):
                work(url)
        with pytest.raises(StorageError, match="no such bucket"):
            store.list(url)

    def test_errors_are_repeated_a_few_times_and_counted(self, served: Served, stores: Stores, url: str) -> None:
        with faulty(served) as (reached, control):
            store = reached.stores().open(url)
            store.put(url, b"123")
            for kind in ("error", "reset", "lost"):
                control.once(kind, status=503 if kind == "error" else None)
                assert store.filesystem.cat_file(url) == b"123"
                assert control.waiting() == 0
                control.once(kind, status=503 if kind == "error" else None)
                store.filesystem.pipe_file(url, b"123")
                assert control.waiting() == 0
            counts = store.stats.counts()
            assert control.injected() == {"error": 2, "reset": 2, "lost": 2}
        # When a kept connection breaks, the HTTP client itself repeats some requests.
        assert counts.requests >= 9
        assert counts.retries >= 2

    def test_a_lost_answer_makes_no_loser(self, served: Served, stores: Stores, url: str) -> None:
        with faulty(served) as (reached, control):
            store = reached.stores().open(url)
            control.once("lost")
            store.create(url, b"mine")
            assert control.injected() == {"lost": 1}
            with pytest.raises(ObjectExists):
                store.create(url, b"yours")

    def test_a_server_that_hangs_is_not_waited_for(self, served: Served, stores: Stores, url: str) -> None:
        with faulty(served) as (reached, control):
            store = reached.stores(Limits(timeout_s=0.1, deadline_s=0.3)).open(url)
            control.hang()
            for work in (lambda: store.info(url), lambda: store.put(url, bytes(10))):
                with pytest.raises(StorageError, match=r"no answer|cannot be reached"):
                    work()

    def test_no_secret_leaves(self, served: Served, store: Store) -> None:
        files = store.filesystem
        shown = [repr(files), repr(store), pickle.dumps(files).decode("latin1"), json.dumps(vars_of(files))]
        again = pickle.loads(pickle.dumps(files))
        assert again.ls(served.bucket, detail=False) == files.ls(served.bucket, detail=False)
        for name, secret in served.env.items():
            if any(word in name for word in ("KEY", "TOKEN", "SECRET", "STRING")):
                assert not any(secret in text for text in shown)

    def test_instances_are_not_shared(self, served: Served, stores: Stores, root_url: str) -> None:
        assert served.stores().open(root_url).filesystem is not served.stores().open(root_url).filesystem


def create_all(served: Served, env: Mapping[str, str], keys: list[str], worker: int) -> list[str]:
    """Returns the keys whose exclusive creation this process won."""
    os.environ.update(env)
    store = replace(served, env=env).stores().open(keys[0])
    won = []
    for key in keys:
        try:
            store.create(key, b"%d" % worker)
        except ObjectExists:
            continue
        won.append(key)
    return won


def vars_of(filesystem: Any) -> dict[str, Any]:
    """Returns what fsspec would write of a filesystem."""
    return {"args": repr(filesystem.storage_args), "options": repr(filesystem.storage_options)}
