"""HTTP/1.1 messages as a proxy needs them: the head byte for byte, the body in pieces with its framing."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PIECE = 2**16
LONGEST_HEAD = 4 * PIECE


@dataclass(frozen=True)
class Head:
    """The first line and the headers of a message, as they came; header names in lower case."""

    raw: bytes
    first: list[str]
    headers: dict[str, str]

    @classmethod
    async def read(cls, reader: asyncio.StreamReader) -> Head | None:
        """Reads one; None when the other side has closed before it."""
        try:
            raw = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError as end:
            if end.partial:
                raise
            return None
        first, *lines = raw.decode("latin-1").rstrip("\r\n").split("\r\n")
        fields = (line.partition(":") for line in lines)
        return cls(raw, first.split(" ", 2), {name.strip().lower(): value.strip() for name, _, value in fields})

    @property
    def is_chunked(self) -> bool:
        return "chunked" in self.headers.get("transfer-encoding", "").lower()

    @property
    def has_end(self) -> bool:
        """Whether the head says where the body of an answer ends; else it ends with the connection."""
        return self.is_chunked or "content-length" in self.headers

    @property
    def length(self) -> int:
        return int(self.headers.get("content-length", 0))

    @property
    def waits(self) -> bool:
        """Whether the client waits to be asked for its body."""
        return "100-continue" in self.headers.get("expect", "").lower()

    @property
    def keeps(self) -> bool:
        """Whether the connection stays open behind the message."""
        version = self.first[0] if self.first[0].startswith("HTTP/") else self.first[-1]
        said = self.headers.get("connection", "").lower()
        return "close" not in said and (version == "HTTP/1.1" or "keep-alive" in said)

    def moved(self, there: str, here: str) -> bytes:
        """Returns the head, with an address to go to next changed from one host and port to another."""
        if there not in self.headers.get("location", "") or not here:
            return self.raw
        lines = self.raw.decode("latin-1").split("\r\n")
        lines = [line.replace(there, here) if line.lower().startswith("location:") else line for line in lines]
        return "\r\n".join(lines).encode("latin-1")


async def body_of(reader: asyncio.StreamReader, head: Head) -> AsyncIterator[bytes]:
    """Yields a body that has an end, as it came; the last piece of a chunked one is its end mark alone."""
    if not head.is_chunked:
        async for piece in _exactly(reader, head.length):
            yield piece
        return
    while size := int((line := await reader.readuntil(b"\r\n")).split(b";")[0], 16):
        yield line
        async for piece in _exactly(reader, size + 2):
            yield piece
    while (trailer := await reader.readuntil(b"\r\n")) != b"\r\n":
        line += trailer
    yield line + b"\r\n"


async def _exactly(reader: asyncio.StreamReader, count: int) -> AsyncIterator[bytes]:
    while count:
        piece = await reader.read(min(count, PIECE))
        if not piece:
            raise asyncio.IncompleteReadError(b"", count)
        count -= len(piece)
        yield piece
