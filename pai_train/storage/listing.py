"""Patterns over listings of a remote store: one listing below what is literal in a pattern, no call per object."""

from __future__ import annotations

import inspect
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pai_train.errors import StorageError
from pai_train.storage import urls
from pai_train.storage.contracts import ObjectInfo

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_TIMES = ("mtime", "LastModified", "created")


def below(filesystem: Any, folder: str) -> dict[str, Mapping[str, Any]]:
    """Lists what lies in a folder at any depth, by name; never from a cache."""
    filesystem.invalidate_cache()
    return dict(filesystem.find(folder, detail=True))


def entry(url: str, raw: Mapping[str, Any]) -> ObjectInfo:
    """Returns what a filesystem tells of an object; each names the time of the last change in its own way."""
    told = next((raw[name] for name in _TIMES if raw.get(name) is not None), None)
    if isinstance(told, datetime):
        told = (told if told.tzinfo is not None else told.replace(tzinfo=UTC)).timestamp()
    modified = float(told) if isinstance(told, int | float) else None
    return ObjectInfo(url, int(raw["size"]), str(raw["etag"]), modified)


def found(filesystem: Any, pattern: str, where: str, *, is_local: bool) -> dict[str, Mapping[str, Any]]:
    """Lists what matches a pattern, by name; never from a cache.

    Args:
        filesystem: Where to look.
        pattern: With `*`, `?`, `[…]` and, as a whole part, `**`.
        where: The pattern as a URL.
        is_local: Whether the filesystem has folders, which are then walked; else it is one of buckets of keys.

    Raises:
        StorageError: The pattern is malformed.
        FileNotFoundError: There is no such folder, as filesystems may say.
    """
    filesystem.invalidate_cache()
    try:
        return dict(filesystem.glob(pattern, detail=True)) if is_local else _matches(filesystem, pattern)
    except ValueError as error:
        raise StorageError(
            "malformed pattern",
            where=where,
            got=str(error),
            wanted="*, ?, […], or ** as a whole part, below a bucket",
        ) from error


def _matches(filesystem: Any, pattern: str) -> dict[str, Mapping[str, Any]]:
    from fsspec.utils import glob_translate

    expression = re.compile(glob_translate(pattern))
    parts = pattern.split("/")
    depth = next(index for index, part in enumerate(parts) if urls.is_glob(part))
    folder, prefix = "/".join(parts[:depth]), re.split(r"[*?\[]", parts[depth], maxsplit=1)[0]
    is_last = depth == len(parts) - 1 and parts[depth] != "**"
    if not folder:
        raise ValueError("a bucket cannot be a pattern")
    listed = _children(filesystem, folder, prefix) if is_last else _below(filesystem, folder, prefix)
    return {name: raw for name, raw in listed.items() if expression.match(name)}


def _children(filesystem: Any, folder: str, prefix: str) -> dict[str, Mapping[str, Any]]:
    """Lists what lies directly in a folder; no more than what begins with the prefix, where the store can tell."""
    if prefix and "prefix" in _parameters(filesystem, "find"):
        return dict(filesystem.find(folder, maxdepth=1, prefix=prefix, detail=True))
    return {raw["name"]: raw for raw in filesystem.ls(folder, detail=True)}


def _below(filesystem: Any, folder: str, prefix: str) -> dict[str, Mapping[str, Any]]:
    options = {"prefix": prefix} if prefix and "prefix" in _parameters(filesystem, "find") else {}
    return dict(filesystem.find(f"{folder}/", detail=True, **options))


def takes_etag(filesystem: Any) -> bool:
    """Returns whether a read can name the version that it wants."""
    return "etag" in _parameters(filesystem, "cat_file")


def _parameters(filesystem: Any, name: str) -> set[str]:
    """Lists what a method takes by name; asynchronous filesystems say it at their coroutine."""
    found: set[str] = set()
    for method in (getattr(filesystem, name, None), getattr(filesystem, f"_{name}", None)):
        if method is not None:
            signed: Callable[..., Any] = method
            found |= set(inspect.signature(signed).parameters)
    return found
