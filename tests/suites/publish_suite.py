"""What publishing must do on every store; inherited by StorageSuite."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pai_train.errors import StorageError
from pai_train.storage import (
    FileEntry,
    Limits,
    Manifest,
    ObjectInfo,
    ObjectMissing,
    Store,
    fetch,
    join,
    publish,
    read_manifest,
    withdraw,
)
from pai_train.storage.publish import MANIFEST_NAME

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class FaultInjectedError(StorageError):
    """The failure that a FaultyStore injects."""


class FaultyStore(Store):
    """A store whose n-th write fails, before it happened or after (a lost answer)."""

    def __init__(self, inner: Store, fail_at: int, late: bool) -> None:
        super().__init__(
            inner.scheme,
            inner.filesystem,
            is_local=inner.is_local,
            exclusive_create=inner.exclusive_create,
            limits=Limits(parallel=1),  # one write after another, so that they can be counted
            retry=inner.retry,
        )
        self.writes = 0
        self._fail_at = fail_at
        self._late = late

    def _write(self, operation: Callable[[], Any]) -> Any:
        self.writes += 1
        if self.writes != self._fail_at:
            return operation()
        if self._late:
            operation()
        raise FaultInjectedError(f"write {self.writes} failed")

    def put(self, url: str, data: bytes | Path) -> ObjectInfo:
        return self._write(lambda: super(FaultyStore, self).put(url, data))

    def create(self, url: str, data: bytes) -> None:
        self._write(lambda: super(FaultyStore, self).create(url, data))

    def delete(self, url: str) -> None:
        self._write(lambda: super(FaultyStore, self).delete(url))

    def delete_tree(self, url: str) -> None:
        self._write(lambda: super(FaultyStore, self).delete_tree(url))


def write_files(folder: Path, mark: bytes) -> dict[str, Path]:
    """Writes three files for a publication, one of them empty, one below a folder."""
    contents = {"weights.bin": mark * 9000, "variables/état #1.index": mark, "empty": b""}
    for name, content in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return {name: folder / name for name in contents}


class PublishSuite:
    """Needs the fixtures `store` and `root_url`."""

    def test_publish_then_fetch(self, store: Store, root_url: str, tmp_path: Path) -> None:
        files = write_files(tmp_path / "from", b"1")
        assert read_manifest(store, root_url) is None
        manifest = publish(store, root_url, files, {"step": 3, "lanes": [[1, 2]], "who": "é"})
        assert manifest == read_manifest(store, root_url)
        assert Manifest.from_json(root_url, manifest.to_json()) == manifest
        assert list(manifest.files) == sorted(files)
        assert manifest.extra == {"step": 3, "lanes": [[1, 2]], "who": "é"}
        fetch(store, manifest, tmp_path / "to")
        assert {name: (tmp_path / "to" / name).read_bytes() for name in files} == {
            name: file.read_bytes() for name, file in files.items()
        }

    def test_a_publication_in_parts(self, store: Store, root_url: str, tmp_path: Path) -> None:
        parted = Store(
            store.scheme,
            store.filesystem,
            is_local=store.is_local,
            exclusive_create=store.exclusive_create,
            limits=Limits(parallel=3, part_bytes=1000),
            retry=store.retry,
        )
        files = {f"part {size}": tmp_path / str(size) for size in (0, 1, 999, 1000, 1001, 7000, 7001)}
        for size, path in zip((0, 1, 999, 1000, 1001, 7000, 7001), files.values(), strict=True):
            path.write_bytes(bytes(number % 251 for number in range(size)))
        manifest = publish(parted, root_url, files, {})
        assert list(manifest.files) == sorted(files)
        fetch(parted, manifest, tmp_path / "to")
        assert all((tmp_path / "to" / name).read_bytes() == path.read_bytes() for name, path in files.items())

    @pytest.mark.parametrize("late", [False, True])
    def test_publish_torn_at_every_write(self, store: Store, root_url: str, tmp_path: Path, late: bool) -> None:
        old, new = write_files(tmp_path / "old", b"1"), write_files(tmp_path / "new", b"2")
        outcomes, fail_at, done = set(), 0, False
        while not done:
            fail_at += 1
            store.delete_tree(root_url)
            publish(store, root_url, old, {"of": "old"})
            faulty = FaultyStore(store, fail_at, late)
            try:
                publish(faulty, root_url, new, {"of": "new"})
                done = True
            except FaultInjectedError:
                assert faulty.writes == fail_at
            outcomes.add(self.complete(store, root_url, tmp_path / f"to{fail_at}", {"old": old, "new": new}))
        assert fail_at == 6  # delete, three files, the manifest; then nothing fails
        assert outcomes == ({None, "new"} if late else {"old", None, "new"})

    @pytest.mark.parametrize("late", [False, True])
    def test_withdraw_torn_at_every_write(self, store: Store, root_url: str, tmp_path: Path, late: bool) -> None:
        files = {"old": write_files(tmp_path / "old", b"1")}
        for fail_at in (1, 2, 3):
            publish(store, root_url, files["old"], {"of": "old"})
            try:
                withdraw(FaultyStore(store, fail_at, late), root_url)
                assert fail_at == 3
            except FaultInjectedError:
                assert fail_at < 3
            self.complete(store, root_url, tmp_path / f"to{fail_at}", files)
        assert store.list(root_url) == []

    def complete(self, store: Store, url: str, to: Path, known: dict[str, dict[str, Path]]) -> str | None:
        """Returns which publication a reader finds, after comparing its every byte; None for none."""
        manifest = read_manifest(store, url)
        if manifest is None:
            return None
        fetch(store, manifest, to)
        mark = manifest.extra["of"]
        assert set(manifest.files) == set(known[mark])
        assert all((to / name).read_bytes() == file.read_bytes() for name, file in known[mark].items())
        return mark

    def test_fetch_finds_a_corrupted_byte(self, store: Store, root_url: str, tmp_path: Path) -> None:
        files = write_files(tmp_path / "from", b"1")
        manifest = publish(store, root_url, files, {})
        url = join(root_url, "weights.bin")
        for content in (b"1" * 8999 + b"2", b"1" * 8999, b"1" * 9001):
            store.put(url, content)
            with pytest.raises(StorageError, match="not the one") as caught:
                fetch(store, manifest, tmp_path / "to")
            assert caught.value.fault.where == url
            assert not (tmp_path / "to" / "weights.bin").exists()
        store.delete(url)
        with pytest.raises(ObjectMissing) as missing:
            fetch(store, manifest, tmp_path / "to")
        assert missing.value.fault.where == url

    @pytest.mark.parametrize(
        "content",
        [b"", b'{"format": 1, "files"', b"[]", b"{}", b'{"format": 2, "files": {}, "extra": {}}',
         b'{"format": 1, "files": {"../x": {"size": 1, "sha256": ""}}, "extra": {}}',
         b'{"format": 1, "files": {"/x": {"size": 1, "sha256": ""}}, "extra": {}}', b"\xff\xfe"],
    )  # fmt: skip
    def test_a_damaged_manifest_is_said_to_be_one(self, store: Store, root_url: str, content: bytes) -> None:
        store.put(join(root_url, MANIFEST_NAME), content)
        with pytest.raises(StorageError, match="manifest") as caught:
            read_manifest(store, root_url)
        assert caught.value.fault.where == join(root_url, MANIFEST_NAME)
        assert caught.value.fault.todo

    def test_publish_refuses_before_it_writes(self, store: Store, root_url: str, tmp_path: Path) -> None:
        files = write_files(tmp_path, b"1")
        published = publish(store, root_url, files, {})
        for name in ("../x", "/x", "", "a//b", MANIFEST_NAME, "a/../b"):
            with pytest.raises(ValueError, match="not a name"):
                publish(store, root_url, {name: files["empty"]}, {})
        with pytest.raises(ValueError, match="JSON"):
            publish(store, root_url, files, {"loss": float("nan")})
        assert read_manifest(store, root_url) == published
        assert published.files["empty"] == FileEntry(
            0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        )
