"""The storage suite on local files, and what only files can get wrong: links, durability, kills, full disks."""

from __future__ import annotations

import gc
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from pai_train.errors import StorageError
from pai_train.storage import AccessRefused, ObjectMissing, Store, join, mapped, open_store
from pai_train.storage.leftovers import discard_unfinished
from tests.suites.storage_suite import StorageSuite, creates

if TYPE_CHECKING:
    from pathlib import Path

_PUT_FOREVER = """
import itertools, sys
from pai_train.storage import open_store
store = open_store(sys.argv[1])
for turn in itertools.count():
    mark = bytes([turn % 3])
    store.put(sys.argv[1], mark * (300_000 + turn % 3))
    if turn == 1:
        print("started", flush=True)
"""


def _write_for_ever(url: str) -> None:
    with open_store(url).open_output(url) as stream:
        stream.write(b"1")
        time.sleep(600)


def _race(root: str, worker: int) -> list[int]:
    store = open_store(root)
    return [key for key in range(10) if creates(store, join(root, f"v{key}"), b"%d" % worker * 5000)]


class TestLocalStorage(StorageSuite):
    @pytest.fixture
    def root_url(self, tmp_path: Path) -> str:
        return f"file://{tmp_path}/storage root"

    def test_create_has_one_winner_among_processes(self, store: Store, root_url: str) -> None:
        context = multiprocessing.get_context("spawn")
        with context.Pool(4) as pool:
            won = pool.starmap(_race, [(root_url, worker) for worker in range(4)], chunksize=1)
        assert sorted(key for keys in won for key in keys) == list(range(10))
        for worker, keys in enumerate(won):
            assert all(store.read(join(root_url, f"v{key}")) == b"%d" % worker * 5000 for key in keys)

    def test_a_killed_writer_leaves_whole_objects(self, store: Store, url: str, root_url: str) -> None:
        for delay in (0.0, 0.003, 0.011, 0.017):
            command = [sys.executable, "-c", _PUT_FOREVER, url]
            with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
                child.stdout.readline()
                time.sleep(delay)
                child.send_signal(signal.SIGKILL)
            content = store.read(url)
            assert content == content[:1] * (300_000 + content[0])
            assert [info.url for info in store.list(root_url)] == [url]

    def test_content_is_durable_before_it_has_its_name(
        self, store: Store, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store.put(url, b"")  # makes the folders
        target = join(url.rsplit("/", 1)[0], "durable")
        calls: list[str] = []
        real = {name: getattr(os, name) for name in ("fsync", "replace", "link")}

        def record(name: str, what: str, *args: object) -> None:
            real[name](*args)
            calls.append(what)

        monkeypatch.setattr(
            os,
            "fsync",
            lambda fd: record("fsync", "sync " + ("folder" if os.path.isdir(f"/proc/self/fd/{fd}") else "file"), fd),
        )
        monkeypatch.setattr(os, "replace", lambda *names: record("replace", "name", *names))
        monkeypatch.setattr(os, "link", lambda *names: record("link", "name", *names))
        (tmp_path / "source").write_bytes(b"2")
        for write in (
            lambda: store.put(target, b"1"),
            lambda: store.put(target, tmp_path / "source"),
            lambda: store.create(target + "2", b"1"),
            lambda: store.open_output(target).close(),
        ):
            calls.clear()
            write()
            assert calls == ["sync file", "name", "sync folder"]

    def test_a_full_disk_leaves_the_old_content(self, store: Store, url: str, root_url: str) -> None:
        store.put(url, b"old")
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
        try:
            with pytest.raises(StorageError, match="too large") as caught:
                store.put(url, b"x" * (3 << 20))
            with pytest.raises(StorageError, match="too large"), store.open_output(url) as stream:
                stream.write(b"x" * (9 << 20))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert caught.value.fault.where == url
        assert store.read(url) == b"old"
        assert os.listdir(store.path(url.rsplit("/", 1)[0])) == ["object.bin"]

    def test_writes_leave_no_temporary_files_and_keep_the_umask(self, store: Store, url: str) -> None:
        before = os.umask(0o027)
        try:
            store.put(url, b"1")
        finally:
            os.umask(before)
        assert not creates(store, url, b"2")
        assert os.listdir(store.path(url.rsplit("/", 1)[0])) == ["object.bin"]
        assert os.stat(store.path(url)).st_mode & 0o777 == 0o640

    def test_litter_of_a_killed_writer_is_not_listed(self, store: Store, url: str, root_url: str) -> None:
        stream = store.open_output(url)
        stream.write(b"1")
        (litter,) = os.listdir(store.path(url.rsplit("/", 1)[0]))
        assert store.list(root_url) == []
        assert litter not in [name.rsplit("/")[-1] for name in store.filesystem.find(root_url)]
        stream.discard()
        dropped = store.filesystem.open(url, "wb")
        del dropped
        gc.collect()
        assert os.listdir(store.path(url.rsplit("/", 1)[0])) == []

    def test_what_a_killed_writer_left_half_written_can_be_removed(self, store: Store, url: str) -> None:
        folder = url.rsplit("/", 1)[0]
        living = store.open_output(url)
        living.write(b"1")
        process = multiprocessing.get_context("fork").Process(target=_write_for_ever, args=(f"{url}-killed",))
        process.start()
        while len(os.listdir(store.path(folder))) < 2:
            time.sleep(0.005)
        discard_unfinished(store, folder)
        assert len(os.listdir(store.path(folder))) == 2
        process.kill()
        process.join()
        discard_unfinished(store, folder)
        assert len(os.listdir(store.path(folder))) == 1
        living.close()
        discard_unfinished(store, folder)
        assert os.listdir(store.path(folder)) == ["object.bin"]
        discard_unfinished(store, join(folder, "nowhere"))

    def test_links_are_followed(self, store: Store, root_url: str, tmp_path: Path) -> None:
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "elsewhere" / "a").write_bytes(b"123")
        store.put(join(root_url, "own"), b"1")
        root = store.path(root_url)
        os.symlink(tmp_path / "elsewhere", f"{root}/linked")
        os.symlink(tmp_path / "elsewhere" / "a", f"{root}/file")
        os.symlink(tmp_path / "nowhere", f"{root}/broken")
        os.symlink(root, f"{root}/linked/loop")
        os.symlink(tmp_path / "elsewhere", f"{root}/linked/self")
        os.symlink(tmp_path, f"{root}/linked/above")
        os.symlink("me", f"{root}/me")
        names = [info.url.removeprefix(root_url + "/") for info in store.list(root_url)]
        assert names == ["file", "linked/a", "own"]
        assert store.info(join(root_url, "file")).size == 3
        assert store.info(join(root_url, "broken")) is None
        store.delete_tree(join(root_url, "linked"))
        assert (tmp_path / "elsewhere" / "a").read_bytes() == b"123"

    def test_a_folder_without_permission_does_not_look_empty(
        self, store: Store, root_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store.put(join(root_url, "open/a"), b"1")
        store.put(join(root_url, "closed/a"), b"1")
        real = os.scandir

        def scan(path: str) -> object:
            if path.endswith("/closed"):
                raise PermissionError(13, "Permission denied", path)
            return real(path)

        monkeypatch.setattr(os, "scandir", scan)
        for listing in (store.list, lambda url: store.glob(join(url, "*", "a"))):
            with pytest.raises(AccessRefused, match="Permission denied"):
                listing(root_url)

    def test_a_file_is_no_folder(self, store: Store, url: str, root_url: str) -> None:
        store.put(url, b"1")
        for write in (store.put, store.create):
            with pytest.raises(StorageError, match="is a file"):
                write(join(url, "below", "x"), b"2")
        with pytest.raises(StorageError):
            store.put(join(root_url, "deep"), b"2")
        with pytest.raises(StorageError):
            store.delete(join(root_url, "deep"))
        assert [info.url for info in store.list(root_url)] == [url]

    def test_a_file_system_without_links_has_no_create(
        self, store: Store, url: str, root_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*_: object) -> None:
            raise PermissionError(1, "Operation not permitted")

        monkeypatch.setattr(os, "link", refuse)
        with pytest.raises(StorageError, match="hard links"):
            store.create(url, b"1")
        assert store.list(root_url) == []


def test_paths_are_absolute_and_verbatim() -> None:
    store = open_store("file:///")
    assert store.path("file:///a b/#1%41?") == "/a b/#1%41?"
    assert (store.is_local, store.exclusive_create) == (True, True)
    assert open_store("FILE:///x") is store


@pytest.mark.parametrize(
    ("error", "family", "text"),
    [
        (FileNotFoundError(2, "No such file"), ObjectMissing, "no such object"),
        (PermissionError(13, "Permission denied"), AccessRefused, "credentials"),
        (OSError(28, "No space left on device"), StorageError, "free space"),
        (OSError(30, "Read-only file system"), StorageError, "can be written"),
        (TimeoutError("slow"), StorageError, "in time"),
        (OSError("odd"), StorageError, "odd"),
    ],
)
def test_every_os_error_becomes_ours(error: OSError, family: type[StorageError], text: str) -> None:
    with pytest.raises(family, match=text) as caught, mapped("file:///x"):
        raise error
    assert caught.value.fault.where == "file:///x"
    assert caught.value.fault.todo
    assert caught.value.__cause__ is error
    with pytest.raises(ValueError, match="not ours"), mapped("file:///x"):
        raise ValueError("not ours")
