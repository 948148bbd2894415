"""The file that is written to OSS: parts go up while it is written, and the object appears, whole, at `close`."""

from __future__ import annotations

import base64
import errno
import hashlib
import io
import logging
import os
import secrets
import threading
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import alibabacloud_oss_v2 as oss  # type: ignore[import-untyped]
import tenacity

from pai_train.storage import crc64

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from pai_train.storage.options import Limits
    from pai_train.storage.oss_bucket import Bucket
    from pai_train.storage.stats import StoreStats

MIN_PART_BYTES = 100 * 1024
# The service takes 10 000 parts: each thousand is twice as long as the one before.
_PARTS_OF_A_LENGTH = 1000
_MAX_DELAY_S = 5.0
# A repeated request that finds its work done tells its own object from another's by this mark.
_MARK = "pai-train-write"

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Part:
    number: int
    etag: str
    crc: int | None
    size: int


class OssOutput(io.BufferedIOBase):
    """An object on its way up.

    Leaving a `with` block by an exception, or dropping the file unclosed, leaves nothing: neither object nor parts.

    Args:
        bucket: Where it goes.
        key: Its name there.
        limits: How long a part is, how many are under way at once, and for how long each is tried.
        stats: Counts what is sent again.
        exclusive: Fail at `close` with FileExistsError when the object exists, instead of replacing it.
        autocommit: Whether `close` makes it visible; else `commit` does, as fsspec's transactions want it.
    """

    def __init__(
        self,
        bucket: Bucket,
        key: str,
        limits: Limits,
        stats: StoreStats,
        *,
        exclusive: bool = False,
        autocommit: bool = True,
    ) -> None:
        super().__init__()
        self._bucket = bucket
        self._key = key
        self._limits = limits
        self._stats = stats
        self._exclusive = exclusive
        self._autocommit = autocommit
        self._mark = secrets.token_hex(16)
        self._buffer = bytearray()
        self._position = 0
        self._is_pending = False
        self._stopped = threading.Event()
        self._upload_id: str | None = None
        self._pool: ThreadPoolExecutor | None = None
        self._sent = 0
        self._running: set[Future[_Part]] = set()
        self._parts: list[_Part] = []

    def refuse_existing(self) -> None:
        """Fails before anything is written when the object exists already.

        Raises:
            FileExistsError: It does.
        """
        with suppress(FileNotFoundError):
            self._bucket.head(self._key)
            self.discard()
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), self._name())

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def write(self, data: Any, /) -> int:
        if self.closed:
            raise ValueError("write to a closed file")
        view = memoryview(data).cast("B")
        done = 0
        while done < len(view):
            room = self._part_bytes() - len(self._buffer)
            if room:
                self._buffer += view[done : done + room]
                done += room
            else:
                self._send_or_give_up()
        self._position += len(view)
        return len(view)

    def close(self) -> None:
        if self.closed:
            return
        try:
            if self._upload_id is not None:
                self._send()
                self._collect(left=0)
            self._is_pending = True
            if self._autocommit:
                self.commit()
        except BaseException:
            self.discard()
            raise
        self._release()
        super().close()

    def commit(self) -> None:
        """Makes visible what was written; called by `close`, or after it in a transaction of fsspec."""
        if not self._is_pending:
            return
        try:
            self._put() if self._upload_id is None else self._complete()
        except BaseException:
            self._abort()
            raise
        self._is_pending = False
        self._buffer.clear()

    def discard(self) -> None:
        """Gives up what was written, and its parts."""
        self._stopped.set()
        self._abort()
        self._is_pending = False
        self._buffer.clear()
        super().close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()

    def __del__(self) -> None:
        # The base class would close, and so publish, a file that was dropped half written.
        if hasattr(self, "_parts") and (not self.closed or self._is_pending):
            self.discard()

    # Parts

    def _part_bytes(self) -> int:
        return max(self._limits.part_bytes, MIN_PART_BYTES) << (self._sent // _PARTS_OF_A_LENGTH)

    def _send_or_give_up(self) -> None:
        try:
            self._send()
        except BaseException:
            # A part is missing: what comes later must not become an object without it.
            self.discard()
            raise

    def _send(self) -> None:
        """Starts the upload of what is buffered, when fewer than `parallel` parts are under way."""
        if self._upload_id is None or self._pool is None:
            self._upload_id = self._repeated(self._begin)
            self._pool = ThreadPoolExecutor(self._limits.parallel, thread_name_prefix="oss-upload")
        self._collect(left=self._limits.parallel - 1)
        body = bytes(self._buffer)
        self._buffer = bytearray()
        self._sent += 1
        # The work holds no reference to this file, so that dropping the file ends it.
        repeated = _repeater(self._limits, self._stats, self._stopped)
        work = self._bucket, self._key, self._upload_id, self._sent, body
        self._running.add(self._pool.submit(_sent_part, repeated, *work))

    def _begin(self) -> str:
        mark = {_MARK: self._mark}
        return str(self._bucket.ask("initiate_multipart_upload", self._key, metadata=mark).upload_id)

    def _collect(self, left: int) -> None:
        """Waits until at most `left` parts are under way; the first failure ends it."""
        while len(self._running) > left:
            done, self._running = wait(self._running, return_when=FIRST_COMPLETED)
            self._parts += [part.result() for part in done]

    # Becoming visible

    def _put(self) -> None:
        body = bytes(self._buffer)
        self._published(
            "put_object",
            body=body,
            content_md5=_md5(body),
            metadata={_MARK: self._mark} if self._exclusive else None,
        )

    def _complete(self) -> None:
        parts = sorted(self._parts, key=lambda part: part.number)
        result = self._published(
            "complete_multipart_upload",
            upload_id=self._upload_id,
            complete_multipart_upload=oss.CompleteMultipartUpload(
                parts=[oss.UploadPart(part_number=part.number, etag=part.etag) for part in parts]
            ),
        )
        self._upload_id = None
        answered, expected = getattr(result, "hash_crc64", None), _combined(parts)
        if answered and expected is not None and int(answered) != expected:
            raise OSError(errno.EIO, "the object was put together wrongly: its CRC-64 differs", self._name())

    def _published(self, operation: str, **fields: Any) -> Any:
        """Sends the request that makes the object visible; one whose answer was lost is known by the object's mark."""

        def attempt() -> Any:
            forbid = True if self._exclusive else None
            try:
                return self._bucket.ask(operation, self._key, forbid_overwrite=forbid, **fields)
            except OSError as error:
                if _code(error) not in ("FileAlreadyExists", "NoSuchUpload") or not self._is_there():
                    raise
                return None

        return self._repeated(attempt)

    def _is_there(self) -> bool:
        """Returns whether the object is the one written here."""
        try:
            found = self._bucket.ask("head_object", self._key)
        except FileNotFoundError:
            return False
        return bool((found.metadata or {}).get(_MARK) == self._mark)

    # Giving up

    def _abort(self) -> None:
        for part in self._running:
            part.cancel()
        wait(self._running)
        self._running = set()
        self._release()
        upload_id, self._upload_id = self._upload_id, None
        if upload_id is None:
            return
        try:
            self._bucket.ask("abort_multipart_upload", self._key, upload_id=upload_id)
        except OSError as error:
            if _code(error) == "NoSuchUpload":
                return
            _log.warning("parts of an unfinished upload to %s are left: %s", self._name(), error.strerror)

    def _release(self) -> None:
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None

    def _repeated(self, work: Callable[[], Any]) -> Any:
        return _repeater(self._limits, self._stats, self._stopped)(work)

    def _name(self) -> str:
        return self._bucket.path(self._key)


def _repeater(limits: Limits, stats: StoreStats, stopped: threading.Event) -> tenacity.Retrying:
    """Returns what repeats a request until it is answered, the deadline is over, or the file is given up."""
    return tenacity.Retrying(
        retry=tenacity.retry_if_exception_type((ConnectionError, TimeoutError)),
        wait=tenacity.wait_random_exponential(multiplier=0.2, max=_MAX_DELAY_S),
        stop=tenacity.stop_any(tenacity.stop_after_delay(limits.deadline_s), tenacity.stop_when_event_set(stopped)),
        sleep=tenacity.sleep_using_event(stopped),
        before_sleep=lambda _: stats.add(retries=1),
        reraise=True,
    )


def _sent_part(
    repeated: tenacity.Retrying, bucket: Bucket, key: str, upload_id: str, number: int, body: bytes
) -> _Part:
    digest = _md5(body)

    def attempt() -> Any:
        return bucket.ask("upload_part", key, upload_id=upload_id, part_number=number, body=body, content_md5=digest)

    result = repeated(attempt)
    return _Part(number, result.etag, int(result.hash_crc64) if result.hash_crc64 else None, len(body))


def _combined(parts: list[_Part]) -> int | None:
    """Returns the CRC-64 of all parts in a row; None where the service told none."""
    total = 0
    for part in parts:
        if part.crc is None:
            return None
        total = crc64.joined(total, part.crc, part.size)
    return total


def _md5(body: bytes) -> str:
    return base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()


def _code(error: OSError) -> str | None:
    return getattr(error, "code", None)
