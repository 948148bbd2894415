"""Starts the oss server of the tests, and opens the door by which a test looks behind it."""

from __future__ import annotations

import json
import sys
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from tests.servers.process import HOST, free_port, serving
from tests.servers.served import Served

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

REGION = "cn-hangzhou"
ROLE = "acs:ram::1234567890123456:role/pai-train"
_BUCKET = "pai-train"
_KEY, _SECRET = "LTAIpaitrain", "a-secret-of-the-tests"  # any: the server is told them when it starts
_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class OssUser:
    """A key.

    Attributes:
        key: Its public half.
        secret: Its other half.
        token: What comes with a temporary key.
    """

    key: str
    secret: str
    token: str | None = None

    @property
    def env(self) -> dict[str, str]:
        """What a process needs in its environment to be this user."""
        env = {"OSS_ACCESS_KEY_ID": self.key, "OSS_ACCESS_KEY_SECRET": self.secret}
        return env if self.token is None else {**env, "OSS_SESSION_TOKEN": self.token}


@dataclass(frozen=True)
class OssDoor:
    """Changes what no client can change, and sees what no client sees.

    Permissions are actions (`list`, `get`, `put`, `delete`; `bucket` for what concerns the bucket itself; `assume` for
    roles) or names of single operations such as `GetObject`; none given means all actions.

    Attributes:
        endpoint: The server's own address, also where a test reaches it through a proxy.
    """

    endpoint: str

    def user(self, allowed: Sequence[str] | None = None) -> OssUser:
        """Makes a new user who may do what is allowed."""
        user = OssUser(f"LTAI{uuid.uuid4().hex[:20]}", uuid.uuid4().hex)
        self._do("user", key=user.key, secret=user.secret, allowed=allowed)
        return user

    def permit(self, user: OssUser, allowed: Sequence[str] | None = None) -> None:
        """Changes what a user may do."""
        self._do("user", key=user.key, secret=user.secret, allowed=allowed)

    def role(self, arn: str, allowed: Sequence[str] | None = None) -> None:
        """Makes a role, or changes what it may do; `ROLE` is there already."""
        self._do("role", arn=arn, allowed=allowed)

    def temporary(self, life_s: float, allowed: Sequence[str] | None = None) -> OssUser:
        """Makes a temporary key that ends in `life_s` seconds."""
        given = self._do("temporary", life_s=life_s, allowed=allowed)
        return OssUser(given["key"], given["secret"], given["token"])

    @contextmanager
    def token_life(self, life_s: float) -> Iterator[None]:
        """Lets the token service give keys that end in `life_s` seconds, whatever is asked for."""
        self._do("life", life_s=life_s)
        try:
            yield
        finally:
            self._do("life", life_s=None)

    @contextmanager
    def clock(self, offset_s: float) -> Iterator[None]:
        """Puts the server's clock forward, or with a negative offset back, by seconds."""
        self._do("clock", offset_s=offset_s)
        try:
            yield
        finally:
            self._do("clock", offset_s=0)

    def bucket(self, *, region: str | None = None, versioning: str | None = None) -> str:
        """Makes a new bucket, in the server's region unless another one is named, and returns its name."""
        name = f"b-{uuid.uuid4().hex[:20]}"
        self._do("bucket", name=name, region=region, versioning=versioning)
        return name

    def versioning(self, bucket: str, status: str | None) -> None:
        """Sets whether a bucket keeps versions: `Enabled`, `Suspended`, or None."""
        self._do("versioning", name=bucket, status=status)

    def uploads(self, bucket: str = _BUCKET, prefix: str = "") -> list[dict[str, Any]]:
        """Returns the uploads under way: key, id and numbers of the parts that have come."""
        return [upload for upload in self._do("uploads", bucket=bucket) if upload["key"].startswith(prefix)]

    def requests(self, *, forget: bool = False) -> dict[str, int]:
        """Returns how many requests have come by operation, refused ones too; may begin to count anew."""
        return dict(self._do("requests", forget=forget))

    def _do(self, what: str, **arguments: Any) -> Any:
        door = HTTPConnection(urlsplit(self.endpoint).netloc, timeout=30)
        try:
            door.request("POST", "/_admin", json.dumps({"do": what, **arguments}))
            answer = door.getresponse()
            told = json.load(answer)
        finally:
            door.close()
        if answer.status != HTTPStatus.OK:
            raise ValueError(told["error"])
        return told["done"]


@pytest.fixture(scope="session")
def oss_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A bucket on a server that speaks OSS and checks each signature."""
    folder, port = tmp_path_factory.mktemp("oss"), free_port()
    options = ["--port", str(port), "--root", str(folder / "objects"), "--region", REGION]
    command = [sys.executable, "-m", "tests.servers.oss", *options]
    log = folder / "log"
    with serving(command, port, log, env={"PYTHONPATH": str(_ROOT)}):
        door = OssDoor(f"http://{HOST}:{port}")
        door._do("user", key=_KEY, secret=_SECRET)
        door._do("role", arn=ROLE)
        door._do("bucket", name=_BUCKET)
        env = {**OssUser(_KEY, _SECRET).env, "OSS_REGION": REGION}
        yield Served("oss", "oss", door.endpoint, _BUCKET, env=env)
    if printed := log.read_text():
        raise RuntimeError(f"the OSS server is broken: {printed[-4000:]}")


@pytest.fixture(scope="session")
def oss_door(oss_server: Served) -> OssDoor:
    """What is behind `oss_server`."""
    return OssDoor(oss_server.endpoint)
