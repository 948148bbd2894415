"""A store that a test can use: where it is, how it is reached, and what its processes need in their environment."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pai_train.storage import Access, Limits, StorageOptions, Stores

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pytest


@dataclass(frozen=True)
class Served:
    """A running server with one bucket in it.

    Attributes:
        name: The option of the storage group.
        scheme: The scheme of its URLs.
        endpoint: Its address, `http://127.0.0.1:port`.
        bucket: A bucket that is there and may be written.
        env: What a process needs in its environment to be let in.
        exclusive_create: Whether it has exclusive create, so that tables can be kept on it.
    """

    name: str
    scheme: str
    endpoint: str
    bucket: str
    env: Mapping[str, str]
    exclusive_create: bool = True

    @property
    def overrides(self) -> list[str]:
        """What a command line needs beside a root."""
        return [f"storage={self.name}", f"storage.endpoint={self.endpoint}"]

    def root(self) -> str:
        """Returns an empty folder that nobody else uses."""
        return f"{self.scheme}://{self.bucket}/{uuid.uuid4().hex}"

    def stores(self, limits: Limits | None = None) -> Stores:
        """Opens stores that reach it; the environment must hold `env`."""
        access = {self.scheme: Access(endpoint=self.endpoint)}
        return Stores(StorageOptions(access=access, limits=limits or Limits()))

    def enter(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Sets its environment for the rest of a test."""
        for name, value in self.env.items():
            monkeypatch.setenv(name, value)

    def behind(self, endpoint: str) -> Served:
        """Returns the same store, reached at another address."""
        return replace(self, endpoint=endpoint)
