"""The storage suite on S3 servers, and what only that provider can get wrong."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from fsspec.asyn import sync

from pai_train.errors import StorageError, TableError
from pai_train.storage import Access, AccessRefused, StorageOptions, Store, Stores, join
from pai_train.storage.facts import BucketFacts, ServiceFacts
from pai_train.tables.iceberg import IcebergTables
from tests.servers.faults import faulty
from tests.suites.keyed_suite import KeyedSuite
from tests.suites.storage_suite import StorageSuite

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.servers.s3_fixture import Moto
    from tests.servers.served import Served

_MIB = 2**20


class TestS3Storage(KeyedSuite):
    # No part may be smaller than 5 MiB, and how many copies of the parts under way live at once is a matter of timing.
    stream_blocks, peak_bytes = 80, 50 * _MIB
    etags_of_content = True

    @pytest.fixture
    def served(self, s3_server: Served) -> Served:
        return s3_server

    @pytest.fixture
    def store(self, stores: Stores, root_url: str) -> Store:
        store = stores.open(root_url)
        assert store.creates_exclusively(root_url)
        return store

    def test_given_up_uploads_are_aborted(self, small: Store, moto: Moto, served: Served, url: str) -> None:
        prefix = url.removeprefix(f"s3://{served.bucket}/")
        stream = small.filesystem.open(url, "wb")
        stream.write(bytes(12 * _MIB))
        while "Uploads" not in moto.s3.list_multipart_uploads(Bucket=served.bucket, Prefix=prefix):
            time.sleep(0.05)
        stream.discard()
        assert "Uploads" not in moto.s3.list_multipart_uploads(Bucket=served.bucket, Prefix=prefix)

    def test_a_lost_completion_is_recognised(self, served: Served, stores: Stores, url: str) -> None:
        with faulty(served) as (reached, control):
            store = reached.stores().open(url)
            content = os.urandom(18 * _MIB)
            control.once("lost", method="POST", path="uploadId")
            with store.open_output(url) as stream:
                stream.write(content)
            assert control.injected() == {"lost": 1}
        assert stores.open(url).read(url) == content

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            ({"AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE"}, "does not know the access key"),
            ({"AWS_SECRET_ACCESS_KEY": "x" * 40}, "secret is wrong"),
        ],
    )
    def test_wrong_keys(
        self, change: dict[str, str], said: str, served: Served, url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        served.enter(monkeypatch)
        for name, value in change.items():
            monkeypatch.setenv(name, value)
        store = served.stores().open(url)
        for work in (lambda: store.info(url), lambda: store.read(url), lambda: store.put(url, b"1"), store_list(store)):
            with pytest.raises(AccessRefused, match=said) as caught:
                work()
            assert "AWS_SECRET_ACCESS_KEY" in (caught.value.fault.todo or "")
            assert not any(value in str(caught.value) for value in change.values())

    def test_temporary_keys(self, moto: Moto, served: Served, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        keys = replace(served, env=moto.assume_role())
        keys.enter(monkeypatch)
        store = keys.stores().open(url)
        store.put(url, b"123")
        assert store.read(url) == b"123"
        monkeypatch.setenv("AWS_SESSION_TOKEN", "x" * 300)
        with pytest.raises(AccessRefused):
            keys.stores().open(url).read(url)

    @pytest.mark.parametrize(
        ("allowed", "refused"),
        [
            (["s3:ListBucket", "s3:GetObject"], lambda store, url: store.put(url, b"2")),
            (["s3:ListBucket", "s3:PutObject"], lambda store, url: store.read(url)),
            (["s3:ListBucket", "s3:PutObject", "s3:GetObject"], lambda store, url: store.delete(url)),
        ],
    )
    def test_no_permission(self, allowed, refused, moto, served, store, url, monkeypatch) -> None:
        store.put(url, b"1")
        limited = replace(served, env=moto.user(allowed))
        limited.enter(monkeypatch)
        with pytest.raises(AccessRefused, match="permission") as caught:
            refused(limited.stores().open(url), url)
        assert caught.value.fault.where == url
        assert store.read(url) == b"1"

    def test_what_a_service_and_a_bucket_tell(self, store: Store, served: Served, moto: Moto) -> None:
        assert store.filesystem.service_facts(served.bucket) == ServiceFacts(served.endpoint, "us-east-1")
        assert store.filesystem.bucket_facts(served.bucket) == BucketFacts(None, "off")
        moto.s3.create_bucket(Bucket="versioned")
        moto.s3.put_bucket_versioning(Bucket="versioned", VersioningConfiguration={"Status": "Enabled"})
        assert store.filesystem.bucket_facts("versioned").versioning == "on"
        with pytest.raises(FileNotFoundError):
            store.filesystem.bucket_facts("no-such-bucket")

    def test_a_version_in_a_name_is_part_of_it(self, store: Store, root_url: str) -> None:
        url = join(root_url, "a?versionId=b")
        store.put(url, b"1")
        assert store.read(url) == b"1"
        assert [info.url for info in store.list(root_url)] == [url]

    def test_a_batch_of_deletions_has_the_old_digest_alone(self, store: Store, root_url: str) -> None:
        sent: list[dict[str, str]] = []

        def look(request: Any, **_: Any) -> None:
            sent.append({name.lower(): value for name, value in request.headers.items()})

        for name in ("a", "b"):
            store.put(join(root_url, name), b"1")
        client = sync(store.filesystem.loop, store.filesystem.set_session)
        client.meta.events.register_last("before-send.s3.DeleteObjects", look)
        store.delete_tree(root_url)
        assert store.list(root_url) == []
        assert [("content-md5" in headers, any("checksum" in name for name in headers)) for headers in sent] == [
            (True, False)
        ]

    def test_a_copy_is_made_by_the_service(self, store: Store, url: str) -> None:
        store.put(url, b"123")
        store.filesystem.cp_file(url, url + " copy")
        assert store.read(url + " copy") == b"123"


def store_list(store: Store) -> Callable[[], object]:
    return lambda: store.list("s3://pai-train/anywhere")


def stores_of_profile(folder: Path, monkeypatch: pytest.MonkeyPatch, lines: str, keys: dict[str, str]) -> Stores:
    """Opens stores as a profile says, and nothing else."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    (folder / "config").write_text(f"[profile lab]\nregion = eu-west-1\n{lines}")
    (folder / "keys").write_text("[lab]\n" + "".join(f"{name.lower()} = {key}\n" for name, key in keys.items()))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(folder / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(folder / "keys"))
    return Stores(StorageOptions(access={"s3": Access(profile="lab")}))


def keys_of(served: Served) -> dict[str, str]:
    return {name: served.env[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}


class TestWhereRequestsGo:
    def test_amazon_is_not_tried(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        store = stores_of_profile(tmp_path, monkeypatch, "", {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"})
        store = store.open("s3://bucket/key")
        facts = ServiceFacts("https://s3.eu-west-1.amazonaws.com", "eu-west-1")
        assert store.filesystem.service_facts("bucket") == facts
        assert store.creates_exclusively("s3://bucket")
        assert store.stats.counts().requests == 0

    @pytest.mark.parametrize(
        "lines", ["endpoint_url = {}\n", "services = s\n[services s]\ns3 =\n  endpoint_url = {}\n"]
    )
    def test_the_server_of_a_profile_is_tried(
        self, rclone_server: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: str
    ) -> None:
        lines = lines.format(rclone_server.endpoint)
        stores, root = stores_of_profile(tmp_path, monkeypatch, lines, keys_of(rclone_server)), rclone_server.root()
        assert stores.open(root).creates_exclusively(root) is False
        with pytest.raises(TableError, match="exactly one creates"):
            IcebergTables(root, "p", stores)
        assert stores.open(root).list(root) == []

    def test_a_profile_that_is_not_there(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        stores_of_profile(tmp_path, monkeypatch, "", {})
        store = Stores(StorageOptions(access={"s3": Access(profile="absent")})).open("s3://bucket/key")
        for work in (store.read, store.list, store.creates_exclusively):
            with pytest.raises(AccessRefused, match="no such profile"):
                work("s3://bucket/key")


class TestRcloneStorage(StorageSuite):
    """A server that takes every creator for the first: files are served, exclusive create is refused."""

    @pytest.fixture
    def stores(self, rclone_server: Served, monkeypatch: pytest.MonkeyPatch) -> Stores:
        rclone_server.enter(monkeypatch)
        return rclone_server.stores()

    @pytest.fixture
    def root_url(self, rclone_server: Served) -> str:
        return rclone_server.root()

    def test_create_refuses_what_exists(self, store: Store, url: str, root_url: str) -> None:
        for _ in range(2):
            with pytest.raises(StorageError, match="no exclusive create"):
                store.create(url, b"1")
        assert store.list(root_url) == []

    def test_create_has_one_winner_among_threads(self, store: Store, url: str) -> None:
        # What the refusal is for: without it both would believe that they were first.
        store.filesystem.pipe_file(url, b"1", mode="create")
        store.filesystem.pipe_file(url, b"2", mode="create")
        assert store.read(url) == b"2"

    def test_the_store_knows_whether_it_creates_exclusively(self, store: Store, root_url: str) -> None:
        assert store.creates_exclusively(root_url) is False
        assert store.list(root_url) == []

    def test_tables_are_refused(self, stores: Stores, root_url: str) -> None:
        with pytest.raises(TableError, match="exactly one creates"):
            IcebergTables(root_url, "p", stores)
        assert stores.open(root_url).list(root_url) == []
