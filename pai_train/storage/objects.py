"""What filesystems over buckets of keys do alike: names as they stand, fresh answers, whole writes, batched deletes."""

from __future__ import annotations

import errno
import io
import os
from typing import TYPE_CHECKING, Any

from fsspec.asyn import AsyncFileSystem, sync_wrapper

from pai_train.errors import StorageError
from pai_train.storage.object_streams import Parts, SteadyInput, Upload, WholeOutput
from pai_train.storage.stats import StoreStats

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from pai_train.storage.options import Access, Limits

_Infos = list[dict[str, Any]]


class NoBucketError(FileNotFoundError):
    """There is not even the bucket."""

    code = "NoSuchBucket"

    def __init__(self, bucket: str) -> None:
        super().__init__(errno.ENOENT, "no such bucket", bucket)


class KeyedFiles(AsyncFileSystem):  # type: ignore[misc]
    """A filesystem whose paths are `bucket/key`; a folder is nothing but the beginning of keys.

    A provider gives `_pages`, `_head`, `_delete`, `_upload` and the four transfers of fsspec that move bytes.
    """

    cachable = False
    counts_requests = True
    page_keys = 1000  # keys that one listing request brings
    limits: Limits
    access: Access

    def __reduce__(self) -> Any:
        # What is secret comes from the environment of the process that opens it again.
        return _opened, (type(self), self.access, self.limits)

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        if isinstance(path, list):
            return [cls._strip_protocol(name) for name in path]
        name = os.fspath(path)
        for scheme in cls.protocol:
            if name.startswith(f"{scheme}://"):
                name = name[len(scheme) + 3 :]
                break
        return name.strip("/")

    def _keyed(self, path: str) -> tuple[str, str]:
        """Returns the bucket and the key of a path; an empty key for a bucket.

        Raises:
            StorageError: The provider would take the name for another one.
        """
        bucket, _, key = self._strip_protocol(path).partition("/")
        return bucket, key

    def _pages(self, bucket: str, prefix: str, delimiter: str, limit: int) -> AsyncIterator[tuple[_Infos, list[str]]]:
        """Lists a bucket, `limit` keys a request: objects, and with a delimiter the folders below the prefix."""
        raise NotImplementedError

    async def _head(self, bucket: str, key: str) -> dict[str, Any]:
        raise NotImplementedError

    async def _delete(self, bucket: str, keys: list[str]) -> int:
        """Deletes objects; missing ones are fine. Returns how many there were."""
        raise NotImplementedError

    def _upload(self, bucket: str, key: str, exclusive: bool) -> Upload:
        raise NotImplementedError

    # Looking

    async def _info(self, path: str, **_: Any) -> dict[str, Any]:
        path, (bucket, key) = self._strip_protocol(path), self._keyed(path)
        if key:
            try:
                return await self._head(bucket, key)
            except FileNotFoundError:
                if not await self._holds(bucket, key + "/"):
                    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path) from None
        else:
            await self._holds(bucket, "")
        return _folder(path)

    async def _holds(self, bucket: str, prefix: str) -> bool:
        async for infos, _ in self._pages(bucket, prefix, "", 1):
            if infos:
                return True
        return False

    async def _exists(self, path: str, **_: Any) -> bool:
        try:
            await self._info(path)
        except FileNotFoundError:
            return False
        return True

    async def _is(self, path: str, kind: str) -> bool:
        try:
            return bool((await self._info(path))["type"] == kind)
        except FileNotFoundError:
            return False

    async def _isfile(self, path: str) -> bool:
        return await self._is(path, "file")

    async def _isdir(self, path: str) -> bool:
        return await self._is(path, "directory")

    async def _ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:
        path, (bucket, key) = self._strip_protocol(path), self._keyed(path)
        if not path:
            return list(await super()._ls(path, detail=detail))
        found: dict[str, dict[str, Any]] = {}
        async for infos, folders in self._pages(bucket, key + "/" if key else "", "/", self.page_keys):
            found |= {info["name"]: info for info in infos if info["type"] == "file"}
            found |= {name: _folder(name) for name in (f"{bucket}/{folder.rstrip('/')}" for folder in folders)}
        if not found and key:
            info = await self._info(path)
            found = {path: info} if info["type"] == "file" else {}
        return [found[name] if detail else name for name in sorted(found)]

    async def _find(
        self,
        path: str,
        maxdepth: int | None = None,
        withdirs: bool = False,
        detail: bool = False,
        prefix: str = "",
        **_: Any,
    ) -> Any:
        top, (bucket, key) = self._strip_protocol(path), self._keyed(path)
        base = key + "/" if key else ""
        found: dict[str, dict[str, Any]] = {}
        async for infos, folders in self._pages(bucket, base + prefix, "/" if maxdepth == 1 else "", self.page_keys):
            for name in (f"{bucket}/{folder.rstrip('/')}" for folder in folders):
                found[name] = _folder(name)
            for info in infos:
                parts = info["name"][len(top) + 1 :].rstrip("/").split("/")
                for depth in range(1, min(len(parts), (maxdepth or len(parts)) + 1)):
                    name = "/".join([top, *parts[:depth]])
                    found.setdefault(name, _folder(name))
                if maxdepth is None or len(parts) <= maxdepth:
                    name = info["name"].rstrip("/")
                    found[name] = info if info["type"] == "file" else _folder(name)
        if not found and not prefix and key and not str(path).endswith("/") and await self._isfile(top):
            found[top] = await self._head(bucket, key)
        kept = {
            name: found[name] for name in sorted(found) if found[name]["type"] == "file" or (withdirs and name != top)
        }
        return kept if detail else list(kept)

    # Deleting

    async def _rm_file(self, path: str, **_: Any) -> None:
        bucket, key = self._keyed(path)
        if not key or not await self._delete(bucket, [key]):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)

    async def _rm(self, path: str | list[str], recursive: bool = False, **_: Any) -> None:
        """Deletes objects and, with `recursive`, all below them; a bucket is emptied, never deleted."""
        for name in [path] if isinstance(path, str) else path:
            if recursive:
                await self._rm_tree(name)
            else:
                await self._rm_file(name)

    rm = sync_wrapper(_rm)

    async def _rm_tree(self, path: str) -> None:
        bucket, key = self._keyed(path)
        deleted, waiting, folders = 0, list[str](), list[str]()
        async for infos, _ in self._pages(bucket, key + "/" if key else "", "", self.page_keys):
            deleted += await self._delete(bucket, waiting)
            below = [(info["name"][len(bucket) + 1 :], info["type"]) for info in infos]
            waiting = [name for name, kind in below if kind == "file"]
            folders += [name for name, kind in below if kind == "directory"]
        top = [key] if key else []
        deleted += await self._delete(bucket, waiting if folders else waiting + top)
        # Where a folder is an object too, it goes after what lies in it.
        for folder in sorted(folders, reverse=True) + (top if folders else []):
            deleted += await self._delete(bucket, [folder])
        if not deleted:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)

    # Transfers

    async def _pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **_: Any) -> dict[str, Any]:
        bucket, key = self._keyed(path)
        return await self._store(bucket, key, io.BytesIO(value), exclusive=mode == "create")

    async def _put_file(self, lpath: str, rpath: str, mode: str = "overwrite", **_: Any) -> dict[str, Any]:
        if os.path.isdir(lpath):
            return {}
        bucket, key = self._keyed(rpath)
        with open(lpath, "rb") as source:
            return await self._store(bucket, key, source, exclusive=mode == "create")

    async def _get_file(self, rpath: str, lpath: str, **_: Any) -> None:
        info = await self._info(rpath)
        with open(lpath, "wb") as target:
            for start in range(0, info["size"], self.limits.part_bytes):
                end = min(start + self.limits.part_bytes, info["size"])
                target.write(await self._cat_file(rpath, start, end, etag=info["etag"]))

    async def _store(self, bucket: str, key: str, source: Any, exclusive: bool) -> dict[str, Any]:
        """Stores all of a local stream as one object; returns its size and etag."""
        parts = Parts(self._upload(bucket, key, exclusive), self.limits.parallel)
        # Of a create, which is small or in memory, one request decides who was first.
        part = source.read(-1 if exclusive else self.limits.part_bytes)
        try:
            while following := source.read(parts.length(self.limits.part_bytes)):
                await parts.send(part)
                part = following
            etag = await parts.finish(part)
        except BaseException:
            await parts.abort()
            raise
        return {"size": source.tell(), "etag": etag}

    def _open(self, path: str, mode: str = "rb", block_size: int | None = None, **_: Any) -> Any:
        if mode == "rb":
            return SteadyInput(self, path, block_size or self.limits.part_bytes)
        if mode not in ("wb", "xb"):
            raise ValueError(f"objects are written whole, not in mode {mode!r}")
        bucket, key = self._keyed(path)
        if not key:
            raise IsADirectoryError(errno.EISDIR, "a bucket, not an object", path)
        if mode == "xb" and self.exists(path):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)
        return WholeOutput(self.loop, self._upload(bucket, key, mode == "xb"), self.limits)


def refuse_configured(protocol: str, configured: Mapping[str, Any], wanted: str) -> None:
    """Refuses what fsspec adds from settings of its own: it would go around ours.

    Args:
        protocol: The name that fsspec's settings give the filesystem.
        configured: What was added.
        wanted: Where it is to be set instead.

    Raises:
        StorageError: Something was added.
    """
    if configured:
        raise StorageError(
            f"fsspec's own settings for {protocol} are not read",
            where=f"environment FSSPEC_{protocol.upper()}_… or ~/.config/fsspec",
            got=", ".join(sorted(configured)),
            wanted=wanted,
            todo="set these instead, and take the others away for this run",
        )


def _folder(name: str) -> dict[str, Any]:
    return {"name": name, "size": 0, "type": "directory"}


def _opened(kind: type[KeyedFiles], access: Access, limits: Limits) -> KeyedFiles:
    return kind(access, limits, StoreStats())
