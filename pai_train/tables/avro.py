"""The frame of an Avro file, looked at before pyiceberg decodes it, which reads on behind the end of its bytes."""

from __future__ import annotations

_MAGIC = b"Obj\x01"
_SYNC_BYTES = 16
_LONGEST_VARINT = 10


class FrameError(ValueError):
    """Bytes that are no whole Avro file."""


def check_frame(data: bytes) -> None:
    """Follows header and blocks to the end of the file; decodes no row.

    Cut at the end of a block, a file is whole to Avro: whoever knows its length compares that too.

    Args:
        data: The whole file.

    Raises:
        FrameError: The file ends within its header or a block, or a block does not end where it says.
    """
    if not data.startswith(_MAGIC):
        raise FrameError(f"{len(data)} bytes that do not begin as an Avro file")
    place = _behind_metadata(data, len(_MAGIC))
    sync, place = _take(data, place, _SYNC_BYTES)
    while place < len(data):
        _, place = _number(data, place)
        size, place = _number(data, place)
        _, place = _take(data, place, size)
        mark, end = _take(data, place, _SYNC_BYTES)
        if mark != sync:
            raise FrameError(f"no end of a block at byte {place}")
        place = end


def _behind_metadata(data: bytes, place: int) -> int:
    """Returns the place behind the map of the header: blocks of names with values, the last of them empty."""
    while True:
        count, place = _number(data, place)
        if count == 0:
            return place
        if count < 0:
            _, place = _number(data, place)
        for _ in range(2 * abs(count)):
            size, place = _number(data, place)
            _, place = _take(data, place, size)


def _take(data: bytes, place: int, size: int) -> tuple[bytes, int]:
    end = place + size
    if not place <= end <= len(data):
        raise FrameError(f"ends at byte {len(data)}, within what should go on to byte {end}")
    return data[place:end], end


def _number(data: bytes, place: int) -> tuple[int, int]:
    """Reads a number of variable length, zigzag coded; returns it and the place behind it."""
    value = 0
    for index in range(_LONGEST_VARINT):
        byte, place = _take(data, place, 1)
        value |= (byte[0] & 0x7F) << 7 * index
        if not byte[0] & 0x80:
            return (value >> 1) ^ -(value & 1), place
    raise FrameError(f"no number at byte {place - _LONGEST_VARINT}")
