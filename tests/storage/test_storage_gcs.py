"""The storage suite on an emulator of Google Cloud Storage, and what only that provider can get wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from pai_train.errors import StorageError
from pai_train.storage import AccessRefused, Limits, Store, Stores, join
from pai_train.storage.gcs_errors import answered, is_transient
from tests.servers.faults import faulty
from tests.servers.gcs_resuming import MODES, resuming
from tests.suites.keyed_suite import KeyedSuite

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.served import Served

_MIB = 2**20


class TestGcsStorage(KeyedSuite):
    @pytest.fixture
    def served(self, gcs_server: Served) -> Served:
        return gcs_server

    def test_the_etag_is_the_generation(self, store: Store, url: str) -> None:
        info = store.put(url, b"1")
        assert store.filesystem.info(url)["generation"] == info.etag
        assert store.put(url, b"1").etag != info.etag

    @pytest.mark.parametrize("mode", MODES)
    def test_an_upload_goes_on_where_it_was_cut_off(
        self, served: Served, stores: Stores, url: str, root_url: str, mode: str
    ) -> None:
        content = b"".join(bytes([mark]) * _MIB for mark in range(4)) + b"end"
        with resuming(served, mode) as (reached, cuts):
            store = reached.stores(Limits(part_bytes=_MIB)).open(url)
            store.filesystem.resumes = True
            with store.filesystem.open(url, "wb") as stream:
                stream.write(content)
                assert store.list(root_url) == []
        assert cuts == [mode]
        assert store.stats.counts().retries == (0 if mode == "short" else 1)
        assert stores.open(url).read(url) == content

    def test_an_emulator_is_not_asked_how_far_it_got(
        self, served: Served, stores: Stores, url: str, root_url: str
    ) -> None:
        with faulty(served) as (reached, control):
            store = reached.stores(Limits(part_bytes=_MIB)).open(url)
            control.once("lost", path="upload_id")
            with pytest.raises(StorageError), store.open_output(url) as output:
                output.write(bytes(4 * _MIB))
            assert control.injected() == {"lost": 1}
        assert stores.open(url).list(root_url) == []

    def test_the_environment_alone_names_an_emulator(
        self, served: Served, url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for host in (served.endpoint, served.endpoint.removeprefix("http://")):
            monkeypatch.setenv("STORAGE_EMULATOR_HOST", host)
            store = Stores().open(url)
            store.put(url, b"123")
            assert store.read(url) == b"123"

    @pytest.mark.parametrize("named", [False, True])
    def test_no_credentials(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, named: bool) -> None:
        for name in ("STORAGE_EMULATOR_HOST", "GOOGLE_APPLICATION_CREDENTIALS"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("NO_GCE_CHECK", "true")
        monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
        if named:
            monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "absent.json"))
        with pytest.raises(AccessRefused, match="no credentials") as caught:
            Stores().open("gs://bucket/key")
        assert "GOOGLE_APPLICATION_CREDENTIALS" in (caught.value.fault.todo or "")

    def test_a_folder_marker_is_no_object(self, store: Store, root_url: str) -> None:
        files, top = store.filesystem, store.path(root_url)
        bucket, _, key = top.partition("/")
        for marker in ("tree/", "tree/sub/"):
            files.call(
                "POST", f"{files._location}/upload/storage/v1/b/{bucket}/o", uploadType="media", name=f"{key}/{marker}"
            )
        store.put(join(root_url, "tree", "object"), b"1")
        assert [info.url for info in store.list(root_url)] == [join(root_url, "tree/object")]
        assert files.find(top, withdirs=True) == [f"{top}/tree", f"{top}/tree/object", f"{top}/tree/sub"]
        assert files.isdir(f"{top}/tree/sub")
        store.delete_tree(join(root_url, "tree"))
        assert not files.exists(f"{top}/tree")


def test_import_does_not_bring_the_grpc_client() -> None:
    code = "import pai_train.storage.gcs, sys; print('gcsfs.extended_gcsfs' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout == "False\n"


@pytest.mark.parametrize(
    ("status", "kind", "transient"),
    [
        (401, PermissionError, False),
        (403, PermissionError, False),
        (404, FileNotFoundError, False),
        (412, FileExistsError, False),
        (400, OSError, False),
        (429, OSError, True),
        (503, OSError, True),
    ],
)
def test_answers(status: int, kind: type[OSError], transient: bool) -> None:
    body = json.dumps({"error": {"code": status, "message": "what it says"}}).encode()
    for content in (body, b'{"error": "what it says"}', b"what it says", b"", b"[]", b"\xff"):
        error = answered(status, content, "bucket/key")
        assert isinstance(error, kind)
        assert is_transient(error) == transient
        assert error.filename == "bucket/key"
        assert b"what" not in content or error.strerror == "what it says"
