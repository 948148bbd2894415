"""An object on its way to S3: in one request, or in parts of a multipart upload."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from pai_train.storage.s3 import S3Objects

SMALLEST_PART_BYTES = 5 * 2**20
"""Every part but the last has at least these bytes."""


class S3Upload:
    """A single request where one part is all, else a multipart upload with its parts in any order."""

    in_order = False
    most_parts: int | None = 10_000

    def __init__(self, filesystem: S3Objects, bucket: str, key: str, exclusive: bool) -> None:
        self._filesystem = filesystem
        self._object = {"Bucket": bucket, "Key": key}
        self._path = f"{bucket}/{key}"
        self._condition: dict[str, Any] = {"IfNoneMatch": "*"} if exclusive else {}
        self._beginning: asyncio.Task[dict[str, Any]] | None = None
        self._count = 0
        self._size = 0
        self._parts: dict[int, tuple[str, bytes]] = {}

    async def send(self, part: bytes) -> None:
        self._count += 1
        self._size += len(part)
        number, digest = self._count, hashlib.md5(part, usedforsecurity=False).digest()
        answer = await self._filesystem._ask(
            "upload_part",
            self._path,
            **self._object,
            UploadId=await self._id(),
            PartNumber=number,
            Body=part,
            ContentMD5=base64.b64encode(digest).decode(),
        )
        self._parts[number] = answer["ETag"], digest

    async def finish(self, last: bytes) -> str:
        if self._beginning is None:
            digest = hashlib.md5(last, usedforsecurity=False).digest()
            answer = await self._filesystem._ask(
                "put_object",
                self._path,
                **self._object,
                **self._condition,
                Body=last,
                ContentMD5=base64.b64encode(digest).decode(),
            )
            return str(answer["ETag"]).strip('"')
        if last:
            await self.send(last)
        parts = [{"PartNumber": number, "ETag": etag} for number, (etag, _) in sorted(self._parts.items())]
        try:
            answer = await self._filesystem._ask(
                "complete_multipart_upload",
                self._path,
                **self._object,
                **self._condition,
                UploadId=await self._id(),
                MultipartUpload={"Parts": parts},
            )
        except OSError as error:
            # The first answer may have been lost: then the upload is gone because the object is there.
            if getattr(error, "code", None) != "NoSuchUpload" or (etag := await self._arrived()) is None:
                raise
            return etag
        return str(answer["ETag"]).strip('"')

    async def abort(self) -> None:
        if self._beginning is not None:
            with suppress(OSError, BotoCoreError):
                await self._filesystem._ask(
                    "abort_multipart_upload", self._path, **self._object, UploadId=await self._id()
                )

    async def _id(self) -> str:
        if self._beginning is None:
            self._beginning = asyncio.create_task(
                self._filesystem._ask("create_multipart_upload", self._path, **self._object)
            )
        # One part that is given up must not take the others' upload with it.
        return str((await asyncio.shield(self._beginning))["UploadId"])

    async def _arrived(self) -> str | None:
        """Returns the etag of the object when it is made of these parts."""
        digests = b"".join(digest for _, (_, digest) in sorted(self._parts.items()))
        wanted = f"{hashlib.md5(digests, usedforsecurity=False).hexdigest()}-{len(self._parts)}"
        try:
            info = await self._filesystem._head(self._object["Bucket"], self._object["Key"])
        except FileNotFoundError:
            return None
        return wanted if (info["etag"], info["size"]) == (wanted, self._size) else None
