"""One bucket of OSS: what it is asked and how its answers read, for the filesystem and for files on their way up."""

from __future__ import annotations

import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

import alibabacloud_oss_v2 as oss  # type: ignore[import-untyped]

from pai_train.storage.oss_client import converted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pai_train.storage.oss_client import Place

_PAGE = 1000
_Infos = list[dict[str, Any]]


@dataclass(frozen=True)
class BucketInfo:
    """What a bucket tells of itself.

    Attributes:
        name: Its name.
        endpoint: Where it was asked.
        region: What requests are signed for; None where they are signed without.
        location: Where the bucket is, as the service writes it: `oss-cn-hangzhou`.
        versioning: `Enabled`, `Suspended`, or None.
        clock_offset_s: Seconds by which the service's clock is ahead of ours, to about a second.
    """

    name: str
    endpoint: str
    region: str | None
    location: str | None
    versioning: str | None
    clock_offset_s: float


class Bucket:
    """One bucket, asked through the client of its place.

    Attributes:
        authority: How paths name it.
        name: Its name.
        place: Where it is.
    """

    def __init__(self, authority: str, name: str, place: Place, client: Any) -> None:
        self.authority = authority
        self.name = name
        self.place = place
        self._client = client

    def path(self, key: str | None) -> str:
        """Returns how the filesystem calls an object."""
        return f"{self.authority}/{key}" if key else self.authority

    def ask(self, operation: str, key: str | None = None, **fields: Any) -> Any:
        """Sends one request and returns its result.

        Args:
            operation: The client's method, such as `head_object`.
            key: The object it is about; None for the bucket itself.
            fields: The rest of the request.

        Raises:
            OSError: With `code`, `status_code` and `request_id` where the service answered.
        """
        kind = "".join(word.capitalize() for word in operation.split("_")) + "Request"
        named = fields if key is None else {"key": key, **fields}
        with converted(self.path(key)):
            return getattr(self._client, operation)(getattr(oss, kind)(bucket=self.name, **named))

    def copy(self, source: Bucket, source_key: str, key: str, parallel: int) -> None:
        """Copies an object within the place, large ones in parts; no byte of it comes here."""
        request = oss.CopyObjectRequest(bucket=self.name, key=key, source_bucket=source.name, source_key=source_key)
        with converted(source.path(source_key)):
            self._client.copier(parallel_num=parallel).copy(request)

    def delete(self, keys: Iterable[str]) -> None:
        """Deletes objects, as many in a request as it may hold; missing ones are fine."""
        batch: list[Any] = []
        for key in keys:
            batch.append(oss.ObjectIdentifier(key=key))
            if len(batch) == _PAGE:
                self._delete(batch)
                batch = []
        if batch:
            self._delete(batch)

    def _delete(self, objects: list[Any]) -> None:
        self.ask("delete_multiple_objects", delete=oss.Delete(objects=objects, quiet=True))

    # Listing

    def head(self, key: str) -> dict[str, Any]:
        """Returns what is known of an object."""
        found = self.ask("head_object", key)
        return _file(self.path(key), found.content_length, found.etag, found.last_modified)

    def children(self, key: str, prefix: str = "") -> Iterator[dict[str, Any]]:
        """Yields the objects and folders directly in a folder; with `prefix`, those that begin with it."""
        for page in self._pages(_prefix(key) + prefix, "/"):
            yield from (folder(self.path(found.prefix.rstrip("/"))) for found in page.common_prefixes or ())
            yield from self._files(page)

    def below(self, key: str, prefix: str = "") -> Iterator[dict[str, Any]]:
        """Yields the objects and folders in a folder at any depth, by one listing; those that begin with `prefix`."""
        folders = {self.path(key)}
        for page in self._pages(_prefix(key) + prefix):
            for found in page.contents or ():
                name = self.path(found.key).rpartition("/")[0]
                while name not in folders:
                    folders.add(name)
                    yield folder(name)
                    name = name.rpartition("/")[0]
            yield from self._files(page)

    def keys(self, key: str) -> Iterator[str]:
        """Yields every key in a folder, those too that only draw an empty folder."""
        for page in self._pages(_prefix(key)):
            yield from (found.key for found in page.contents or ())

    def holds(self, key: str) -> bool:
        """Returns whether a folder holds anything."""
        return bool(next(self._pages(_prefix(key), limit=1)).contents)

    def _pages(self, prefix: str, delimiter: str | None = None, limit: int | None = None) -> Iterator[Any]:
        request = oss.ListObjectsV2Request(bucket=self.name, prefix=prefix or None, delimiter=delimiter)
        with converted(self.path(prefix)):
            yield from self._client.list_objects_v2_paginator(limit=limit or _PAGE).iter_page(request)

    def _files(self, page: Any) -> _Infos:
        # A key that ends with a slash is how consoles draw an empty folder.
        return [
            _file(self.path(found.key), found.size, found.etag, found.last_modified)
            for found in page.contents or ()
            if not found.key.endswith("/")
        ]

    # Itself

    def versioning(self) -> str | None:
        """Returns `Enabled`, `Suspended`, or None for a bucket that keeps no versions."""
        status = self.ask("get_bucket_versioning").version_status
        return str(status) if status else None

    def describe(self) -> BucketInfo:
        """Asks where the bucket is, whether it keeps versions, and what time it is there."""
        before = time.time()
        answer = self.ask("get_bucket_info")
        here = (before + time.time()) / 2
        there = parsedate_to_datetime(answer.headers["Date"]).timestamp() + 0.5  # the header cuts off fractions
        told = answer.bucket_info
        return BucketInfo(
            self.name, self.place.endpoint, self.place.region, told.location, told.versioning or None, there - here
        )


def folder(name: str) -> dict[str, Any]:
    """Returns what is known of a folder."""
    return {"name": name, "size": 0, "type": "directory"}


def plain(etag: str | None) -> str:
    """Returns an etag without its quotes, as listings and answers about one object both have it."""
    return (etag or "").strip('"')


def _file(name: str, size: int | None, etag: str | None, modified: Any) -> dict[str, Any]:
    return {"name": name, "size": size or 0, "type": "file", "etag": plain(etag), "LastModified": modified}


def _prefix(key: str) -> str:
    return f"{key}/" if key else ""
