"""Where the messages of an Arrow IPC file lie and how many rows each holds, from its footer and headers alone.

pyarrow reads a record batch by its number, but tells of none how many rows it has without reading it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

MAGIC = b"ARROW1"
CONTINUATION = b"\xff\xff\xff\xff"
SCHEMA, DICTIONARY, RECORDS = 1, 2, 3
"""Kinds of messages."""

_MESSAGE_HEADER, _MESSAGE_BODY_LENGTH, _MESSAGE_KIND = 2, 3, 1
_RECORDS_LENGTH = 0
_FOOTER_RECORDS = 3
_BLOCK = struct.Struct("<qi4xq")
_TAIL = struct.Struct("<i6s")
_PREFIX = 8


class Bytes(Protocol):
    """Reads a range of a file."""

    def __call__(self, start: int, end: int) -> bytes:
        """Returns the bytes from `start` up to, not including, `end`; fewer at the end of the file."""


class BrokenIpcError(ValueError):
    """The file does not hold what the format asks for."""


@dataclass(frozen=True)
class Message:
    """One message of a file.

    Attributes:
        kind: SCHEMA, DICTIONARY or RECORDS.
        start: Its first byte in the file.
        end: The byte after its last.
        rows: Of record batches, how many rows it holds.
        bytes: What follows its header: the values.
    """

    kind: int
    start: int
    end: int
    rows: int
    bytes: int


def is_file(head: bytes) -> bool:
    """Tells by its first bytes whether this is the file format, which has a footer, and not the stream format."""
    return head.startswith(MAGIC)


def footer_blocks(size: int, read: Bytes) -> list[tuple[int, int]]:
    """Returns start and length of the header of each record batch of a file, in order.

    Raises:
        BrokenIpcError: The footer is not one.
    """
    tail = read(max(size - _TAIL.size, 0), size)
    length, magic = _TAIL.unpack(tail) if len(tail) == _TAIL.size else (0, b"")
    begin = size - _TAIL.size - length
    if magic != MAGIC or length <= 0 or begin < len(MAGIC):
        raise BrokenIpcError("the footer is missing")
    table = _Table.root(read(begin, begin + length))
    blocks = [_BLOCK.unpack_from(table.data, at) for at in table.vector(_FOOTER_RECORDS, _BLOCK.size)]
    if any(start < 0 or header <= 0 or start + header > size for start, header, _ in blocks):
        raise BrokenIpcError("the footer names places outside the file")
    return [(start, header) for start, header, _ in blocks]


def message(at: int, header: bytes) -> Message | None:
    """Reads the header of the message that begins at a place; None for the end of a stream.

    Args:
        at: The place in the file.
        header: Bytes from there on, as many as `header_bytes` says.

    Raises:
        BrokenIpcError: It is none.
    """
    length = header_bytes(header)
    if length == _PREFIX:
        return None
    if len(header) < length:
        raise BrokenIpcError(f"the message at byte {at} is cut short")
    table = _Table.root(header[_PREFIX:length])
    kind, body = table.number(_MESSAGE_KIND, "<B"), table.number(_MESSAGE_BODY_LENGTH, "<q")
    if kind not in (SCHEMA, DICTIONARY, RECORDS) or body < 0:
        raise BrokenIpcError(f"the message at byte {at} is of an unknown kind")
    rows = table.table(_MESSAGE_HEADER).number(_RECORDS_LENGTH, "<q") if kind == RECORDS else 0
    return Message(kind, at, at + length + body, rows, body)


def header_bytes(prefix: bytes) -> int:
    """Returns how long a message's header is, with its prefix of 8 bytes.

    Raises:
        BrokenIpcError: It is no prefix.
    """
    if prefix[:4] != CONTINUATION or len(prefix) < _PREFIX:
        raise BrokenIpcError("no message begins where one should")
    length = int(struct.unpack_from("<i", prefix, 4)[0])
    if length < 0:
        raise BrokenIpcError("a message has a negative length")
    return _PREFIX + length


def stream_messages(size: int, read: Bytes) -> Iterator[Message]:
    """Yields the messages of a stream, hopping from header to header.

    Raises:
        BrokenIpcError: It is no stream, or cut short.
    """
    at = 0
    while at < size:
        head = read(at, min(at + 1024, size))
        length = header_bytes(head)
        found = message(at, head if len(head) >= length else read(at, at + length))
        if found is None:
            return
        if found.end > size:
            raise BrokenIpcError(f"the message at byte {at} is cut short")
        yield found
        at = found.end


class _Table:
    """A table of a flatbuffer."""

    def __init__(self, data: bytes, at: int) -> None:
        self.data = data
        self._at = at

    @classmethod
    def root(cls, data: bytes) -> _Table:
        try:
            return cls(data, struct.unpack_from("<I", data, 0)[0])
        except struct.error:
            raise BrokenIpcError("a header is cut short") from None

    def _field(self, number: int) -> int | None:
        """Returns where a field stands; None where it has its default."""
        try:
            vtable = self._at - struct.unpack_from("<i", self.data, self._at)[0]
            (length,) = struct.unpack_from("<H", self.data, vtable)
            slot = 4 + 2 * number
            offset = struct.unpack_from("<H", self.data, vtable + slot)[0] if slot < length else 0
        except struct.error:
            raise BrokenIpcError("a header is damaged") from None
        return self._at + offset if offset else None

    def number(self, number: int, form: str) -> int:
        at = self._field(number)
        try:
            return 0 if at is None else int(struct.unpack_from(form, self.data, at)[0])
        except struct.error:
            raise BrokenIpcError("a header is damaged") from None

    def table(self, number: int) -> _Table:
        at = self._field(number)
        if at is None:
            raise BrokenIpcError("a message has no header")
        return _Table(self.data, at + self.number(number, "<I"))

    def vector(self, number: int, width: int) -> range:
        """Returns where the elements of a vector stand."""
        at = self._field(number)
        if at is None:
            return range(0)
        start = at + self.number(number, "<I")
        try:
            (count,) = struct.unpack_from("<I", self.data, start)
        except struct.error:
            raise BrokenIpcError("a header is damaged") from None
        stop = start + 4 + count * width
        if stop > len(self.data):
            raise BrokenIpcError("a header is cut short")
        return range(start + 4, stop, width)
