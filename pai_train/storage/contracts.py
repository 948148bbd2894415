"""What is known of an object and what is asked of it; what reading needs of a store and of a cache."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pai_train.storage.options import Limits
    from pai_train.storage.retry import Retrier
    from pai_train.storage.stats import StoreStats


@dataclass(frozen=True)
class ObjectInfo:
    """What a store tells of an object without reading it.

    Attributes:
        url: Its full URL.
        size: In bytes.
        etag: Changes when the content changes.
        modified: When it was written by the store's clock, in seconds since 1970; None where the store does not say.
    """

    url: str
    size: int
    etag: str
    modified: float | None = field(default=None, compare=False)


@dataclass(frozen=True)
class ByteRange:
    """What is to be read.

    Attributes:
        url: The object.
        start: The first byte.
        end: Ends before this byte; None for the object's end.
        etag: The version that is wanted; None for any.
        size: The object's size where it is known: then an answer of another length is found out.
    """

    url: str
    start: int = 0
    end: int | None = None
    etag: str | None = None
    size: int | None = None


class Cache(Protocol):
    """Keeps parts of objects on this machine."""

    def get(self, url: str, etag: str, start: int, end: int) -> bytes | None:
        """Returns a part that was put, or None."""

    def put(self, url: str, etag: str, start: int, end: int, data: bytes) -> None:
        """Keeps a part; shorter than `end - start` where the object ends in it."""


class Remote(Protocol):
    """What reading needs of a store."""

    limits: Limits
    stats: StoreStats
    retry: Retrier

    def get(self, span: ByteRange) -> bytes:
        """Sends one request; its errors are the provider's."""

    def info(self, url: str) -> ObjectInfo | None:
        """Returns what is known of an object."""

    @property
    def reads_versions(self) -> bool:
        """Whether a request that names an etag fails when the object is another version."""
