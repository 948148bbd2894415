"""Which process is writing a slice: of two that live at once the second is refused."""

from __future__ import annotations

import json
import logging
import secrets
import weakref
from typing import TYPE_CHECKING

from pai_train.errors import StorageError, TableError
from pai_train.storage import ObjectExists, ObjectMissing, Store
from pai_train.storage.owner import Owner

if TYPE_CHECKING:
    from collections.abc import Callable

    import pyarrow as pa

    from pai_train.spec.contracts import Part, PartWriter

logger = logging.getLogger(__name__)

# The claims of this process whose writers are still there.
_live: set[str] = set()


class ClaimedPart:
    """A part that no other living process may write at the same time; implements `PartWriter`.

    The claim is an object beside the parts, created exclusively and deleted when the part is finished or given up.
    One whose process has ended on this machine, or whose writer in this process was dropped, counts for nothing. So
    does one of another machine, where nobody can tell, and two that find a dead claim at once may both go on: a claim
    tells of a mistake early, while it is the commit, which takes one part of each slice, that keeps the rows right.

    Args:
        store: Has exclusive create.
        url: The claim's object, one for each slice and attempt.
        what: What is claimed, for messages.
        where: The output, for messages.
        begin: Opens the part's writer, once it is claimed.

    Raises:
        TableError: Another writer is at it.
    """

    def __init__(self, store: Store, url: str, what: str, where: str, begin: Callable[[], PartWriter]) -> None:
        self._store = store
        self._url = url
        self._name = secrets.token_hex(8)
        # Before the claim is there, so that no thread takes it for one that was dropped.
        _live.add(self._name)
        self._forget = weakref.finalize(self, _live.discard, self._name)
        self._take(what, where)
        try:
            self._writer = begin()
        except BaseException:
            self._release()
            raise

    def write(self, batch: pa.RecordBatch) -> None:
        self._writer.write(batch)

    def finish(self) -> Part:
        part = self._writer.finish()
        self._release()
        return part

    def abort(self) -> None:
        try:
            self._writer.abort()
        finally:
            self._release()

    def _take(self, what: str, where: str) -> None:
        mine = json.dumps({"name": self._name, "owner": Owner.current().to_json()}).encode()
        while True:
            try:
                self._store.create(self._url, mine)
            except ObjectExists:
                self._refuse_if_written(what, where)
                self._store.delete(self._url)
                continue
            return

    def _refuse_if_written(self, what: str, where: str) -> None:
        try:
            held = json.loads(self._store.read(self._url))
            name, owner = str(held["name"]), Owner(**held["owner"])
        except ObjectMissing:
            return
        except (ValueError, KeyError, TypeError) as fault:
            logger.warning("%s: not the claim of a writer: %r", self._url, fault)
            return
        if name in _live if owner == Owner.current() else owner.is_alive():
            raise TableError(
                f"{what} is being written by another writer",
                where=where,
                got=f"process {owner.pid} on {owner.host}",
                wanted="one writer for each slice_id",
                todo="give every worker a slice_id of its own; a worker that is started again takes the next attempt",
            )

    def _release(self) -> None:
        if not self._forget.alive:
            return
        self._forget()
        try:
            self._store.delete(self._url)
        except StorageError as error:
            logger.warning("%s stays behind until the write is published: %s", self._url, error)
