"""Which request is spoiled and how: settings, the seeded choice, and the errors that each provider would answer."""

from __future__ import annotations

import base64
import json
import random
from dataclasses import dataclass, replace
from typing import Any

RESET = "reset"  # the connection is reset before the server sees anything
LOST = "lost"  # the server does it, and the connection is reset instead of the answer
CUT = "cut"  # fewer bytes come than the answer's head announces
ERROR = "error"  # 500, 503 or 429 instead of the server's answer
DELAY = "delay"  # the request waits first
KINDS = (RESET, LOST, CUT, ERROR, DELAY)
MODES = ("up", "down", "hang")

# The answers to these have no body that could be cut.
_BODILESS = ("HEAD", "PUT", "DELETE")
_RETRY_AFTER_SHARE = 0.25
_CODES = {
    "s3": {500: "InternalError", 503: "SlowDown", 429: "TooManyRequests"},
    "oss": {500: "InternalError", 503: "ServiceUnavailable", 429: "TooManyRequests"},
    "az": {500: "InternalError", 503: "ServerBusy", 429: "TooManyRequests"},
    "gs": {500: "internalError", 503: "backendError", 429: "rateLimitExceeded"},
}
SCHEMES = sorted(_CODES)


@dataclass(frozen=True)
class Settings:
    """What may be changed while requests go through.

    Attributes:
        mode: `up`, `down` (connections are refused) or `hang` (they are taken, and nothing is ever answered).
        share: Part of the requests that is spoiled, 0 to 1.
        kinds: How, each as often as the others.
        seed: Naming it starts the count of requests from 0 again.
        delay_s: The longest delay, in seconds.
        retry_after_s: Seconds in the Retry-After header that a quarter of the errors have.
        once: Faults for the next request that matches, each used once, whatever the share: `kind`, and if wanted
            `method`, a part of the target as `path`, and the `status` of an error.
    """

    mode: str = "up"
    share: float = 0.0
    kinds: tuple[str, ...] = KINDS
    seed: int = 0
    delay_s: float = 0.2
    retry_after_s: int = 1
    once: tuple[dict[str, Any], ...] = ()

    def __post_init__(self) -> None:
        unknown = {*self.kinds, *(rule["kind"] for rule in self.once)} - {*KINDS}
        if unknown or self.mode not in MODES:
            raise ValueError(f"no such kind or mode: {sorted(unknown) or self.mode}")


@dataclass(frozen=True)
class Fault:
    """What happens to one request.

    Attributes:
        kind: One of KINDS; None for nothing.
        chance: Decides its details.
        status: Of an error; None for any.
    """

    kind: str | None
    chance: random.Random
    status: int | None = None


class Plan:
    """Chooses the fault of each request, from the seed and the request's number alone."""

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or Settings()
        self._number = 0

    def change(self, **changes: Any) -> None:
        """Changes settings."""
        whole = {name: tuple(value) if isinstance(value, list) else value for name, value in changes.items()}
        self.settings = replace(self.settings, **whole)
        if "seed" in changes:
            self._number = 0

    def next(self, method: str, target: str) -> Fault:
        """Returns the fault of the next request."""
        settings = self.settings
        chance = random.Random(f"{settings.seed}:{self._number}")
        self._number += 1
        spoiled, choice = chance.random() < settings.share, chance.random()
        for at, rule in enumerate(settings.once):
            if rule.get("method") in (None, method) and rule.get("path", "") in target:
                self.settings = replace(settings, once=settings.once[:at] + settings.once[at + 1 :])
                return Fault(rule["kind"], chance, rule.get("status"))
        kinds = [kind for kind in settings.kinds if kind != CUT or method not in _BODILESS]
        return Fault(kinds[int(choice * len(kinds))] if spoiled and kinds else None, chance)


def error_answer(scheme: str, fault: Fault, method: str, retry_after_s: int) -> tuple[int, dict[str, str], bytes]:
    """Returns status, headers and body of a provider's answer that says no for now."""
    status = fault.status or fault.chance.choice([500, 503, 429])
    code, said = _CODES[scheme][status], "a fault made by the tests"
    headers = {"Content-Type": "application/xml"}
    if fault.chance.random() < _RETRY_AFTER_SHARE:
        headers["Retry-After"] = str(retry_after_s)
    if scheme == "gs":
        headers["Content-Type"] = "application/json; charset=UTF-8"
        told = {"code": status, "message": said, "errors": [{"domain": "global", "reason": code, "message": said}]}
        return status, headers, json.dumps({"error": told}).encode()
    more = {"s3": "<RequestId>1</RequestId><HostId>1</HostId>", "oss": "<RequestId>1</RequestId>", "az": ""}[scheme]
    body = f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code><Message>{said}</Message>{more}</Error>'
    if scheme == "az":
        headers["x-ms-error-code"] = code
    if scheme == "oss":
        headers["x-oss-request-id"] = "1"
        if method == "HEAD":
            headers["x-oss-err"] = base64.b64encode(body.encode()).decode()
    return status, headers, body.encode()
