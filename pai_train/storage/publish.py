"""Publishing several files as one: all are uploaded, then a manifest; without its manifest a folder does not exist."""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from pai_train.errors import StorageError
from pai_train.storage import urls
from pai_train.storage.contracts import ByteRange
from pai_train.storage.errors import ObjectChanged, ObjectMissing, mapped

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping
    from pathlib import Path

    from pai_train.storage.store import Store

MANIFEST_NAME = "MANIFEST.json"
_FORMAT = 1


class NotAManifest(StorageError):
    """There is an object of the manifest's name, of JSON, that is none: somebody else published there."""


@dataclass(frozen=True)
class FileEntry:
    """What a published file must be: its size in bytes and the SHA-256 of its content in hex."""

    size: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """A complete publication.

    Attributes:
        url: Its folder.
        files: By name relative to the folder, sorted.
        extra: What the publisher added, of JSON types.
    """

    url: str
    files: Mapping[str, FileEntry]
    extra: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Returns a dict of JSON types, without the folder's URL: a folder can be moved."""
        files = {name: asdict(self.files[name]) for name in sorted(self.files)}
        return {"format": _FORMAT, "files": files, "extra": dict(self.extra)}

    @classmethod
    def from_json(cls, url: str, value: Any) -> Manifest:
        """Reads what `to_json` gave.

        Raises:
            NotAManifest: It is none, or one that names files outside its folder.
            StorageError: It is one of a later format.
        """
        where = urls.join(url, MANIFEST_NAME)
        try:
            version, files, extra = value["format"], value["files"], value["extra"]
            entries = {
                _checked(name): FileEntry(int(files[name]["size"]), str(files[name]["sha256"])) for name in files
            }
            manifest = cls(url, dict(sorted(entries.items())), dict(extra))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise NotAManifest(
                "not a manifest",
                where=where,
                got=repr(error),
                todo="restore the folder, or delete it and publish again",
            ) from error
        if version != _FORMAT:
            raise StorageError(
                "a manifest of another format",
                where=where,
                got=str(version),
                wanted=str(_FORMAT),
                todo="upgrade pai_train",
            )
        return manifest


def publish(store: Store, folder_url: str, files: Mapping[str, Path], extra: Mapping[str, Any]) -> Manifest:
    """Uploads files and, once all are there, the manifest that makes them exist.

    A publication that is already there is withdrawn first. Whatever write fails, readers see a complete publication
    or none.

    Args:
        store: Where the folder is.
        folder_url: The folder.
        files: Local files by name relative to the folder; names may hold `/`.
        extra: Kept in the manifest; of JSON types.

    Returns:
        The manifest as `read_manifest` gives it.

    Raises:
        StorageError: A file cannot be read or stored, or changed while it was stored.
        ValueError: A name is not one below the folder, or `extra` is not JSON.
    """
    json.dumps(dict(extra), allow_nan=False)
    for name in files:
        _checked(name)
    store.delete(urls.join(folder_url, MANIFEST_NAME))
    entries = _upload_all(store, folder_url, {name: files[name] for name in sorted(files)})
    content = json.dumps(Manifest(folder_url, entries, extra).to_json(), indent=1, allow_nan=False)
    store.put(urls.join(folder_url, MANIFEST_NAME), content.encode())
    return Manifest.from_json(folder_url, json.loads(content))


def read_manifest(store: Store, folder_url: str) -> Manifest | None:
    """Returns the manifest of a folder, or None when nothing was published there.

    Raises:
        StorageError: There is a manifest and it cannot be read.
    """
    where = urls.join(folder_url, MANIFEST_NAME)
    try:
        content = store.read(where)
    except ObjectMissing:
        return None
    try:
        value = json.loads(content)
    except ValueError as error:
        raise StorageError(
            "the manifest is damaged",
            where=where,
            got=str(error),
            todo="restore the folder, or delete it and publish again",
        ) from error
    return Manifest.from_json(folder_url, value)


def fetch(store: Store, manifest: Manifest, to: Path) -> None:
    """Downloads a publication into a local folder and verifies every size and SHA-256.

    Of a remote store the parts of several files are on their way at once.

    Raises:
        StorageError: A file is missing or is not what the manifest says; the error names it.
    """
    part = store.limits.part_bytes
    parts = [
        ByteRange(urls.join(manifest.url, name), start, min(start + part, entry.size), size=entry.size)
        for name, entry in manifest.files.items()
        for start in range(0, entry.size, part)
    ]
    arriving = store.read_many(parts)
    try:
        for name, wanted in manifest.files.items():
            _save(store, urls.join(manifest.url, name), wanted, arriving, to / name)
    finally:
        arriving.close()


def withdraw(store: Store, folder_url: str) -> None:
    """Deletes a publication, its manifest first, so that half of it is never taken for the whole."""
    store.delete(urls.join(folder_url, MANIFEST_NAME))
    store.delete_tree(folder_url)


def _upload_all(store: Store, folder_url: str, files: Mapping[str, Path]) -> dict[str, FileEntry]:
    """Uploads files: small ones several at once, others one after another, since each is sent in parts itself."""
    most = 1 if store.is_local else store.limits.parallel
    if most == 1:
        return {name: _upload(store, urls.join(folder_url, name), file) for name, file in files.items()}
    small = [name for name, file in files.items() if file.is_file() and file.stat().st_size < store.limits.part_bytes]
    entries: dict[str, FileEntry] = {}
    with ThreadPoolExecutor(most) as pool:
        sent = pool.map(lambda name: _upload(store, urls.join(folder_url, name), files[name]), small)
        entries.update(zip(small, sent, strict=True))
    for name in files.keys() - small:
        entries[name] = _upload(store, urls.join(folder_url, name), files[name])
    return entries


def _upload(store: Store, url: str, file: Path) -> FileEntry:
    with mapped(str(file)), file.open("rb") as source:
        digest = hashlib.file_digest(source, "sha256")
        entry = FileEntry(source.tell(), digest.hexdigest())
    stored = store.put(url, file)
    if stored.size != entry.size:
        raise StorageError(
            "the stored object has another size than the file",
            where=url,
            got=f"{stored.size} bytes",
            wanted=f"{entry.size} bytes",
            todo="publish again, and leave the file alone meanwhile",
        )
    return entry


def _save(store: Store, url: str, wanted: FileEntry, parts: Generator[bytes, None, None], target: Path) -> None:
    """Writes one file from the parts that come next, and removes it where it is not the one that is wanted."""
    digest, size = hashlib.sha256(), 0
    try:
        _check_empty(store, url, wanted)
        with mapped(str(target)):
            target.parent.mkdir(parents=True, exist_ok=True)
        with mapped(str(target)), target.open("wb") as output:
            while size < wanted.size:
                block = next(parts)
                digest.update(block)
                output.write(block)
                size += len(block)
    except BaseException as error:
        target.unlink(missing_ok=True)
        if isinstance(error, ObjectChanged):
            raise _other(url, error.fault.got, wanted) from error
        raise
    if digest.hexdigest() != wanted.sha256:
        target.unlink()
        raise _other(url, f"{size} bytes, sha256 {digest.hexdigest()}", wanted)


def _check_empty(store: Store, url: str, wanted: FileEntry) -> None:
    """Looks for a file of which no byte will be read."""
    if wanted.size:
        return
    info = store.info(url)
    if info is None:
        raise ObjectMissing("no such object", where=url, todo="use an earlier publication, or publish again")
    if info.size:
        raise _other(url, f"{info.size} bytes", wanted)


def _other(url: str, got: str | None, wanted: FileEntry) -> StorageError:
    return StorageError(
        "the file is not the one that was published",
        where=url,
        got=got,
        wanted=f"{wanted.size} bytes, sha256 {wanted.sha256}",
        todo="use an earlier publication, or publish again",
    )


def _checked(name: str) -> str:
    """Returns a name that stays below its folder and is not the manifest's own."""
    parts = name.split("/")
    if name == MANIFEST_NAME or "\0" in name or any(part in ("", ".", "..") for part in parts):
        raise ValueError(f"not a name for a published file: {name!r}")
    return name
