"""The storage suite on S3 servers, and what only that provider can get wrong."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from pai_train.errors import StorageError, TableError
from pai_train.storage import AccessRefused, Store, Stores, join
from pai_train.storage.facts import BucketFacts, ServiceFacts
from pai_train.tables.iceberg import IcebergTables
from tests.servers.faults import faulty
from tests.suites.keyed_suite import KeyedSuite
from tests.suites.storage_suite import StorageSuite

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.servers.s3_fixture import Moto
    from tests.servers.served import Served

_MIB = 2**20


class TestS3Storage(KeyedSuite):
    peak_bytes = 34 * _MIB  # no part may be smaller than 5 MiB
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

    def test_a_copy_is_made_by_the_service(self, store: Store, url: str) -> None:
        store.put(url, b"123")
        store.filesystem.cp_file(url, url + " copy")
        assert store.read(url + " copy") == b"123"


def store_list(store: Store) -> Callable[[], object]:
    return lambda: store.list("s3://pai-train/anywhere")


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
