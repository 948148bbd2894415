"""Names to full URLs and back: pure text, nothing is opened and nothing is percent-encoded.

A full URL is `scheme://path`. For `file` the path is absolute and stands verbatim, so `#`, `%`, `?` and spaces are
ordinary characters; for object stores it is `bucket/key`. Normal form: the one spelling of the scheme, no empty part,
no `.`, no `..`, no slash at the end except after an empty path.
"""

from __future__ import annotations

import os
import re
from glob import escape

from pai_train.errors import StorageError

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
ALIASES = {"gcs": "gs", "s3a": "s3", "s3n": "s3", "abfs": "az", "abfss": "az"}
"""Other spellings of schemes, as other tools write them."""

_IN_BUCKETS = ("oss", "s3", "gs", "az")
_MAGIC = re.compile(r"[*?\[]")


def is_url(name: str) -> bool:
    """Returns whether `name` is `scheme://…`."""
    return _URL.match(name) is not None


def is_glob(name: str) -> bool:
    """Returns whether `name` holds one of `*?[`."""
    return _MAGIC.search(name) is not None


def matches(pattern: str, url: str) -> bool:
    """Returns whether a URL is one that a pattern, a URL with `*`, `?`, `[…]` or `**`, would find."""
    from fsspec.utils import glob_translate

    (scheme, path), (other, name) = split(pattern), split(url)
    return scheme == other and re.compile(glob_translate(path)).match(name) is not None


def split(url: str) -> tuple[str, str]:
    """Returns the scheme, in lower case and its one spelling, and the path of a full URL.

    Raises:
        StorageError: It has no scheme.
    """
    match = _URL.match(url)
    if match is None:
        raise StorageError("not a full URL", where=url, wanted="scheme://path, such as file:///data/iris.csv")
    scheme = match[1].lower()
    return ALIASES.get(scheme, scheme), match[2]


def resolve(root: str, name: str) -> str:
    """Returns the full URL of a name as a person writes it.

    Args:
        root: Where relative names begin: a URL, an absolute path, `~/…`, or a path relative to the working directory.
        name: A full URL, an absolute path, or a name or glob relative to `root`. When a relative name is a glob,
            `*?[` in the root are escaped, so that they stand for themselves.

    Returns:
        The URL in normal form.

    Raises:
        StorageError: A relative name leaves the root, root or URL cannot be read, or one names no bucket.
    """
    if is_url(name):
        return _normal(*split(name), where=name)
    if name.startswith("/"):
        return _normal("file", name, where=name)
    base = _root(root)
    if is_glob(name) and is_glob(base):
        scheme, path = split(base)
        base = f"{scheme}://{escape(path)}"
    return join(base, name)


def join(url: str, *names: str) -> str:
    """Returns the URL of `names` below `url`, in normal form.

    Raises:
        StorageError: A name is absolute or leaves `url`.
    """
    scheme, path = split(url)
    path = split(_normal(scheme, path, where=url))[1]
    for name in names:
        if name.startswith("/"):
            raise StorageError("an absolute name cannot stand below a folder", where=url, got=name)
        inner = _parts(name, where=name)
        if inner is None:
            raise StorageError("the name leaves its folder", where=url, got=name, wanted="a name without leading ..")
        path = "/".join([path.rstrip("/"), *inner]) if inner else path
        path = path.removeprefix("/") if scheme != "file" else path
    return f"{scheme}://{path}"


def parent(url: str) -> str:
    """Returns the folder that a URL lies in; the URL itself for a bucket."""
    scheme, path = split(url)
    folder = path.rstrip("/").rpartition("/")[0]
    return f"{scheme}://{folder}" if folder or scheme == "file" else url


def basename(url: str) -> str:
    """Returns the last part of the path; the bucket for a bucket, nothing for `file:///`."""
    return split(url)[1].rstrip("/").rpartition("/")[2]


def display(url: str) -> str:
    """Returns how a person would write the URL here: local files as paths, short ones below the working directory."""
    scheme, path = split(url)
    if scheme != "file":
        return url
    here = os.getcwd()
    if path == here:
        return "."
    return path.removeprefix(here.rstrip("/") + "/")


def _root(root: str) -> str:
    if not root:
        raise StorageError("the storage root is empty", where="storage.root", wanted="a folder or a URL")
    if is_url(root):
        return _normal(*split(root), where=root)
    return _normal("file", os.path.join(os.getcwd(), os.path.expanduser(root)), where=root)


def _normal(scheme: str, path: str, where: str) -> str:
    if scheme == "file" and not path.startswith("/"):
        raise StorageError("a file URL needs an absolute path", where=where, wanted="file:///folder/name")
    bucket: list[str] = []
    if scheme in _IN_BUCKETS:
        # A path that leaves its bucket would be in another one.
        name, _, path = path.partition("/")
        _check_bucket(scheme, name, where)
        bucket = [name]
    parts = _parts(path, where=where)
    if parts is None:
        raise StorageError("the path leaves its root", where=where, wanted="a path without leading ..")
    return f"{scheme}://{'/' if scheme == 'file' else ''}{'/'.join([*bucket, *parts])}"


def _check_bucket(scheme: str, bucket: str, where: str) -> None:
    kind = "container" if scheme == "az" else "bucket"
    wanted = f"{scheme}://{kind}/folder"
    if bucket in ("", ".", ".."):
        raise StorageError(f"the URL names no {kind}", where=where, wanted=wanted)
    if "@" in bucket or is_glob(bucket):
        todo = "leave out what is in front of @; keys are taken from the environment" if "@" in bucket else None
        if scheme == "az" and todo is not None:
            todo = "leave out the account; it is taken from AZURE_STORAGE_ACCOUNT_NAME or the connection string"
        raise StorageError(f"not the name of a {kind}", where=where, wanted=wanted, todo=todo)


def _parts(path: str, where: str) -> list[str] | None:
    """Splits a path and takes out empty parts, `.` and `..`; None when `..` would leave the beginning."""
    if "\0" in path:
        raise StorageError("a name cannot hold a NUL character", where=where.replace("\0", "\\0"))
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            if not parts:
                return None
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return parts
