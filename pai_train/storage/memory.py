"""Objects in this process's memory with the manners of an object store: whole, unshared cursors, content etags."""

from __future__ import annotations

import hashlib
import io
import os
from typing import TYPE_CHECKING, Any

from fsspec.implementations.memory import MemoryFile, MemoryFileSystem

if TYPE_CHECKING:
    from types import TracebackType


class MemoryObjects(MemoryFileSystem):  # type: ignore[misc]
    """fsspec's memory filesystem, over the same process-wide objects, made safe for threads.

    Its base shows an object while it is written and hands every reader the same cursor.
    """

    @classmethod
    def _strip_protocol(cls, path: str | os.PathLike[str]) -> str:
        # The base takes names with `::` or `://` in them for something else.
        name = os.fspath(path).removeprefix("memory://").strip("/")
        return f"/{name}" if name else ""

    def info(self, path: str, **options: Any) -> dict[str, Any]:
        path = self._strip_protocol(path)
        stored = self.store.get(path)
        if stored is None:
            return dict(super().info(path, **options))
        return {"name": path, "size": stored.size, "type": "file", "created": stored.created, "etag": _etag(stored)}

    def find(
        self, path: str, maxdepth: int | None = None, withdirs: bool = False, detail: bool = False, **_: Any
    ) -> Any:
        found: dict[str, dict[str, Any]] = super().find(path, maxdepth, withdirs, detail=True)
        kept = {}
        for name, info in found.items():
            stored = self.store.get(name)
            if info["type"] != "file":
                kept[name] = info
            elif stored is not None:
                kept[name] = {**info, "size": stored.size, "etag": _etag(stored)}
        return kept if detail else list(kept)

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **_: Any) -> None:
        path = self._strip_protocol(path)
        stored = MemoryFile(self, path, value)
        if mode != "create":
            self.store[path] = stored
        # One step of the interpreter decides who was first: no lock that a fork could leave locked.
        elif self.store.setdefault(path, stored) is not stored:
            raise FileExistsError(path)

    def put_file(self, path1: str, path2: str, callback: Any = None, **_: Any) -> None:
        with open(path1, "rb") as source:
            self.pipe_file(path2, source.read())

    def cp_file(self, path1: str, path2: str, **_: Any) -> None:
        self.pipe_file(path2, self.cat_file(path1))

    def rm(self, path: str | list[str], recursive: bool = False, maxdepth: int | None = None) -> None:
        for name in [path] if isinstance(path, str) else path:
            top = self._strip_protocol(name)
            doomed = [key for key in tuple(self.store) if key == top or (recursive and key.startswith(f"{top}/"))]
            for key in doomed:
                self.store.pop(key, None)
            if not doomed:
                raise FileNotFoundError(top)

    def _open(self, path: str, mode: str = "rb", block_size: int | None = None, **options: Any) -> Any:
        path = self._strip_protocol(path)
        if mode == "rb":
            return io.BytesIO(self.cat_file(path))
        if mode not in ("wb", "xb"):
            raise ValueError(f"objects are written whole, not in mode {mode!r}")
        if mode == "xb" and path in self.store:
            raise FileExistsError(path)
        return MemoryOutput(self, path, "create" if mode == "xb" else "overwrite")


class MemoryOutput(io.BytesIO):
    """Collects an object's bytes; `close` stores them, an exception in its `with` block or dropping it does not."""

    def __init__(self, filesystem: MemoryObjects, path: str, mode: str) -> None:
        super().__init__()
        self._filesystem = filesystem
        self._path = path
        self._mode = mode

    def close(self) -> None:
        if not self.closed:
            content = self.getvalue()
            super().close()
            self._filesystem.pipe_file(self._path, content, mode=self._mode)

    def discard(self) -> None:
        """Drops what was written."""
        super().close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()

    def __del__(self) -> None:
        self.discard()


def _etag(stored: Any) -> str:
    """Returns the content's digest, computed once: stored objects are replaced, never changed."""
    known = getattr(stored, "etag", None)
    if known is None:
        known = stored.etag = hashlib.md5(stored.getvalue(), usedforsecurity=False).hexdigest()
    return str(known)
