"""Streams of objects in a bucket: one is read in one version, and written whole or not at all."""

from __future__ import annotations

import asyncio
import errno
import io
import os
from typing import TYPE_CHECKING, Any, Protocol

from fsspec.asyn import sync
from fsspec.spec import AbstractBufferedFile

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from types import TracebackType

    from pai_train.storage.objects import KeyedFiles
    from pai_train.storage.options import Limits


class ObjectChangedError(OSError):
    """The object was replaced while it was read."""

    def __init__(self, path: str) -> None:
        super().__init__(errno.ESTALE, "the object was replaced while it was read", path)


class Upload(Protocol):
    """One object on its way to the store; nothing is visible before `finish`."""

    in_order: bool
    most_parts: int | None  # that the service takes; None where it does not count them

    async def send(self, part: bytes) -> None:
        """Stores the next part; where the upload is not `in_order`, while others are still under way."""

    async def finish(self, last: bytes) -> str:
        """Stores the last part, or all there is, and makes the object visible; returns its etag."""

    async def abort(self) -> None:
        """Gives up what was sent; never fails."""


class Parts:
    """Sends the parts of an upload, several at once where it allows that."""

    def __init__(self, upload: Upload, parallel: int) -> None:
        self._upload = upload
        self._parallel = 1 if upload.in_order else parallel
        self._sending: list[asyncio.Task[None]] = []
        self._begun = 0

    def length(self, least: int) -> int:
        """Returns how long the next part is to be: twice as long whenever another tenth of the parts is used up."""
        most = self._upload.most_parts
        return least if most is None else least << (10 * self._begun // most)

    async def send(self, part: bytes) -> None:
        self._begun += 1
        while len(self._sending) >= self._parallel:
            await self._sending.pop(0)
        self._sending.append(asyncio.create_task(self._upload.send(part)))

    async def finish(self, last: bytes) -> str:
        while self._sending:
            await self._sending.pop(0)
        return await self._upload.finish(last)

    async def abort(self) -> None:
        for sending in self._sending:
            sending.cancel()
        await asyncio.gather(*self._sending, return_exceptions=True)
        await self._upload.abort()


class WholeOutput(io.BufferedIOBase):
    """Sends an object in parts while it is written; `close` makes it visible.

    Leaving a `with` block by an exception, or dropping the stream unclosed, leaves nothing.

    Args:
        loop: The event loop of the filesystem.
        upload: Where the parts go.
        limits: How long a part is, and how many are under way at once.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, upload: Upload, limits: Limits) -> None:
        super().__init__()
        self._loop = loop
        self._parts = Parts(upload, limits.parallel)
        self._part_bytes = limits.part_bytes
        self._buffer = bytearray()
        self._position = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def write(self, data: Any, /) -> int:
        if self.closed:
            raise ValueError("write to a closed stream")
        view = memoryview(data).cast("B")
        for start in range(0, len(view), self._part_bytes):
            self._buffer += view[start : start + self._part_bytes]
            length = self._parts.length(self._part_bytes)
            if len(self._buffer) > length:
                part = bytes(self._buffer[:length])
                del self._buffer[:length]
                self._run(self._parts.send, part)
        self._position += len(view)
        return len(view)

    def close(self) -> None:
        if not self.closed:
            self._run(self._parts.finish, bytes(self._buffer))
            super().close()

    def discard(self) -> None:
        """Gives up what was written."""
        if not self.closed:
            super().close()
            self._buffer.clear()
            sync(self._loop, self._parts.abort)

    def _run(self, step: Callable[[bytes], Coroutine[Any, Any, Any]], part: bytes) -> None:
        try:
            sync(self._loop, step, part)
        except BaseException:
            self.discard()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()

    def __del__(self) -> None:
        # The base class would close, and so publish, what was dropped half written. Nobody waits here: this may run on
        # the loop's own thread.
        if hasattr(self, "_buffer") and not self.closed:
            super().close()
            if self._loop.is_running():
                asyncio.run_coroutine_threadsafe(self._parts.abort(), self._loop)


class SteadyInput(AbstractBufferedFile):  # type: ignore[misc]
    """Reads one version of an object: one that is replaced under the reader is an error, never a mixture."""

    def __init__(self, filesystem: KeyedFiles, path: str, block_size: int) -> None:
        self._has_given = False
        self._begin(filesystem, path, block_size)

    def _begin(self, filesystem: KeyedFiles, path: str, block_size: int) -> None:
        info = filesystem.info(path)
        if info["type"] != "file":
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
        self._etag = info["etag"]
        super().__init__(filesystem, path, "rb", block_size, cache_type="readahead", size=info["size"])

    def read(self, length: int = -1) -> bytes:
        while True:
            try:
                content = bytes(super().read(length))
            except ObjectChangedError:
                # Nobody has seen anything of the old version yet: begin with the new one.
                if self._has_given or self.loc:
                    raise
                self._begin(self.fs, self.path, self.blocksize)
            else:
                self._has_given = True
                return content

    def readline(self, size: int = -1) -> bytes:
        line = bytes(super().readline())
        if 0 <= size < len(line):
            self.seek(size - len(line), io.SEEK_CUR)
            return line[:size]
        return line

    def _fetch_range(self, start: int, end: int) -> bytes:
        return bytes(self.fs.cat_file(self.path, start, min(end, self.size), etag=self._etag))
