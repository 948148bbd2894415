"""The storage suite in memory, and what only memory can get wrong."""

from __future__ import annotations

from itertools import count

import pytest

from pai_train.storage import Store, join, open_store
from tests.suites.storage_suite import StorageSuite

_BUCKETS = count()


class TestMemoryStorage(StorageSuite):
    @pytest.fixture
    def root_url(self) -> str:
        return f"memory://storage-suite-{next(_BUCKETS)}"

    def test_two_readers_have_two_cursors(self, store: Store, url: str) -> None:
        store.put(url, b"0123456789")
        with store.filesystem.open(url) as first, store.filesystem.open(url) as second:
            assert first.read(4) == b"0123"
            assert second.read(2) == b"01"
            assert first.read(2) == b"45"

    def test_equal_content_has_an_equal_etag(self, store: Store, url: str) -> None:
        assert store.put(url, b"same").etag == store.put(url, b"same").etag

    def test_objects_are_written_whole(self, store: Store, url: str) -> None:
        store.put(url, b"1")
        with pytest.raises(ValueError, match="whole"):
            store.filesystem.open(url, "ab")

    def test_other_fsspec_users_see_the_objects(self, store: Store, url: str, root_url: str) -> None:
        import fsspec

        store.put(url, b"1")
        assert fsspec.filesystem("memory").cat_file(url) == b"1"
        fsspec.filesystem("memory").pipe_file(join(root_url, "foreign"), b"22")
        assert [info.size for info in store.glob(join(root_url, "*"))] == [2]

    def test_flags(self) -> None:
        store = open_store("memory://any/where")
        assert (store.is_local, store.exclusive_create, repr(store)) == (True, True, "Store('memory')")
