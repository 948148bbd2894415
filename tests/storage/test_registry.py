"""Which stores are served, what the others are told, and what importing the room costs."""

from __future__ import annotations

import subprocess
import sys

import pytest

from pai_train.errors import StorageError
from pai_train.storage import open_store, served_schemes
from pai_train.storage.registry import PROVIDERS


def test_the_table_is_sorted_and_every_entry_opens() -> None:
    assert list(PROVIDERS) == sorted(PROVIDERS) == served_schemes()
    for scheme, provider in PROVIDERS.items():
        store = open_store(f"{scheme}:///x")
        assert store.scheme == scheme
        assert (store.is_local, store.exclusive_create) == (provider.is_local, provider.exclusive_create)
        assert open_store(f"{scheme}:///y") is store


@pytest.mark.parametrize("scheme", ["oss", "s3", "gs", "gcs", "az", "abfs", "flie"])
def test_other_schemes_are_told_what_is_served(scheme: str) -> None:
    with pytest.raises(StorageError, match=f"{scheme}:// is not served") as caught:
        open_store(f"{scheme}://bucket/key")
    fault = caught.value.fault
    assert fault.where == f"{scheme}://bucket/key"
    assert fault.wanted == "file:// or memory://"
    assert fault.todo == ("did you mean 'file'?" if scheme == "flie" else "known: file, memory")


def test_a_path_is_no_url() -> None:
    with pytest.raises(StorageError, match="not a full URL"):
        open_store("/data/iris.csv")


def test_importing_the_room_imports_no_provider() -> None:
    code = "import sys, pai_train.storage; print([m for m in ('fsspec', 'pyarrow', 'tensorflow') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
