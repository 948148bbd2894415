"""What the OSS server keeps: buckets, versions of objects, uploads under way. Each change is made in one step."""

from __future__ import annotations

import hashlib
import itertools
import uuid
from bisect import bisect_left, bisect_right, insort
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.servers.oss_answers import Refused, invalid
from tests.servers.oss_content import Content, Sums, combined, joined

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

MIN_PART_BYTES = 100 * 1024
NO_VERSION = "null"


@dataclass(frozen=True)
class Version:
    """An object as it was written once; without content, a mark that it was deleted then.

    Attributes:
        id: `null` where the bucket keeps no versions.
        modified: Whole seconds since 1970.
        content: Its bytes.
        etag: In capitals, without quotes.
        crc: CRC-64 of the bytes.
        kind: `Normal`, `Multipart` or `Appendable`.
        headers: What was said about it when it was written.
        md5: Of the bytes, where it was sent in one piece.
    """

    id: str
    modified: int
    content: Content | None
    etag: str = ""
    crc: int = 0
    kind: str = "Normal"
    headers: Mapping[str, str] = field(default_factory=dict)
    md5: bytes | None = None


@dataclass(frozen=True)
class Part:
    """A part of an upload."""

    number: int
    content: Content
    sums: Sums
    modified: int


@dataclass
class Upload:
    """An object that is sent in parts, and not there yet."""

    id: str
    key: str
    headers: Mapping[str, str]
    initiated: int
    parts: dict[int, Part] = field(default_factory=dict)

    def chosen(self, wanted: Sequence[tuple[int, str]] | None) -> list[Part]:
        """Returns the parts that the object is made of, as the client names them; None for all.

        Raises:
            Refused: They are not what was sent.
        """
        if wanted is None:
            parts = [self.parts[number] for number in sorted(self.parts)]
        else:
            numbers = [number for number, _ in wanted]
            if any(first >= second for first, second in itertools.pairwise(numbers)):
                raise Refused(400, "InvalidPartOrder", "The list of parts was not in ascending order.")
            for number, etag in wanted:
                if number not in self.parts or self.parts[number].sums.etag != etag:
                    message = "One or more of the specified parts could not be found or the specified entity tag "
                    raise Refused(400, "InvalidPart", f"{message}might not have matched.", PartNumber=str(number))
            parts = [self.parts[number] for number in numbers]
        if not parts:
            raise invalid("You must specify at least one part.")
        if any(part.content.size < MIN_PART_BYTES for part in parts[:-1]):
            message = "Your proposed upload smaller than the minimum allowed size."
            raise Refused(400, "EntityTooSmall", message, MinSizeAllowed=str(MIN_PART_BYTES))
        return parts


@dataclass
class Bucket:
    """A bucket.

    Attributes:
        name: Its name.
        region: Where it is.
        created: Whole seconds since 1970.
        versioning: `Enabled`, `Suspended`, or None as long as nobody has turned it on.
        uploads: By id.
    """

    name: str
    region: str
    created: int
    versioning: str | None = None
    uploads: dict[str, Upload] = field(default_factory=dict)
    _versions: dict[str, list[Version]] = field(default_factory=dict)
    _keys: list[str] = field(default_factory=list)

    @property
    def is_empty(self) -> bool:
        return not self._versions and not self.uploads

    def find(self, key: str, version: str | None = None) -> Version:
        """Returns an object as it is, or as it was.

        Raises:
            Refused: It is not there.
        """
        versions = self._versions.get(key, [])
        if version is not None:
            for found in versions:
                if found.id == version:
                    return found
            raise Refused(404, "NoSuchVersion", "The specified version does not exist.", Key=key, VersionId=version)
        if not versions or versions[-1].content is None:
            marked = {"x-oss-delete-marker": "true", "x-oss-version-id": versions[-1].id} if versions else {}
            message = "The specified key does not exist."
            raise Refused(404, "NoSuchKey", message, ec="0026-00000001", headers=marked, Key=key)
        return versions[-1]

    def holds(self, key: str) -> bool:
        """Returns whether there is an object."""
        versions = self._versions.get(key)
        return bool(versions) and versions[-1].content is not None

    def check_free(self, key: str, forbidden: bool) -> None:
        """Refuses to replace an object where that is forbidden; with versions, nothing is ever replaced."""
        if forbidden and self.versioning is None and self.holds(key):
            message = "The object you specified already exists and can not be overwritten."
            raise Refused(409, "FileAlreadyExists", message, ec="0026-00000002")

    def put(self, key: str, made: Callable[[str], Version], forbidden: bool = False) -> Version:
        """Makes an object visible.

        Args:
            key: Its name.
            made: Gives it for the id that it gets.
            forbidden: Whether no object may be there.
        """
        self.check_free(key, forbidden)
        version = made(self._next_id())
        self._add(key, version)
        return version

    def replace(self, key: str, version: Version) -> None:
        """Puts an object in the place of its current version."""
        self._versions[key][-1] = version

    def delete(self, key: str, now: int, version: str | None = None) -> Version | None:
        """Deletes an object or one version of it; a missing one is fine.

        Returns:
            The version that is gone, or the mark that was made instead.
        """
        if version is not None or self.versioning is None:
            wanted = version or NO_VERSION
            gone = next((found for found in self._versions.get(key, []) if found.id == wanted), None)
            self._drop(key, wanted)
            return gone
        mark = Version(self._next_id(), now, None)
        self._add(key, mark)
        return mark

    def keys_from(self, first: str, *, after: bool = False) -> Iterator[str]:
        """Yields the keys that have a version, sorted, from one on."""
        at = bisect_right(self._keys, first) if after else bisect_left(self._keys, first)
        for index in range(at, len(self._keys)):
            yield self._keys[index]

    def versions(self, key: str) -> list[Version]:
        """Returns all versions of an object, the newest first."""
        return self._versions.get(key, [])[::-1]

    def _next_id(self) -> str:
        return f"CAE{uuid.uuid4().hex}" if self.versioning == "Enabled" else NO_VERSION

    def _add(self, key: str, version: Version) -> None:
        if key not in self._versions:
            self._versions[key] = []
            insort(self._keys, key)
        if version.id == NO_VERSION:
            self._versions[key] = [found for found in self._versions[key] if found.id != NO_VERSION]
        self._versions[key].append(version)

    def _drop(self, key: str, version: str) -> None:
        left = [found for found in self._versions.get(key, []) if found.id != version]
        if left:
            self._versions[key] = left
        elif key in self._versions:
            del self._versions[key]
            del self._keys[bisect_left(self._keys, key)]

    # Uploads

    def begin(self, key: str, headers: Mapping[str, str], now: int) -> Upload:
        """Starts an upload."""
        upload = Upload(uuid.uuid4().hex.upper(), key, headers, now)
        self.uploads[upload.id] = upload
        return upload

    def upload(self, key: str, upload_id: str) -> Upload:
        """Returns an upload under way.

        Raises:
            Refused: There is none.
        """
        upload = self.uploads.get(upload_id)
        if upload is None or upload.key != key:
            message = "The specified upload does not exist. The upload ID may be invalid, or the upload may have been "
            raise Refused(404, "NoSuchUpload", f"{message}aborted or completed.", UploadId=upload_id)
        return upload

    def complete(self, upload: Upload, wanted: Sequence[tuple[int, str]] | None, now: int, forbidden: bool) -> Version:
        """Makes an object of the parts of an upload, which then is over."""
        parts = upload.chosen(wanted)
        crc = 0
        for part in parts:
            crc = combined(crc, part.sums.crc, part.sums.size)
        digest = hashlib.md5(b"".join(part.sums.md5 for part in parts), usedforsecurity=False).hexdigest().upper()
        content = joined(part.content for part in parts)
        etag = f"{digest}-{len(parts)}"
        version = self.put(
            upload.key, lambda id_: Version(id_, now, content, etag, crc, "Multipart", upload.headers), forbidden
        )
        del self.uploads[upload.id]
        return version
