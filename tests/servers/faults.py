"""Puts the proxy that makes faults in front of a store server, and changes from a test what it does."""

from __future__ import annotations

import json
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, replace
from http import HTTPStatus
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tests.servers.faults_plan import KINDS
from tests.servers.process import HOST, free_port, serving

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tests.servers.served import Served

_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Control:
    """The control door of a running proxy.

    Attributes:
        port: Where it is.
        process: The proxy's process id.
    """

    port: int
    process: int

    def set(self, **settings: Any) -> None:
        """Changes settings by the names they have in `faults_plan.Settings`; `seed` counts requests from 0 again."""
        self._ask("", settings)

    def once(self, kind: str, *, method: str | None = None, path: str = "", status: int | None = None) -> None:
        """Spoils the next request that has this method and `path` somewhere in its target; may be called repeatedly."""
        rules = self._ask("")["settings"]["once"]
        self.set(once=[*rules, {"kind": kind, "method": method, "path": path, "status": status}])

    def down(self) -> None:
        """Refuses connections from now on, and resets those that are open."""
        self.set(mode="down")

    def hang(self) -> None:
        """Takes connections from now on, and answers nothing on any."""
        self.set(mode="hang")

    def up(self) -> None:
        """Serves again; what hung is reset."""
        self.set(mode="up")

    def requests(self) -> int:
        """Returns how many requests have come, spoiled ones too."""
        return int(self._ask("")["requests"])

    def injected(self) -> dict[str, int]:
        """Returns how many requests were spoiled, by kind."""
        return dict(self._ask("")["injected"])

    def waiting(self) -> int:
        """Returns how many `once` faults have met no request yet."""
        return len(self._ask("")["settings"]["once"])

    def journal(self) -> list[dict[str, Any]]:
        """Returns the newest requests: method, path without query, fault, and status of the answer."""
        return list(self._ask("journal")["journal"])

    def _ask(self, path: str, settings: Mapping[str, Any] | None = None) -> dict[str, Any]:
        body = None if settings is None else json.dumps(settings).encode()
        door = HTTPConnection(HOST, self.port, timeout=30)
        try:
            door.request("GET" if body is None else "POST", f"/{path}", body)
            answer = door.getresponse()
            told = json.load(answer)
        finally:
            door.close()
        if answer.status != HTTPStatus.OK:
            raise ValueError(told["error"])
        return dict(told)


@contextmanager
def faulty(
    served: Served, *, seed: int = 0, share: float = 0.0, kinds: Sequence[str] = KINDS, **settings: Any
) -> Iterator[tuple[Served, Control]]:
    """Starts a proxy in front of a server.

    Args:
        served: The server.
        seed: Decides which requests are spoiled.
        share: Which part of them.
        kinds: How.
        settings: See `faults_plan.Settings`.

    Yields:
        The server as reached through the proxy, and what changes the proxy.
    """
    server, port, door = urlsplit(served.endpoint).netloc, free_port(), free_port()
    options = ["--upstream", server, "--port", str(port), "--control", str(door), "--scheme", served.scheme]
    command = [sys.executable, "-m", "tests.servers.faults_proxy", *options]
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        with serving(command, door, log, env={"PYTHONPATH": str(_ROOT)}) as process:
            control = Control(door, process.pid)
            control.set(seed=seed, share=share, kinds=list(kinds), **settings)
            here = f"{HOST}:{port}"
            # What names the server's address in the environment would lead around the proxy.
            env = {name: value.replace(server, here) for name, value in served.env.items()}
            yield replace(served.behind(served.endpoint.replace(server, here)), env=env), control
        printed = log.read_text()
    if printed:
        raise RuntimeError(f"the proxy is broken: {printed[-2000:]}")
