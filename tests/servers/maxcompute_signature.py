"""Who sent a request to the MaxCompute server: signatures V2 and V4, temporary keys, bearer tokens."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from urllib.parse import parse_qsl, unquote, urlparse

from tests.servers.maxcompute_answers import Refused
from tests.servers.oss_accounts import Accounts, Clock, Identity

MAX_SKEW_S = 15 * 60
_V2 = re.compile(r"ODPS ([^:/\s]+):(\S+)")
_V4 = re.compile(r"ODPS ([^:/\s]+)/(\d{8})/([^:/\s]+)/odps/aliyun_v4_request:(\S+)")


@dataclass(frozen=True)
class Signed:
    """What of a request goes into its signature.

    Attributes:
        method: Of HTTP.
        target: Path and parameters behind the endpoint, as they came.
        headers: By name in lower case.
    """

    method: str
    target: str
    headers: Mapping[str, str]

    @property
    def text(self) -> str:
        """What the signature is made of: the target is decoded first and taken apart afterwards."""
        parts = urlparse(unquote(self.target), allow_fragments=False)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        signed = {name: value for name, value in {**self.headers, **query}.items() if name.startswith("x-odps-")}
        signed |= {name: self.headers.get(name, "") for name in ("content-md5", "content-type", "date")}
        lines = [f"{name}:{value}" if name.startswith("x-odps-") else value for name, value in sorted(signed.items())]
        asked = "&".join(f"{name}={value}" if value else name for name, value in sorted(query.items()))
        return "\n".join([self.method, *lines, f"{parts.path}?{asked}" if asked else parts.path])


class Signatures:
    """Finds out who sent a request.

    Args:
        accounts: The keys.
        clock: What time it is.
        region: For which V4 signatures are made out.
    """

    def __init__(self, accounts: Accounts, clock: Clock, region: str) -> None:
        self._accounts = accounts
        self._clock = clock
        self._region = region
        self._admitted: dict[str, Identity] = {}
        self._bearers: dict[str, float] = {}

    def admit(self, key: str, secret: str, token: str, life_s: float) -> None:
        """Lets in a temporary key that somebody else has issued."""
        self._admitted[key] = Identity(key, secret, frozenset(), token, self._clock.now() + life_s)

    def bearer(self, life_s: float) -> str:
        """Makes a bearer token."""
        token = secrets.token_urlsafe(60)
        self._bearers[token] = self._clock.now() + life_s
        return token

    def check(self, request: Signed) -> None:
        """Refuses a request that nobody has signed rightly.

        Raises:
            Refused: That is so.
        """
        bearer = request.headers.get("x-odps-bearer-token")
        if bearer is not None:
            self._check_bearer(bearer)
            return
        given = request.headers.get("authorization", "").strip()
        if not given:
            raise Refused(401, "Unauthorized", "The request authorization header is invalid or missing.")
        _check_time(request.headers.get("date", ""))
        if match := _V2.fullmatch(given):
            holder = self._holder(match[1], request.headers.get("authorization-sts-token"))
            key, signature = holder.secret.encode(), match[2]
        elif match := _V4.fullmatch(given):
            holder = self._holder(match[1], request.headers.get("authorization-sts-token"))
            key, signature = self._v4_key(holder.secret, match[2], match[3]), match[4]
        else:
            raise Refused(400, "ODPS-0410011", "ODPS-0410011:Invalid authentication parameters - Authorization")
        wanted = base64.b64encode(hmac.new(key, request.text.encode(), hashlib.sha1).digest())
        if not hmac.compare_digest(wanted, signature.encode()):
            message = "ODPS-0410042:Invalid signature value - User signature does not match"
            raise Refused(401, "ODPS-0410042", message)

    def _holder(self, key: str, token: str | None) -> Identity:
        holder = self._accounts.identity(key) or self._admitted.get(key)
        if holder is None:
            raise Refused(401, "ODPS-0410051", "ODPS-0410051:Invalid credentials - accessKeyId not found")
        if not secrets.compare_digest((holder.token or "").encode(), (token or "").encode()):
            raise Refused(401, "ODPS-0410051", "ODPS-0410051:Invalid credentials - Invalid sts token")
        if holder.expires is not None and self._clock.now() >= holder.expires:
            raise _over("sts token")
        return holder

    def _check_bearer(self, token: str) -> None:
        end = self._bearers.get(token)
        if end is None:
            raise Refused(401, "ODPS-0410051", "ODPS-0410051:Invalid credentials - Invalid bearer token")
        if self._clock.now() >= end:
            raise _over("bearer token")

    def _v4_key(self, secret: str, date: str, region: str) -> bytes:
        today = self._clock.now()
        if date not in {time.strftime("%Y%m%d", time.gmtime(today + skew)) for skew in (-MAX_SKEW_S, 0, MAX_SKEW_S)}:
            raise _over("signature")
        if region != self._region:
            raise Refused(400, "ODPS-0410011", f"ODPS-0410011:Invalid authentication parameters - region {region}")
        derived = f"aliyun_v4{secret}".encode()
        for step in (date, region, "odps", "aliyun_v4_request"):
            derived = hmac.new(derived, step.encode(), hashlib.sha256).digest()
        return derived


def _check_time(stamp: str) -> None:
    try:
        sent = parsedate_to_datetime(stamp).timestamp()
    except ValueError:
        raise Refused(400, "ODPS-0410001", "ODPS-0410001:Missing authentication parameters - Date") from None
    # Clients sign with their own clock, which a test never puts forward.
    if abs(time.time() - sent) > MAX_SKEW_S:
        raise Refused(400, "RequestTimeTooSkewed", "The request time is too skewed from the server time.")


def _over(what: str) -> Refused:
    message = f"ODPS-0410031:Authentication request expired - the {what} has expired"
    return Refused(400, "AuthenticationRequestExpired", message)
