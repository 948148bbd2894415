"""Which schemes are served and how each is opened: a table of data, looked up when a store is first needed."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pai_train.errors import StorageError, did_you_mean
from pai_train.storage import urls
from pai_train.storage.errors import mapped
from pai_train.storage.forks import renew_after_fork
from pai_train.storage.options import Access, StorageOptions
from pai_train.storage.stats import StoreStats
from pai_train.storage.store import Store

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pai_train.storage.contracts import Cache


@dataclass(frozen=True)
class Provider:
    """How the stores of a scheme are opened.

    Attributes:
        filesystem: `module:class` of the fsspec filesystem, imported at first use. A remote one is made with an
            `Access`, `Limits` and `StoreStats`, in which it counts its requests; a local one without arguments.
        is_local: Whether the bytes are on this machine.
        exclusive_create: Whether exactly one of several creators of an object wins; None to find out by trying.
    """

    filesystem: str
    is_local: bool
    exclusive_create: bool | None

    def load(self) -> Any:
        """Returns the filesystem's class."""
        module, _, name = self.filesystem.partition(":")
        return getattr(import_module(module), name)


PROVIDERS = {
    "file": Provider("pai_train.storage.local:LocalFiles", is_local=True, exclusive_create=True),
    "memory": Provider("pai_train.storage.memory:MemoryObjects", is_local=True, exclusive_create=True),
    "oss": Provider("pai_train.storage.oss:OssObjects", is_local=False, exclusive_create=True),
    "s3": Provider("pai_train.storage.s3:S3Objects", is_local=False, exclusive_create=None),
    "gs": Provider("pai_train.storage.gcs:GcsObjects", is_local=False, exclusive_create=True),
    "az": Provider("pai_train.storage.azure:AzureObjects", is_local=False, exclusive_create=True),
}


def served_schemes() -> list[str]:
    """Lists the schemes that are served."""
    return sorted(PROVIDERS)


class Stores:
    """The stores of one run: each scheme is opened once, as the options say.

    Args:
        options: How they are reached.
    """

    def __init__(self, options: StorageOptions | None = None) -> None:
        self.options = options or StorageOptions()
        self._opened: dict[str, Store] = {}
        self.renew()
        renew_after_fork(self)

    def renew(self) -> None:
        """Makes the lock anew; the stores look after themselves."""
        self._lock = threading.Lock()

    def open(self, url: str) -> Store:
        """Returns the store that holds a full URL; the same one for every URL of a scheme.

        Raises:
            StorageError: The scheme is not served.
        """
        scheme, _ = urls.split(url)
        if scheme not in PROVIDERS:
            raise StorageError(
                f"{scheme}:// is not served",
                where=url,
                wanted=" or ".join(f"{served}://" for served in served_schemes()),
                todo=did_you_mean(scheme, served_schemes()),
            )
        with self._lock:
            if scheme not in self._opened:
                self._opened[scheme] = self._open(scheme)
            return self._opened[scheme]

    def stats(self) -> Mapping[str, StoreStats]:
        """Returns the statistics of each remote store that was opened, by scheme."""
        with self._lock:
            return {scheme: store.stats for scheme, store in self._opened.items() if not store.is_local}

    def _open(self, scheme: str) -> Store:
        provider = PROVIDERS[scheme]
        if provider.is_local:
            return _local(scheme)
        access, limits, stats = self.options.access.get(scheme, Access()), self.options.limits, StoreStats()

        def filesystem() -> Any:
            return provider.load()(access, limits, stats)

        return Store(
            scheme,
            filesystem(),
            is_local=False,
            exclusive_create=provider.exclusive_create,
            limits=limits,
            stats=stats,
            cache=self._cache(),
            counts_requests=True,
            reopen=filesystem,
        )

    def _cache(self) -> Cache | None:
        if self.options.cache is None:
            return None
        from pai_train.storage.cache import PartCache

        folder = Path(self.options.cache.folder)
        with mapped(str(folder)):
            return PartCache(folder, self.options.cache.max_bytes)


@cache
def _local(scheme: str) -> Store:
    """Opens a store of this machine, once: it has no options, and what is in memory is shared."""
    provider = PROVIDERS[scheme]
    return Store(scheme, provider.load()(), is_local=True, exclusive_create=provider.exclusive_create)


@cache
def _default() -> Stores:
    return Stores()


def open_store(url: str) -> Store:
    """Returns the store that holds a full URL, reached as the environment says.

    Raises:
        StorageError: The scheme is not served.
    """
    return _default().open(url)
