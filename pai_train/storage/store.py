"""One store of objects addressed by full URLs: list, read, atomic put, exclusive create, delete."""

from __future__ import annotations

import secrets
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pai_train.errors import StorageError
from pai_train.storage import urls
from pai_train.storage.errors import ObjectMissing, mapped
from pai_train.storage.options import Limits
from pai_train.storage.stats import StoreStats
from pai_train.storage.streams import InputStream, OutputStream

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


@dataclass(frozen=True)
class ObjectInfo:
    """What a store tells of an object without reading it.

    Attributes:
        url: Its full URL.
        size: In bytes.
        etag: Changes when the content changes.
    """

    url: str
    size: int
    etag: str


_Infos = list[ObjectInfo]  # inside the class, `list` is the method


class Store:
    """The objects of one scheme, over an fsspec filesystem.

    The filesystem must write whole objects: nothing visible before `close`, nothing at all after `discard`,
    `pipe_file(mode="create")` exclusive where `exclusive_create` says so.

    Attributes:
        scheme: The URLs this store serves.
        filesystem: The fsspec filesystem, for libraries that speak it.
        is_local: Whether the bytes are on this machine.
        exclusive_create: Whether of several writers that create one object exactly one wins; None while unknown.
        limits: How hard the store is worked.
        stats: What it was asked for.
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
    ) -> None:
        self.scheme = scheme
        self.filesystem = filesystem
        self.is_local = is_local
        self.exclusive_create = exclusive_create
        self.limits = limits or Limits()
        self.stats = stats or StoreStats()

    def __repr__(self) -> str:
        return f"Store({self.scheme!r})"

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
        """Lists all objects below a folder at any depth, sorted by URL; [] when there is none."""
        below = self.path(url).rstrip("/") + "/"
        with mapped(url):
            self.filesystem.invalidate_cache()
            try:
                found = self.filesystem.find(below, detail=True)
            except FileNotFoundError:
                return []
        return self._infos(raw for raw in found.values() if raw["name"].startswith(below))

    def glob(self, url_pattern: str) -> _Infos:
        """Lists the objects that match `*`, `?`, `[…]` and, as a whole path part, `**`; sorted by URL.

        A pattern that matches nothing stands for the object of that very name, as in a shell.

        Raises:
            StorageError: The pattern is malformed.
        """
        found: Mapping[str, Any] = {}
        if urls.is_glob(url_pattern):
            with mapped(url_pattern), suppress(FileNotFoundError):
                self.filesystem.invalidate_cache()
                try:
                    found = self.filesystem.glob(self.path(url_pattern), detail=True)
                except ValueError as error:
                    raise StorageError(
                        "malformed pattern",
                        where=url_pattern,
                        got=str(error),
                        wanted="*, ?, […], or ** as a whole part",
                    ) from error
        matches = self._infos(found.values())
        if matches:
            return matches
        literal = self.info(url_pattern)
        return [literal] if literal else []

    def info(self, url: str) -> ObjectInfo | None:
        """Returns what is known of an object; None when there is none, or only a folder."""
        with mapped(url):
            self.filesystem.invalidate_cache()
            try:
                raw = self.filesystem.info(self.path(url))
            except (FileNotFoundError, NotADirectoryError):
                return None
        return ObjectInfo(url, int(raw["size"]), str(raw["etag"])) if raw["type"] == "file" else None

    def read(self, url: str, start: int = 0, end: int | None = None) -> bytes:
        """Returns the bytes from `start` up to, not including, `end`; fewer where the object is shorter.

        Raises:
            ObjectMissing: There is no such object.
        """
        if start < 0 or (end is not None and end < start):
            raise ValueError(f"not a byte range: {start} to {end}")
        if end == start:
            return b""
        with mapped(url):
            return bytes(self.filesystem.cat_file(self.path(url), start=start, end=end))

    def open_input(self, url: str) -> InputStream:
        """Opens an object for reading; seekable.

        Raises:
            ObjectMissing: There is no such object.
        """
        with mapped(url):
            return InputStream(url, self.filesystem.open(self.path(url), "rb"))

    def open_output(self, url: str) -> OutputStream:
        """Opens an object for writing; it appears, whole, at `close`.

        Leaving a `with` block by an exception, or dropping the stream unclosed, writes nothing.
        """
        with mapped(url):
            return OutputStream(url, self.filesystem.open(self.path(url), "wb"))

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
        path = self.path(url)
        if isinstance(data, Path) and not data.is_file():
            raise ObjectMissing("no such file to store", where=str(data), todo=f"it was to become {url}")
        with mapped(url):
            if isinstance(data, Path):
                self.filesystem.put_file(str(data), path)
            else:
                self.filesystem.pipe_file(path, data)
        info = self.info(url)
        if info is None:
            raise ObjectMissing("the object vanished while it was written", where=url, todo="find who deletes there")
        return info

    def create(self, url: str, data: bytes) -> None:
        """Writes an object that must not exist; of several writers one wins.

        Raises:
            ObjectExists: There is such an object.
            StorageError: This store cannot tell who was first.
        """
        if not self.creates_exclusively(urls.parent(url)):
            raise StorageError("this store has no exclusive create", where=url, todo="name a store that has it")
        with mapped(url):
            self.filesystem.pipe_file(self.path(url), data, mode="create")

    def creates_exclusively(self, folder_url: str) -> bool:
        """Returns whether of several writers that create one object exactly one wins.

        Where that is not known, it is tried once with an object of this folder, which is deleted again.
        """
        if self.exclusive_create is None:
            probe = urls.join(folder_url, f".pai_train-probe-{secrets.token_hex(8)}")
            with mapped(probe):
                try:
                    self.filesystem.pipe_file(self.path(probe), b"1", mode="create")
                    self.filesystem.pipe_file(self.path(probe), b"2", mode="create")
                    self.exclusive_create = False
                except FileExistsError:
                    self.exclusive_create = True
                finally:
                    self.delete(probe)
        return self.exclusive_create

    def delete(self, url: str) -> None:
        """Deletes an object; a missing one is fine."""
        with mapped(url), suppress(FileNotFoundError, NotADirectoryError):
            self.filesystem.rm_file(self.path(url))

    def delete_tree(self, url: str) -> None:
        """Deletes a folder and everything below it; a missing one is fine."""
        with mapped(url), suppress(FileNotFoundError, NotADirectoryError):
            self.filesystem.rm(self.path(url), recursive=True)

    def _infos(self, raws: Iterable[Mapping[str, Any]]) -> _Infos:
        infos = [
            ObjectInfo(self._url(raw["name"]), int(raw["size"]), str(raw["etag"]))
            for raw in raws
            if raw["type"] == "file"
        ]
        return sorted(infos, key=lambda info: info.url)

    def _url(self, path: str) -> str:
        return f"{self.scheme}://{path if self.scheme == 'file' else path.lstrip('/')}"
