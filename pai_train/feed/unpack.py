"""Compressed files as streams of what they hold; whatever is wrong with one is named by file and byte."""

from __future__ import annotations

import io
import zlib
from typing import TYPE_CHECKING, Literal

from pai_train.errors import DataError
from pai_train.feed.cuts import MIB

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Packing = Literal["none", "gzip", "zstd"]

MAGIC: dict[Packing, bytes] = {"gzip": b"\x1f\x8b", "zstd": b"\x28\xb5\x2f\xfd"}
SUFFIXES = (".gz", ".gzip", ".zst", ".zstd")
"""How names of compressed files end."""

_STEP = 4 * MIB
_GZIP_MEMBER = 16 + zlib.MAX_WBITS
_SKIPPED = tuple(bytes([value]) + b"\x2a\x4d\x18" for value in range(0x50, 0x60))


def packing(head: bytes) -> Packing:
    """Returns how a file is compressed, by its first four bytes."""
    if head.startswith(_SKIPPED):
        return "zstd"
    return next((name for name, magic in MAGIC.items() if head.startswith(magic)), "none")


def unpacked(pieces: Iterable[bytes], kind: Packing, where: str) -> Iterator[bytes]:
    """Yields what a stream holds, at most 4 MiB at once.

    Args:
        pieces: The stream.
        kind: How it is compressed.
        where: The file, for messages.

    Raises:
        DataError: It is damaged, ends too early, or something else follows it.
    """
    if kind == "none":
        yield from pieces
    elif kind == "gzip":
        yield from _gunzipped(pieces, where)
    else:
        yield from _unzstd(pieces, where)


def and_last(pieces: Iterable[bytes]) -> Iterator[tuple[bytes, bool]]:
    """Yields pieces, and then an empty one; tells of each whether it is the last."""
    for piece in pieces:
        yield piece, False
    yield b"", True


def _gunzipped(pieces: Iterable[bytes], where: str) -> Iterator[bytes]:
    member, members, taken, made = zlib.decompressobj(_GZIP_MEMBER), 0, 0, 0
    fresh = True
    for piece in pieces:
        data = piece
        taken += len(piece)
        while data:
            if fresh and members:
                # Tapes and some tools fill up with zeros; another member may follow them.
                data = data.lstrip(b"\0")
                if not data:
                    break
            fresh = False
            try:
                out = member.decompress(data, _STEP)
            except zlib.error as error:
                at = f"{taken - len(data)}" if members else f"{taken - len(data)} to {taken}"
                raise _damaged("gzip", where, at, made, members, str(error)) from None
            made += len(out)
            if out:
                yield out
            data = member.unconsumed_tail
            if member.eof:
                data, members, fresh = member.unused_data, members + 1, True
                member = zlib.decompressobj(_GZIP_MEMBER)
    if not fresh:
        raise _truncated("gzip", where, taken, made)


def _unzstd(pieces: Iterable[bytes], where: str) -> Iterator[bytes]:
    import pyarrow as pa

    source = _Readable(pieces)
    made = 0
    try:
        with pa.CompressedInputStream(pa.PythonFile(source, mode="r"), "zstd") as stream:
            while out := stream.read(_STEP):
                made += len(out)
                yield out
    except OSError as error:
        if "runcated" in str(error):
            raise _truncated("zstd", where, source.taken, made) from None
        raise _damaged("zstd", where, f"0 to {source.taken}", made, 0, str(error)) from None


def _truncated(kind: str, where: str, taken: int, made: int) -> DataError:
    return DataError(
        f"the {kind} file ends in the middle of its data",
        where=where,
        got=f"{taken} bytes, which hold {made} bytes of text and the beginning of more",
        wanted="a whole file",
        todo="write or copy it again",
    )


def _damaged(kind: str, where: str, at: str, made: int, members: int, reason: str) -> DataError:
    what = f"what follows the {kind} data is none" if members else f"the {kind} file is damaged"
    return DataError(
        what,
        where=where,
        got=f"{reason}, at byte {at} of the file, behind {made} bytes of text",
        wanted=f"{kind} data to the end",
        todo="write or copy the file again; compression says how it is compressed",
    )


class _Readable(io.RawIOBase):
    """A stream of pieces as a file."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._rest = memoryview(b"")
        self.taken = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return b""
            self._rest = memoryview(piece)
        out = bytes(self._rest[: size if size >= 0 else len(self._rest)])
        self._rest = self._rest[len(out) :]
        self.taken += len(out)
        return out
