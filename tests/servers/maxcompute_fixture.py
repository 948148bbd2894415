"""Starts the MaxCompute server of the tests, and opens the door by which a test looks behind it.

What other tests use, and may rely on:

* `maxcompute_server`: a `MaxComputeServed` for the whole session: `endpoint` (ends in `/api`), `project` (is there),
  `user` (its key), `env` (what a process needs to be let in), `odps()` (pyodps's own client, unmodified), `table()` (a
  new name), `enter(monkeypatch)`, `token_service`.
* `maxcompute_door`: a `MaxComputeDoor`: keys and roles, faults, lives of sessions, orders of rows, speeds, counts.
  Faults that a test orders and nobody uses up are forgotten after it.
* `serving_maxcompute(root)`: one more server on a folder of one's own, to be stopped and started again there.

Names of operations, for faults and counts: GetTenant, PutLogs, GetTunnel, ListTables, GetProject, CreateInstance,
GetInstance, GetResource, ListPartitions, GetPartition, GetTable; of the tunnel CreateDownload, GetDownload, Download,
CreateUpload, GetUpload, UploadBlock, CommitUpload; of the Storage API CreateReadSession, GetReadSession, ReadRows,
CreateWriteSession, GetWriteSession, WriteRows, CommitWriteSession. Kinds of faults: see `maxcompute_faults`.
"""

from __future__ import annotations

import base64
import json
import sys
import uuid
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from tests.servers.process import HOST, free_port, serving

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from odps import ODPS

REGION = "cn-hangzhou"
ROLE = "acs:ram::1234567890123456:role/pai-train"
_PROJECT = "pai_train"
_KEY, _SECRET = "LTAIpaitrain", "a-secret-of-the-tests"  # any: the server is told them when it starts
_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class MaxComputeUser:
    """A key.

    Attributes:
        key: Its public half.
        secret: Its other half.
        token: What comes with a temporary key.
    """

    key: str
    secret: str = field(repr=False)
    token: str | None = field(default=None, repr=False)

    @property
    def env(self) -> dict[str, str]:
        """What a process needs in its environment to be this user."""
        env = {"ALIBABA_CLOUD_ACCESS_KEY_ID": self.key, "ALIBABA_CLOUD_ACCESS_KEY_SECRET": self.secret}
        return env if self.token is None else {**env, "ALIBABA_CLOUD_SECURITY_TOKEN": self.token}


@dataclass(frozen=True)
class MaxComputeServed:
    """A running server with one project in it.

    Attributes:
        endpoint: Its address, `http://127.0.0.1:port/api`.
        project: A project that is there.
        user: Who may do everything.
    """

    endpoint: str
    project: str
    user: MaxComputeUser

    @property
    def env(self) -> Mapping[str, str]:
        """What a process needs in its environment to be let in."""
        return {**self.user.env, "ODPS_ENDPOINT": self.endpoint, "ODPS_PROJECT_NAME": self.project}

    @property
    def token_service(self) -> str:
        """The address of its own token service, which gives the roles' temporary keys."""
        return f"{self.endpoint.removesuffix('/api')}/sts"

    def table(self) -> str:
        """Returns a name that no table has."""
        return f"t_{uuid.uuid4().hex[:20]}"

    def odps(self, user: MaxComputeUser | None = None, **more: Any) -> ODPS:
        """Returns pyodps's own client, unmodified."""
        from odps import ODPS
        from odps.accounts import StsAccount

        user = user or self.user
        if user.token is not None:
            more["account"] = StsAccount(user.key, user.secret, user.token)
        return ODPS(user.key, user.secret, **{"project": self.project, "endpoint": self.endpoint, **more})

    def enter(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Sets its environment for the rest of a test."""
        for name, value in self.env.items():
            monkeypatch.setenv(name, value)


@dataclass(frozen=True)
class MaxComputeDoor:
    """Changes what no client can change, and sees what no client sees.

    Attributes:
        endpoint: The server's own address.
    """

    endpoint: str

    def user(self) -> MaxComputeUser:
        """Makes a new user."""
        user = MaxComputeUser(f"LTAI{uuid.uuid4().hex[:20]}", uuid.uuid4().hex)
        self._do("user", key=user.key, secret=user.secret)
        return user

    def role(self, arn: str) -> None:
        """Makes a role; `ROLE` is there already."""
        self._do("role", arn=arn)

    def temporary(self, life_s: float) -> MaxComputeUser:
        """Makes a temporary key that ends in `life_s` seconds."""
        return MaxComputeUser(**self._do("temporary", life_s=life_s))

    def admit(self, key: str, secret: str, token: str, life_s: float) -> None:
        """Lets in a temporary key that somebody else issued, such as the token service of another server."""
        self._do("admit", key=key, secret=secret, token=token, life_s=life_s)

    def bearer(self, life_s: float) -> str:
        """Makes a bearer token."""
        return str(self._do("bearer", life_s=life_s))

    @contextmanager
    def token_life(self, life_s: float) -> Iterator[None]:
        """Lets the token service give keys that end in `life_s` seconds, whatever is asked for."""
        self._do("life", life_s=life_s)
        try:
            yield
        finally:
            self._do("life", life_s=None)

    def project(self) -> str:
        """Makes a new project and returns its name."""
        name = f"p_{uuid.uuid4().hex[:20]}"
        self._do("project", name=name)
        return name

    def resource(self, project: str, name: str, content: bytes) -> None:
        """Puts a resource into a project."""
        self._do("resource", project=project, name=name, content=base64.b64encode(content).decode())

    def fault(self, operation: str, kind: str, **more: Any) -> None:
        """Spoils the next request of an operation, or the next `times`; see `maxcompute_faults.Fault`."""
        self._do("fault", operation=operation, kind=kind, **more)

    def forget(self) -> int:
        """Takes back the faults that have not happened, and returns how many they were."""
        return int(self._do("forget"))

    def session_life(self, life_s: float) -> AbstractContextManager[None]:
        """Lets new sessions end after `life_s` seconds instead of a day."""
        return self._changed("sessions", "life_s", life_s, 24 * 3600.0)

    def slow_sessions(self, polls: int) -> AbstractContextManager[None]:
        """Lets new sessions say `polls` times that they are being made."""
        return self._changed("sessions", "polls", polls, 0)

    def own_orders(self) -> AbstractContextManager[None]:
        """Gives each new session that reads an order of rows of its own, which lives as long as the session."""
        return self._changed("sessions", "reorders", True, False)

    def page(self, most: int) -> AbstractContextManager[None]:
        """Lets lists of tables and partitions have at most `most` entries a page."""
        return self._changed("service", "page", most, 1000)

    def stream_rate(self, bytes_per_s: float) -> AbstractContextManager[None]:
        """Lets each stream of rows have so many bytes in a second, as the service does with 10 MB."""
        return self._changed("service", "stream_rate", bytes_per_s, 0)

    def old_types(self) -> AbstractContextManager[None]:
        """Refuses INT, FLOAT and the other types of 2.0 where a statement's settings do not ask for them."""
        return self._changed("service", "old_types", True, False)

    def expire(self, session: str) -> None:
        """Ends a session now."""
        self._do("expire", session=session)

    @contextmanager
    def clock(self, offset_s: float) -> Iterator[None]:
        """Puts the clock of keys, sessions and tables forward, or with a negative offset back, by seconds."""
        self._do("clock", offset_s=offset_s)
        try:
            yield
        finally:
            self._do("clock", offset_s=0)

    def requests(self, *, forget: bool = False) -> dict[str, int]:
        """Returns how many requests have come by operation, refused ones too; may begin to count anew."""
        return dict(self._do("requests", forget=forget))

    def kill(self) -> None:
        """Kills the server in the middle of whatever it does; only for one that `serving_maxcompute` gave."""
        with suppress(OSError, HTTPException):
            self._do("kill")

    @contextmanager
    def _changed(self, where: str, name: str, value: Any, usual: Any) -> Iterator[None]:
        self._do(where, **{name: value})
        try:
            yield
        finally:
            self._do(where, **{name: usual})

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


@contextmanager
def serving_maxcompute(root: Path, port: int | None = None) -> Iterator[tuple[MaxComputeServed, MaxComputeDoor]]:
    """Serves what is in a folder, which may be empty, and stops the server afterwards.

    Args:
        root: The folder, which nobody else uses.
        port: Where; None for any.

    Raises:
        RuntimeError: The server has printed something: it is broken.
    """
    port = port or free_port()
    root.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "tests.servers.maxcompute", "--port", str(port), "--region", REGION]
    log = root / f"log-{uuid.uuid4().hex}"
    with serving([*command, "--root", str(root / "data")], port, log, env={"PYTHONPATH": str(_ROOT)}):
        door = MaxComputeDoor(f"http://{HOST}:{port}")
        door._do("user", key=_KEY, secret=_SECRET)
        door._do("role", arn=ROLE)
        door._do("project", name=_PROJECT)
        yield MaxComputeServed(f"{door.endpoint}/api", _PROJECT, MaxComputeUser(_KEY, _SECRET)), door
    if printed := log.read_text():
        raise RuntimeError(f"the MaxCompute server is broken: {printed[-4000:]}")


@pytest.fixture(scope="session")
def _maxcompute(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[MaxComputeServed, MaxComputeDoor]]:
    with serving_maxcompute(tmp_path_factory.mktemp("maxcompute")) as served:
        yield served


@pytest.fixture(scope="session")
def maxcompute_server(_maxcompute: tuple[MaxComputeServed, MaxComputeDoor]) -> MaxComputeServed:
    """A project on a server that speaks MaxCompute and checks each signature."""
    return _maxcompute[0]


@pytest.fixture
def maxcompute_door(_maxcompute: tuple[MaxComputeServed, MaxComputeDoor]) -> Iterator[MaxComputeDoor]:
    """What is behind `maxcompute_server`."""
    yield _maxcompute[1]
    _maxcompute[1].forget()
