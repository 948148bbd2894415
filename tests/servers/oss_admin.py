"""The door by which a test looks behind the OSS server and changes what no client can; it asks for no signature."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aiohttp import web

from tests.servers.oss_accounts import ACTIONS
from tests.servers.oss_answers import Refused
from tests.servers.oss_buckets import make_bucket
from tests.servers.oss_call import Service

ADMIN_PATH = "/_admin"


async def administer(service: Service, request: web.Request) -> web.Response:
    """Does what a JSON document asks for: `do` names it, the rest says with what."""
    asked = await request.json()
    try:
        done = _DOINGS[asked.pop("do")](service, **asked)
    except (KeyError, TypeError, ValueError, Refused) as error:
        return web.json_response({"error": f"{type(error).__name__}: {error}"}, status=400)
    return web.json_response({"done": done})


def _user(service: Service, key: str, secret: str, allowed: list[str] | None = None) -> None:
    service.accounts.add_user(key, secret, _allowed(allowed))


def _role(service: Service, arn: str, allowed: list[str] | None = None) -> None:
    service.accounts.add_role(arn, _allowed(allowed))


def _temporary(service: Service, life_s: float, allowed: list[str] | None = None) -> dict[str, Any]:
    given = service.accounts.add_temporary(_allowed(allowed), life_s)
    return {"key": given.key, "secret": given.secret, "token": given.token, "expires": given.expires}


def _life(service: Service, life_s: float | None) -> None:
    service.accounts.life_s = life_s


def _bucket(service: Service, name: str, region: str | None = None, versioning: str | None = None) -> None:
    make_bucket(service, name, region)
    _versioning(service, name, versioning)


def _versioning(service: Service, name: str, status: str | None) -> None:
    if status not in ("Enabled", "Suspended", None):
        raise ValueError(status)
    service.buckets[name].versioning = status


def _uploads(service: Service, bucket: str) -> list[dict[str, Any]]:
    uploads = service.buckets[bucket].uploads.values()
    return [{"key": one.key, "id": one.id, "parts": sorted(one.parts)} for one in uploads]


def _clock(service: Service, offset_s: float) -> None:
    service.clock.offset_s = offset_s


def _requests(service: Service, *, forget: bool = False) -> dict[str, int]:
    counts = dict(service.counts)
    if forget:
        service.counts.clear()
    return counts


def _allowed(given: list[str] | None) -> frozenset[str]:
    return ACTIONS if given is None else frozenset(given)


_DOINGS: dict[str, Callable[..., Any]] = {
    "user": _user,
    "role": _role,
    "temporary": _temporary,
    "life": _life,
    "bucket": _bucket,
    "versioning": _versioning,
    "uploads": _uploads,
    "clock": _clock,
    "requests": _requests,
}
