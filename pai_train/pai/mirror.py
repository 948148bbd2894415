"""Remote files on this machine: what TensorFlow can only open as a local file is staged here and sent back."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from pai_train.storage import ObjectMissing, Stores, join, served_schemes
from pai_train.storage.urls import ALIASES, is_url, split

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pai_train.storage import Store

_SCHEMES = ({*served_schemes(), *ALIASES}) - {"file", "memory"}
_AT_ONCE = 8
_CHUNK = 2**20


def is_remote(name: str) -> bool:
    """Returns whether a name is a URL of an object store."""
    return is_url(name) and name.partition("://")[0].lower() in _SCHEMES


class Mirror:
    """Local copies of remote objects, below one folder that all processes of a script share.

    An object is downloaded when it is opened and its store says that it has changed since; it is written back whole.

    Args:
        folder: Where copies lie; made when absent.
        stores: How stores are reached; None for as the environment says.
    """

    def __init__(self, folder: Path, stores: Stores | None = None) -> None:
        self._folder = folder.absolute()
        self._folder.mkdir(parents=True, exist_ok=True)
        self._stores = stores or Stores()
        self._lock = threading.Lock()
        self._etags: dict[str, str] = {}
        self._open: dict[str, Callable[[], None]] = {}

    @property
    def copies(self) -> str:
        """What matches the beginning of a local path of a remote object, as a regular expression."""
        return f"^{re.escape(str(self._folder))}/([a-z0-9]+)/"

    @property
    def objects(self) -> str:
        """What to put in its place."""
        return r"\1://"

    def store(self, url: str) -> Store:
        """Returns the store of a URL."""
        return self._stores.open(url)

    def local(self, url: str) -> str:
        """Returns the path that stands for a URL here; its folder is made.

        Raises:
            StorageError: It is no URL of an object.
        """
        scheme, path = split(join(url))
        local = self._folder / scheme / path
        local.parent.mkdir(parents=True, exist_ok=True)
        return str(local)

    def remote(self, path: str) -> str:
        """Returns the URL that a local path stands for; another path as it is."""
        try:
            scheme, *parts = Path(path).relative_to(self._folder).parts
        except ValueError:
            return path
        return f"{scheme}://{'/'.join(parts)}"

    def stage(self, url: str) -> str:
        """Returns a local path that holds what the object holds now.

        Raises:
            ObjectMissing: There is no such object.
        """
        url, local = join(url), self.local(url)
        with self._lock:
            being_written = local in self._open
        if being_written:
            return local
        store = self.store(url)
        info = store.info(url)
        if info is None:
            raise ObjectMissing("no such object", where=url, todo="check the name")
        with self._lock:
            if self._etags.get(local) == info.etag and os.path.isfile(local):
                return local
        handle, aside = tempfile.mkstemp(dir=self._folder)
        try:
            with os.fdopen(handle, "wb") as file, store.open_input(url, info) as stream:
                while block := stream.read(_CHUNK):
                    file.write(block)
            Path(aside).replace(local)
        finally:
            Path(aside).unlink(missing_ok=True)
        with self._lock:
            self._etags[local] = info.etag
        return local

    def stage_all(self, names: Iterable[str]) -> list[str]:
        """Stages those of some names that are remote, a few at once; returns all as local paths.

        Raises:
            ObjectMissing: There is no such object.
        """
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="stage") as pool:
            return list(pool.map(lambda name: self.stage(name) if is_remote(name) else name, names))

    def stage_prefix(self, url: str) -> str:
        """Stages the files of a checkpoint, `url.*`, and returns the local prefix.

        Raises:
            ObjectMissing: There is none.
        """
        url = join(url)
        found = self._beside(url)
        if not found:
            raise ObjectMissing("no such checkpoint", where=url, wanted=f"{url}.index and its data")
        self.stage_all(found)
        return self.local(url)

    def push(self, path: str) -> None:
        """Sends one local file back as a whole."""
        info = self.store(self.remote(path)).put(self.remote(path), Path(path))
        with self._lock:
            self._etags[path] = info.etag

    def push_prefix(self, prefix: str) -> None:
        """Sends the files of a checkpoint, `prefix.*`, back and drops them here; its index last.

        Until the index is there, nobody takes the rest for a checkpoint.
        """
        place = Path(prefix)
        files = [file for file in place.parent.iterdir() if file.name.startswith(f"{place.name}.")]
        data = [str(file) for file in files if file.suffix != ".index"]
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="push") as pool:
            list(pool.map(self.push, data))
        for index in (str(file) for file in files if file.suffix == ".index"):
            self.push(index)
        for file in files:
            file.unlink()

    def writing(self, path: str, finish: Callable[[], None]) -> None:
        """Notes that a file is being written, and how that ends."""
        with self._lock:
            self._open[path] = finish

    def written(self, path: str) -> None:
        """Notes that a file is no longer being written."""
        with self._lock:
            self._open.pop(path, None)

    def being_written(self, folder: str) -> list[str]:
        """Returns the URLs, below a folder's, that are being written."""
        below = join(folder) + "/"
        with self._lock:
            urls = [self.remote(path) for path in self._open]
        return [url for url in urls if url.startswith(below)]

    def forget(self, url: str) -> None:
        """Drops what is here of an object or a folder."""
        path = self.local(url)
        self.written(path)
        if os.path.isdir(path):
            shutil.rmtree(path)
        else:
            Path(path).unlink(missing_ok=True)

    def finish(self) -> None:
        """Ends everything that is being written, and sends it."""
        with self._lock:
            waiting = list(self._open.values())
        for end in waiting:
            end()

    def _beside(self, prefix: str) -> list[str]:
        folder = prefix.rpartition("/")[0]
        return [info.url for info in self.store(prefix).list(folder) if info.url.startswith(f"{prefix}.")]
