"""The frames in which the tunnel sends Arrow: the size of a chunk, chunks with their CRC32C, the CRC32C of all."""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator, Iterable, Iterator

from google_crc32c import extend

from tests.servers.maxcompute_answers import corrupted

CHUNK_BYTES = 65_536
_LARGEST_CHUNK = 64 * 2**20
_WORD = struct.Struct("!I")


def framed(payload: Iterable[bytes | memoryview], *, corrupt: bool = False) -> Iterator[bytes]:
    """Yields the payload in frames.

    Args:
        payload: Bytes, cut anywhere.
        corrupt: Whether the first sum is a wrong one.
    """
    whole = 0
    flip = int(corrupt)
    waiting = bytearray()
    yield _WORD.pack(CHUNK_BYTES)
    for piece in payload:
        waiting += piece
        out = bytearray()
        full = len(waiting) - len(waiting) % CHUNK_BYTES
        for at in range(0, full, CHUNK_BYTES):
            chunk = bytes(waiting[at : at + CHUNK_BYTES])
            whole = extend(whole, chunk)
            out += chunk
            out += _WORD.pack(extend(0, chunk) ^ flip)
            flip = 0
        del waiting[:full]
        if out:
            yield bytes(out)
    rest = bytes(waiting)
    yield rest + _WORD.pack(extend(whole, rest) ^ flip)


async def unframed(body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yields what stands in the frames of a body.

    Raises:
        Refused: A sum is wrong, or the body ends too early.
    """
    whole = 0
    size: int | None = None
    waiting = bytearray()
    async for piece in body:
        waiting += piece
        if size is None and len(waiting) > _WORD.size:
            size = _WORD.unpack_from(waiting)[0]
            if not 0 < size <= _LARGEST_CHUNK:
                raise corrupted(f"a chunk of {size} bytes")
            del waiting[: _WORD.size]
        if size is None:
            continue
        step = size + _WORD.size
        at = 0
        # A full chunk is never the last one: the sum of all of them follows, if only after an empty chunk.
        while len(waiting) - at > step:
            chunk = bytes(waiting[at : at + size])
            if extend(0, chunk) != _WORD.unpack_from(waiting, at + size)[0]:
                raise corrupted("the CRC of a chunk")
            whole = extend(whole, chunk)
            yield chunk
            at += step
        del waiting[:at]
    if size is None:
        # A writer that was given nothing sends the sum of nothing, and no size.
        if waiting and bytes(waiting) != _WORD.pack(0):
            raise corrupted("the body ends too early")
        return
    if len(waiting) < _WORD.size or len(waiting) == size + _WORD.size:
        raise corrupted("the body ends too early")
    rest = bytes(waiting[: -_WORD.size])
    if extend(whole, rest) != _WORD.unpack_from(waiting, len(rest))[0]:
        raise corrupted("the CRC of the body")
    yield rest
