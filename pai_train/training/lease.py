"""The right of one process to write into one run: taken by exclusive create, renewed, lost, taken over, given back."""

from __future__ import annotations

import json
import logging
import threading
import time
import uuid
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self

from pai_train.errors import CheckpointError, StorageError
from pai_train.storage import ObjectExists, ObjectMissing, Store, basename, display, join
from pai_train.storage.owner import Owner

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger(__name__)

RENEW_S = 10.0
EXPIRES_S = 60.0


@dataclass(frozen=True)
class _Record:
    owner: Owner
    token: str
    since: float
    renewed: float
    released: bool = False

    def dump(self) -> bytes:
        return json.dumps({**asdict(self), "owner": self.owner.to_json()}).encode()

    @classmethod
    def load(cls, data: bytes) -> _Record:
        value: dict[str, Any] = json.loads(data)
        return cls(**{**value, "owner": Owner(**value["owner"])})


class Lease:
    """Context manager that holds a run for one process.

    The lease is a chain of objects `<folder>/<number>.json`, of which the highest number counts. Taking it, free or
    from a dead holder, is the exclusive create of the next number, so of several that try one wins. A holder writes
    only its own object and gives back by marking it released; numbers are never used again while the chain lasts.

    A holder is dead when its process is gone from this machine. A holder on another machine is dead when it has not
    renewed for `expires_s` seconds by the clocks of both machines, which must agree to well within that. Such a holder
    may have been cut off rather than dead: it learns of the loss by `lost`, and can write until it asks.

    Args:
        store: Must have exclusive create.
        folder_url: The lease's own folder.
        what: What is held, for messages.
        owner: The holder; None for this process.
        renew_s: Seconds between two renewals.
        expires_s: Seconds after which a holder on another machine counts as dead.
        clock: Seconds since 1970.
    """

    def __init__(
        self,
        store: Store,
        folder_url: str,
        *,
        what: str = "this run",
        owner: Owner | None = None,
        renew_s: float = RENEW_S,
        expires_s: float = EXPIRES_S,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._folder_url = folder_url
        self._what = what
        self._owner = owner or Owner.current()
        self._renew_s = renew_s
        self._expires_s = expires_s
        self._clock = clock
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._record: _Record | None = None
        self._number = 0
        self._lost = False

    @property
    def lost(self) -> bool:
        """Whether nothing may be written any more: another process has taken over, or may have."""
        with self._lock:
            overdue = self._record is not None and self._clock() - self._record.renewed >= self._expires_s
        if overdue:
            self.renew()
        return self._lost

    def acquire(self) -> None:
        """Takes the lease and keeps it renewed by a daemon thread.

        Raises:
            CheckpointError: Another process holds it.
            StorageError: The store failed, or has no exclusive create.
        """
        now = self._clock()
        record = _Record(self._owner, uuid.uuid4().hex, since=now, renewed=now)
        while not self._try(record):
            pass
        self._record = record
        self._lost = False
        self._ended.clear()
        self._thread = threading.Thread(target=self._keep_renewed, name="lease", daemon=True)
        self._thread.start()

    def renew(self) -> None:
        """Says that the holder lives, and looks whether it still is the holder."""
        with self._lock:
            if self._record is None or self._lost:
                return
            renewed = replace(self._record, renewed=self._clock())
            try:
                self._lost = self._numbers()[-1:] != [self._number]
                if not self._lost:
                    self._store.put(self._url(self._number), renewed.dump())
                    self._record = renewed
            except StorageError as error:
                silent = self._clock() - self._record.renewed
                self._lost = silent >= self._expires_s
                logger.warning("%s could not be renewed for %.0f s: %s", self._what, silent, error)
            if self._lost:
                logger.error("The right to write into %s is lost; nothing more may be written.", self._what)

    def release(self) -> None:
        """Gives the lease back, unless it is lost; doing it again does nothing."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        with self._lock:
            record, self._record = self._record, None
        if record is None or self._lost:
            return
        try:
            self._store.put(self._url(self._number), replace(record, released=True).dump())
        except StorageError as error:
            logger.warning("%s could not be given back and stays held until it expires: %s", self._what, error)

    def _try(self, record: _Record) -> bool:
        """Returns true when the lease is ours, false when somebody else moved and all must be looked at again."""
        numbers = self._numbers()
        number = numbers[-1] if numbers else 0
        try:
            held = self._read(number) if numbers else None
            # A store's client may have repeated a create whose answer was lost: then the newest one is ours.
            if held is None or held.token != record.token:
                if held is not None:
                    self._refuse_if_held(held)
                number += 1
                self._store.create(self._url(number), record.dump())
        except (ObjectMissing, ObjectExists):
            return False
        # A create that was under way for long may come after others have gone on from the same holder.
        if self._numbers()[-1:] != [number]:
            self._store.delete(self._url(number))
            return False
        self._number = number
        for older in numbers:
            if older < number:
                self._store.delete(self._url(older))
        return True

    def _refuse_if_held(self, held: _Record) -> None:
        if held.released:
            return
        alive = held.owner.is_alive()
        silent = self._clock() - held.renewed
        if alive is False or (alive is None and silent >= self._expires_s):
            logger.warning(
                "Taking over %s from process %d on %s, which %s.",
                self._what,
                held.owner.pid,
                held.owner.host,
                "has ended" if alive is False else f"has given no sign for {silent:.0f} s",
            )
            return
        since = datetime.fromtimestamp(held.since, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        wait = "" if alive else f", or wait {max(1, self._expires_s - silent):.0f} s if it is gone already"
        raise CheckpointError(
            f"another process is writing into {self._what}",
            where=display(self._folder_url),
            got=f"process {held.owner.pid} on {held.owner.host}, since {since}",
            todo=f"stop that process{wait}; or start a new generation with train.resume=never",
        )

    def _keep_renewed(self) -> None:
        while not self._ended.wait(self._renew_s):
            self.renew()

    def _numbers(self) -> list[int]:
        names = [basename(info.url).removesuffix(".json") for info in self._store.list(self._folder_url)]
        return sorted(int(name) for name in names if name.isdecimal())

    def _read(self, number: int) -> _Record:
        url = self._url(number)
        data = self._store.read(url)
        try:
            return _Record.load(data)
        except (ValueError, KeyError, TypeError) as error:
            raise CheckpointError(
                "the lease cannot be read",
                where=display(url),
                got=repr(error),
                todo="make sure no other process writes into this run, then delete this object",
            ) from error

    def _url(self, number: int) -> str:
        return join(self._folder_url, f"{number:06d}.json")

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(self, *exc: object) -> None:
        self.release()
