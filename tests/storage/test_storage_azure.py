"""The storage suite on an emulator of Azure Blob Storage, and what only that provider can get wrong."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from azure.storage.blob import AccountSasPermissions, ResourceTypes, generate_account_sas

from pai_train.errors import StorageError
from pai_train.storage import Access, AccessRefused, Limits, ObjectMissing, StorageOptions, Store, Stores, join
from tests.suites.keyed_suite import KeyedSuite
from tests.suites.storage_suite import ODD_NAMES

if TYPE_CHECKING:
    from tests.servers.served import Served

_VARIABLES = ("ACCOUNT_NAME", "ACCOUNT_KEY", "SAS_TOKEN", "CONNECTION_STRING", "CLIENT_ID", "ANON")


@pytest.fixture
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """Takes away what the environment says of Azure."""
    for name in _VARIABLES:
        monkeypatch.delenv(f"AZURE_STORAGE_{name}", raising=False)


def stores_at(endpoint: str | None) -> Stores:
    """Opens stores with an endpoint alone."""
    return Stores(StorageOptions(access={"az": Access(endpoint=endpoint)}))


class TestAzureStorage(KeyedSuite):
    @pytest.fixture
    def served(self, azure_server: Served, nothing_set: None) -> Served:
        return azure_server

    @pytest.mark.parametrize("name", [name for name in ODD_NAMES if "\\" not in name])
    def test_odd_names(self, store: Store, root_url: str, name: str) -> None:
        super().test_odd_names(store, root_url, name)

    @pytest.mark.parametrize("name", ["a\\b", "ends.", "ends./below", "x" * 1025])
    def test_names_that_azure_would_change_are_refused(self, store: Store, root_url: str, name: str) -> None:
        url = join(root_url, name)
        for write in (
            lambda: store.put(url, b"1"),
            lambda: store.create(url, b"1"),
            lambda: store.filesystem.open(url, "wb"),
        ):
            with pytest.raises(StorageError, match="no such blob name") as caught:
                write()
            assert (caught.value.fault.where, bool(caught.value.fault.wanted)) == (url, True)
        assert store.list(root_url) == []

    def test_a_backslash_reaches_no_other_blob(self, store: Store, root_url: str) -> None:
        store.put(join(root_url, "a/b"), b"1")
        for work in (store.read, store.info, store.delete, store.delete_tree):
            with pytest.raises(StorageError, match="no such blob name"):
                work(f"{root_url}/a\\b")
        assert store.read(join(root_url, "a/b")) == b"1"

    def test_the_account_may_stand_in_the_authority(self, store: Store, served: Served, root_url: str) -> None:
        files, account = store.filesystem, served.env["AZURE_STORAGE_ACCOUNT_NAME"]
        top = store.path(root_url).replace(served.bucket, f"{served.bucket}@{account}.dfs.core.windows.net")
        path = f"{top}/folder/object"
        files.pipe_file(f"abfss://{path}", b"123")
        assert files.cat_file(path) == b"123"
        assert files.find(f"abfss://{top}") == [path] == files.glob(f"{top}/*/obj*")
        assert store.read(join(root_url, "folder", "object")) == b"123"
        for work in (files.cat_file, files.info, files.find):
            with pytest.raises(StorageError, match="another storage account") as caught:
                work(path.replace(f"@{account}", "@another"))
            assert (caught.value.fault.got, caught.value.fault.wanted) == ("another", account)

    def test_who_writes_beside_another_is_told(self, small: Store, url: str) -> None:
        streams = [small.filesystem.open(url, "wb") for _ in range(2)]
        for mark, stream in enumerate(streams):
            stream.write(bytes([mark]) * 3 * 2**20)
        streams[0].close()
        out = small.open_output(url)
        out.write(bytes(8 * 2**20))  # more than may still be under way
        small.put(url, b"\0" * 2**21)
        with pytest.raises(StorageError, match="ended by somebody else") as caught:
            out.close()
        assert caught.value.fault.todo
        assert small.read(url) == b"\0" * 2**21
        streams[1].discard()

    def test_folders_of_a_hierarchical_namespace(self, store: Store, root_url: str) -> None:
        files, top = store.filesystem, store.path(root_url)
        bucket, _, key = top.partition("/")
        for folder in ("tree", "tree/sub"):
            blob = files.service_client.get_blob_client(bucket, f"{key}/{folder}")
            upload = blob.upload_blob(b"", metadata={"hdi_isfolder": "true"})
            asyncio.run_coroutine_threadsafe(upload, files.loop).result()
        store.put(join(root_url, "tree", "sub", "object"), b"1")
        assert [info.url for info in store.list(root_url)] == [join(root_url, "tree/sub/object")]
        assert store.info(join(root_url, "tree")) is None
        assert files.isdir(f"{top}/tree/sub")
        assert files.find(top, withdirs=True) == [f"{top}/tree", f"{top}/tree/sub", f"{top}/tree/sub/object"]
        store.delete_tree(join(root_url, "tree"))
        assert not files.exists(f"{top}/tree")


class TestWhoWeAre:
    """How the account, its address and its credentials are found."""

    def test_a_wrong_key_is_refused(
        self, azure_server: Served, nothing_set: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        azure_server.enter(monkeypatch)
        wrong = "d3Jvbmcga2V5IHRoYXQgb3BlbnMgbm90aGluZw=="
        monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", wrong)
        store = azure_server.stores(Limits(deadline_s=5)).open(azure_server.root())
        url = join(azure_server.root(), "object")
        for work in (store.info, store.read, store.list, store.delete, lambda url: store.put(url, b"1")):
            with pytest.raises(AccessRefused) as caught:
                work(url)
            assert wrong not in str(caught.value)
        for work in (store.filesystem.exists, store.filesystem.isfile, store.filesystem.isdir):
            with pytest.raises(PermissionError):
                work(url)

    @pytest.mark.parametrize("given", ["string", "string and endpoint", "full endpoint", "token"])
    def test_ways_in(
        self, azure_server: Served, nothing_set: None, monkeypatch: pytest.MonkeyPatch, given: str
    ) -> None:
        account, key = (azure_server.env[f"AZURE_STORAGE_ACCOUNT_{name}"] for name in ("NAME", "KEY"))
        endpoint: str | None = azure_server.endpoint
        text = f"DefaultEndpointsProtocol=http;AccountName={account};AccountKey={key}"
        if given == "string":
            endpoint, text = None, f"{text};BlobEndpoint={azure_server.endpoint}/{account};"
        if given.startswith("string"):
            monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", text)
        else:
            monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", account)
        if given == "full endpoint":
            endpoint = f"{endpoint}/{account}/"
            monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", key)
        if given == "token":
            kinds, until = ResourceTypes(container=True, object=True), datetime.now(UTC) + timedelta(hours=1)
            rights = AccountSasPermissions(read=True, write=True, list=True, delete=True)
            monkeypatch.setenv(
                "AZURE_STORAGE_SAS_TOKEN", "?" + generate_account_sas(account, key, kinds, rights, until)
            )
        root = azure_server.root()
        url = join(root, "a b", "object")
        store = stores_at(endpoint).open(url)
        store.put(url, b"123")
        store.put(join(url, "below"), b"123")
        assert len(store.list(root)) == 2
        store.delete_tree(url)
        with pytest.raises(ObjectMissing):
            store.read(url)

    def test_nobody_is_named(self, nothing_set: None) -> None:
        with pytest.raises(StorageError, match="no Azure storage account") as caught:
            stores_at(None).open("az://container/key")
        assert "AZURE_STORAGE_ACCOUNT_NAME" in (caught.value.fault.wanted or "")

    def test_a_damaged_connection_string(self, nothing_set: None, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", "AccountName=a;c2VjcmV0")
        with pytest.raises(StorageError, match="connection string cannot be read") as caught:
            stores_at(None).open("az://container/key")
        assert "c2VjcmV0" not in str(caught.value)

    @pytest.mark.parametrize(
        ("endpoint", "url"),
        [
            (None, "https://acc.blob.core.windows.net"),
            ("acc.blob.core.chinacloudapi.cn", "https://acc.blob.core.chinacloudapi.cn"),
            ("https://data.example.com", "https://data.example.com"),
            ("http://127.0.0.1:10000", "http://127.0.0.1:10000/acc"),
            ("http://azurite:10000/", "http://azurite:10000/acc"),
            ("http://azurite:10000/acc", "http://azurite:10000/acc"),
        ],
    )
    def test_addresses(
        self, nothing_set: None, monkeypatch: pytest.MonkeyPatch, endpoint: str | None, url: str
    ) -> None:
        monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "acc")
        monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "a2V5")
        assert stores_at(endpoint).open("az://container/key").filesystem.account_url == url
