"""The way to OSS: address, region, signature, client, few retries; every failure comes out as an OSError."""

from __future__ import annotations

import errno
import ipaddress
import os
import random
import re
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

import alibabacloud_oss_v2 as oss  # type: ignore[import-untyped]
import requests
import urllib3
from alibabacloud_oss_v2.transport import RequestsHttpClient  # type: ignore[import-untyped]
from alibabacloud_oss_v2.types import Retryer  # type: ignore[import-untyped]

from pai_train.errors import PaiTrainError, StorageError
from pai_train.storage.forks import renew_after_fork
from pai_train.storage.oss_credentials import OssCredentials

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pai_train.storage.options import Access, Limits
    from pai_train.storage.stats import StoreStats

_ATTEMPTS = 4
_FIRST_DELAY_S, _MAX_DELAY_S = 0.1, 0.7
_MAX_CONNECT_S = 10.0
_REGION = re.compile(
    r"(?:^|[.-])oss-(?!accelerate)([a-z]+-[a-z0-9-]+?)(?:-internal)?\.aliyuncs\.com$"
    r"|^([a-z]+-[a-z0-9-]+)\.oss(?:-internal)?\.aliyuncs\.com$"
)
_KINDS: dict[str, tuple[type[OSError], int]] = {
    "NoSuchKey": (FileNotFoundError, errno.ENOENT),
    "NoSuchBucket": (FileNotFoundError, errno.ENOENT),
    "NoSuchUpload": (OSError, errno.EIO),  # no object is missing: somebody ended the upload
    "FileAlreadyExists": (FileExistsError, errno.EEXIST),
    "BucketAlreadyExists": (FileExistsError, errno.EEXIST),
    "InvalidObjectState": (OSError, errno.EIO),
}
_KINDS_BY_STATUS: dict[int, tuple[type[OSError], int]] = {
    401: (PermissionError, errno.EACCES),
    403: (PermissionError, errno.EACCES),
    404: (FileNotFoundError, errno.ENOENT),
}
_TRANSIENT_CODES = {"RequestTimeout", "InvalidDigest"}
_TRANSIENT_STATUS = {408, 429, 500, 502, 503, 504}
_WRAPPERS = (
    oss.exceptions.OperationError,
    oss.exceptions.RequestError,
    oss.exceptions.ResponseError,
    oss.CopyError,
)
_TRANSPORT = requests.exceptions.RequestException, urllib3.exceptions.HTTPError
_TIMEOUTS = requests.exceptions.Timeout, urllib3.exceptions.TimeoutError


@dataclass(frozen=True)
class Place:
    """Where a bucket is asked for.

    Attributes:
        endpoint: `https://host` of the service.
        region: What the requests are signed for; None signs them the old way (V1), which names no region.
        path_style: Whether the bucket stands in the path rather than in the host.
    """

    endpoint: str
    region: str | None
    path_style: bool

    @property
    def sts_host(self) -> str | None:
        """The region's token service, the inner one where the endpoint is an inner one."""
        inner = "-vpc" if "-internal." in self.endpoint else ""
        return f"sts{inner}.{self.region}.aliyuncs.com" if self.region else None


def located(authority: str, access: Access) -> tuple[str, Place]:
    """Returns the bucket that an address names, and its place.

    Args:
        authority: What stands before the first slash: a bucket, or `bucket.host`, whose host is then the endpoint.
        access: Endpoint, region and addressing; what it lacks is in OSS_ENDPOINT and OSS_REGION.

    Raises:
        StorageError: Nothing says where the bucket is.
    """
    bucket, _, host = authority.partition(".")
    endpoint = (access.endpoint or os.environ.get("OSS_ENDPOINT") or "").rstrip("/")
    region = (access.region or os.environ.get("OSS_REGION") or "").removeprefix("oss-") or None
    if host:
        endpoint = f"{'http' if endpoint.startswith('http://') else 'https'}://{host}"
        region = _region_of(host) or region
    elif endpoint:
        endpoint = endpoint if "://" in endpoint else f"https://{endpoint}"
        region = (access.region and region) or _region_of(endpoint.partition("://")[2]) or region
    elif region:
        endpoint = f"https://oss-{region}.aliyuncs.com"
    else:
        raise StorageError(
            "nothing says in which region the bucket is",
            where=f"oss://{authority}",
            wanted="storage.region or storage.endpoint, OSS_REGION or OSS_ENDPOINT, or oss://bucket.endpoint/…",
            todo="set one of them, such as OSS_REGION=cn-hangzhou",
        )
    plain = re.sub(r":\d+$", "", endpoint.partition("://")[2])
    return bucket, Place(endpoint, region, access.addressing == "path" or _is_local(plain))


def _region_of(host: str) -> str | None:
    match = _REGION.search(re.sub(r":\d+$", "", host))
    return match[1] or match[2] if match else None


def _is_local(host: str) -> bool:
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
    return True


class Clients:
    """The clients of one filesystem: one for each place and role, kept with its connections.

    Args:
        access: Which profile and roles to take on.
        limits: How many connections are kept, and how long an answer is waited for.
        stats: Counts the requests.
    """

    def __init__(self, access: Access, limits: Limits, stats: StoreStats) -> None:
        self._access = access
        self._limits = limits
        self._stats = stats
        self.renew()
        renew_after_fork(self)

    def renew(self) -> None:
        """Forgets all of them: a forked child must not share connections with its parent."""
        self._lock = threading.Lock()
        self._credentials = OssCredentials(self._access)
        self._clients: dict[tuple[Place, Any], Any] = {}

    def client(self, bucket: str, place: Place) -> Any:
        """Returns what asks a bucket at a place."""
        provider = self._credentials.provider(bucket, place.sts_host)
        with self._lock:
            if (place, provider) not in self._clients:
                self._clients[place, provider] = self._opened(place, provider)
            return self._clients[place, provider]

    def _opened(self, place: Place, credentials: Any) -> Any:
        transport = _Transport(self._stats, self._limits)
        transport.open()
        config = oss.config.load_default()
        config.endpoint, config.region, config.use_path_style = place.endpoint, place.region, place.path_style
        config.signature_version = "v4" if place.region else "v1"
        config.credentials_provider = credentials
        config.http_client = transport
        config.retryer = _Retries(self._stats)
        config.retry_max_attempts = _ATTEMPTS
        # Each body carries its MD5, which the service checks: a second sum over it would hold the interpreter.
        config.disable_upload_crc64_check = True
        config.user_agent = "pai_train"
        return oss.Client(config)


class _Transport(RequestsHttpClient):  # type: ignore[misc]
    """Counts requests, and reads each answer whole, so that one torn in its body is asked for again like any other."""

    def __init__(self, stats: StoreStats, limits: Limits) -> None:
        super().__init__(
            connect_timeout=min(limits.timeout_s, _MAX_CONNECT_S),
            readwrite_timeout=limits.timeout_s,
            max_connections=max(32, 2 * limits.parallel),
        )
        self._stats = stats

    def open(self) -> None:
        super().open()
        self.session.auth = _as_signed  # else a .netrc of this machine would take the signature's place

    def send(self, request: Any, **options: Any) -> Any:
        self._stats.add(requests=1)
        response = super().send(request, **{**options, "stream": False})
        # The client cannot read an error without a date, such as those of proxies in between.
        response.headers.setdefault("Date", formatdate(usegmt=True))
        return response


def _as_signed(request: Any) -> Any:
    return request


class _Retries(Retryer):  # type: ignore[misc]
    """Few and short ones: who wants more repeats the whole operation."""

    def __init__(self, stats: StoreStats) -> None:
        self._stats = stats

    def is_error_retryable(self, error: Exception) -> bool:
        return _is_transient(error)

    def max_attempts(self) -> int:
        return _ATTEMPTS

    def retry_delay(self, attempt: int, error: Exception) -> float:
        self._stats.add(retries=1)
        delay: float = min(_FIRST_DELAY_S * 2**attempt, _MAX_DELAY_S)
        return delay * random.uniform(0.5, 1)  # noqa: S311


def bucket_names(client: Any) -> list[str]:
    """Lists the buckets of the account."""
    with converted(""):
        pages = client.list_buckets_paginator().iter_page(oss.ListBucketsRequest())
        return [bucket.name for page in pages for bucket in page.buckets or ()]


@contextmanager
def converted(path: str) -> Iterator[None]:
    """Turns the client's exceptions into the OSError that says the same."""
    try:
        yield
    except oss.exceptions.BaseError as error:
        # What it stems from is told in full; a cause of the client's own would only be read as something else.
        raise _os_error(_cause(error), path) from None


def _cause(error: Any) -> Any:
    """Returns what the client wrapped: the service's answer, the transport's failure, or what our own code raised."""
    while True:
        if isinstance(error, oss.exceptions.CredentialsFetchError):
            inner = error.kwargs["error"]
        else:
            inner = error.unwrap() if isinstance(error, _WRAPPERS) else None
        if not isinstance(inner, Exception):
            return error
        error = inner


def _is_transient(error: Exception) -> bool:
    cause = _cause(error)
    if isinstance(cause, oss.exceptions.ServiceError):
        return cause.status_code in _TRANSIENT_STATUS or cause.code in _TRANSIENT_CODES
    if isinstance(cause, _TRANSPORT):
        # A wrong address or certificate stays wrong.
        return not isinstance(cause, ValueError) and "CERTIFICATE_VERIFY_FAILED" not in str(cause)
    return isinstance(cause, (ConnectionError, TimeoutError))


def _os_error(cause: Exception, path: str) -> Exception:
    if isinstance(cause, oss.exceptions.ServiceError):
        kind, number = _KINDS.get(cause.code) or _KINDS_BY_STATUS.get(cause.status_code, (OSError, errno.EIO))
        if _is_transient(cause):
            kind, number = ConnectionError, errno.ECONNABORTED
        endpoint = (cause.error_fileds or {}).get("Endpoint")
        text = f"{cause.message or 'refused'} {f'It is {endpoint}. ' if endpoint else ''}"
        told = kind(number, f"{text}({cause.code}, request {cause.request_id})", path)
        return _with(told, code=cause.code, status_code=cause.status_code, request_id=cause.request_id)
    # A refused connection is a timeout only by its class.
    if isinstance(cause, _TIMEOUTS) and not isinstance(cause, urllib3.exceptions.NewConnectionError):
        return TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT), path)
    if isinstance(cause, _TRANSPORT):
        kind, number = (ConnectionError, errno.ECONNABORTED) if _is_transient(cause) else (OSError, errno.EIO)
        return kind(number, str(cause), path)
    if isinstance(cause, (PaiTrainError, OSError)):
        return cause
    if isinstance(cause, oss.exceptions.ObjectNameInvalidError):
        return _with(OSError(errno.ENAMETOOLONG, "a name has 1 to 1023 bytes", path), code="InvalidObjectName")
    if isinstance(cause, oss.exceptions.BucketNameInvalidError):
        text = "a bucket's name has 3 to 63 of a-z, 0-9 and -, none of - at its ends"
        return _with(OSError(errno.EINVAL, text, path), code="InvalidBucketName")
    return OSError(errno.EIO, str(cause), path)


def _with(error: OSError, **attributes: Any) -> OSError:
    """Returns an error with what tells it from others of its kind, for who must say what to do about it."""
    for name, value in attributes.items():
        setattr(error, name, value)
    return error
