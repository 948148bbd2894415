"""One request to the OSS server, taken apart, with what its operation needs to answer it."""

from __future__ import annotations

import base64
import binascii
from collections import Counter
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from aiohttp import web

from tests.servers.oss_accounts import Accounts, Clock, Identity
from tests.servers.oss_answers import Refused, document, header_time, invalid, malformed
from tests.servers.oss_content import Content, Sums, received

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.servers.oss_state import Bucket, Version

_MOST_XML = 4 * 2**20
# What is said about an object when it is written, and told again when it is read.
_KEPT = ("cache-control", "content-disposition", "content-encoding", "content-type", "expires")
_META = "x-oss-meta-"


@dataclass
class Service:
    """Everything the server knows.

    Attributes:
        root: Where the bytes of large objects lie.
        region: Where the server pretends to be.
        counts: Requests by operation.
    """

    root: Path
    region: str
    clock: Clock
    accounts: Accounts
    buckets: dict[str, Bucket] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)

    @property
    def second(self) -> int:
        return int(self.clock.now())


@dataclass
class Call:
    """One request.

    Attributes:
        request: As it came.
        service: Everything there is.
        operation: Its name.
        bucket_name: Empty when it is about none.
        key: Empty when it is about no object.
        query: The parameters.
        headers: By name in lower case.
        sender: Who signed it.
    """

    request: web.Request
    service: Service
    operation: str
    bucket_name: str
    key: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    sender: Identity

    @property
    def bucket(self) -> Bucket:
        """The bucket that it is about."""
        return self.bucket_named(self.bucket_name)

    @property
    def forbids_overwrite(self) -> bool:
        """Whether no object may be replaced."""
        return self.headers.get("x-oss-forbid-overwrite", "").lower() == "true"

    def bucket_named(self, name: str) -> Bucket:
        """Returns a bucket that is here."""
        found = self.service.buckets.get(name)
        if found is None:
            message = "The specified bucket does not exist."
            raise Refused(404, "NoSuchBucket", message, ec="0015-00000101", BucketName=name)
        if found.region != self.service.region:
            raise Refused(
                403,
                "AccessDenied",
                "The bucket you are attempting to access must be addressed using the specified endpoint. "
                "Please send all future requests to this endpoint.",
                ec="0003-00001403",
                Endpoint=f"oss-{found.region}.aliyuncs.com",
                Bucket=name,
            )
        return found

    def check(self, action: str, operation: str | None = None) -> None:
        """Refuses what the sender may not do."""
        if not self.sender.may(action, operation or self.operation):
            message = "You have no right to access this object because of bucket acl."
            raise Refused(403, "AccessDenied", message, ec="0003-00000001")

    # What was sent

    async def content(self) -> tuple[Content, Sums]:
        """Takes in the body; it is what its sender says it is."""
        content, sums = await received(self.request.content.iter_any(), self.service.root)
        given = self.headers.get("content-md5")
        if given is None:
            return content, sums
        try:
            digest = base64.b64decode(given, validate=True)
        except binascii.Error:
            digest = b""
        if len(digest) != 16:
            raise Refused(400, "InvalidDigest", "The Content-MD5 you specified is not valid.", ec="0017-00000001")
        if digest != sums.md5:
            message = "The Content-MD5 you specified did not match what we received."
            raise Refused(400, "InvalidDigest", message, ec="0017-00000002")
        return content, sums

    async def document(self) -> bytes:
        """Takes in a body that should be XML."""
        content, _ = await self.content()
        if content.size > _MOST_XML:
            raise malformed()
        return b"".join(content.read())

    def said(self) -> dict[str, str]:
        """Returns what the request says about the object that it writes."""
        said = {name: value for name, value in self.headers.items() if name in _KEPT or name.startswith(_META)}
        return {"content-type": "application/octet-stream", **said}

    def source(self) -> Version:
        """Returns the object that the request copies."""
        address, _, version = self.headers["x-oss-copy-source"].partition("?versionId=")
        name, _, key = unquote(address.removeprefix("/")).partition("/")
        if not name or not key:
            raise invalid("The copy source is wrongly formed.", ArgumentName="x-oss-copy-source")
        self.check("get", "GetObject")
        found = self.bucket_named(name).find(key, version or None)
        if found.content is None:
            raise invalid("The source of a copy may not specifically refer to a delete marker by version id.")
        self.check_conditions(found, "x-oss-copy-source-")
        return found

    def check_conditions(self, version: Version, beginning: str = "") -> None:
        """Refuses an object that is not as the request wants it."""
        wanted, unwanted = (self.headers.get(f"{beginning}{name}") for name in ("if-match", "if-none-match"))
        since, until = (self._date(f"{beginning}{name}") for name in ("if-modified-since", "if-unmodified-since"))
        if (wanted is not None and wanted.strip('"') != version.etag) or (
            until is not None and version.modified > until
        ):
            message = "At least one of the pre-conditions you specified did not hold."
            raise Refused(412, "PreconditionFailed", message, ec="0026-00000021")
        if (unwanted is not None and unwanted.strip('"') == version.etag) or (
            since is not None and version.modified <= since
        ):
            raise Refused(304, "NotModified", "Not Modified", headers={"ETag": f'"{version.etag}"'})

    def _date(self, name: str) -> float | None:
        given = self.headers.get(name)
        return None if given is None else parsedate_to_datetime(given).timestamp()

    # What is answered

    def answer(self, status: int = 200, body: bytes = b"", headers: Mapping[str, str] | None = None) -> web.Response:
        """Returns an answer."""
        return web.Response(status=status, body=body, headers=headers)

    def xml(self, name: str, fields: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> web.Response:
        """Returns an answer that is a document."""
        kind = {"Content-Type": "application/xml"}
        return self.answer(200, document(name, fields), {**kind, **(headers or {})})

    def written(self, version: Version) -> dict[str, str]:
        """Returns the headers that tell what an object is after it was written."""
        return {**self.version_header(version), "ETag": f'"{version.etag}"', "x-oss-hash-crc64ecma": str(version.crc)}

    def version_header(self, version: Version) -> dict[str, str]:
        """Returns the header that names a version, in a bucket that has them."""
        return {"x-oss-version-id": version.id} if self.bucket.versioning else {}

    def told(self, version: Version) -> dict[str, str]:
        """Returns the headers of an object that is read."""
        content = version.content
        assert content is not None
        headers = {
            **version.headers,
            **self.written(version),
            "Accept-Ranges": "bytes",
            "Last-Modified": header_time(version.modified),
            "x-oss-object-type": version.kind,
            "x-oss-storage-class": "Standard",
        }
        if version.md5 is not None:
            headers["Content-MD5"] = base64.b64encode(version.md5).decode()
        if version.kind == "Appendable":
            headers["x-oss-next-append-position"] = str(content.size)
        return headers
