"""An object on its way to Google Cloud Storage: in one request, or in parts that go on where they were cut off."""

from __future__ import annotations

import asyncio
import base64
import errno
import hashlib
import json
import re
import uuid
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import aiohttp

from pai_train.storage.gcs_errors import is_transient

if TYPE_CHECKING:
    from pai_train.storage.gcs import GcsObjects

ATTEMPTS = 4
CHUNK_BYTES = 256 * 2**10
"""Every part of a resumable upload but the last has a multiple of these bytes."""


class GcsUpload:
    """A single request where one part is all, else a resumable upload."""

    in_order = True
    most_parts: int | None = None

    def __init__(self, filesystem: GcsObjects, bucket: str, key: str, exclusive: bool) -> None:
        self._filesystem = filesystem
        self._target = f"{filesystem._location}/upload/storage/v1/b/{quote(bucket, safe='')}/o"
        self._key = key
        self._condition: dict[str, Any] = {"ifGenerationMatch": "0"} if exclusive else {}
        # A repeated create could find its own object, whose answer was lost, and take itself for a loser.
        self._attempts = 1 if exclusive else ATTEMPTS
        self._session: str | None = None
        self._sent = 0
        self._generation = ""
        self._digest = hashlib.md5(usedforsecurity=False)

    async def send(self, part: bytes) -> None:
        if self._session is None:
            _, headers, _, _ = await self._filesystem._request(
                "POST",
                self._target,
                uploadType="resumable",
                name=self._key,
                json={"name": self._key},
                **self._condition,
            )
            session = urlsplit(headers["Location"])
            self._session = f"{self._filesystem._location}{session.path}?{session.query}"
        await self._put(self._session, part, "*")

    async def finish(self, last: bytes) -> str:
        if self._session is not None:
            await self._put(self._session, last, str(self._sent + len(last)))
            return self._generation
        self._digest.update(last)
        boundary = uuid.uuid4().hex  # stands in no content
        about = json.dumps({"name": self._key, "md5Hash": self._md5()})
        head = (
            f"--{boundary}\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n{about}\r\n"
            f"--{boundary}\r\nContent-Type: application/octet-stream\r\n\r\n"
        )
        _, _, _, content = await self._filesystem._request(
            "POST",
            self._target,
            uploadType="multipart",
            data=b"".join([head.encode(), last, f"\r\n--{boundary}--\r\n".encode()]),
            headers={"Content-Type": f"multipart/related; boundary={boundary}"},
            attempts=self._attempts,
            **self._condition,
        )
        self._verify(content, len(last))
        return self._generation

    async def abort(self) -> None:
        if self._session is not None:
            # The service forgets in a week what is not deleted; 499 is its answer to a deletion.
            with suppress(OSError, aiohttp.ClientError):
                await self._filesystem._request("DELETE", self._session, attempts=1)

    async def _put(self, session: str, part: bytes, total: str) -> None:
        self._digest.update(part)
        end, tries = self._sent + len(part), 0
        while self._sent < end:
            rest = part[len(part) - (end - self._sent) :]
            before = tries
            span = f"bytes {self._sent}-{end - 1}/{total}"
            try:
                # Not PUT: the HTTP client would repeat that by itself, and some servers would store it twice.
                answer = await self._filesystem._request(
                    "POST", session, data=rest, headers={"Content-Range": span}, attempts=1
                )
            except Exception as error:
                tries += 1
                if not self._filesystem.resumes or tries == ATTEMPTS or not is_transient(error):
                    raise
                self._filesystem.stats.add(retries=1)
                await asyncio.sleep(0.2 * tries)
                # What is sent twice is not stored twice only where the service is asked how far it got.
                answer = await self._filesystem._request("PUT", session, headers={"Content-Range": "bytes */*"})
            arrived = self._arrived(answer, end)
            tries += int(arrived <= self._sent and tries == before)
            if arrived < end - len(part) or tries == ATTEMPTS:
                raise ConnectionError(errno.ECONNABORTED, "the service keeps none of what is sent", self._key)
            self._sent = arrived

    def _arrived(self, answer: tuple[int, Any, Any, bytes], end: int) -> int:
        """Returns how many bytes of the object the service has."""
        status, headers, _, content = answer
        if status != 308:  # the object is whole
            self._verify(content, end)
            return end
        last = re.fullmatch(r"bytes=0-([0-9]+)", headers.get("Range", ""))
        return int(last[1]) + 1 if last else 0

    def _verify(self, content: bytes, size: int) -> None:
        stored = json.loads(content)
        if int(stored.get("size", 0)) != size or stored.get("md5Hash", self._md5()) != self._md5():
            raise OSError(errno.EIO, "the service stored other bytes than were sent")
        self._generation = str(stored["generation"])

    def _md5(self) -> str:
        return base64.b64encode(self._digest.digest()).decode()
