"""Objects of Google Cloud Storage, and of its emulators."""

from __future__ import annotations

import errno
import io
import os
import re
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import aiohttp
from fsspec.asyn import _run_coros_in_chunks, sync_wrapper
from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError, TransportError
from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from pai_train.storage.errors import AccessRefused
from pai_train.storage.facts import BucketFacts, ServiceFacts
from pai_train.storage.gcs_errors import ServiceError, answered, is_transient
from pai_train.storage.gcs_upload import ATTEMPTS, CHUNK_BYTES, GcsUpload
from pai_train.storage.object_streams import ObjectChangedError, Upload
from pai_train.storage.objects import KeyedFiles, NoBucketError, refuse_configured

# Asked for at import: else gcsfs asks for the kind of each bucket over gRPC, also at an emulator, for minutes.
os.environ["GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT"] = "false"

from gcsfs.core import GCSFileSystem  # type: ignore[import-untyped]
from gcsfs.retry import HttpError, NonRetryableError  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from pai_train.storage.options import Access, Limits
    from pai_train.storage.stats import StoreStats

_WAIT = wait_random_exponential(multiplier=0.2, max=2)
_CONNECT_S = 10.0
# An upload slower than this is given up; a server that stops to read would else be waited for without end.
_SLOWEST_BYTES_PER_S = 64 * 2**10
_BATCH = 100  # the most that one batch request may delete


class GcsObjects(KeyedFiles, GCSFileSystem):  # type: ignore[misc]
    """gcsfs's filesystem with fresh answers, whole writes, exclusive create, and few and short repetitions.

    Credentials are Google's application default ones. A plain `http://` endpoint, or STORAGE_EMULATOR_HOST, is an
    emulator: it is spoken to without any, unless GOOGLE_APPLICATION_CREDENTIALS names some.

    Args:
        access: `endpoint` is honoured.
        limits: How hard the service is worked.
        stats: Where requests are counted.
        configured: What fsspec adds from settings of its own; must be empty.

    Raises:
        AccessRefused: There are no credentials.
        StorageError: fsspec has settings of its own for gs, which would go around these.
    """

    def __init__(self, access: Access, limits: Limits, stats: StoreStats, **configured: Any) -> None:
        refuse_configured("gcs", configured, "storage.endpoint and GOOGLE_APPLICATION_CREDENTIALS")
        self.access, self.stats = access, stats
        chunks = max(1, limits.part_bytes // CHUNK_BYTES)
        self.limits = replace(limits, part_bytes=chunks * CHUNK_BYTES)
        endpoint = access.endpoint or os.environ.get("STORAGE_EMULATOR_HOST") or None
        if endpoint and "://" not in endpoint:
            endpoint = f"{'https' if access.endpoint else 'http'}://{endpoint}"
        anonymous = (endpoint or "").startswith("http://") and not os.environ.get("GOOGLE_APPLICATION_CREDENTIALS")
        trace = aiohttp.TraceConfig()
        trace.on_request_start.append(self._count)
        try:
            super().__init__(
                token="anon" if anonymous else "google_default",
                endpoint_url=endpoint.rstrip("/") if endpoint else None,
                session_kwargs={"trace_configs": [trace]},
                use_listings_cache=False,
            )
        except DefaultCredentialsError as error:
            raise AccessRefused(
                "no credentials for Google Cloud Storage",
                where=endpoint or "gs://",
                wanted="application default credentials",
                todo="run gcloud auth application-default login, or set GOOGLE_APPLICATION_CREDENTIALS",
            ) from error
        # Emulators take the question how much has arrived for the end of the upload.
        self.resumes = self.on_google

    async def _count(self, *_: Any) -> None:
        self.stats.add(requests=1)

    async def _request(
        self,
        method: str,
        path: str,
        *args: str,
        headers: dict[str, str] | None = None,
        json: Any = None,
        data: bytes | None = None,
        attempts: int = ATTEMPTS,
        **params: Any,
    ) -> tuple[int, Any, Any, bytes]:
        # The base repeats a request for a minute, and waits without end for an answer.
        retrying = AsyncRetrying(
            stop=stop_after_attempt(attempts),
            wait=_WAIT,
            retry=retry_if_exception(is_transient),
            before_sleep=lambda _: self.stats.add(retries=1),
            reraise=True,
        )
        sent = len(data) if data is not None else 0
        timeout = aiohttp.ClientTimeout(
            total=self.limits.timeout_s + sent / _SLOWEST_BYTES_PER_S if sent else None,
            sock_connect=min(_CONNECT_S, self.limits.timeout_s),
            sock_read=self.limits.timeout_s,
        )
        await self._set_session()
        async for attempt in retrying:
            with attempt:
                async with self.session.request(
                    method,
                    self._format_path(path, args),
                    params=self._get_params(params),
                    json=json,
                    data=io.BytesIO(data) if data is not None else None,
                    headers=self._authorized(headers),
                    timeout=timeout,
                    allow_redirects=False,
                ) as answer:
                    content = await answer.read()
                    if answer.status >= 400:
                        raise answered(answer.status, content, "/".join(args) or path)
                    return answer.status, answer.headers, answer.request_info, content
        raise AssertionError("the last attempt returns or raises")

    def _authorized(self, headers: dict[str, str] | None) -> dict[str, str]:
        try:
            return dict(self._get_headers(headers))
        except TransportError:
            raise
        except (GoogleAuthError, NonRetryableError, HttpError) as error:
            raise PermissionError(errno.EACCES, "the credentials of Google Cloud cannot be refreshed") from error

    async def _pages(
        self, bucket: str, prefix: str, delimiter: str, limit: int
    ) -> AsyncIterator[tuple[list[dict[str, Any]], list[str]]]:
        token = None
        while True:
            query: Any = {"prefix": prefix or None, "delimiter": delimiter or None, "pageToken": token}
            try:
                page = await self._call("GET", "b/{}/o", bucket, json_out=True, **query, maxResults=limit)
            except FileNotFoundError:
                raise NoBucketError(bucket) from None
            yield [self._entry(bucket, item) for item in page.get("items", [])], page.get("prefixes", [])
            token = page.get("nextPageToken")
            if token is None:
                return

    def _entry(self, bucket: str, item: dict[str, Any]) -> dict[str, Any]:
        kind = "directory" if item["name"].endswith("/") else "file"
        return {**self._process_object(bucket, item), "type": kind, "etag": str(item["generation"])}

    async def _head(self, bucket: str, key: str) -> dict[str, Any]:
        return self._entry(bucket, await self._call("GET", "b/{}/o/{}", bucket, key, json_out=True))

    async def _cat_file(
        self, path: str, start: int | None = None, end: int | None = None, etag: str | None = None, **_: Any
    ) -> bytes:
        ranged = start is not None or end is not None
        if ranged and end is not None and 0 <= end <= (start or 0):
            return b""
        try:
            answer = await self._request(
                "GET",
                self.url(self._strip_protocol(path)),
                headers={"Range": await self._process_limits(path, start, end)} if ranged else None,
                ifGenerationMatch=etag,
            )
        except ServiceError as error:
            if error.code == 416:  # the range begins behind the end
                return b""
            raise
        except FileExistsError:
            raise ObjectChangedError(path) from None
        if etag is not None and answer[1].get("x-goog-generation", etag) != etag:
            raise ObjectChangedError(path)
        return answer[3]

    async def _delete(self, bucket: str, keys: list[str]) -> int:
        if len(keys) <= 1:
            if not keys:
                return 0
            with suppress(FileNotFoundError):
                await self._call("DELETE", "b/{}/o/{}", bucket, keys[0])
                return 1
            return 0
        batches = [keys[start : start + _BATCH] for start in range(0, len(keys), _BATCH)]
        deleted = await _run_coros_in_chunks(
            [self._delete_batch(bucket, batch) for batch in batches], batch_size=self.limits.parallel
        )
        return sum(deleted)

    async def _delete_batch(self, bucket: str, keys: list[str]) -> int:
        boundary = "batch_of_deletes"
        lines = []
        for number, key in enumerate(keys):
            lines += [f"--{boundary}", "Content-Type: application/http", f"Content-ID: <{number}>", ""]
            lines += [f"DELETE /storage/v1/b/{quote(bucket, safe='')}/o/{quote(key, safe='')} HTTP/1.1", "", ""]
        _, _, _, content = await self._request(
            "POST",
            self.batch_url_base,
            data="\r\n".join([*lines, f"--{boundary}--", ""]).encode(),
            headers={"Content-Type": f"multipart/mixed; boundary={boundary}"},
        )
        statuses = [int(status) for status in re.findall(rb"HTTP/[0-9.]+ ([0-9]{3})", content)]
        if len(statuses) != len(keys):
            raise OSError(errno.EIO, f"{len(statuses)} answers to {len(keys)} deletions")
        for status, key in zip(statuses, keys, strict=True):
            if status >= 400 and status != 404:
                raise answered(status, b"", f"{bucket}/{key}")
        return sum(status < 300 for status in statuses)

    async def _cp_file(self, path1: str, path2: str, **_: Any) -> None:
        await super()._cp_file(self._strip_protocol(path1), self._strip_protocol(path2))

    def service_facts(self, bucket: str) -> ServiceFacts:
        """Returns the address of the service; regions have none of their own."""
        return ServiceFacts(self._location)

    async def _bucket_facts(self, bucket: str) -> BucketFacts:
        try:
            told = await self._call("GET", "b/{}", bucket, json_out=True)
        except FileNotFoundError:
            raise NoBucketError(bucket) from None
        kept = told.get("versioning", {}).get("enabled", False)
        return BucketFacts(str(told["location"]).lower() if "location" in told else None, "on" if kept else "off")

    bucket_facts = sync_wrapper(_bucket_facts)

    def _upload(self, bucket: str, key: str, exclusive: bool) -> Upload:
        return GcsUpload(self, bucket, key, exclusive)
