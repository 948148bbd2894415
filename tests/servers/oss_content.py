"""What the objects of the OSS server are made of: bytes with their sums, in memory when few, in a file when many."""

from __future__ import annotations

import hashlib
import uuid
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING

import crcmod

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator
    from pathlib import Path

_IN_MEMORY = 2**16
_PIECE = 2**18
_POLYNOMIAL = 0x142F0E1EBA9EA3693
_POLYNOMIAL_REFLECTED = 0xC96C5795D7870F42
_ONE = 1 << 63  # polynomials are written with their lowest power first

crc64 = crcmod.mkCrcFun(_POLYNOMIAL, initCrc=0, xorOut=2**64 - 1, rev=True)


@dataclass(frozen=True)
class Sums:
    """What is known of some bytes without them."""

    size: int
    md5: bytes
    crc: int

    @property
    def etag(self) -> str:
        return self.md5.hex().upper()


class _Blob:
    """Bytes that never change; its file goes with it."""

    def __init__(self, data: bytes, path: Path | None) -> None:
        self._data = data
        self._path = path
        if path is not None:
            weakref.finalize(self, path.unlink, missing_ok=True).atexit = False

    def read(self, start: int, end: int) -> Iterator[bytes]:
        if self._path is None:
            yield self._data[start:end]
            return
        with self._path.open("rb") as file:
            file.seek(start)
            while start < end:
                piece = file.read(min(_PIECE, end - start))
                start += len(piece)
                yield piece


@dataclass(frozen=True)
class Content:
    """Stretches of blobs in a row. Parts become an object, and objects are copied, without moving a byte."""

    stretches: tuple[tuple[_Blob, int, int], ...] = ()

    @property
    def size(self) -> int:
        return sum(end - start for _, start, end in self.stretches)

    def read(self) -> Iterator[bytes]:
        """Yields the bytes in pieces."""
        for blob, start, end in self.stretches:
            yield from blob.read(start, end)

    def cut(self, start: int, end: int) -> Content:
        """Returns the bytes from `start` up to, not including, `end`."""
        kept, at = [], 0
        for blob, first, last in self.stretches:
            low, high = max(first, first + start - at), min(last, first + end - at)
            if low < high:
                kept.append((blob, low, high))
            at += last - first
        return Content(tuple(kept))

    def summed(self) -> Sums:
        """Reads the bytes and returns their sums."""
        size, md5, crc = 0, hashlib.md5(usedforsecurity=False), 0
        for piece in self.read():
            md5.update(piece)
            crc = crc64(piece, crc)
            size += len(piece)
        return Sums(size, md5.digest(), crc)


def joined(contents: Iterable[Content]) -> Content:
    """Returns contents one behind the other."""
    return Content(tuple(stretch for content in contents for stretch in content.stretches))


async def received(pieces: AsyncIterator[bytes], folder: Path) -> tuple[Content, Sums]:
    """Takes in what a client sends."""
    size, md5, crc = 0, hashlib.md5(usedforsecurity=False), 0
    few = bytearray()
    file = None
    path = folder / uuid.uuid4().hex
    try:
        async for piece in pieces:
            md5.update(piece)
            crc = crc64(piece, crc)
            size += len(piece)
            few += piece
            if len(few) > _IN_MEMORY:
                file = file or path.open("wb")
                file.write(few)
                few.clear()
        if file is not None:
            file.write(few)
            file.close()
    except BaseException:
        if file is not None:
            file.close()
            path.unlink()
        raise
    blob = _Blob(bytes(few) if file is None else b"", path if file else None)
    return Content(((blob, 0, size),) if size else ()), Sums(size, md5.digest(), crc)


def combined(first: int, second: int, size: int) -> int:
    """Returns the CRC-64 of two stretches from the CRC of each and the length of the second."""
    # The first one moves on by the second's bits: it is multiplied by that power of x.
    power, factor, bits = _ONE, _ONE >> 1, 8 * size
    while bits:
        if bits & 1:
            power = _times(power, factor)
        factor = _times(factor, factor)
        bits >>= 1
    return _times(power, first) ^ second


def _times(left: int, right: int) -> int:
    """Multiplies two polynomials over GF(2), modulo the one of the CRC."""
    product = 0
    while left:
        if left & _ONE:
            product ^= right
        left = left << 1 & 2**64 - 1
        right = right >> 1 ^ (_POLYNOMIAL_REFLECTED if right & 1 else 0)
    return product
