"""Checks the signatures of requests to the OSS server: V1 and V4 in the Authorization header."""

from __future__ import annotations

import base64
import calendar
import hashlib
import hmac
import re
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING
from urllib.parse import quote

from tests.servers.oss_answers import Refused, invalid, listed_time

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.servers.oss_accounts import Accounts, Clock, Identity

MAX_SKEW_S = 15 * 60
_PRODUCT, _TERMINATOR = "oss", "aliyun_v4_request"
_V1 = re.compile(r"OSS ([^:\s]+):(\S+)")
_V4 = re.compile(
    r"OSS4-HMAC-SHA256 Credential=([^,\s]+)"
    r"(?:,\s*AdditionalHeaders=([^,\s]*))?,\s*Signature=([0-9a-f]{64})"
)
# The parameters that V1 signs; all others may be changed on the way.
_SUBRESOURCES = frozenset(
    {
        *("acl", "append", "bucketInfo", "callback", "callback-var", "cloudboxes", "continuation-token", "delete"),
        *("location", "objectMeta", "partNumber", "position", "regionList", "resourceGroup", "response-cache-control"),
        *("response-content-disposition", "response-content-encoding", "response-content-language"),
        *("response-content-type", "response-expires", "restore", "security-token", "sequential", "stat", "symlink"),
        *("tagging", "uploadId", "uploads", "versionId", "versioning", "versions"),
    }
)


@dataclass(frozen=True)
class Signed:
    """What of a request goes into its signature.

    Attributes:
        method: Of HTTP.
        bucket: Empty when the request is about none.
        key: Empty when the request is about no object.
        query: The parameters, decoded, in the order in which they came.
        headers: By name in lower case.
    """

    method: str
    bucket: str
    key: str
    query: Sequence[tuple[str, str]]
    headers: Mapping[str, str]

    @property
    def resource(self) -> str:
        return f"/{self.bucket}/{self.key}" if self.bucket else "/"

    def oss_headers(self, more: frozenset[str] = frozenset()) -> str:
        """Returns the lines of the headers that are signed, sorted."""
        lines = [
            f"{name}:{value}\n" for name, value in self.headers.items() if name.startswith("x-oss-") or name in more
        ]
        return "".join(sorted(lines, key=lambda line: line.partition(":")[0]))


class Signatures:
    """Finds out who sent a request.

    Args:
        accounts: Who there is.
        clock: What time it is.
        region: For which V4 signatures are made out.
    """

    def __init__(self, accounts: Accounts, clock: Clock, region: str) -> None:
        self._accounts = accounts
        self._clock = clock
        self._region = region

    def sender(self, request: Signed) -> Identity:
        """Returns who signed a request.

        Raises:
            Refused: Nobody did, or not rightly.
        """
        given = request.headers.get("authorization")
        if given is None:
            raise Refused(
                403,
                "AccessDenied",
                "You have no right to access this object because of bucket acl.",
                ec="0003-00000001",
            )
        if match := _V4.fullmatch(given.strip()):
            return self._v4(request, match[1], match[2] or "", match[3])
        if match := _V1.fullmatch(given.strip()):
            return self._v1(request, match[1], match[2])
        raise invalid("Authorization header is invalid.", ec="0002-00000202")

    def _v1(self, request: Signed, key: str, signature: str) -> Identity:
        stamp = request.headers.get("x-oss-date") or request.headers.get("date", "")
        self._check_time(stamp, _mail_time(stamp))
        holder = self._accounts.holder(key, request.headers.get("x-oss-security-token"))
        text = v1_string_to_sign(request)
        digest = hmac.new(holder.secret.encode(), text.encode(), hashlib.sha1).digest()
        self._compare(holder, base64.b64encode(digest).decode(), signature, StringToSign=text)
        return holder

    def _v4(self, request: Signed, credential: str, additional: str, signature: str) -> Identity:
        parts = credential.split("/")
        if len(parts) != 5 or parts[3:] != [_PRODUCT, _TERMINATOR]:
            raise invalid("Invalid signing product or terminator in Authorization header.", ec="0002-00000227")
        key, date, region, _, _ = parts
        stamp = request.headers.get("x-oss-date") or request.headers.get("date", "")
        at = _compact_time(stamp) if "x-oss-date" in request.headers else _mail_time(stamp)
        self._check_time(stamp, at)
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(at))
        if date != stamp[:8]:
            raise invalid("Invalid signing date in Authorization header.", ec="0002-00000224")
        if region != self._region:
            raise invalid("Invalid signing region in Authorization header.", ec="0002-00000226")
        if request.headers.get("x-oss-content-sha256") != "UNSIGNED-PAYLOAD":
            raise invalid("x-oss-content-sha256 must be UNSIGNED-PAYLOAD.", ec="0002-00000230")
        holder = self._accounts.holder(key, request.headers.get("x-oss-security-token"))
        scope = "/".join(parts[1:])
        canonical = v4_canonical_request(request, additional.lower())
        hashed = hashlib.sha256(canonical.encode()).hexdigest()
        text = f"OSS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashed}"
        derived = f"aliyun_v4{holder.secret}".encode()
        for step in (*scope.split("/"), text):
            derived = hmac.new(derived, step.encode(), hashlib.sha256).digest()
        self._compare(holder, derived.hex(), signature, StringToSign=text, CanonicalRequest=canonical)
        return holder

    def _check_time(self, stamp: str, at: float | None) -> None:
        if at is None:
            raise Refused(403, "AccessDenied", "OSS authentication requires a valid Date.", ec="0002-00000505")
        now = self._clock.now()
        if abs(now - at) > MAX_SKEW_S:
            raise Refused(
                403,
                "RequestTimeTooSkewed",
                "The difference between the request time and the current time is too large.",
                ec="0002-00000504",
                MaxAllowedSkewMilliseconds=str(MAX_SKEW_S * 1000),
                RequestTime=stamp,
                ServerTime=listed_time(now),
            )

    def _compare(self, holder: Identity, wanted: str, got: str, **details: str) -> None:
        if not hmac.compare_digest(wanted.encode(), got.encode()):
            raise Refused(
                403,
                "SignatureDoesNotMatch",
                "The request signature we calculated does not match the signature you provided. "
                "Check your key and signing method.",
                ec="0002-00000040",
                OSSAccessKeyId=holder.key,
                SignatureProvided=got,
                **details,
            )


def v1_string_to_sign(request: Signed) -> str:
    """Returns what a V1 signature is made of."""
    signed = sorted(
        (name, value) for name, value in request.query if name in _SUBRESOURCES or name.startswith("x-oss-")
    )
    query = "&".join(f"{name}={value}" if value else name for name, value in signed)
    lines = [request.method, *(request.headers.get(name, "") for name in ("content-md5", "content-type", "date"))]
    if "x-oss-date" in request.headers:
        lines[-1] = request.headers["x-oss-date"]
    return "\n".join([*lines, f"{request.oss_headers()}{request.resource}{'?' if query else ''}{query}"])


def v4_canonical_request(request: Signed, additional: str) -> str:
    """Returns what a V4 signature is made of."""
    pairs = sorted((quote(name, safe=""), quote(value, safe="")) for name, value in request.query)
    more = frozenset(additional.split(";")) if additional else frozenset()
    lines = [
        request.method,
        quote(request.resource, safe="/"),
        "&".join(f"{name}={value}" if value else name for name, value in pairs),
        request.oss_headers(more | {"content-type", "content-md5"}),
        ";".join(sorted(more)),
        request.headers["x-oss-content-sha256"],
    ]
    return "\n".join(lines)


def _mail_time(stamp: str) -> float | None:
    try:
        return parsedate_to_datetime(stamp).timestamp()
    except ValueError:
        return None


def _compact_time(stamp: str) -> float | None:
    try:
        return float(calendar.timegm(time.strptime(stamp, "%Y%m%dT%H%M%SZ")))
    except ValueError:
        return None
