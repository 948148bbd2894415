"""What objects hold, by ranges and as streams: only of the versions that were listed, small ones kept."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from pai_train.errors import DataError
from pai_train.feed.cuts import MIB
from pai_train.storage.contracts import ByteRange
from pai_train.storage.errors import ObjectChanged
from pai_train.storage.urls import display

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pai_train.storage.store import ObjectInfo, Store

_STEP = 4 * MIB


class Contents:
    """The bytes of a list of objects.

    Args:
        objects: The objects, as they were listed.
        store: Where they are.
    """

    def __init__(self, objects: Sequence[ObjectInfo], store: Store) -> None:
        self.objects = tuple(objects)
        self.store = store
        self.bytes = sum(info.size for info in self.objects)
        # Small inputs that come over a network are kept: every epoch would fetch them again, chunk by chunk.
        self._kept: dict[str, bytes] = {}

    @property
    def id(self) -> str:
        """Changes with the objects' names, sizes and versions."""
        identity = json.dumps([[info.url, info.size, info.etag] for info in self.objects])
        return hashlib.sha256(identity.encode()).hexdigest()

    @property
    def first_filled(self) -> int | None:
        """The number of the first object that is not empty."""
        return next((index for index, info in enumerate(self.objects) if info.size), None)

    def name(self, index: int) -> str:
        """Returns an object's address, for people."""
        return display(self.objects[index].url)

    def read(self, index: int, start: int, end: int) -> bytes:
        """Returns a range of an object, cut where the object ends.

        Raises:
            DataError: The object is another version, or shorter, than when it was listed.
        """
        info = self.objects[index]
        end = min(end, info.size)
        kept = self._kept.get(info.url)
        if kept is not None:
            return kept[start:end]
        try:
            # A remote store reads this version or none, at no further request.
            data = self.store.read(info.url, start, end, etag=info.etag)
        except ObjectChanged:
            raise changed(info, "another version") from None
        if len(data) != end - start:
            raise changed(info, f"{start + len(data)} bytes")
        return data

    def keep(self, index: int) -> bytes:
        """Returns a whole object, of a remote store to be kept."""
        info = self.objects[index]
        data = self.read(index, 0, info.size)
        if not self.store.is_local:
            self._kept[info.url] = data
        return data

    def stream(self, index: int) -> Iterator[bytes]:
        """Yields an object from its beginning on, piece by piece, later ones already on their way.

        Raises:
            DataError: The object is another version, or shorter, than when it was listed.
        """
        info = self.objects[index]
        self.check_unchanged(index)
        starts = range(0, info.size, _STEP)
        spans = (ByteRange(info.url, at, min(at + _STEP, info.size), info.etag, info.size) for at in starts)
        try:
            for at, data in zip(starts, self.store.read_many(spans), strict=True):
                if len(data) != min(_STEP, info.size - at):
                    raise changed(info, f"{at + len(data)} bytes")
                yield data
        except ObjectChanged:
            raise changed(info, "another version") from None
        self.check_unchanged(index)

    def check_unchanged(self, index: int) -> None:
        """Looks whether a local object is as it was listed; a remote one is checked by every read.

        Raises:
            DataError: It is not.
        """
        info = self.objects[index]
        if self.store.is_local:
            now = self.store.info(info.url)
            if now is None or (now.size, now.etag) != (info.size, info.etag):
                raise changed(info, "no object" if now is None else f"{now.size} bytes, etag {now.etag}")

    def newlines(self, index: int, end: int) -> int:
        """Counts the newlines of an object before a byte."""
        starts = range(0, end, _STEP)
        return sum(self.read(index, start, min(start + _STEP, end)).count(b"\n") for start in starts)


def changed(info: ObjectInfo, got: str) -> DataError:
    """Returns the error for an object that is not as it was listed."""
    return DataError(
        "the file changed while it was read",
        where=display(info.url),
        got=got,
        wanted=f"{info.size} bytes, etag {info.etag}, as listed at the start",
        todo="start again when nobody writes to it",
    )
