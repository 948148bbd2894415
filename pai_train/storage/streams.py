"""Binary streams of a store whose every error is a StorageError, and which never publish half an object."""

from __future__ import annotations

import io
import logging
from typing import TYPE_CHECKING, Any

from pai_train.errors import StorageError
from pai_train.storage.errors import mapped

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from pai_train.storage.stats import StoreStats

logger = logging.getLogger(__name__)


class _Stream(io.BufferedIOBase):
    """A stream over a filesystem's own file object."""

    def __init__(self, url: str, raw: Any) -> None:
        super().__init__()
        self._url = url
        self._raw = raw

    @property
    def name(self) -> str:
        """The object's URL."""
        return self._url

    def tell(self) -> int:
        return int(self._raw.tell())

    def close(self) -> None:
        if self.closed:
            return
        try:
            with mapped(self._url):
                self._raw.close()
        finally:
            super().close()


class InputStream(_Stream):
    """Reads an object."""

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        with mapped(self._url):
            return int(self._raw.seek(offset, whence))

    def read(self, size: int | None = -1, /) -> bytes:
        with mapped(self._url):
            return bytes(self._raw.read(-1 if size is None else size))

    def read1(self, size: int = -1, /) -> bytes:
        return self.read(io.DEFAULT_BUFFER_SIZE if size < 0 else size)

    def readline(self, size: int | None = -1, /) -> bytes:
        with mapped(self._url):
            return bytes(self._raw.readline(-1 if size is None else size))


class OutputStream(_Stream):
    """Writes an object, which appears at `close`; after an exception in its `with` block it never does."""

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        with mapped(self._url):
            return int(self._raw.write(data))

    def discard(self) -> None:
        """Gives up what was written."""
        if not self.closed:
            with mapped(self._url):
                self._raw.discard()
            super(_Stream, self).close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()

    def __del__(self) -> None:
        # The base class would close, and so publish, a stream that was dropped half written.
        self.discard()


class RemoteOutput(io.BufferedIOBase):
    """Writes a remote object, which appears at `close`: a small one as one repeatable request, others in parts.

    After an exception in its `with` block, or when it is dropped unclosed, nothing appears. When a write fails, what
    was written is given up.

    Args:
        url: The object.
        put: Stores all of a small object.
        begin: Opens the filesystem's own stream, for a larger one.
        most: The largest small one, in bytes.
        stats: Where what is sent is counted.
    """

    def __init__(
        self, url: str, put: Callable[[bytes], None], begin: Callable[[], Any], most: int, stats: StoreStats
    ) -> None:
        super().__init__()
        self._url = url
        self._put = put
        self._begin = begin
        self._most = most
        self._stats = stats
        self._buffer = bytearray()
        self._raw: Any = None
        self._size = 0

    @property
    def name(self) -> str:
        """The object's URL."""
        return self._url

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        if self.closed:
            raise ValueError("tell of a closed stream")
        return self._size

    def write(self, data: Any, /) -> int:
        if self.closed:
            raise ValueError("write to a closed stream")
        view = memoryview(data).cast("B")
        if self._raw is None and len(self._buffer) + len(view) <= self._most:
            self._buffer += view
        else:
            self._guarded(lambda: self._send(view))
        self._size += len(view)
        return len(view)

    def close(self) -> None:
        if self.closed:
            return
        if self._raw is not None:
            self._guarded(self._raw.close)
        else:
            content = bytes(self._buffer)
            self._buffer.clear()
            super().close()
            self._put(content)
        super().close()

    def discard(self) -> None:
        """Gives up what was written."""
        if self.closed:
            return
        raw, self._raw = self._raw, None
        self._buffer.clear()
        super().close()
        if raw is not None:
            with mapped(self._url):
                raw.discard()

    def _send(self, view: memoryview) -> None:
        if self._raw is None:
            self._raw = self._begin()
            self._stats.add(bytes_written=self._raw.write(bytes(self._buffer)))
            self._buffer.clear()
        self._stats.add(bytes_written=self._raw.write(view))

    def _guarded(self, step: Callable[[], None]) -> None:
        """Runs a step of the filesystem's stream; when it fails, nothing may ever appear."""
        try:
            with self._stats.waited(), mapped(self._url):
                step()
        except BaseException:
            try:
                self.discard()
            except StorageError:
                logger.debug("%s: what was sent could not be taken back", self._url)
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()

    def __del__(self) -> None:
        # The base class would close, and so publish, a stream that was dropped half written.
        if hasattr(self, "_size"):
            self.discard()
