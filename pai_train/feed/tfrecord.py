"""The frames of TFRecord files: where records begin and end, and whether checksums are right; whole blocks at once.

A record is 8 bytes of length, 4 of a masked CRC32C of these, the content, and 4 of a masked CRC32C of the content.
There are no marks between records, but that a place is followed by the checksum of what stands there is as good.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import google_crc32c
import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
Int64s = npt.NDArray[np.int64]

HEADER = 12
FOOTER = 4
FRAME = HEADER + FOOTER

_MASK = np.uint32(0xA282EAD8)
_ONES = np.uint32(0xFFFFFFFF)
# The CRC32C of anything with its own CRC32C behind it.
_RESIDUE = np.uint32(0x48674BC7)


_OF_ZEROS = np.uint32(google_crc32c.value(bytes(8)))
# A CRC is linear: that of 8 bytes is the one of zeros, xor what each byte at its place changes in it.
_OF_BYTES = [
    np.array([google_crc32c.value(bytes([*bytes(at), value, *bytes(7 - at)])) for value in range(256)], np.uint32)
    ^ _OF_ZEROS
    for at in range(7)
]


@dataclass(frozen=True)
class Frames:
    """Records that follow one another in a block of bytes.

    Attributes:
        starts: Where each begins, int64 of shape [records].
        lengths: Bytes of the content of each, int64 of shape [records].
    """

    starts: Int64s
    lengths: Int64s

    @property
    def ends(self) -> Int64s:
        """The byte behind each."""
        return self.starts + self.lengths + FRAME

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, part: slice) -> Frames:
        return Frames(self.starts[part], self.lengths[part])


def headers(data: Bytes, room: int) -> Frames:
    """Finds the places where a length stands that its checksum confirms, whether or not records begin there.

    Args:
        data: A block of a file.
        room: Bytes from the start of the block to the end of the file; no record goes beyond.
    """
    places = len(data) - HEADER + 1
    if places <= 0:
        return Frames(np.zeros(0, np.int64), np.zeros(0, np.int64))
    # Lengths are small beside what 8 bytes could hold: their upper bytes are zero.
    used = min(max(1, -(-room.bit_length() // 8)), 7)
    zeros = _zeros(data == 0, 8 - used)
    starts = np.flatnonzero(zeros[used : used + places])
    if len(starts) > places // 8:
        # Where all is zero no checksum fits, and there may be much of it.
        starts = starts[~_zeros(data == 0, HEADER)[starts]]
    lengths, checksums = np.zeros(len(starts), np.int64), np.full(len(starts), _OF_ZEROS)
    for byte in range(used):
        told = data[starts + byte]
        lengths |= told.astype(np.int64) << (8 * byte)
        checksums ^= _OF_BYTES[byte][told]
    checksums = _masked(checksums)
    for byte in range(4):
        right = data[starts + (8 + byte)] == (checksums >> np.uint32(8 * byte)).astype(np.uint8)
        starts, lengths, checksums = starts[right], lengths[right], checksums[right]
    fits = starts + lengths + FRAME <= room
    return Frames(starts[fits], lengths[fits])


def _zeros(zero: npt.NDArray[np.bool_], count: int) -> npt.NDArray[np.bool_]:
    """Returns where so many zeros follow one another."""
    width, run = 1, zero
    while 2 * width <= count:
        run = run[:-width] & run[width:]
        width *= 2
    return run if width == count else run[: len(zero) - count + 1] & run[count - width :]


def chain(found: Frames, first: int) -> Frames:
    """Returns the records that follow one another from a place on, of all places where some could begin."""
    begin = int(np.searchsorted(found.starts, first))
    found = found[begin:]
    if not len(found) or found.starts[0] != first:
        return found[:0]
    ends = found.ends
    if (ends[:-1] == found.starts[1:]).all():
        return found
    # Some lie inside records: follow from the first, in steps that double.
    following = np.searchsorted(found.starts, ends)
    last = len(found)
    following[found.starts[np.minimum(following, last - 1)] != ends] = last
    jump = np.append(following, last)
    reached = np.zeros(last + 1, np.bool_)
    reached[0] = True
    while True:
        more = reached.copy()
        more[jump[np.flatnonzero(reached)]] = True
        if (more == reached).all():
            break
        reached, jump = more, jump[jump]
    kept = reached[:last]
    return Frames(found.starts[kept], found.lengths[kept])


def first_wrong(data: Bytes, frames: Frames) -> int | None:
    """Checks all checksums of records that follow one another; returns the first wrong record, or None.

    One pass over the block at the speed of the processor's own instruction: what a CRC does with four bytes depends
    only on these xor its state, and behind a right checksum the state is always the same. So the checksums are
    unmasked, the first bytes of each piece are changed as if the CRC began anew there, and the state at the end tells.
    """
    if not len(frames):
        return None
    begin, end = int(frames.starts[0]), int(frames.ends[-1])
    if _whole(data[begin:end], frames.starts - begin, frames.lengths):
        return None
    lo, hi = 0, len(frames)
    while hi - lo > 1:
        middle = (lo + hi) // 2
        part = frames[lo:middle]
        begin, end = int(part.starts[0]), int(part.ends[-1])
        if _whole(data[begin:end], part.starts - begin, part.lengths):
            lo = middle
        else:
            hi = middle
    return lo


def _whole(data: Bytes, starts: Int64s, lengths: Int64s) -> bool:
    data = data.copy()
    _change(data, starts + 8, _unmasked)
    _change(data, starts + HEADER + lengths, _unmasked)
    begins = np.stack([starts, starts + HEADER], 1).reshape(-1)[1:]
    # The state behind a piece is the residue's complement, and that of a beginning all ones.
    _change(data, begins, lambda words: words ^ _RESIDUE)
    data.flags.writeable = False
    return int(google_crc32c.value(data)) == int(_RESIDUE)


def _change(data: Bytes, places: Int64s, change: Any) -> None:
    index = places[:, None] + np.arange(4)
    data[index] = np.ascontiguousarray(change(data[index].view("<u4")), "<u4").view(np.uint8)


def _masked(checksums: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
    return ((checksums >> np.uint32(15)) | (checksums << np.uint32(17))) + _MASK


def _unmasked(checksums: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
    turned = checksums - _MASK
    return (turned >> np.uint32(17)) | (turned << np.uint32(15))
