"""One object copied onto a store: hashed while it is sent, verified once it is there, left alone where it is equal."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pai_train.errors import Fault, StorageError
from pai_train.storage import ObjectExists, ObjectInfo, Store, display, foreign
from pai_train.storage.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

BLOCK_BYTES = 4 * 2**20

_ATTEMPTS = 4
_LONGEST_WAIT_S = 10.0


class Digest:
    """Hashes bytes as they pass: by SHA-256, and as stores do for their etags.

    Args:
        part_bytes: Bytes of one part of an upload, whose etag is made from those of its parts; None where etags are
            not made from the content.
    """

    def __init__(self, part_bytes: int | None = None) -> None:
        self.size = 0
        self._sha256 = hashlib.sha256()
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._part_bytes = part_bytes
        self._parts: list[Any] = []

    def update(self, data: bytes) -> None:
        """Adds bytes."""
        self._sha256.update(data)
        if self._part_bytes is not None:
            self._md5.update(data)
            self._add_to_parts(memoryview(data), self._part_bytes)
        self.size += len(data)

    def _add_to_parts(self, data: memoryview, part_bytes: int) -> None:
        at = self.size
        while data:
            if at % part_bytes == 0:
                self._parts.append(hashlib.md5(usedforsecurity=False))
            piece, data = data[: part_bytes - at % part_bytes], data[part_bytes - at % part_bytes :]
            self._parts[-1].update(piece)
            at += len(piece)

    @property
    def sha256(self) -> str:
        """SHA-256 of all bytes so far, in hex."""
        return self._sha256.hexdigest()

    def proven_by(self, etag: str) -> bool:
        """Tells whether an etag can only be that of these bytes; where it cannot tell, they have to be read."""
        if self._part_bytes is None:
            return False
        joined = hashlib.md5(b"".join(part.digest() for part in self._parts), usedforsecurity=False)
        return etag.strip('"').lower() in (self._md5.hexdigest(), f"{joined.hexdigest()}-{len(self._parts)}")


@dataclass(frozen=True)
class Copy:
    """An object, or a local file, on its way to a place.

    Attributes:
        source: What is copied.
        origin: The store that holds it.
        store: The store it goes to.
        url: The place.
        there: What lies at the place.
        replace: Whether what lies there and differs is replaced.
    """

    source: ObjectInfo
    origin: Store
    store: Store
    url: str
    there: ObjectInfo | None
    replace: bool

    @property
    def address(self) -> str:
        """The place, for people."""
        return display(self.url)

    @property
    def files(self) -> int:
        """How many files it is."""
        return 1

    @property
    def bytes(self) -> int:
        """How much is sent."""
        return self.source.size

    def look(self, stop: Callable[[], None]) -> Fault | bool:
        """Compares with what lies at the place; changes nothing.

        Args:
            stop: Called between blocks; raises to give up.

        Returns:
            True where the same bytes are there, False where they have to be sent, or what forbids it.
        """
        if self.store.is_local and os.path.isdir(self.url.removeprefix("file://")):
            return Fault("there is a folder of that name", self.address, todo="name another place")
        if self.there is None:
            return False
        if self.there.size == self.source.size and self._same(self.there, stop):
            return True
        if self.replace:
            return False
        return Fault(
            "another object lies there",
            self.address,
            got=f"{self.there.size:,} bytes",
            wanted=f"the {self.source.size:,} bytes of {display(self.source.url)}",
            todo="stage.replace=true replaces it; or name another place",
        )

    def _digest(self) -> Digest:
        return Digest(None if self.store.is_local else self.store.limits.part_bytes)

    def _same(self, there: ObjectInfo, stop: Callable[[], None]) -> bool:
        ours = _read(self.origin, self.source.url, self._digest(), stop)
        return self._holds(ours, there, stop)

    def _holds(self, ours: Digest, there: ObjectInfo, stop: Callable[[], None]) -> bool:
        return ours.proven_by(there.etag) or ours.sha256 == _read(self.store, self.url, Digest(), stop).sha256

    def run(self, report: Callable[[int], None], stop: Callable[[], None]) -> None:
        """Sends the bytes and verifies them.

        Args:
            report: Told of every block that was sent, in bytes.
            stop: Called between blocks; raises to give up.

        Raises:
            StorageError: It cannot be read or written, changed meanwhile, or is not what was sent.
        """
        if self.source.size <= BLOCK_BYTES:
            digest = self._send_whole()
            report(digest.size)
        else:
            digest = self._send_blocks(report, stop)
        self._verify(digest, stop)

    def _send_whole(self) -> Digest:
        digest = self._digest()
        data = self.origin.read(self.source.url)
        digest.update(data)
        self._check_size(digest.size)
        if self.there is not None or not self.store.exclusive_create:
            self.store.put(self.url, data)
            return digest
        try:
            self.store.create(self.url, data)
        except ObjectExists:
            if self.store.read(self.url) != data:
                raise
        except StorageError as error:
            # A bucket with versions cannot tell who was first, which is not asked of larger files either.
            if error.__cause__ is None or foreign.read(error.__cause__).kind is not foreign.Kind.VERSIONED:
                raise
            self.store.put(self.url, data)
        return digest

    def _send_blocks(self, report: Callable[[int], None], stop: Callable[[], None]) -> Digest:
        """Sends block by block, and begins anew where a part of the upload could not be repeated alone."""
        from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

        def send() -> Digest:
            digest = self._digest()
            try:
                with self.origin.open_input(self.source.url) as source, self.store.open_output(self.url) as output:
                    while block := source.read(BLOCK_BYTES):
                        stop()
                        output.write(block)
                        digest.update(block)
                        report(len(block))
                    self._check_size(digest.size)
            except StoreUnavailable:
                report(-digest.size)
                raise
            return digest

        again = Retrying(
            retry=retry_if_exception_type(StoreUnavailable),
            stop=stop_after_attempt(_ATTEMPTS),
            wait=wait_random_exponential(multiplier=0.2, max=_LONGEST_WAIT_S),
            before_sleep=lambda _: stop(),
            reraise=True,
        )
        return again(send)

    def _check_size(self, size: int) -> None:
        if size != self.source.size:
            raise StorageError(
                "the file changed while it was staged",
                where=display(self.source.url),
                got=f"{size:,} bytes",
                wanted=f"{self.source.size:,} bytes",
                todo="leave it alone meanwhile, and start again",
            )

    def _verify(self, digest: Digest, stop: Callable[[], None]) -> None:
        info = self.store.info(self.url)
        if info is not None and info.size == digest.size and self._holds(digest, info, stop):
            return
        raise StorageError(
            "what is there is not what was sent",
            where=self.address,
            got="no object" if info is None else f"{info.size:,} bytes",
            wanted=f"{digest.size:,} bytes, sha256 {digest.sha256}",
            todo="see that nobody else writes there, and start again with stage.replace=true",
        )


def _read(store: Store, url: str, digest: Digest, stop: Callable[[], None]) -> Digest:
    with store.open_input(url) as stream:
        while block := stream.read(BLOCK_BYTES):
            stop()
            digest.update(block)
    return digest
