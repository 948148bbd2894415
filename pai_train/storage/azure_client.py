"""How Azure Blob Storage is reached: the account's address, a client that repeats little, and counted requests."""

from __future__ import annotations

import asyncio
import io
import ipaddress
import logging
import os
import re
import secrets
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from azure.core.credentials import AzureNamedKeyCredential, AzureSasCredential
from azure.core.credentials_async import AsyncTokenCredential
from azure.core.exceptions import ServiceResponseTimeoutError
from azure.core.pipeline.policies import AsyncHTTPPolicy
from azure.core.utils import parse_connection_string
from azure.storage.blob.aio import BlobServiceClient, LinearRetry

from pai_train.errors import StorageError

if TYPE_CHECKING:
    from pai_train.storage.options import Limits
    from pai_train.storage.stats import StoreStats

_RETRIES = 3
_CONNECT_S = 10.0
# An upload slower than this is given up; a server that stops to read would else be waited for without end.
_SLOWEST_BYTES_PER_S = 64 * 2**10


def service_client(url: str, credential: Any, limits: Limits, stats: StoreStats) -> BlobServiceClient:
    """Makes the client of an account; sends nothing.

    Args:
        url: The account's address.
        credential: A key, a token, or what fetches tokens; None for none.
        limits: How hard the service is worked.
        stats: Where requests are counted.
    """
    requests = logging.getLogger("azure.core.pipeline.policies.http_logging_policy")
    if requests.level == logging.NOTSET:
        # It tells of every request at INFO, in twenty lines: a script that prints what is INFO would print them all.
        requests.setLevel(logging.WARNING)
    return BlobServiceClient(
        url,
        credential=credential,
        retry_policy=_FewRetries(stats),
        connection_timeout=min(_CONNECT_S, limits.timeout_s),
        read_timeout=limits.timeout_s,
        max_single_put_size=limits.part_bytes,
        max_single_get_size=limits.part_bytes,
        max_chunk_get_size=limits.part_bytes,
        _additional_pipeline_policies=[_OneAttempt(stats, limits.timeout_s)],
    )


def close_client(loop: asyncio.AbstractEventLoop, client: BlobServiceClient, credential: Any, process: int) -> None:
    """Closes the connections of a client that nobody uses any more.

    Args:
        loop: Where the client lives.
        client: The client.
        credential: What it was made with.
        process: The id of the process that made it: a forked child leaves its parent's connections alone.
    """
    if process != os.getpid() or not loop.is_running():
        return

    async def close() -> None:
        await client.close()
        if isinstance(credential, AsyncTokenCredential):
            await credential.close()

    # Nobody waits: this may run on the loop's own thread.
    asyncio.run_coroutine_threadsafe(close(), loop)


def credential_of(settings: dict[str, str], account: str) -> Any:
    """Returns the first credential of the connection string, or else of the environment; None for none.

    Args:
        settings: The parts of a connection string; empty for none.
        account: The account's name.
    """
    key, token = settings.get("accountkey"), settings.get("sharedaccesssignature")
    if not settings:
        key, token = _named("ACCOUNT_KEY"), _named("SAS_TOKEN")
    if key:
        return AzureNamedKeyCredential(account, key)
    if token:
        return AzureSasCredential(token.lstrip("?"))
    if settings or (_named("ANON") or "false").lower() not in ("false", "0", "f", ""):
        return None
    from azure.identity.aio import ClientSecretCredential, DefaultAzureCredential

    client, secret, tenant = (_named(name) for name in ("CLIENT_ID", "CLIENT_SECRET", "TENANT_ID"))
    if client and secret and tenant:
        return ClientSecretCredential(tenant, client, secret)
    return DefaultAzureCredential()


def _named(name: str) -> str | None:
    return os.environ.get(f"AZURE_STORAGE_{name}")


def settings_of(connection_string: str | None) -> dict[str, str]:
    """Returns the parts of a connection string by their names in lower case.

    Raises:
        StorageError: It has no such parts; the error does not quote it.
    """
    if not connection_string:
        return {}
    try:
        return dict(parse_connection_string(connection_string))
    except ValueError:
        # Not chained: its text may hold the key.
        raise StorageError(
            "the connection string cannot be read",
            where="AZURE_STORAGE_CONNECTION_STRING",
            wanted="AccountName=…;AccountKey=…",
            todo="copy it again from the account's access keys",
        ) from None


def account_url(endpoint: str | None, settings: dict[str, str], account: str | None) -> str:
    """Returns the URL of an account.

    Args:
        endpoint: The address of the account, or of an emulator; None for what follows.
        settings: The parts of a connection string; empty for none.
        account: The account's name.

    Raises:
        StorageError: None of them says where it is.
    """
    if endpoint is None:
        if settings.get("blobendpoint"):
            return settings["blobendpoint"].rstrip("/")
        if account is None:
            raise StorageError(
                "no Azure storage account is named",
                where="az://",
                wanted="AZURE_STORAGE_ACCOUNT_NAME or AZURE_STORAGE_CONNECTION_STRING in the environment",
            )
        suffix = settings.get("endpointsuffix", "core.windows.net")
        return f"{settings.get('defaultendpointsprotocol', 'https')}://{account}.blob.{suffix}"
    url = endpoint.rstrip("/") if "://" in endpoint else f"https://{endpoint.rstrip('/')}"
    parts = urlsplit(url)
    return url if parts.path or account is None or not _is_emulator(parts.hostname or "") else f"{url}/{account}"


def _is_emulator(host: str) -> bool:
    """Returns whether a host has no account of its own in its name, so that it stands in the path."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return "." not in host
    return True


def account_of(host: str) -> str:
    """Returns the account that a host such as `account.blob.core.windows.net` belongs to."""
    return host.partition(".")[0]


class _FewRetries(LinearRetry):
    """Repeats a request three times, about 0.2, 0.4 and 0.8 seconds apart."""

    def __init__(self, stats: StoreStats) -> None:
        super().__init__(backoff=0, retry_total=_RETRIES)
        self._stats = stats

    async def send(self, request: Any) -> Any:  # type: ignore[override]
        _plain_boundary(request.http_request)
        return await super().send(request)  # type: ignore[no-untyped-call]

    def get_backoff_time(self, settings: dict[str, Any]) -> float:
        return secrets.SystemRandom().uniform(0.05, 0.15) * 2.0 ** int(settings["count"])

    def increment(self, settings: dict[str, Any], request: Any, response: Any = None, error: Any = None) -> bool:
        # A repeated create could find its own blob, whose answer was lost, and take itself for a loser.
        if request.headers.get("If-None-Match") == "*":
            return False
        repeats = super().increment(settings, request, response, error)
        self._stats.add(retries=int(repeats))
        return repeats


class _OneAttempt(AsyncHTTPPolicy):  # type: ignore[type-arg]
    """Counts each request that is sent, and ends one that cannot be sent at all."""

    def __init__(self, stats: StoreStats, timeout_s: float) -> None:
        super().__init__()
        self._stats = stats
        self._timeout_s = timeout_s

    async def send(self, request: Any) -> Any:
        self._stats.add(requests=1)
        http = request.http_request
        size, body = int(http.headers.get("Content-Length") or 0), http.body
        if isinstance(body, bytes):
            http.body = io.BytesIO(body)  # is sent in pieces: one of many megabytes would hold up all others
        try:
            # The client's own timeouts begin when all of a request was sent.
            async with asyncio.timeout(_CONNECT_S + self._timeout_s + size / _SLOWEST_BYTES_PER_S):
                return await self.next.send(request)
        except TimeoutError as error:
            raise ServiceResponseTimeoutError("no answer in time", error=error) from error
        finally:
            http.body = body


def _plain_boundary(request: Any) -> None:
    """Takes the `=` out of the boundary of a batch: Azurite reads it up to the first one."""
    found = re.search(r"boundary=(=+[0-9]+=+)$", request.headers.get("Content-Type") or "")
    if found:
        plain = found[1].replace("=", "-")
        request.headers["Content-Type"] = f"multipart/mixed; boundary={plain}"
        request.body = request.body.replace(found[1].encode(), plain.encode())
