"""The storage suite on OSS, and what is OSS's own: addresses, signatures, listings, copies, versions."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from pai_train.errors import StorageError
from pai_train.storage import Access, Limits, ObjectExists, StorageOptions, Store, Stores, join, oss_bucket
from pai_train.storage.oss import OssObjects
from pai_train.storage.oss_client import Place, located
from tests.suites.storage_suite import StorageSuite

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.oss_fixture import OssDoor
    from tests.servers.served import Served

MIB = 2**20
SMALL = Limits(parallel=3, part_bytes=MIB, timeout_s=20, deadline_s=20)
INNER = "oss-cn-beijing-internal.aliyuncs.com"
ACCELERATED = "oss-accelerate.aliyuncs.com"
OTHER_FORM = "cn-hangzhou.oss.aliyuncs.com"


@pytest.fixture
def stores(oss_server: Served, monkeypatch: pytest.MonkeyPatch) -> Stores:
    oss_server.enter(monkeypatch)
    return oss_server.stores(SMALL)


@pytest.fixture
def root_url(oss_server: Served) -> str:
    return oss_server.root()


@pytest.fixture
def store(stores: Stores, root_url: str) -> Store:
    return stores.open(root_url)


@pytest.fixture
def url(root_url: str) -> str:
    return join(root_url, "deep", "er", "object.bin")


class TestOssStorage(StorageSuite):
    @pytest.fixture
    def stores(self, oss_server: Served, monkeypatch: pytest.MonkeyPatch) -> Stores:
        oss_server.enter(monkeypatch)
        return oss_server.stores()

    @pytest.fixture
    def root_url(self, oss_server: Served) -> str:
        return oss_server.root()


# Addresses and signatures


@pytest.mark.parametrize(
    ("authority", "access", "place", "sts"),
    [
        ("b", Access(region="cn-x"), Place("https://oss-cn-x.aliyuncs.com", "cn-x", False), "sts.cn-x"),
        ("b", Access(region="oss-cn-x"), Place("https://oss-cn-x.aliyuncs.com", "cn-x", False), "sts.cn-x"),
        ("b", Access(endpoint=INNER), Place(f"https://{INNER}", "cn-beijing", False), "sts-vpc.cn-beijing"),
        (f"b.{INNER}", Access(region="x-1"), Place(f"https://{INNER}", "cn-beijing", False), "sts-vpc.cn-beijing"),
        ("b", Access(endpoint="https://o.x:1/", region="r-1"), Place("https://o.x:1", "r-1", False), "sts.r-1"),
        ("b", Access(endpoint="https://o.x", addressing="path"), Place("https://o.x", None, True), None),
        ("b", Access(endpoint=ACCELERATED), Place(f"https://{ACCELERATED}", None, False), None),
        ("b", Access(endpoint=OTHER_FORM), Place(f"https://{OTHER_FORM}", "cn-hangzhou", False), "sts.cn-hangzhou"),
        ("b", Access(endpoint="http://127.0.0.1:9"), Place("http://127.0.0.1:9", None, True), None),
        ("b.localhost:8", Access(endpoint="http://o.x"), Place("http://localhost:8", None, True), None),
    ],
)
def test_where_a_bucket_is(
    authority: str, access: Access, place: Place, sts: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OSS_REGION", raising=False)
    monkeypatch.delenv("OSS_ENDPOINT", raising=False)
    assert located(authority, access) == ("b", place)
    assert place.sts_host == (sts and f"{sts}.aliyuncs.com")


def test_the_environment_says_where_a_bucket_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OSS_REGION", "cn-shanghai")
    monkeypatch.delenv("OSS_ENDPOINT", raising=False)
    assert located("b", Access())[1] == Place("https://oss-cn-shanghai.aliyuncs.com", "cn-shanghai", False)
    monkeypatch.setenv("OSS_ENDPOINT", f"https://{INNER}")
    assert located("b", Access())[1] == Place(f"https://{INNER}", "cn-beijing", False)
    assert located("b", Access(endpoint="http://o.x"))[1] == Place("http://o.x", "cn-shanghai", False)


def test_nothing_says_where_a_bucket_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OSS_REGION", raising=False)
    monkeypatch.delenv("OSS_ENDPOINT", raising=False)
    with pytest.raises(StorageError, match="region") as caught:
        Stores().open("oss://bucket/key").read("oss://bucket/key")
    assert "OSS_REGION" in (caught.value.fault.todo or "")


def test_the_address_may_name_the_host(oss_server: Served, store: Store, url: str) -> None:
    store.put(url, b"content")
    host = oss_server.endpoint.partition("://")[2]
    full = url.replace(f"oss://{oss_server.bucket}/", f"oss://{oss_server.bucket}.{host}/")
    elsewhere = Stores(StorageOptions(access={"oss": Access(endpoint="http://127.0.0.1:9")})).open(full)
    assert elsewhere.read(full) == b"content"
    assert [info.url for info in elsewhere.list(full.rpartition("/")[0])] == [full]
    assert [info.url for info in elsewhere.glob(full.replace("object", "*"))] == [full]


@pytest.mark.parametrize("region", [None, "cn-hangzhou"])
def test_signatures_old_and_new(
    oss_server: Served, store: Store, url: str, region: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OSS_REGION")
    access = {"oss": Access(endpoint=oss_server.endpoint, region=region)}
    signed = Stores(StorageOptions(access=access, limits=SMALL)).open(url)
    for name in ("a b.csv", "é#%?*.csv"):
        signed.put(join(url, name), b"1")
        with signed.open_output(join(url, name)) as output:
            output.write(b"2" * 3 * MIB)
    assert [info.size for info in signed.list(url)] == [3 * MIB] * 2
    signed.delete_tree(url)
    assert store.list(url) == []


# Secrets


def test_keys_are_in_nothing_that_is_shown(oss_server: Served, store: Store, url: str) -> None:
    filesystem = store.filesystem
    store.put(url, b"1")
    copy = pickle.loads(pickle.dumps(filesystem))
    assert (copy.access, copy.limits) == (filesystem.access, filesystem.limits)
    assert copy.cat_file(url) == b"1"
    assert OssObjects.from_json(filesystem.to_json()).cat_file(url) == b"1"
    for shown in (filesystem.to_json(), repr(filesystem), str(pickle.dumps(filesystem)), repr(vars(filesystem))):
        for name, value in oss_server.env.items():
            assert value not in shown or "KEY" not in name


# Reading, listing, copying


def test_an_object_replaced_under_a_reader_is_no_mixture(store: Store, url: str) -> None:
    store.put(url, b"1" * MIB)
    with store.filesystem.open(url, block_size=1000) as stream:
        store.put(url, b"2" * MIB)
        assert stream.read(10) == b"2" * 10
        store.put(url, b"3" * 5)
        with pytest.raises(OSError, match="replaced"):
            stream.read()


def test_a_listing_is_a_request_per_page(
    store: Store, root_url: str, oss_door: OssDoor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(oss_bucket, "_PAGE", 10)
    names = [join(root_url, f"part-{at % 3}", f"{at:02}.csv") for at in range(25)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: store.put(name, b"1"), names))
    oss_door.requests(forget=True)
    assert [info.url for info in store.list(root_url)] == sorted(names)
    assert oss_door.requests(forget=True) == {"ListObjectsV2": 3}
    assert len(store.glob(join(root_url, "part-1", "0*.csv"))) == 3
    assert oss_door.requests(forget=True) == {"ListObjectsV2": 1}
    assert len(store.filesystem.find(root_url, maxdepth=1, withdirs=True)) == 4
    assert oss_door.requests(forget=True) == {"ListObjectsV2": 1}
    counted = store.stats.counts().requests
    store.delete_tree(root_url)
    sent = oss_door.requests()
    assert sent == {"ListObjectsV2": 3, "DeleteMultipleObjects": 3}
    assert store.stats.counts().requests == counted + 6
    assert store.stats.counts().retries == 0


def test_folders_drawn_by_a_console_are_folders(store: Store, root_url: str) -> None:
    filesystem, bucket = store.filesystem, store.filesystem._bucket(root_url.split("/")[2])
    key = root_url.partition(f"{bucket.name}/")[2]
    bucket.ask("put_object", f"{key}/empty/", body=b"")
    store.put(join(root_url, "full", "a"), b"1")
    bucket.ask("put_object", f"{key}/full/", body=b"")
    assert [info.url for info in store.list(root_url)] == [join(root_url, "full", "a")]
    assert [name.rpartition("/")[2] for name in filesystem.ls(root_url, detail=False)] == ["empty", "full"]
    assert [name.rpartition("/")[2] for name in filesystem.find(root_url, withdirs=True)][1:] == ["empty", "full", "a"]
    assert filesystem.isdir(join(root_url, "empty"))
    store.delete_tree(root_url)
    assert not filesystem.exists(root_url)


def test_the_ends_of_ranges_may_count_from_the_end(store: Store, url: str) -> None:
    store.put(url, b"0123456789")
    for start, end in [(-3, None), (None, -3), (2, -2), (-4, -2), (-99, 3), (4, 4), (5, 2), (10, None), (None, None)]:
        assert store.filesystem.cat_file(url, start, end) == b"0123456789"[start:end]


def test_copies(oss_server: Served, store: Store, url: str, tmp_path: Path, oss_door: OssDoor) -> None:
    filesystem, content = store.filesystem, bytes(range(256)) * 10_000
    store.put(url, content)
    oss_door.requests(forget=True)
    filesystem.cp_file(url, f"{url} #2")
    assert "GetObject" not in oss_door.requests()
    assert store.read(f"{url} #2") == content
    elsewhere = url.replace(f"{oss_server.bucket}/", f"{oss_server.bucket}.localhost:{oss_server.endpoint[17:]}/")
    filesystem.cp_file(elsewhere, f"{url} #3")
    assert store.read(f"{url} #3") == content
    filesystem.get_file(url, str(tmp_path / "made" / "here"))
    assert (tmp_path / "made" / "here").read_bytes() == content
    with pytest.raises(FileNotFoundError):
        filesystem.cp_file(f"{url} absent", f"{url} #4")
    filesystem.mv(url.rpartition("/")[0], url.rpartition("/")[0] + " moved", recursive=True)
    assert [info.size for info in store.list(url.rpartition("/")[0] + " moved")] == [len(content)] * 3


# The bucket itself


@pytest.mark.parametrize("status", ["Enabled", "Suspended"])
@pytest.mark.parametrize("allowed", [None, ["list", "get", "put", "delete"]])
def test_no_exclusive_create_where_versions_are_kept(
    oss_server: Served, oss_door: OssDoor, monkeypatch: pytest.MonkeyPatch, status: str, allowed: list[str] | None
) -> None:
    bucket = oss_door.bucket(versioning=status)
    for name, value in {**oss_server.env, **oss_door.user(allowed).env}.items():
        monkeypatch.setenv(name, value)
    for name in ("object", "deep/object"):
        store = oss_server.stores(SMALL).open("oss://")
        with pytest.raises(StorageError, match="versions") as caught:
            store.create(f"oss://{bucket}/{name}", b"1")
        assert not isinstance(caught.value, ObjectExists)
        with pytest.raises(OSError, match="versioning"):
            store.filesystem.open(f"oss://{bucket}/{name}", "xb")
        assert store.list(f"oss://{bucket}") == []


def test_exclusive_create_for_who_may_not_ask_for_versions(
    oss_server: Served, oss_door: OssDoor, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {**oss_server.env, **oss_door.user(["list", "get", "put", "delete"]).env}.items():
        monkeypatch.setenv(name, value)
    store = oss_server.stores(SMALL).open(url)
    store.create(url, b"1")
    with pytest.raises(ObjectExists):
        store.create(url, b"2")
    assert [info.url for info in store.list(url.rpartition("/")[0])] == [url]


def test_what_a_bucket_tells(oss_server: Served, stores: Stores, oss_door: OssDoor) -> None:
    filesystem = stores.open("oss://").filesystem
    bucket = oss_door.bucket(versioning="Enabled")
    told = filesystem.bucket_info(bucket)
    assert (told.name, told.endpoint, told.location) == (bucket, oss_server.endpoint, "oss-cn-hangzhou")
    assert (told.versioning, told.region, filesystem.versioning(bucket)) == ("Enabled", "cn-hangzhou", "Enabled")
    assert abs(told.clock_offset_s) < 60
    with oss_door.clock(300):
        assert abs(filesystem.bucket_info(oss_server.bucket).clock_offset_s - 300) < 60
    assert filesystem.versioning(oss_server.bucket) is None
    assert oss_server.bucket in filesystem.ls("", detail=False)
    with pytest.raises(OSError, match=r"oss-cn-shanghai\.aliyuncs\.com"):
        filesystem.ls(oss_door.bucket(region="cn-shanghai"))
