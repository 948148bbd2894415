"""The frames in which the tunnel carries Arrow: the size of a chunk, chunks with their CRC32C, the sum of all last."""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from google_crc32c import extend

from pai_train.tables.maxcompute.errors import CutShort, EmptyAnswer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

CHUNK_BYTES = 256 * 1024
_LARGEST_CHUNK = 256 * 2**20
_WORD = struct.Struct("!I")


def framed(payload: BinaryIO) -> Iterator[bytes]:
    """Yields a payload in frames."""
    whole = 0
    yield _WORD.pack(CHUNK_BYTES)
    while True:
        chunk = payload.read(CHUNK_BYTES)
        whole = extend(whole, chunk)
        if len(chunk) < CHUNK_BYTES:
            yield chunk + _WORD.pack(whole)
            return
        yield chunk + _WORD.pack(extend(0, chunk))


def batches(body: Any, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Yields the record batches of an answer; holds one at a time.

    Args:
        body: The answer, to be read as a stream of bytes.
        schema: What its batches are of: they come without.

    Raises:
        EmptyAnswer: There is nothing in it.
        CutShort: A sum is wrong, or a batch is not whole.
    """
    messages = pa.ipc.MessageReader.open_stream(pa.PythonFile(_Unframed(body), mode="r"))
    while True:
        try:
            message = messages.read_next_message()
        except StopIteration:
            return
        except pa.ArrowInvalid as cut:
            raise CutShort(str(cut)) from cut
        yield pa.ipc.read_record_batch(message, schema)


class _Unframed(io.RawIOBase):
    """What stands in the frames of a body."""

    def __init__(self, body: Any) -> None:
        super().__init__()
        self._body = body
        self._size: int | None = None
        self._whole = 0
        self._waiting = memoryview(b"")
        self._ended = False

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        parts: list[memoryview] = []
        wanted = size
        while wanted != 0 and (self._waiting or self._fill()):
            part = self._waiting if wanted < 0 else self._waiting[:wanted]
            self._waiting = self._waiting[len(part) :]
            parts.append(part)
            wanted -= len(part) if wanted > 0 else 0
        return b"".join(parts)

    def _fill(self) -> bool:
        """Takes the next chunk; False behind the last one."""
        if self._ended:
            return False
        if self._size is None:
            head = self._take(_WORD.size)
            # A writer that was given nothing sends the sum of nothing.
            if not head or head == _WORD.pack(0):
                raise EmptyAnswer("an answer without content")
            if len(head) < _WORD.size or not 0 < _WORD.unpack(head)[0] <= _LARGEST_CHUNK:
                raise CutShort("an answer that does not begin with the size of its chunks")
            self._size = _WORD.unpack(head)[0]
        step = self._size + _WORD.size
        chunk = self._take(step)
        if len(chunk) < _WORD.size:
            raise CutShort("an answer that ends before its sum")
        data, total = memoryview(chunk)[: -_WORD.size], _WORD.unpack(chunk[-_WORD.size :])[0]
        self._whole = extend(self._whole, bytes(data))
        self._ended = len(chunk) < step
        if total != (self._whole if self._ended else extend(0, bytes(data))):
            raise CutShort("an answer whose sum is wrong")
        self._waiting = data
        return bool(data) or self._fill()

    def _take(self, size: int) -> bytes:
        parts = []
        while size:
            part = self._body.read(size)
            if not part:
                break
            parts.append(part)
            size -= len(part)
        return b"".join(parts)
