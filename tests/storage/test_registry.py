"""Which stores are served, what the others are told, and what importing the room costs."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import fsspec.config
import pytest

from pai_train.errors import StorageError
from pai_train.storage import Access, CacheOptions, Limits, StorageOptions, Stores, open_store, served_schemes
from pai_train.storage.memory import MemoryObjects
from pai_train.storage.registry import PROVIDERS, Provider
from pai_train.storage.stats import StoreStats

if TYPE_CHECKING:
    from pathlib import Path


def test_every_scheme_is_listed() -> None:
    assert served_schemes() == sorted(PROVIDERS) == ["az", "file", "gs", "memory", "oss", "s3"]


def test_stores_of_this_machine_are_opened_once() -> None:
    for scheme, provider in PROVIDERS.items():
        if provider.is_local:
            store = open_store(f"{scheme}:///x")
            assert store.scheme == scheme
            assert (store.is_local, store.exclusive_create) == (True, provider.exclusive_create)
            assert open_store(f"{scheme}:///y") is store is Stores().open(f"{scheme}:///z")


@pytest.mark.parametrize(("scheme", "protocol"), [("gs", "gcs"), ("az", "abfs"), ("s3", "s3")])
def test_settings_of_fsspec_are_refused(scheme: str, protocol: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(fsspec.config.conf, protocol, {"token": "c2VjcmV0"})
    with pytest.raises(StorageError, match=f"settings for {protocol} are not read") as caught:
        Stores().open(f"{scheme}://bucket/key")
    assert caught.value.fault.got == "token"
    assert "c2VjcmV0" not in str(caught.value)


def test_a_remote_store_is_opened_with_the_options_of_its_scheme(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Remote(MemoryObjects):
        cachable = False

        def __init__(self, access: Access, limits: Limits, stats: StoreStats) -> None:
            super().__init__()
            self.given = access, limits, stats

    provider = Provider("unused", is_local=False, exclusive_create=None)
    monkeypatch.setattr(Provider, "load", lambda self: Remote)
    monkeypatch.setitem(PROVIDERS, "s3", provider)
    access, limits = Access(endpoint="http://127.0.0.1:1"), Limits(parallel=2)
    cache = CacheOptions(str(tmp_path / "cache"), 2**20)
    stores = Stores(StorageOptions({"s3": access}, limits, cache))
    store = stores.open("s3://b/k")
    assert store.filesystem.given == (access, limits, store.stats)
    assert (store.is_local, store.exclusive_create, store.limits) == (False, None, limits)
    assert stores.open("s3://other/k") is store
    assert stores.open("gs://b/k").filesystem.given[0] == Access()
    assert stores.stats() == {"s3": store.stats, "gs": stores.open("gs://b/k").stats}
    assert Stores().open("s3://b/k") is not store


def test_a_store_with_a_cache_asks_for_a_part_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from tests.storage.shaky import ShakyObjects

    files = ShakyObjects()
    monkeypatch.setattr(Provider, "load", lambda self: lambda access, limits, stats: files)
    options = StorageOptions(limits=Limits(part_bytes=1000), cache=CacheOptions(str(tmp_path / "cache"), 2**20))
    for turn in range(2):
        store = Stores(options).open("s3://b/k")
        store.filesystem._strip_protocol = lambda path: "/" + path
        info = store.put("s3://b/k", b"x" * 2500)
        assert store.read("s3://b/k", 0, 2500, info.etag) == b"x" * 2500
        assert store.stats.counts().cached_bytes == 2500 * turn
    assert files.calls["cat"] == 3


@pytest.mark.parametrize(
    ("scheme", "todo"),
    [("flie", "did you mean 'file'?"), ("os", "did you mean 'oss'?"), ("hdfs", "known: az, file, gs, memory, oss, s3")],
)
def test_other_schemes_are_told_what_is_served(scheme: str, todo: str) -> None:
    with pytest.raises(StorageError, match=f"{scheme}:// is not served") as caught:
        open_store(f"{scheme}://bucket/key")
    fault = caught.value.fault
    assert fault.where == f"{scheme}://bucket/key"
    assert fault.wanted == "az:// or file:// or gs:// or memory:// or oss:// or s3://"
    assert fault.todo == todo


def test_a_path_is_no_url() -> None:
    with pytest.raises(StorageError, match="not a full URL"):
        open_store("/data/iris.csv")


def test_importing_the_room_imports_no_provider() -> None:
    heavy = "('fsspec', 'pyarrow', 'tensorflow', 'tenacity', 'aiohttp', 'asyncio')"
    code = f"import sys, pai_train.storage; print([m for m in {heavy} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
