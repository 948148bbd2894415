"""Binary streams of a store whose every error is a StorageError, and which never publish half an object."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from pai_train.storage.errors import mapped

if TYPE_CHECKING:
    from types import TracebackType


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
