"""Which schemes are served and how each is opened: a table of data, looked up when a store is first needed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import import_module

from pai_train.errors import StorageError, did_you_mean
from pai_train.storage import urls
from pai_train.storage.store import Store


@dataclass(frozen=True)
class Provider:
    """How the stores of a scheme are opened.

    Attributes:
        filesystem: `module:class` of the fsspec filesystem, imported at first use.
        is_local: Whether the bytes are on this machine.
        exclusive_create: Whether exactly one of several creators of an object wins.
    """

    filesystem: str
    is_local: bool
    exclusive_create: bool


PROVIDERS = {
    "file": Provider("pai_train.storage.local:LocalFiles", is_local=True, exclusive_create=True),
    "memory": Provider("pai_train.storage.memory:MemoryObjects", is_local=True, exclusive_create=True),
}


def served_schemes() -> list[str]:
    """Lists the schemes that `open_store` accepts."""
    return sorted(PROVIDERS)


def open_store(url: str) -> Store:
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
    return _open(scheme)


@cache
def _open(scheme: str) -> Store:
    provider = PROVIDERS[scheme]
    module, _, name = provider.filesystem.partition(":")
    filesystem = getattr(import_module(module), name)()
    return Store(scheme, filesystem, is_local=provider.is_local, exclusive_create=provider.exclusive_create)
