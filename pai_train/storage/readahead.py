"""A seekable stream over a remote object: parts read ahead when it is read on, one exact request when it is not."""

from __future__ import annotations

import io
from collections import deque
from typing import TYPE_CHECKING

from pai_train.storage.contracts import ByteRange
from pai_train.storage.errors import ObjectChanged
from pai_train.storage.ranged import Batch

if TYPE_CHECKING:
    from concurrent.futures import Future

    from pai_train.storage.contracts import ObjectInfo, Remote
    from pai_train.storage.ranged import RangedReader

_LEAST_BYTES = 64 * 2**10
_STEADY = 2  # reads that follow one another, after a jump, before parts are read ahead


class RemoteInput(io.BufferedIOBase):
    """Reads one version of a remote object; holds at most `limits.parallel` parts.

    Args:
        remote: The store.
        reader: Its reader of ranges.
        info: The object.
        is_promised: Whether the caller knows the object by this info; else one that is replaced before anything was
            read of it is taken as it then is.
    """

    def __init__(self, remote: Remote, reader: RangedReader, info: ObjectInfo, *, is_promised: bool) -> None:
        super().__init__()
        self._remote = remote
        self._reader = reader
        self._info = info
        self._is_promised = is_promised
        self._position = 0
        self._batch = Batch()
        self._block = (0, b"")
        self._ahead: deque[tuple[int, Future[bytes]]] = deque()
        self._scheduled = self._limit = 0
        self._depth = 1
        self._following = _STEADY  # a stream that is read from its beginning is read to its end
        self._next = 0
        self._requests = 0

    @property
    def name(self) -> str:
        """The object's URL."""
        return self._info.url

    @property
    def size(self) -> int:
        """The object's size in bytes."""
        self._is_promised = True
        return self._info.size

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        self._check_open()
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        self._check_open()
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position}
        position = offset + (self.size if whence == io.SEEK_END else base[whence])
        if position < 0:
            raise ValueError(f"negative position: {position}")
        self._position = position
        return position

    def read(self, size: int | None = -1, /) -> bytes:
        self._check_open()
        pieces, left = [], -1 if size is None or size < 0 else size
        while left and self._position < self._info.size:
            wanted = self._info.size - self._position
            piece = self._piece(wanted if left < 0 else min(left, wanted))
            self._position += len(piece)
            left -= len(piece) if left > 0 else 0
            pieces.append(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def read1(self, size: int = -1, /) -> bytes:
        return self.read(io.DEFAULT_BUFFER_SIZE if size < 0 else size)

    def peek(self, size: int = 0, /) -> bytes:
        """Returns bytes that come next, without moving on; `readline` looks for its end in them."""
        self._check_open()
        if self._position >= self._info.size:
            return b""
        return self._piece(min(max(size, io.DEFAULT_BUFFER_SIZE), self._info.size - self._position))

    def close(self) -> None:
        if not self.closed:
            self._drop()
            super().close()

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError("read of a closed stream")

    def _piece(self, wanted: int) -> bytes:
        """Returns at least one byte and at most `wanted` from the position on."""
        start, data = self._block
        if not start <= self._position < start + len(data):
            with self._remote.stats.waited():
                self._load(wanted)
            start, data = self._block
        offset = self._position - start
        return data if offset == 0 and len(data) <= wanted else data[offset : offset + wanted]

    def _load(self, wanted: int) -> None:
        """Makes the block that holds the position the current one."""
        while True:
            try:
                self._block = self._arrived(wanted)
            except ObjectChanged:
                info = None if self._is_promised else self._remote.info(self._info.url)
                if info is None or info.size <= self._position:
                    raise
                self._drop()
                self._info = info
                wanted = min(wanted, info.size)
            else:
                self._is_promised = True
                return

    def _arrived(self, wanted: int) -> tuple[int, bytes]:
        while self._ahead and self._ahead[0][0] < self._position and not self._ahead_holds():
            self._ahead.popleft()
        if not self._ahead_holds():
            self._plan(wanted)
        start, future = self._ahead.popleft()
        data = future.result()
        self._next = start + len(data)
        self._depth = min(2 * self._depth, max(1, self._remote.limits.parallel - 1))
        self._schedule()
        if self._next == self._info.size and self._requests > 1:
            self._reader.verify(self._info.url, self._info.etag)
        return start, data

    def _ahead_holds(self) -> bool:
        """Returns whether the first part under way holds the position."""
        if not self._ahead:
            return False
        begin = self._ahead[0][0]
        end = self._ahead[1][0] if len(self._ahead) > 1 else self._scheduled
        return begin <= self._position < end

    def _plan(self, wanted: int) -> None:
        """Decides what to ask for: on and on where reads follow one another, else what is wanted now."""
        self._drop()
        limits = self._remote.limits
        self._following = self._following + 1 if self._position == self._next else 0
        end = self._info.size
        if self._following <= _STEADY:
            end = min(end, self._position + max(wanted, _LEAST_BYTES))
        self._scheduled, self._limit = self._position, end
        self._depth = min(-(-wanted // limits.part_bytes), limits.parallel)
        self._schedule()

    def _schedule(self) -> None:
        room = self._depth - len(self._ahead)
        if room <= 0 or self._scheduled >= self._limit:
            return
        part = self._remote.limits.part_bytes
        # Cut as far as there is room; where a cache keeps parts, the first may be a short one.
        end = min(self._limit, self._scheduled + room * part)
        wanted = ByteRange(self._info.url, self._scheduled, end, self._info.etag, self._info.size)
        for span in self._reader.spans(wanted)[:room]:
            self._ahead.append((span.start, self._reader.begin(span, self._batch)))
            self._scheduled = span.end or end
            self._requests += 1

    def _drop(self) -> None:
        self._batch.close()
        self._batch = Batch()
        self._ahead.clear()
        self._block = (0, b"")
