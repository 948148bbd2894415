"""The door by which a test looks behind the MaxCompute server and changes what no client can; unsigned."""

from __future__ import annotations

import base64
import os
import signal
from collections.abc import Callable
from typing import Any

from aiohttp import web

from tests.servers.maxcompute_call import Service
from tests.servers.maxcompute_faults import Fault

ADMIN_PATH = "/_admin"


async def administer(service: Service, request: web.Request) -> web.Response:
    """Does what a JSON document asks for: `do` names it, the rest says with what."""
    asked = await request.json()
    try:
        done = _DOINGS[asked.pop("do")](service, **asked)
    except (KeyError, TypeError, ValueError) as error:
        return web.json_response({"error": f"{type(error).__name__}: {error}"}, status=400)
    return web.json_response({"done": done})


def _user(service: Service, key: str, secret: str) -> None:
    service.accounts.add_user(key, secret, frozenset({"assume"}))


def _temporary(service: Service, life_s: float) -> dict[str, Any]:
    given = service.accounts.add_temporary(frozenset(), life_s)
    return {"key": given.key, "secret": given.secret, "token": given.token}


def _life(service: Service, life_s: float | None) -> None:
    service.accounts.life_s = life_s


def _sessions(service: Service, **changes: Any) -> None:
    for name, value in changes.items():
        if name not in ("life_s", "polls", "reorders"):
            raise ValueError(name)
        setattr(service.sessions, name, value)


def _fault(service: Service, **told: Any) -> None:
    service.faults.order(Fault(**told))


def _service(service: Service, **changes: Any) -> None:
    for name, value in changes.items():
        if name not in ("page", "stream_rate", "old_types"):
            raise ValueError(name)
        setattr(service, name, value)


def _resource(service: Service, project: str, name: str, content: str) -> None:
    service.resources[project.lower(), name] = base64.b64decode(content)


def _clock(service: Service, offset_s: float) -> None:
    service.clock.offset_s = offset_s


def _requests(service: Service, *, forget: bool = False) -> dict[str, int]:
    counts = dict(service.counts)
    if forget:
        service.counts.clear()
    return counts


_DOINGS: dict[str, Callable[..., Any]] = {
    "user": _user,
    "role": lambda service, arn: service.accounts.add_role(arn, frozenset()),
    "temporary": _temporary,
    "admit": lambda service, **told: service.signatures.admit(**told),
    "bearer": lambda service, life_s: service.signatures.bearer(life_s),
    "life": _life,
    "resource": _resource,
    "project": lambda service, name: service.tables.add_project(name),
    "sessions": _sessions,
    "expire": lambda service, session: service.sessions.expire(session),
    "fault": _fault,
    "forget": lambda service: service.faults.forget(),
    "service": _service,
    "clock": _clock,
    "requests": _requests,
    "kill": lambda service: os.kill(os.getpid(), signal.SIGKILL),
}
