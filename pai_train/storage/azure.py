"""Objects of Azure Blob Storage: containers of blobs, with or without a hierarchical namespace."""

from __future__ import annotations

import errno
import os
import uuid
import weakref
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from adlfs import AzureBlobFileSystem  # type: ignore[import-untyped]
from azure.core import MatchConditions
from azure.core.credentials import AzureSasCredential
from azure.core.exceptions import (
    HttpResponseError,
    ResourceExistsError,
    ResourceModifiedError,
    ResourceNotFoundError,
)
from azure.storage.blob import BlobBlock
from fsspec.asyn import AsyncFileSystem, _run_coros_in_chunks, sync_wrapper

from pai_train.errors import StorageError
from pai_train.storage.azure_client import (
    account_of,
    account_url,
    close_client,
    credential_of,
    service_client,
    settings_of,
)
from pai_train.storage.facts import BucketFacts, ServiceFacts
from pai_train.storage.object_streams import ObjectChangedError, Upload
from pai_train.storage.objects import KeyedFiles, NoBucketError, refuse_configured

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from pai_train.storage.options import Access, Limits
    from pai_train.storage.stats import StoreStats

_LONGEST = 1024  # characters of a blob's name
_BATCH = 256  # the most that one batch request may delete


class AzureObjects(KeyedFiles, AzureBlobFileSystem):  # type: ignore[misc]
    """adlfs's filesystem with fresh answers, names as they stand, whole writes and exclusive create.

    Credentials are AZURE_STORAGE_CONNECTION_STRING; or AZURE_STORAGE_ACCOUNT_NAME with _ACCOUNT_KEY, _SAS_TOKEN, or
    _CLIENT_ID, _CLIENT_SECRET and _TENANT_ID; or what Azure's default credential finds. A container is named
    `container` or `container@account.dfs.core.windows.net`.

    Args:
        access: `endpoint` is honoured: the address of the account, or of an emulator, which has the account in its
            path. It goes before the one of a connection string.
        limits: How hard the service is worked.
        stats: Where requests are counted.
        configured: What fsspec adds from settings of its own; must be empty.

    Raises:
        StorageError: No account is named, the connection string cannot be read, or fsspec has settings of its own.
    """

    protocol = ("az", "abfs", "abfss")

    def __init__(self, access: Access, limits: Limits, stats: StoreStats, **configured: Any) -> None:
        refuse_configured("abfs", configured, "storage.endpoint and the AZURE_STORAGE_… variables")
        # Not adlfs's own: it keeps each instance until the process ends, and secrets as attributes.
        AsyncFileSystem.__init__(self, use_listings_cache=False)
        self.access, self.limits, self.stats = access, limits, stats
        self.version_aware, self.assume_container_exists = False, None
        settings = settings_of(os.environ.get("AZURE_STORAGE_CONNECTION_STRING"))
        self.account_name = settings.get("accountname") or os.environ.get("AZURE_STORAGE_ACCOUNT_NAME")
        self.account_url = account_url(access.endpoint, settings, self.account_name)
        if self.account_name is None:
            self.account_name = account_of(urlsplit(self.account_url).hostname or "")
        credential = credential_of(settings, self.account_name)
        # A token that may delete need not allow a batch, and Azurite fails at one.
        self._batches = not isinstance(credential, AzureSasCredential)
        self.service_client = service_client(self.account_url, credential, limits, stats)
        weakref.finalize(self, close_client, self.loop, self.service_client, credential, os.getpid())

    def split_path(self, path: str, **_: Any) -> tuple[str, str, None]:
        """Returns the container, the key and no version."""
        bucket, key = self._keyed(path)
        return self._container(bucket), key, None

    def _keyed(self, path: str) -> tuple[str, str]:
        bucket, key = super()._keyed(path)
        if "\\" in key:
            raise _refused_name(bucket, key)
        return bucket, key

    def _container(self, bucket: str) -> str:
        container, _, host = bucket.partition("@")
        if host and account_of(host) != self.account_name:
            raise StorageError(
                "the URL names another storage account",
                where=bucket,
                got=account_of(host),
                wanted=self.account_name,
                todo="name a container of the account whose credentials are set, or set the other account's",
            )
        return container

    def service_facts(self, bucket: str) -> ServiceFacts:
        """Returns the address of the account."""
        return ServiceFacts(self.account_url)

    async def _bucket_facts(self, bucket: str) -> BucketFacts:
        try:
            with _converted(bucket):
                await self.service_client.get_container_client(self._container(bucket)).get_container_properties()
        except FileNotFoundError:
            raise NoBucketError(bucket) from None
        # Region and versioning are the account's own, and told to its managers alone.
        return BucketFacts()

    bucket_facts = sync_wrapper(_bucket_facts)

    def _blob(self, bucket: str, key: str) -> Any:
        return self.service_client.get_blob_client(self._container(bucket), key)

    async def _pages(
        self, bucket: str, prefix: str, delimiter: str, limit: int
    ) -> AsyncIterator[tuple[list[dict[str, Any]], list[str]]]:
        client: Any = self.service_client.get_container_client(self._container(bucket))
        # The metadata tell which blobs are the folders of a hierarchical namespace.
        options = {"name_starts_with": prefix or None, "include": ["metadata"], "results_per_page": limit}
        blobs = client.walk_blobs(delimiter=delimiter, **options) if delimiter else client.list_blobs(**options)
        with _converted(bucket):
            async for page in blobs.by_page():
                found = [blob async for blob in page]
                yield (
                    [_entry(bucket, blob) for blob in found if blob.has_key("etag")],
                    [blob.name for blob in found if not blob.has_key("etag")],
                )

    async def _head(self, bucket: str, key: str) -> dict[str, Any]:
        with _converted(f"{bucket}/{key}"):
            return _entry(bucket, await self._blob(bucket, key).get_blob_properties())

    async def _cat_file(
        self, path: str, start: int | None = None, end: int | None = None, etag: str | None = None, **_: Any
    ) -> bytes:
        bucket, key = self._keyed(path)
        if (start or 0) < 0 or (end or 0) < 0:
            size = (await self._info(path))["size"]
            start, end = slice(start, end).indices(size)[:2]
        if end is not None and end <= (start or 0):
            return b""
        pinned = {"etag": f'"{etag}"', "match_condition": MatchConditions.IfNotModified} if etag else {}
        try:
            with _converted(path):
                stream = await self._blob(bucket, key).download_blob(
                    offset=start if end is None else start or 0,
                    length=None if end is None else end - (start or 0),
                    max_concurrency=self.limits.parallel,
                    **pinned,
                )
                return bytes(await stream.readall())
        except ResourceModifiedError as error:
            raise ObjectChangedError(path) from error
        except HttpResponseError as error:
            if error.status_code == 416:  # the range begins behind the end
                return b""
            raise

    async def _delete(self, bucket: str, keys: list[str]) -> int:
        client: Any = self.service_client.get_container_client(self._container(bucket))
        if len(keys) <= 1 or not self._batches:
            # The last one may be the folder of the others.
            first = [self._delete_one(client, bucket, key) for key in keys[:-1]]
            deleted: int = sum(await _run_coros_in_chunks(first, batch_size=self.limits.parallel))
            return deleted + (await self._delete_one(client, bucket, keys[-1]) if keys else 0)
        deleted = 0
        for start in range(0, len(keys), _BATCH):
            batch = keys[start : start + _BATCH]
            with _converted(bucket):
                answers = [answer async for answer in await client.delete_blobs(*batch, raise_on_any_failure=False)]
                for key, answer in zip(batch, answers, strict=True):
                    if answer.status_code == 409:
                        # A folder whose last object was in the same batch.
                        deleted += await self._delete_one(client, bucket, key)
                    elif answer.status_code >= 400 and answer.status_code != 404:
                        raise HttpResponseError(response=answer)
            deleted += sum(answer.status_code < 300 for answer in answers)
        return deleted

    async def _delete_one(self, client: Any, bucket: str, key: str) -> int:
        try:
            with _converted(f"{bucket}/{key}"):
                await client.delete_blob(key)
        except FileNotFoundError as error:
            if getattr(error.__cause__, "error_code", None) == "ContainerNotFound":
                raise
            return 0
        return 1

    def _upload(self, bucket: str, key: str, exclusive: bool) -> Upload:
        if len(key) > _LONGEST or any(part.endswith(".") for part in key.split("/")):
            raise _refused_name(bucket, key)
        return _AzureUpload(self._blob(bucket, key), f"{bucket}/{key}", exclusive)

    # adlfs binds these names to its own coroutines.
    rm = sync_wrapper(KeyedFiles._rm)
    pipe_file = sync_wrapper(KeyedFiles._pipe_file)
    put_file = sync_wrapper(KeyedFiles._put_file)
    get_file = sync_wrapper(KeyedFiles._get_file)


class _AzureUpload:
    """A single request where one part is all, else blocks, which are nothing before their list is committed.

    There is no request that gives up blocks: the service forgets in a week what is not committed.
    """

    in_order = False
    most_parts: int | None = 50_000

    def __init__(self, blob: Any, path: str, exclusive: bool) -> None:
        self._blob = blob
        self._path = path
        self._exclusive = exclusive
        # Blocks of several writers of one blob lie side by side until one commits: their names must differ, not
        # their lengths.
        self._writer = uuid.uuid4().hex[:24]
        self._blocks: list[BlobBlock] = []

    async def send(self, part: bytes) -> None:
        block = BlobBlock(f"{self._writer}{len(self._blocks):08x}")
        self._blocks.append(block)
        with _converted(self._path):
            await self._blob.stage_block(block.id, part, length=len(part), validate_content=True)

    async def finish(self, last: bytes) -> str:
        if self._blocks:
            await self.send(last)
        with _converted(self._path, self._exclusive):
            if self._blocks:
                condition = {"match_condition": MatchConditions.IfMissing} if self._exclusive else {}
                stored = await self._blob.commit_block_list(self._blocks, **condition)
            else:
                stored = await self._blob.upload_blob(last, overwrite=not self._exclusive, validate_content=True)
        return str(stored["etag"]).strip('"')

    async def abort(self) -> None:
        self._blocks.clear()


@contextmanager
def _converted(path: str, exclusive: bool = False) -> Iterator[None]:
    """Turns what Azure says of a missing blob, one that is there and a refused key into the system's words."""
    try:
        yield
    except ResourceNotFoundError as error:
        raise FileNotFoundError(errno.ENOENT, _code(error), path) from error
    except (ResourceExistsError, ResourceModifiedError) as error:
        if exclusive:
            raise FileExistsError(errno.EEXIST, _code(error), path) from error
        raise
    except HttpResponseError as error:
        if error.status_code in (401, 403):
            raise PermissionError(errno.EACCES, _code(error), path) from error
        raise


def _code(error: HttpResponseError) -> str:
    code = getattr(error, "error_code", None)
    return str(getattr(code, "value", code) or error.reason or type(error).__name__)


def _refused_name(bucket: str, key: str) -> StorageError:
    # The service would take these for other names: a backslash for a slash, and without the dots at the end.
    return StorageError(
        "Azure takes no such blob name",
        where=f"az://{bucket}/{key}",
        wanted=f"no backslash, no part that ends with a dot, at most {_LONGEST} characters",
        todo="choose another name",
    )


def _entry(bucket: str, blob: Any) -> dict[str, Any]:
    metadata = {name.lower(): value for name, value in (blob.metadata or {}).items()}
    is_folder = metadata.get("hdi_isfolder") == "true" or blob.name.endswith("/")
    return {
        "name": f"{bucket}/{blob.name}",
        "size": blob.size,
        "type": "directory" if is_folder else "file",
        "etag": blob.etag.strip('"'),
        "mtime": blob.last_modified,
    }
