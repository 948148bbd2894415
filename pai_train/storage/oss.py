"""oss:// as an fsspec filesystem: Alibaba Cloud's own client, whole objects, fresh answers."""

from __future__ import annotations

import errno
import os
import secrets
from dataclasses import asdict
from itertools import chain
from typing import TYPE_CHECKING, Any

from fsspec.callbacks import DEFAULT_CALLBACK
from fsspec.spec import AbstractFileSystem

from pai_train.storage.facts import BucketFacts, ServiceFacts
from pai_train.storage.object_streams import ObjectChangedError, SteadyInput
from pai_train.storage.options import Access, Limits
from pai_train.storage.oss_bucket import Bucket, BucketInfo, folder, plain
from pai_train.storage.oss_client import Clients, bucket_names, located
from pai_train.storage.oss_upload import OssOutput
from pai_train.storage.stats import StoreStats

if TYPE_CHECKING:
    from collections.abc import Iterator

_CHANGED, _BEYOND = 412, 416


class OssObjects(AbstractFileSystem):  # type: ignore[misc]
    """The objects of OSS, named `bucket/key` or `bucket.host/key`, where the host is the endpoint of that bucket.

    Keys and tokens come from the environment of the process and are in nothing that is shown or pickled.

    Args:
        access: Where the buckets are and which roles to take on.
        limits: How hard the service is worked.
        stats: Counts the requests.
    """

    protocol = "oss"
    cachable = False
    counts_requests = True

    def __init__(
        self,
        access: Access | dict[str, Any] | None = None,
        limits: Limits | dict[str, Any] | None = None,
        stats: StoreStats | None = None,
        **_: Any,
    ) -> None:
        # What else comes is fsspec's own configuration of oss://, made for another client.
        super().__init__(use_listings_cache=False)
        # fsspec's `from_json` gives back the dicts of `to_dict`.
        self.access = Access(**access) if isinstance(access, dict) else access or Access()
        self.limits = Limits(**limits) if isinstance(limits, dict) else limits or Limits()
        self.stats = stats or StoreStats()
        self._clients = Clients(self.access, self.limits, self.stats)
        self._exclusive: dict[str, bool] = {}

    def __reduce__(self) -> Any:
        return OssObjects, (self.access, self.limits)

    def to_dict(self, *, include_password: bool = True) -> dict[str, Any]:
        """Returns what describes the filesystem; there is nothing secret in it."""
        described = {"access": asdict(self.access), "limits": asdict(self.limits)}
        return {"cls": f"{type(self).__module__}:{type(self).__name__}", "protocol": "oss", "args": [], **described}

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        if isinstance(path, list):
            return [cls._strip_protocol(name) for name in path]
        return os.fspath(path).removeprefix("oss://").strip("/")

    # Buckets

    def _bucket(self, authority: str) -> Bucket:
        name, place = located(authority, self.access)
        return Bucket(authority, name, place, self._clients.client(name, place))

    def _split(self, path: Any) -> tuple[Bucket, str]:
        authority, _, key = self._strip_protocol(path).partition("/")
        return self._bucket(authority), key

    def _object(self, path: Any) -> tuple[Bucket, str]:
        bucket, key = self._split(path)
        if not key:
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
        return bucket, key

    def versioning(self, bucket: str) -> str | None:
        """Returns `Enabled`, `Suspended`, or None for a bucket that keeps no versions."""
        return self._bucket(bucket).versioning()

    def service_facts(self, bucket: str) -> ServiceFacts:
        """Returns how the service is reached for a bucket."""
        _, place = located(bucket, self.access)
        return ServiceFacts(place.endpoint, place.region)

    def bucket_facts(self, bucket: str) -> BucketFacts:
        """Asks where a bucket is and whether it keeps versions."""
        told = self.bucket_info(bucket)
        kept: Any = {"Enabled": "on", "Suspended": "suspended"}.get(told.versioning or "", "off")
        return BucketFacts((told.location or "").removeprefix("oss-") or None, kept)

    def bucket_info(self, bucket: str) -> BucketInfo:
        """Asks a bucket where it is, whether it keeps versions, and what time it is there."""
        return self._bucket(bucket).describe()

    def _check_exclusive(self, bucket: Bucket, key: str) -> None:
        """Refuses an exclusive create where the service ignores that it should be one: in a bucket with versions."""
        if bucket.authority not in self._exclusive:
            try:
                self._exclusive[bucket.authority] = bucket.versioning() is None
            except PermissionError:
                self._exclusive[bucket.authority] = self._refuses_second(bucket, f"{key}-{secrets.token_hex(8)}")
        if not self._exclusive[bucket.authority]:
            refused = OSError(errno.ENOTSUP, "a bucket with versioning has no exclusive create", bucket.path(key))
            refused.code = "VersionedBucket"  # type: ignore[attr-defined]
            raise refused

    def _refuses_second(self, bucket: Bucket, key: str) -> bool:
        """Finds out by trying, for who may not ask for the versioning."""
        try:
            for body in (b"1", b"2"):
                with OssOutput(bucket, key, self.limits, self.stats, exclusive=True) as output:
                    output.write(body)
        except FileExistsError:
            return True
        finally:
            bucket.ask("delete_object", key)
        return False

    # Looking

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        path = self._strip_protocol(path)
        if not path:
            return folder("")
        bucket, key = self._split(path)
        if key:
            try:
                return bucket.head(key)
            except FileNotFoundError as error:
                if getattr(error, "code", None) == "NoSuchBucket" or not bucket.holds(key):
                    raise
        else:
            bucket.holds("")  # raises where there is no such bucket
        return folder(path)

    def exists(self, path: str, **_: Any) -> bool:
        return self._kind(path) is not None

    def isfile(self, path: str) -> bool:
        return self._kind(path) == "file"

    def isdir(self, path: str) -> bool:
        return self._kind(path) == "directory"

    def _kind(self, path: str) -> str | None:
        # The base takes every failure for a no.
        try:
            return str(self.info(path)["type"])
        except FileNotFoundError:
            return None

    def modified(self, path: str) -> Any:
        return self.info(path)["LastModified"]

    def ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:
        path = self._strip_protocol(path)
        found = list(self._children(path))
        if not found and "/" in path:
            found = [info for info in [self.info(path)] if info["type"] == "file"]
        found.sort(key=lambda info: str(info["name"]))
        return found if detail else [info["name"] for info in found]

    def walk(self, path: str, maxdepth: int | None = None, topdown: bool = True, **options: Any) -> Iterator[Any]:
        # The base swallows every OSError: a folder without permission would look empty.
        return super().walk(path, maxdepth, topdown, **{"on_error": _raise_unless_missing, **options})  # type: ignore[no-any-return]

    def find(
        self,
        path: str,
        maxdepth: int | None = None,
        withdirs: bool = False,
        detail: bool = False,
        prefix: str = "",
        **_: Any,
    ) -> Any:
        """Lists what lies below a folder; with `prefix`, what begins with it there."""
        if maxdepth is not None and maxdepth < 1:
            raise ValueError("maxdepth must be at least 1")
        top = self._strip_protocol(path)
        found = {info["name"]: info for info in self._below(top, maxdepth, prefix)}
        if found and withdirs and top and not prefix:
            found[top] = folder(top)
        if not found and "/" in top and not prefix and not str(path).endswith("/") and self._kind(top) == "file":
            found[top] = self.info(top)
        kept = {name: found[name] for name in sorted(found) if withdirs or found[name]["type"] == "file"}
        return kept if detail else list(kept)

    def _children(self, path: str, prefix: str = "") -> Iterator[dict[str, Any]]:
        """Yields what lies directly in a folder; of the empty path, the buckets."""
        if path:
            bucket, key = self._split(path)
            yield from bucket.children(key, prefix)
        else:
            yield from (folder(name) for name in bucket_names(self._clients.client("", located("", self.access)[1])))

    def _below(self, path: str, depth: int | None, prefix: str = "") -> Iterator[dict[str, Any]]:
        """Yields what lies in a folder, `depth` levels of it; None for all."""
        if path and depth is None:
            bucket, key = self._split(path)
            yield from bucket.below(key, prefix)
            return
        for info in self._children(path, prefix):
            yield info
            if info["type"] == "directory" and depth != 1:
                yield from self._below(info["name"], depth - 1 if depth else None)

    # Reading

    def cat_file(
        self, path: str, start: int | None = None, end: int | None = None, etag: str | None = None, **_: Any
    ) -> bytes:
        """Returns the bytes from `start` up to, not including, `end`; negative ones count from the object's end.

        Args:
            path: The object.
            start: The first byte; None for 0.
            end: Ends before this byte; None for the object's end.
            etag: The version that is wanted; None for any.

        Raises:
            ObjectChangedError: The object is another version by now.
        """
        bucket, key = self._object(path)
        if (start or 0) < 0 or (end or 0) < 0:
            size = bucket.head(key)["size"]
            start, end = (None if at is None else max(0, at + size) if at < 0 else at for at in (start, end))
        first = start or 0
        if end is not None and end <= first:
            bucket.head(key)
            return b""
        fields: dict[str, Any] = {"if_match": f'"{etag}"'} if etag else {}
        if first or end is not None:
            fields |= {"range_header": f"bytes={first}-{'' if end is None else end - 1}", "range_behavior": "standard"}
        try:
            answer = bucket.ask("get_object", key, **fields)
        except OSError as error:
            status = getattr(error, "status_code", None)
            if status == _CHANGED or (status == _BEYOND and etag and bucket.head(key)["etag"] != etag):
                raise ObjectChangedError(path) from error
            if status == _BEYOND:
                return b""
            raise
        if etag and plain(answer.etag) != etag:
            raise ObjectChangedError(path)
        return bytes(answer.body.content)

    def get_file(self, rpath: str, lpath: str, callback: Any = DEFAULT_CALLBACK, **_: Any) -> None:
        try:
            source = self._open(rpath)
        except IsADirectoryError:
            os.makedirs(lpath, exist_ok=True)
            return
        os.makedirs(os.path.dirname(os.path.abspath(lpath)), exist_ok=True)
        with source, open(lpath, "wb") as output:
            callback.set_size(source.size)
            while content := source.read(self.limits.part_bytes):
                callback.relative_update(output.write(content))

    # Writing

    def _open(
        self, path: str, mode: str = "rb", block_size: int | None = None, autocommit: bool = True, **_: Any
    ) -> Any:
        if mode == "rb":
            return SteadyInput(self, self._strip_protocol(path), block_size or self.limits.part_bytes)
        if mode not in ("wb", "xb"):
            raise ValueError(f"objects are written whole, not in mode {mode!r}")
        output = self._output(path, exclusive=mode == "xb", autocommit=autocommit)
        if mode == "xb":
            output.refuse_existing()
        return output

    def _output(self, path: str, exclusive: bool, autocommit: bool = True) -> OssOutput:
        bucket, key = self._object(path)
        if exclusive:
            self._check_exclusive(bucket, key)
        return OssOutput(bucket, key, self.limits, self.stats, exclusive=exclusive, autocommit=autocommit)

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **_: Any) -> None:
        with self._output(path, exclusive=mode == "create") as output:
            output.write(value)

    def put_file(
        self, lpath: str, rpath: str, callback: Any = DEFAULT_CALLBACK, mode: str = "overwrite", **_: Any
    ) -> None:
        if os.path.isdir(lpath):
            return
        callback.set_size(os.path.getsize(lpath))
        with open(lpath, "rb") as source, self._output(rpath, exclusive=mode == "create") as output:
            while content := source.read(self.limits.part_bytes):
                callback.relative_update(output.write(content))

    def cp_file(self, path1: str, path2: str, **_: Any) -> None:
        (source, source_key), (target, key) = self._object(path1), self._object(path2)
        try:
            if source.place == target.place:
                target.copy(source, source_key, key, self.limits.parallel)
            else:
                self._copy_through_here(path1, path2)
        except FileNotFoundError:
            # fsspec's copies name the folders too.
            if not self.isdir(path1):
                raise

    def _copy_through_here(self, path1: str, path2: str) -> None:
        with self._open(path1) as reader, self._output(path2, exclusive=False) as output:
            while content := reader.read(self.limits.part_bytes):
                output.write(content)

    # Deleting

    def rm_file(self, path: str) -> None:
        bucket, key = self._object(path)
        bucket.ask("delete_object", key)

    def rm(self, path: str | list[str], recursive: bool = False, maxdepth: int | None = None) -> None:
        """Deletes objects and, with `recursive`, all below them; a bucket is emptied, never deleted."""
        for name in [path] if isinstance(path, str) else path:
            if recursive:
                self._remove_tree(name, maxdepth)
            else:
                self.rm_file(name)

    def _remove_tree(self, path: str, maxdepth: int | None) -> None:
        bucket, key = self._split(path)
        if maxdepth is None:
            bucket.delete(chain([key] if key else [], bucket.keys(key)))
        else:
            bucket.delete(name.partition("/")[2] for name in self.find(path, maxdepth=maxdepth))


def _raise_unless_missing(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error
