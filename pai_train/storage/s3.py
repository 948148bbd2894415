"""Objects of Amazon S3, and of servers that speak its protocol."""

from __future__ import annotations

import base64
import errno
import hashlib
import os
import re
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError  # type: ignore[import-untyped]
from fsspec.asyn import _run_coros_in_chunks, sync, sync_wrapper
from s3fs import S3FileSystem  # type: ignore[import-untyped]

from pai_train.storage.facts import BucketFacts, ServiceFacts
from pai_train.storage.object_streams import ObjectChangedError, Upload
from pai_train.storage.objects import KeyedFiles, NoBucketError, refuse_configured
from pai_train.storage.s3_upload import SMALLEST_PART_BYTES, S3Upload

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from pai_train.storage.options import Access, Limits
    from pai_train.storage.stats import StoreStats

_ATTEMPTS = 4
_CONNECT_S = 10.0
_BATCH = 1000  # the most that one request may delete
_LARGEST_COPY_BYTES = 5 * 2**30
_AMAZON = re.compile(r"https?://([^/]+\.)?amazonaws\.com(\.cn)?/?$")
_ATTEMPT = re.compile(r"attempt=([0-9]+)")


class S3Objects(KeyedFiles, S3FileSystem):  # type: ignore[misc]
    """s3fs's filesystem with fresh answers, names as they stand, whole writes and exclusive create.

    Credentials are those that Amazon's tools find: AWS_ACCESS_KEY_ID and its company, a profile, or a role.

    Args:
        access: `endpoint` (else AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL or the profile's), `region` (else AWS_REGION,
            then what the profile or AWS_DEFAULT_REGION says), `profile` and `addressing` are honoured.
        limits: How hard the service is worked; parts are at least 5 MiB.
        stats: Where requests are counted.
        configured: What fsspec adds from settings of its own; must be empty.

    Raises:
        StorageError: fsspec has settings of its own for s3, which would go around these.
    """

    def __init__(self, access: Access, limits: Limits, stats: StoreStats, **configured: Any) -> None:
        wanted = "storage.endpoint, storage.region, storage.profile and the AWS_… variables"
        refuse_configured("s3", configured, wanted)
        self.access, self.stats = access, stats
        self.limits = replace(limits, part_bytes=max(limits.part_bytes, SMALLEST_PART_BYTES))
        endpoint = access.endpoint or os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
        if endpoint and "://" not in endpoint:
            endpoint = f"https://{endpoint}"
        self._hooked: Any = None
        settings: dict[str, Any] = {
            "retries": {"mode": "standard", "total_max_attempts": _ATTEMPTS},
            "connect_timeout": min(_CONNECT_S, limits.timeout_s),
            "read_timeout": limits.timeout_s,
            "max_pool_connections": max(limits.parallel + 2, 10),
            "request_checksum_calculation": "when_required",
            "response_checksum_validation": "when_required",
        }
        if region := access.region or os.environ.get("AWS_REGION"):
            settings["region_name"] = region
        if access.addressing:
            settings["s3"] = {"addressing_style": access.addressing}
        super().__init__(
            endpoint_url=endpoint,
            config_kwargs=settings,
            use_listings_cache=False,
            **({"profile": access.profile} if access.profile else {}),
        )

    # The base makes its own of these.
    find = sync_wrapper(KeyedFiles._find)
    exists = sync_wrapper(KeyedFiles._exists)
    isdir = sync_wrapper(KeyedFiles._isdir)

    @property
    def exclusive_create(self) -> bool | None:
        """True on Amazon's own service; None on others, where it has to be tried."""
        try:
            # A file of profiles may name an endpoint too: only the client knows where requests go.
            endpoint = sync(self.loop, self.set_session).meta.endpoint_url
        except (BotoCoreError, ValueError):
            return None  # the first request says what is wrong with the settings
        return True if _AMAZON.match(endpoint) else None

    async def set_session(self, refresh: bool = False, kwargs: Any = None) -> Any:
        client = await super().set_session(refresh)
        if client is not self._hooked:
            self._hooked = client
            client.meta.events.register("before-send.s3", self._sent)
            client.meta.events.register("before-sign.s3.DeleteObjects", _digest_the_old_way)
        return client

    def _sent(self, request: Any, **_: Any) -> None:
        # The client waits for "100 Continue" without end.
        request.headers.pop("Expect", None)
        header = request.headers.get("amz-sdk-request", b"")
        found = _ATTEMPT.search(header.decode() if isinstance(header, bytes) else header)
        self.stats.add(requests=1, retries=int(found is not None and int(found[1]) > 1))

    async def _ask(self, operation: str, path: str, **parameters: Any) -> dict[str, Any]:
        """Sends one request.

        Raises:
            OSError: The service said no; its subclass, `code` and `status_code` tell why.
        """
        client = await self.set_session()
        try:
            answer: dict[str, Any] = await getattr(client, operation)(**parameters)
        except ClientError as error:
            raise _answered(error, path) from error
        return answer

    def split_path(self, path: str) -> tuple[str, str, None]:
        """Returns the bucket, the key and no version: `?versionId=` is part of a name."""
        return (*self._keyed(path), None)

    # Looking

    async def _pages(
        self, bucket: str, prefix: str, delimiter: str, limit: int
    ) -> AsyncIterator[tuple[list[dict[str, Any]], list[str]]]:
        query: dict[str, Any] = {"Bucket": bucket, "Prefix": prefix, "MaxKeys": limit}
        if delimiter:
            query["Delimiter"] = delimiter
        while True:
            page = await self._ask("list_objects_v2", bucket, **query)
            yield (
                [_entry(f"{bucket}/{item['Key']}", item["Size"], item) for item in page.get("Contents", [])],
                [folder["Prefix"] for folder in page.get("CommonPrefixes", [])],
            )
            if not page.get("IsTruncated"):
                return
            query["ContinuationToken"] = page["NextContinuationToken"]

    async def _head(self, bucket: str, key: str) -> dict[str, Any]:
        path = f"{bucket}/{key}"
        try:
            found = await self._ask("head_object", path, Bucket=bucket, Key=key)
        except FileNotFoundError:
            raise
        except OSError:
            # The answer to HEAD has no body and tells no reason: a listing does.
            await self._holds(bucket, key)
            raise
        return _entry(path, found["ContentLength"], found)

    async def _cat_file(
        self, path: str, start: int | None = None, end: int | None = None, etag: str | None = None, **_: Any
    ) -> bytes:
        bucket, key = self._keyed(path)
        if (start or 0) < 0 or (end or 0) < 0:
            size = (await self._info(path))["size"]
            start, end = slice(start, end).indices(size)[:2]
        if end is not None and end <= (start or 0):
            return b""
        asked: dict[str, Any] = {"Bucket": bucket, "Key": key}
        if start or end is not None:
            asked["Range"] = f"bytes={start or 0}-{'' if end is None else end - 1}"
        if etag is not None:
            asked["IfMatch"] = f'"{etag}"'
        try:
            answer = await self._ask("get_object", f"{bucket}/{key}", **asked)
        except FileExistsError:
            raise ObjectChangedError(path) from None
        except OSError as error:
            if getattr(error, "status_code", None) == 416:  # the range begins behind the end
                return b""
            raise
        async with answer["Body"] as body:
            # Some servers do not know the condition.
            if etag is not None and answer["ETag"].strip('"') != etag:
                raise ObjectChangedError(path)
            return bytes(await body.read())

    # Deleting

    async def _delete(self, bucket: str, keys: list[str]) -> int:
        if len(keys) == 1:
            await self._ask("delete_object", f"{bucket}/{keys[0]}", Bucket=bucket, Key=keys[0])
            return 1
        batches = [keys[start : start + _BATCH] for start in range(0, len(keys), _BATCH)]
        await _run_coros_in_chunks(
            [self._delete_batch(bucket, batch) for batch in batches], batch_size=self.limits.parallel
        )
        return len(keys)

    async def _delete_batch(self, bucket: str, keys: list[str]) -> None:
        wanted = {"Objects": [{"Key": key} for key in keys], "Quiet": True}
        answer = await self._ask("delete_objects", bucket, Bucket=bucket, Delete=wanted)
        for refused in answer.get("Errors", []):
            raise _error(refused.get("Code", ""), None, refused.get("Message", ""), f"{bucket}/{refused.get('Key')}")

    async def _rm_tree(self, path: str) -> None:
        bucket, key = self._keyed(path)
        waiting: list[str] = []
        is_there = False
        async for infos, _ in self._pages(bucket, key + "/" if key else "", "", self.page_keys):
            await self._delete(bucket, waiting)
            waiting = [info["name"][len(bucket) + 1 :] for info in infos]
            is_there = is_there or bool(infos)
        if key and not is_there:
            # The service says nothing about what it did not find to delete.
            await self._head(bucket, key)
        await self._delete(bucket, [*waiting, key] if key else waiting)

    # Writing

    async def _cp_file(self, path1: str, path2: str, **_: Any) -> None:
        (bucket, key), (to_bucket, to_key) = self._keyed(path1), self._keyed(path2)
        info = await self._head(bucket, key)
        if info["size"] > _LARGEST_COPY_BYTES:
            await super()._copy_managed(path1, path2, size=info["size"])
            return
        source = {"Bucket": bucket, "Key": key}
        await self._ask("copy_object", path1, Bucket=to_bucket, Key=to_key, CopySource=source)

    def _upload(self, bucket: str, key: str, exclusive: bool) -> Upload:
        return S3Upload(self, bucket, key, exclusive)

    # What checks ask

    def service_facts(self, bucket: str) -> ServiceFacts:
        """Returns how the service is reached for a bucket; sends no request to it."""
        client = sync(self.loop, self.set_session)
        return ServiceFacts(client.meta.endpoint_url, client.meta.region_name)

    def bucket_facts(self, bucket: str) -> BucketFacts:
        """Asks where a bucket lies and whether it keeps versions."""
        place = sync(self.loop, self._ask, "get_bucket_location", bucket, Bucket=bucket)
        versioning: Any = None
        with suppress(PermissionError):  # a key may be allowed the one question and not the other
            answer = sync(self.loop, self._ask, "get_bucket_versioning", bucket, Bucket=bucket)
            versioning = {"Enabled": "on", "Suspended": "suspended"}.get(answer.get("Status", ""), "off")
        # Amazon's oldest region has no name there; what other servers mean by none is not known.
        return BucketFacts(
            place.get("LocationConstraint") or ("us-east-1" if self.exclusive_create else None), versioning
        )


def _entry(path: str, size: int, said: dict[str, Any]) -> dict[str, Any]:
    kind = "directory" if path.endswith("/") else "file"
    modified = said.get("LastModified")
    return {"name": path, "size": size, "type": kind, "etag": said["ETag"].strip('"'), "LastModified": modified}


def _answered(error: ClientError, path: str) -> OSError:
    said = error.response.get("Error", {})
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    return _error(str(said.get("Code", "")), status, str(said.get("Message", "")), path)


def _error(code: str, status: int | None, message: str, path: str) -> OSError:
    kind: type[OSError] = OSError
    number = errno.EIO
    if code == "NoSuchBucket":
        return NoBucketError(path.partition("/")[0])
    # A repeated completion says NoSuchUpload, which is no missing object.
    if code in ("NoSuchKey", "NotFound") or (status == 404 and code != "NoSuchUpload"):
        kind, number = FileNotFoundError, errno.ENOENT
    elif code == "PreconditionFailed" or status == 412:
        kind, number = FileExistsError, errno.EEXIST
    elif status in (401, 403) or code == "AccessDenied":
        kind, number = PermissionError, errno.EACCES
    found: Any = kind(number, f"{code}: {message}" if message else code or f"status {status}", path)
    found.code, found.status_code = code, status
    return found  # type: ignore[no-any-return]


def _digest_the_old_way(request: Any, **_: Any) -> None:
    """Gives a batch of deletions the digest that every server knows; some refuse the newer checksums."""
    for name in [name for name in request.headers if name.lower().startswith(("x-amz-checksum", "x-amz-sdk-checksum"))]:
        del request.headers[name]
    body = request.body if isinstance(request.body, bytes) else str(request.body).encode()
    digest = base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()
    request.headers["Content-MD5"] = digest
