"""One store of objects addressed by full URLs: list, read, atomic put, exclusive create, delete."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pai_train.errors import StorageError
from pai_train.storage import listing, urls
from pai_train.storage.contracts import ByteRange, Cache, ObjectInfo
from pai_train.storage.errors import BucketMissing, ObjectMissing, mapped
from pai_train.storage.exclusive import create_or_recognise, tries_exclusive
from pai_train.storage.options import Limits
from pai_train.storage.ranged import RangedReader, read_each
from pai_train.storage.readahead import RemoteInput
from pai_train.storage.retry import Retrier
from pai_train.storage.stats import StoreStats
from pai_train.storage.streams import InputStream, OutputStream, RemoteOutput

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable
__all__ = ["ObjectInfo", "Store"]

_T = TypeVar("_T")


_Infos = list[ObjectInfo]  # inside the class, `list` is the method


class Store:
    """The objects of one scheme, over an fsspec filesystem.

    The filesystem must write whole objects: nothing visible before `close`, nothing at all after `discard`,
    `pipe_file(mode="create")` exclusive where `exclusive_create` says so.

    What a remote store cannot do just now is repeated until `limits.deadline_s`; then it is a StoreUnavailable.

    Args:
        scheme: The URLs this store serves.
        filesystem: The fsspec filesystem.
        is_local: Whether the bytes are on this machine.
        exclusive_create: Whether of several writers that create one object exactly one wins; None while unknown.
        limits: How hard the store is worked.
        stats: What it was asked for.
        cache: Keeps parts of remote objects on this machine.
        counts_requests: Whether the filesystem counts its requests in `stats` itself; None for what it says.
        reopen: Makes the filesystem anew in a forked child, where the old one's threads are gone.
        retry: How operations are repeated; None for as the limits say.
    """

    def __init__(
        self,
        scheme: str,
        filesystem: Any,
        *,
        is_local: bool,
        exclusive_create: bool | None,
        limits: Limits | None = None,
        stats: StoreStats | None = None,
        cache: Cache | None = None,
        counts_requests: bool | None = None,
        reopen: Callable[[], Any] | None = None,
        retry: Retrier | None = None,
    ) -> None:
        self.scheme = scheme
        self.is_local = is_local
        self.exclusive_create = exclusive_create
        self.limits = limits or Limits()
        self.stats = stats or StoreStats()
        if counts_requests is None:
            counts_requests = bool(getattr(filesystem, "counts_requests", False))
        self.retry = retry or Retrier(self.limits.deadline_s, self.stats, counts_requests=counts_requests)
        self._filesystem = filesystem
        self._reopen = reopen
        self._process = os.getpid()
        self._ranged = RangedReader(self, cache)
        self._reads_versions: bool | None = None

    def __repr__(self) -> str:
        return f"Store({self.scheme!r})"

    @property
    def filesystem(self) -> Any:
        """The fsspec filesystem, for libraries that speak it."""
        if self._process != os.getpid() and self._reopen is not None:
            self._filesystem, self._process = self._reopen(), os.getpid()
        return self._filesystem

    @property
    def reads_versions(self) -> bool:
        """Whether a request that names an etag fails when the object is another version."""
        if self._reads_versions is None:
            self._reads_versions = listing.takes_etag(self.filesystem)
        return self._reads_versions

    def path(self, url: str) -> str:
        """Returns the path by which the filesystem knows a URL.

        Raises:
            StorageError: The URL has another scheme.
        """
        scheme, path = urls.split(url)
        if scheme != self.scheme:
            raise StorageError("the URL belongs to another store", where=url, wanted=f"{self.scheme}://…")
        return str(self.filesystem._strip_protocol(path))

    def list(self, url: str) -> _Infos:
        """Lists all objects below a folder at any depth, sorted by URL; [] when there is none.

        Raises:
            BucketMissing: There is no such bucket, as far as the store says so.
        """
        below = self.path(url).rstrip("/") + "/"
        found = self._found(url, lambda: listing.below(self.filesystem, below))
        return self._infos(raw for raw in found.values() if raw["name"].startswith(below))

    def glob(self, url_pattern: str) -> _Infos:
        """Lists the objects that match `*`, `?`, `[…]` and, as a whole path part, `**`; sorted by URL.

        A pattern that matches nothing stands for the object of that very name, as in a shell.

        Raises:
            StorageError: The pattern is malformed.
            BucketMissing: There is no such bucket, as far as the store says so.
        """
        found: Mapping[str, Any] = {}
        if urls.is_glob(url_pattern):
            pattern = self.path(url_pattern)
            found = self._found(
                url_pattern, lambda: listing.found(self.filesystem, pattern, url_pattern, is_local=self.is_local)
            )
        matches = self._infos(found.values())
        if matches:
            return matches
        literal = self.info(url_pattern)
        return [literal] if literal else []

    def info(self, url: str) -> ObjectInfo | None:
        """Returns what is known of an object; None when there is none, or only a folder.

        Raises:
            BucketMissing: There is not even the bucket.
        """
        path = self.path(url)

        def ask() -> Mapping[str, Any]:
            self.filesystem.invalidate_cache()
            return dict(self.filesystem.info(path))

        try:
            raw = self._do(url, ask)
        except BucketMissing:
            raise
        except ObjectMissing:
            return None
        return listing.entry(url, raw) if raw["type"] == "file" else None

    def read(self, url: str, start: int = 0, end: int | None = None, etag: str | None = None) -> bytes:
        """Returns the bytes from `start` up to, not including, `end`; fewer where the object is shorter.

        Of a remote object, more than `limits.part_bytes` are read in parts, `limits.parallel` at once.

        Args:
            url: The object.
            start: The first byte.
            end: Ends before this byte; None for the object's end.
            etag: The version that is wanted, of a remote object; None for any. Of several parts only a version that
                is named, or a read to the object's end, is sure not to be a mixture.

        Raises:
            ObjectMissing: There is no such object.
            ObjectChanged: The object is not the version that is wanted.
        """
        if start < 0 or (end is not None and end < start):
            raise ValueError(f"not a byte range: {start} to {end}")
        if end == start:
            return b""
        if self.is_local:
            with mapped(url):
                return bytes(self.filesystem.cat_file(self.path(url), start=start, end=end))
        self.path(url)
        with self.stats.waited():
            return self._ranged.read(ByteRange(url, start, end, etag))

    def read_many(self, requests: Iterable[ByteRange]) -> Generator[bytes, None, None]:
        """Yields the bytes of each range, in order; of a remote store, while later ones are already on their way.

        Args:
            requests: May be endless: it is asked for a bounded number ahead.

        Raises:
            ObjectMissing: There is no such object.
            ObjectChanged: An object is not of the version or size that is wanted.
        """
        return read_each(self.read, requests) if self.is_local else self._ranged.read_many(requests)

    def get(self, span: ByteRange) -> bytes:
        """Sends one request for a range, as the filesystem does it: its errors are the provider's."""
        version = {"etag": span.etag} if span.etag is not None and self.reads_versions else {}
        return bytes(self.filesystem.cat_file(self.path(span.url), start=span.start, end=span.end, **version))

    def open_input(self, url: str, info: ObjectInfo | None = None) -> InputStream | RemoteInput:
        """Opens an object for reading; seekable.

        Args:
            url: The object.
            info: What is known of a remote object, if anything: saves a request, and no other version is read.

        Raises:
            ObjectMissing: There is no such object.
        """
        if self.is_local:
            with mapped(url):
                return InputStream(url, self.filesystem.open(self.path(url), "rb"))
        known = info or self.info(url)
        if known is None:
            raise ObjectMissing(
                "no such object", where=url, todo="check the name, and storage.root where it is relative"
            )
        return RemoteInput(self, self._ranged, known, is_promised=info is not None)

    def open_arrow(self, url: str) -> Any:
        """Opens an object for Arrow to read, which reads a local file without Python in between.

        Raises:
            ObjectMissing: There is no such object.
        """
        if self.scheme != "file":
            return self.open_input(url)
        import pyarrow as pa

        with mapped(url):
            return pa.OSFile(self.path(url))

    def open_output(self, url: str) -> OutputStream | RemoteOutput:
        """Opens an object for writing; it appears, whole, at `close`.

        Leaving a `with` block by an exception, or dropping the stream unclosed, writes nothing. Up to
        `limits.part_bytes` are sent as one request, which is repeated where need be.
        """
        path = self.path(url)
        if self.is_local:
            with mapped(url):
                return OutputStream(url, self.filesystem.open(path, "wb"))

        def put(data: bytes) -> None:
            self._put(url, data)

        def begin() -> Any:
            return self._do(url, lambda: self.filesystem.open(path, "wb"))

        return RemoteOutput(url, put, begin, self.limits.part_bytes, self.stats)

    def put(self, url: str, data: bytes | Path) -> ObjectInfo:
        """Writes or replaces an object; readers see the old content or the new, never a mixture.

        Args:
            url: The object.
            data: Its content, or the local file that holds it.

        Returns:
            What the store tells of the object afterwards.

        Raises:
            ObjectMissing: The local file does not exist.
        """
        self.path(url)
        if isinstance(data, Path) and not data.is_file():
            raise ObjectMissing("no such file to store", where=str(data), todo=f"it was to become {url}")
        info = self._put(url, data) or self.info(url)
        if info is None:
            raise ObjectMissing("the object vanished while it was written", where=url, todo="find who deletes there")
        return info

    def create(self, url: str, data: bytes) -> None:
        """Writes an object that must not exist; of several writers one wins.

        A client may repeat a request whose answer was lost, and then finds its own object. So a remote object of
        exactly this content is taken for this writer's own: what one writer creates no other may.

        Args:
            url: The object.
            data: Its content, which must be unique to the writer.

        Raises:
            ObjectExists: There is such an object.
            StorageError: This store cannot tell who was first.
        """
        if not self.creates_exclusively(urls.parent(url)):
            raise StorageError("this store has no exclusive create", where=url, todo="name a store that has it")
        if self.is_local:
            self._create(url, data)
            return
        with self.stats.waited():
            create_or_recognise(self, self._create, url, data)
        self.stats.add(bytes_written=len(data))

    def creates_exclusively(self, folder_url: str) -> bool:
        """Returns whether of several writers that create one object exactly one wins.

        Where that is not known, it is tried once with an object of this folder, which is deleted again.
        """
        if self.exclusive_create is None:
            self.exclusive_create = getattr(self.filesystem, "exclusive_create", None)
        if self.exclusive_create is None:
            self.exclusive_create = tries_exclusive(self, self._create, folder_url)
        return self.exclusive_create

    def delete(self, url: str) -> None:
        """Deletes an object; a missing one is fine."""
        path = self.path(url)
        with suppress(ObjectMissing):
            self._do(url, lambda: self.filesystem.rm_file(path))

    def delete_tree(self, url: str) -> None:
        """Deletes a folder and everything below it; a missing one is fine."""
        path = self.path(url)
        with suppress(ObjectMissing):
            self._do(url, lambda: self.filesystem.rm(path, recursive=True))

    def _do(self, url: str, operation: Callable[[], _T]) -> _T:
        """Runs one operation of the filesystem; a remote one again and again while the store is not there."""
        if self.is_local:
            with mapped(url):
                return operation()
        with self.stats.waited():
            return self.retry(url, operation)

    def _found(self, url: str, find: Callable[[], Mapping[str, Any]]) -> Mapping[str, Any]:
        try:
            return self._do(url, find)
        except BucketMissing:
            raise
        except ObjectMissing:
            return {}

    def _put(self, url: str, data: bytes | Path) -> ObjectInfo | None:
        """Writes an object and returns what the filesystem says of it at once, if anything."""
        path = self.path(url)
        if isinstance(data, Path):
            size = data.stat().st_size
            answer = self._do(url, lambda: self.filesystem.put_file(str(data), path))
        else:
            size = len(data)
            answer = self._do(url, lambda: self.filesystem.pipe_file(path, data))
        self.stats.add(bytes_written=size)
        if isinstance(answer, Mapping) and {"etag", "size"} <= answer.keys():
            return ObjectInfo(url, int(answer["size"]), str(answer["etag"]))
        return None

    def _create(self, url: str, data: bytes) -> None:
        path = self.path(url)
        self._do(url, lambda: self.filesystem.pipe_file(path, data, mode="create"))

    def _infos(self, raws: Iterable[Mapping[str, Any]]) -> _Infos:
        found = (listing.entry(self._url(raw["name"]), raw) for raw in raws if raw["type"] == "file")
        return sorted(found, key=lambda info: info.url)

    def _url(self, path: str) -> str:
        return f"{self.scheme}://{path if self.scheme == 'file' else path.lstrip('/')}"
