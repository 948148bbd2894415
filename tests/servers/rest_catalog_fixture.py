"""Starts the REST catalog of the tests in a process of its own."""

from __future__ import annotations

import secrets
import sys
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPConnection
from typing import TYPE_CHECKING

import pytest

from tests.servers.process import HOST, free_port, serving

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True)
class RestServer:
    """A running catalog.

    Attributes:
        port: Its port on the loopback address.
        token: Lets in.
        credential: `client_id:secret`, for which it gives a token.
    """

    port: int
    token: str
    credential: str

    @property
    def address(self) -> str:
        """Its address; every `tables.root` finds an empty catalog of its own there."""
        return f"http://{HOST}:{self.port}"

    def lose(self, count: int) -> None:
        """Has the answers to the next commits lost, though they are made."""
        door = HTTPConnection(HOST, self.port, timeout=30)
        door.request("POST", f"/lose/{count}")
        assert door.getresponse().status == HTTPStatus.OK
        door.close()


@pytest.fixture(scope="session")
def rest_catalog(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RestServer]:
    """A REST catalog that lists tables on this machine."""
    port, folder = free_port(), tmp_path_factory.mktemp("rest-catalog")
    token, credential = secrets.token_hex(16), f"pai:{secrets.token_hex(16)}"
    command = [sys.executable, "-m", "tests.servers.rest_catalog", str(port), str(folder), token, credential]
    with serving(command, port, folder / "log"):
        yield RestServer(port, token, credential)
