"""Parallel ranged reads of remote objects: cut into parts, each repeated on its own, whole or an error."""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from itertools import pairwise
from typing import TYPE_CHECKING

from pai_train.storage.contracts import ByteRange, Cache, ObjectInfo, Remote
from pai_train.storage.errors import ObjectChanged, ObjectMissing, StoreUnavailable
from pai_train.storage.forks import renew_after_fork
from pai_train.storage.meter import Meter, reader, reading_for

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable
    from typing import Any


_FRESH_STARTS = 9  # of a read to the end of an object that is replaced again and again


class Batch:
    """Requests under way that one caller waits for; leaving it ends what nobody wants any more."""

    def __init__(self) -> None:
        self.abandoned = threading.Event()
        self.futures: list[Future[bytes]] = []

    def close(self) -> None:
        """Drops what has not begun and ends the repetitions of what has."""
        self.abandoned.set()
        for future in self.futures:
            future.cancel()


class RangedReader:
    """Reads byte ranges of a remote store's objects, `limits.parallel` requests at once for all its callers.

    Args:
        remote: The store.
        cache: Keeps parts whose etag is known.
    """

    def __init__(self, remote: Remote, cache: Cache | None) -> None:
        self._remote = remote
        self._cache = cache
        self.renew()
        renew_after_fork(self)

    def renew(self) -> None:
        """Forgets the threads, which are made at first use."""
        self._lock = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None
        self._fetching: dict[tuple[str, str, int], Future[bytes]] = {}

    def read(self, wanted: ByteRange) -> bytes:
        """Returns the bytes of a range; fewer where the object ends in it.

        Raises:
            ObjectMissing: There is no such object.
            ObjectChanged: It is another version than the one wanted, or was replaced meanwhile.
        """
        if wanted.end is None:
            return self._read_open(wanted, self._read_parallel)
        return self._read_parallel(wanted)

    def read_many(self, requests: Iterable[ByteRange]) -> Generator[bytes, None, None]:
        """Yields the bytes of each range, in order, while later ones are already on their way.

        At most twice `limits.parallel` requests are ahead of the consumer, and no more than `limits.parallel` parts.
        """
        limits = self._remote.limits
        batch = Batch()
        ahead: deque[tuple[ByteRange, list[Future[bytes]], int]] = deque()
        held = 0
        try:
            for request in requests:
                amount = (limits.part_bytes if request.end is None else request.end - request.start) or 1
                while ahead and (
                    len(ahead) >= 2 * limits.parallel or held + amount > limits.parallel * limits.part_bytes
                ):
                    held -= ahead[0][2]
                    yield self._arrived(*ahead.popleft()[:2])
                batch.futures = [future for future in batch.futures if not future.done()]
                ahead.append((request, self._begun(request, batch), amount))
                held += amount
            while ahead:
                yield self._arrived(*ahead.popleft()[:2])
        finally:
            batch.close()

    def begin(self, span: ByteRange, batch: Batch) -> Future[bytes]:
        """Starts one request on another thread."""
        return self._submit(batch, self.fetch, span, batch.abandoned)

    def spans(self, wanted: ByteRange) -> list[ByteRange]:
        """Cuts a range into parts; where a cache keeps them, at multiples of the part's length."""
        part, end = self._remote.limits.part_bytes, wanted.end
        if end is None:
            raise ValueError("the end must be known")
        cuts = [wanted.start]
        aligned = self._cache is not None and wanted.etag is not None
        while cuts[-1] < end:
            cuts.append(min(end, (cuts[-1] // part + 1) * part if aligned else cuts[-1] + part))
        return [ByteRange(wanted.url, low, high, wanted.etag, wanted.size) for low, high in pairwise(cuts)]

    def fetch(self, span: ByteRange, abandoned: threading.Event | None = None) -> bytes:
        """Reads a range that is at most one part, from the cache where it can be."""
        part, cache = self._remote.limits.part_bytes, self._cache
        if cache is None or span.etag is None or span.end is None or span.start // part != (span.end - 1) // part:
            return self._request(span, abandoned)
        low = span.start // part * part
        kept = cache.get(span.url, span.etag, low, low + part)
        if kept is None:
            kept = self._fetch_once(ByteRange(span.url, low, low + part, span.etag, span.size), cache, abandoned)
        else:
            hit = min(len(kept), span.end - low) - min(len(kept), span.start - low)
            self._remote.stats.add(cached_bytes=hit)
            if (meter := reader()) is not None:
                meter.count_cached(hit)
        return kept[span.start - low : span.end - low]

    def verify(self, url: str, etag: str | None) -> None:
        """Asks whether an object is still the version that was read.

        Raises:
            ObjectChanged: It is not.
        """
        if etag is not None and not self._remote.reads_versions:
            info = self._remote.info(url)
            if info is None or info.etag != etag:
                raise _changed(url, etag, info)

    def _read_open(
        self, wanted: ByteRange, read: Callable[[ByteRange], bytes], abandoned: threading.Event | None = None
    ) -> bytes:
        """Reads to the object's end, in one request where that is within one part."""
        part = self._remote.limits.part_bytes
        first = self.fetch(ByteRange(wanted.url, wanted.start, wanted.start + part, wanted.etag), abandoned)
        if len(first) < part:
            return first
        info = self._remote.info(wanted.url)
        if info is None or wanted.etag not in (None, info.etag):
            raise _changed(wanted.url, wanted.etag, info)
        if wanted.etag is not None:
            begin = wanted.start + part
            return first + read(ByteRange(wanted.url, begin, max(begin, info.size), info.etag, info.size))
        # Of which version the first part is nobody knows: it is read again.
        for _ in range(_FRESH_STARTS):
            try:
                return read(ByteRange(wanted.url, wanted.start, max(wanted.start, info.size), info.etag, info.size))
            except ObjectChanged:
                info = self._remote.info(wanted.url) or info
        return read(ByteRange(wanted.url, wanted.start, max(wanted.start, info.size), info.etag, info.size))

    def _read_parallel(self, wanted: ByteRange) -> bytes:
        spans = self.spans(wanted)
        if len(spans) <= 1:
            return self._checked(wanted, [self.fetch(span) for span in spans])
        batch = Batch()
        try:
            futures = [self.begin(span, batch) for span in spans]
            parts = [future.result() for future in futures]
        finally:
            batch.close()
        self.verify(wanted.url, wanted.etag)
        return self._checked(wanted, parts)

    def _read_serial(self, wanted: ByteRange) -> bytes:
        """Reads on the calling thread alone, for one that others wait for."""
        data = b"".join([self.fetch(span) for span in self.spans(wanted)])
        self.verify(wanted.url, wanted.etag)
        return data

    def _begun(self, request: ByteRange, batch: Batch) -> list[Future[bytes]]:
        if request.end is not None:
            return [self.begin(span, batch) for span in self.spans(request)]
        return [self._submit(batch, self._read_open, request, self._read_serial, batch.abandoned)]

    def _submit(self, batch: Batch, work: Callable[..., bytes], *arguments: Any) -> Future[bytes]:
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self._remote.limits.parallel, thread_name_prefix="storage")
            future = self._pool.submit(_for_reader, reader(), work, *arguments)
        batch.futures.append(future)
        return future

    def _arrived(self, request: ByteRange, futures: list[Future[bytes]]) -> bytes:
        with self._remote.stats.waited():
            parts = [future.result() for future in futures]
            if len(parts) > 1:
                self.verify(request.url, request.etag)
            return self._checked(request, parts)

    def _checked(self, wanted: ByteRange, parts: list[bytes]) -> bytes:
        """Joins parts; where they are shorter than wanted, finds out whether the object is."""
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        if wanted.end is None or wanted.size is not None or len(data) == wanted.end - wanted.start:
            return data
        info = self._remote.info(wanted.url)
        if info is None or wanted.etag not in (None, info.etag):
            raise _changed(wanted.url, wanted.etag, info)
        end = max(wanted.start, min(wanted.end, info.size))
        if len(data) == end - wanted.start:
            return data
        return self._read_serial(ByteRange(wanted.url, wanted.start, end, wanted.etag, info.size))

    def _fetch_once(self, span: ByteRange, cache: Cache, abandoned: threading.Event | None) -> bytes:
        """Fetches a part for the cache; of several threads that want it, one does."""
        key, mine = (span.url, span.etag or "", span.start), Future[bytes]()
        while True:
            with self._lock:
                other = self._fetching.setdefault(key, mine)
            if other is mine:
                break
            try:
                return other.result()
            except (CancelledError, StoreUnavailable):
                continue  # the other was given up, which is no reason to give up here
        try:
            data = self._request(span, abandoned)
            cache.put(span.url, key[1], span.start, span.start + self._remote.limits.part_bytes, data)
        except BaseException as error:
            with self._lock:
                del self._fetching[key]
            if isinstance(error, Exception):
                mine.set_exception(error)
            else:
                mine.cancel()
            raise
        with self._lock:
            del self._fetching[key]
        mine.set_result(data)
        return data

    def _request(self, span: ByteRange, abandoned: threading.Event | None) -> bytes:
        remote, size = self._remote, span.size
        asked = span
        if size is not None and span.end is not None and span.end >= size:
            # One byte more than there should be: an object that has grown shows itself.
            asked = ByteRange(span.url, span.start, size + 1, span.etag, size)

        def once() -> bytes:
            data = remote.get(asked)
            remote.stats.add(bytes_read=len(data))
            if size is not None and span.end is not None:
                wanted = max(0, min(span.end, size) - span.start)
                if len(data) != wanted:
                    raise self._mismatch(span, len(data), wanted)
            return data

        try:
            return remote.retry(span.url, once, reading=span.etag is not None, abandoned=abandoned)
        except ObjectChanged:
            # A range behind the object's end is refused before anybody looks at the version.
            info = remote.info(span.url) if size is None else None
            if info is None or info.etag != span.etag or span.start < info.size:
                raise
            return b""

    def _mismatch(self, span: ByteRange, got: int, wanted: int) -> Exception:
        info = self._remote.info(span.url)
        if info is None or info.size != span.size or span.etag not in (None, info.etag):
            return _changed(span.url, span.etag, info)
        return StoreUnavailable(
            "the transfer was cut short or damaged",
            where=span.url,
            got=f"{got} bytes from byte {span.start}",
            wanted=f"{wanted} bytes",
            todo="check the network and start again",
        )


def read_each(
    read: Callable[[str, int, int | None], bytes], requests: Iterable[ByteRange]
) -> Generator[bytes, None, None]:
    """Yields the bytes of each range, one after another.

    Raises:
        ObjectChanged: An object is not of the size that is wanted.
    """
    for request in requests:
        end, size = request.end, request.size
        if size is None:
            yield read(request.url, request.start, end)
            continue
        wanted = max(0, (size if end is None else min(end, size)) - request.start)
        # One byte more than there should be: an object that has grown shows itself.
        data = read(request.url, request.start, size + 1 if end is None or end >= size else end)
        if len(data) != wanted:
            raise ObjectChanged(
                "the object has another size",
                where=request.url,
                got=f"{len(data)} bytes from byte {request.start}",
                wanted=f"{wanted} bytes",
                todo="start again, and leave the data alone while they are read",
            )
        yield data


def _for_reader(meter: Meter | None, work: Callable[..., bytes], *arguments: Any) -> bytes:
    """Works on another thread for whose read it is."""
    with reading_for(meter):
        return work(*arguments)


def _changed(url: str, etag: str | None, info: ObjectInfo | None) -> Exception:
    if info is None:
        return ObjectMissing("the object was deleted while it was read", where=url, todo="restore it and start again")
    return ObjectChanged(
        "the object was replaced while it was read",
        where=url,
        got=f"{info.size} bytes, etag {info.etag}",
        wanted=None if etag is None else f"etag {etag}",
        todo="start again, and leave the data alone while they are read",
    )
