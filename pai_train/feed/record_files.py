"""TFRecord files as bytes: what chunks they are cut into, and the records of each, with their checksums checked."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pai_train.errors import DataError
from pai_train.feed import tfrecord
from pai_train.feed.cuts import MIB, chunk_size
from pai_train.feed.pieces import Piece, cut
from pai_train.feed.spool import Spool
from pai_train.feed.tfrecord import HEADER, Bytes, Frames
from pai_train.feed.unpack import and_last, packing, unpacked

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pai_train.feed.file_set import FileSet
    from pai_train.feed.unpack import Packing

logger = logging.getLogger(__name__)

COUNTED_BYTES = 16 * MIB
"""Plain files up to this size in all are read once to count the records of each chunk."""

SLACK = 64 * 2**10
NUMBERED_BYTES = 256 * MIB
"""Up to here a record's number is found out for a message; it is read from the file's beginning."""

_RATIO = 4
"""How many times larger records are than they are compressed, about."""


@dataclass(frozen=True)
class Records:
    """Records of one file that follow one another.

    Attributes:
        file: The file's number.
        offset: The byte of the file, or of what it holds once it is unpacked, at which `data` begins.
        data: Their bytes.
        frames: Where they are in `data`.
        number: Number of the first in its file, from 0, where it is known.
    """

    file: int
    offset: int
    data: Bytes
    frames: Frames
    number: int | None = None


@dataclass(frozen=True)
class Stretch:
    """A part of a file: of a plain one a range of bytes, of a compressed one records that lie in the spool.

    Attributes:
        file: The file's number.
        lo: First byte, of what the file holds once it is unpacked.
        hi: The byte behind the last.
        number: Number of the first record, where it is known.
        place: Where the records lie in the spool; None for a plain file.
        stored: Their size there.
    """

    file: int
    lo: int
    hi: int
    number: int | None = None
    place: int | None = None
    stored: int = 0


class RecordFiles:
    """The records of files. A record belongs to the stretch in which it begins.

    Where records begin in a stretch of a plain file is found by the checksums of their lengths; each stretch makes sure
    that the next one begins where it ends, so that a record that holds TFRecord data itself is an error at worst.

    Args:
        files: The files.
        compression: How they are compressed; auto for as their first bytes say.
        chunk_bytes: Size of a chunk; left out, by the files' total size.
    """

    def __init__(self, files: FileSet, compression: str, chunk_bytes: int | None = None) -> None:
        self.files = files
        self._compression = compression
        self._chunk_bytes = chunk_bytes
        self._spool = Spool()

    def chunks(self) -> tuple[list[tuple[Stretch, ...]], list[int] | None]:
        """Cuts the files into chunks; small files are joined, compressed ones read once to their end.

        Returns:
            The stretches of each chunk, and how many records each holds, where that is known.
        """
        packings = self.files.each(self.packing)
        packed = [index for index, kind in enumerate(packings) if kind != "none"]
        total = self.files.bytes + (_RATIO - 1) * sum(self.files.objects[index].size for index in packed)
        size = self._chunk_bytes or chunk_size(total)
        if sum(self.files.objects[index].size for index in packed) > COUNTED_BYTES:
            logger.info("reading compressed TFRecord files once from the beginning, to find the records")
        stretches: list[tuple[Stretch, int | None]] = []
        for index, kind in enumerate(packings):
            if kind != "none":
                stretches += self._unpack(index, kind, size)
                continue
            ranges = (piece for chunk in cut([[self.files.objects[index].size]], size) for piece in chunk)
            stretches += [(_stretch(index, piece), None) for piece in ranges]
        plain = sum(info.size for info, kind in zip(self.files.objects, packings, strict=True) if kind == "none")
        if plain <= COUNTED_BYTES:
            stretches = self._counted(stretches)
        chunks: list[list[tuple[Stretch, int | None]]] = []
        held = 0
        for one in stretches:
            length = one[0].hi - one[0].lo
            if not chunks or held + length > size:
                chunks.append([])
                held = 0
            chunks[-1].append(one)
            held += length
        counts = None
        if all(count is not None for _, count in stretches):
            counts = [sum(count or 0 for _, count in chunk) for chunk in chunks]
        return [tuple(stretch for stretch, _ in chunk) for chunk in chunks], counts

    def packing(self, index: int) -> Packing:
        """Returns how a file is compressed.

        Raises:
            DataError: It is not compressed as declared.
        """
        info = self.files.objects[index]
        if not info.size or self._compression == "none":
            return "none"
        head = self.files.read(index, 0, HEADER)
        # The length of a record may look like the beginning of a compressed file; its checksum does not lie.
        plain = len(tfrecord.headers(np.frombuffer(head, np.uint8), info.size)) > 0
        found: Packing = "none" if plain else packing(head)
        if self._compression not in ("auto", found):
            raise DataError(
                f"the file is not compressed by {self._compression}",
                where=self.files.name(index),
                got="a file that is not compressed" if found == "none" else f"a file compressed by {found}",
                wanted=self._compression,
                todo="leave compression at auto",
            )
        return found

    def records(self, stretch: Stretch) -> Records:
        """Reads the records that begin in a stretch.

        Raises:
            DataError: A checksum is wrong, the file is cut short, or not as it was listed.
        """
        if stretch.place is not None:
            data = np.frombuffer(self._spool.read(stretch.place, stretch.stored, stretch.hi - stretch.lo), np.uint8)
            frames = tfrecord.chain(tfrecord.headers(data, len(data)), 0)
            return Records(stretch.file, stretch.lo, data, frames, stretch.number)
        self.files.check_unchanged(stretch.file)
        return self._plain(stretch)

    def head(self, index: int) -> Records:
        """Reads the first records of a file, at least one where it holds any."""
        kind = self.packing(index)
        size = self.files.objects[index].size
        if kind == "none":
            return self._plain(Stretch(index, 0, min(size, SLACK)))
        return next(self._blocks(index, kind, SLACK), Records(index, 0, np.zeros(0, np.uint8), _no_frames()))

    def where(self, records: Records, row: int) -> str:
        """Says where a record is: file, record from 0, byte."""
        at = records.offset + int(records.frames.starts[row])
        number = self.number(records, row)
        return f"{self.files.name(records.file)}{'' if number is None else f', record {number}'} at byte {at}"

    def number(self, records: Records, row: int) -> int | None:
        """Returns the number of a record in its file, from 0; None where the file is too large to find out."""
        if records.number is not None:
            return records.number + row
        if records.offset > NUMBERED_BYTES:
            return None
        before = 0
        for lo in range(0, records.offset, 4 * MIB):
            hi = min(lo + 4 * MIB, records.offset)
            before += len(self._plain(Stretch(records.file, lo, hi)).frames)
        return before + row

    def _plain(self, stretch: Stretch) -> Records:
        index, lo, hi = stretch.file, stretch.lo, stretch.hi
        size = self.files.objects[index].size
        room = size - lo
        data = np.frombuffer(self.files.read(index, lo, hi + SLACK), np.uint8)
        found = tfrecord.headers(data, room)
        first = 0 if lo == 0 or not len(found) else int(found.starts[0])
        if not room or first >= hi - lo or (lo and not len(found)):
            return Records(index, lo, data[:0], _no_frames(), stretch.number)
        frames = tfrecord.chain(found, first)
        frames = frames[: int(np.searchsorted(frames.starts, hi - lo))]
        end = int(frames.ends[-1]) if len(frames) else first
        if end + HEADER > len(data) and len(data) < room:
            more = self.files.read(index, lo + len(data), lo + end + HEADER)
            data = np.concatenate([data, np.frombuffer(more, np.uint8)])
            found = tfrecord.headers(data, room)
        if end < room and end not in found.starts:
            raise self._broken(index, lo, end, frames)
        if hi < size:
            after = int(np.searchsorted(found.starts, hi - lo))
            if after < len(found) and found.starts[after] < end:
                raise self._ambiguous(index, lo + int(found.starts[after]))
        data = data[:end]
        self._check(index, lo, data, frames)
        return Records(index, lo, data, frames, stretch.number)

    def _check(self, index: int, offset: int, data: Bytes, frames: Frames) -> None:
        wrong = tfrecord.first_wrong(data, frames)
        if wrong is not None:
            self.files.check_unchanged(index)
            at = offset + int(frames.starts[wrong])
            raise self.files.damaged(index, "a checksum that its content does not have", f", record at byte {at}")

    def _broken(self, index: int, offset: int, at: int, frames: Frames) -> DataError:
        self.files.check_unchanged(index)
        behind = f"behind {len(frames)} records" if len(frames) else "at the beginning"
        got = f"no record of which the file holds all {behind}"
        return self.files.damaged(index, got, f", byte {offset + at}")

    def _ambiguous(self, index: int, at: int) -> DataError:
        return DataError(
            "the file cannot be cut: a record holds what looks like records",
            where=f"{self.files.name(index)}, byte {at}",
            todo="compress the file, by gzip say: then it is read from its beginning",
        )

    def _unpack(self, index: int, kind: Packing, size: int) -> Iterator[tuple[Stretch, int]]:
        for block in self._blocks(index, kind, size):
            place, stored = self._spool.write(block.data.tobytes())
            yield (
                Stretch(index, block.offset, block.offset + len(block.data), block.number, place, stored),
                len(block.frames),
            )

    def _blocks(self, index: int, kind: Packing, size: int) -> Iterator[Records]:
        """Yields all records of a compressed file, in blocks of about a size."""
        rest, offset, number = b"", 0, 0
        for data, final in and_last(unpacked(self.files.stream(index), kind, self.files.name(index))):
            rest += data
            if len(rest) < (1 if final else size):
                continue
            block = np.frombuffer(rest, np.uint8)
            frames = tfrecord.chain(tfrecord.headers(block, len(block) if final else 2**31), 0)
            ends = frames.ends
            whole = int(np.searchsorted(ends, len(block), side="right"))
            known = int(ends[-1]) if len(frames) else 0
            if known < len(block) and (final or known + HEADER <= len(block)):
                raise self._broken(index, offset, known, frames)
            first, begin = 0, 0
            while first < whole:
                stop = min(int(np.searchsorted(ends, begin + size)) + 1, whole if final else len(frames))
                if stop > whole:
                    break
                end = int(ends[stop - 1])
                part = Frames(frames.starts[first:stop] - begin, frames.lengths[first:stop])
                self._check(index, offset + begin, block[begin:end], part)
                yield Records(index, offset + begin, block[begin:end], part, number)
                first, begin, number = stop, end, number + stop - first
            rest, offset = rest[begin:], offset + begin

    def _counted(self, stretches: Sequence[tuple[Stretch, int | None]]) -> list[tuple[Stretch, int | None]]:
        """Counts the records of plain files, and numbers them."""
        counts = [count if count is not None else len(self.records(stretch).frames) for stretch, count in stretches]
        numbered: list[tuple[Stretch, int | None]] = []
        first, file = 0, -1
        for (stretch, _), count in zip(stretches, counts, strict=True):
            first = first if stretch.file == file else 0
            file = stretch.file
            numbered.append((Stretch(file, stretch.lo, stretch.hi, first, stretch.place, stretch.stored), count))
            first += count
        return numbered


def _stretch(index: int, piece: Piece) -> Stretch:
    return Stretch(index, piece.first, piece.first + piece.rows)


def _no_frames() -> Frames:
    return Frames(np.zeros(0, np.int64), np.zeros(0, np.int64))
