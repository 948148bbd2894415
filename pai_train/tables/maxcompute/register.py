"""What is kept of a write beside MaxCompute, which has no place for a token: its session, its end, its answer."""

from __future__ import annotations

import json
import secrets
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from pai_train.errors import TableError
from pai_train.spec.contracts import Snapshot
from pai_train.storage import ObjectExists, join

if TYPE_CHECKING:
    from pai_train.spec.address import TableRef
    from pai_train.storage import Store
    from pai_train.tables.contracts import WriteMode

WRITES = "_writes"

_DONE = "done.json"
_SESSION, _COMMIT = "session", "commit"


@dataclass(frozen=True)
class Begun:
    """A session that a write goes to.

    Attributes:
        number: How many sessions of the write have ended before it.
        session: Its name.
        target: The table, and the partition.
        mode: What becomes of the rows that are there.
    """

    number: int
    session: str
    target: str
    mode: WriteMode


class Register:
    """The records of one write, at `<root>/_writes/<project>/<table>/<token>/`; each is created once and never changed.

    `session-0.json` names the upload session; should it end uncommitted, `session-1.json` names the next.
    `commit-0.json` says that its commit may have been asked for, `done.json` what the commit answered.

    Args:
        store: Where the records lie: it tells which of two writers was first.
        root: The folder of all records.
        ref: The table.
        token: Names the write.

    Raises:
        TableError: The store cannot tell which of two writers was first.
    """

    def __init__(self, store: Store, root: str, ref: TableRef, token: str) -> None:
        if not store.creates_exclusively(root):
            raise TableError(
                "writes need a store in which of two writers exactly one creates an object",
                where=root,
                got=f"{store.scheme}:// without exclusive create",
                todo="name another store as tables.root",
            )
        self._store = store
        self._folder = join(root, WRITES, ref.project, ref.name, token)

    def begun(self) -> Begun | None:
        """Returns the last session of the write."""
        names = [info.url.rpartition("/")[2] for info in self._store.list(self._folder)]
        numbers = [int(name[len(_SESSION) + 1 : -len(".json")]) for name in names if name.startswith(_SESSION)]
        if not numbers:
            return None
        told = self._read(f"{_SESSION}-{max(numbers)}.json") or {}
        return Begun(max(numbers), told["session"], told["target"], told["mode"])

    def begin(self, begun: Begun) -> Begun:
        """Notes a session, and returns the one that counts: of several writers that come at once, the first one's."""
        told = {name: value for name, value in asdict(begun).items() if name != "number"}
        if self._create(f"{_SESSION}-{begun.number}.json", told):
            return begun
        return self.begun() or begun

    def committing(self, number: int) -> None:
        """Notes that the commit of a session may be asked for from now on."""
        self._create(f"{_COMMIT}-{number}.json", {})

    def may_be_committed(self, number: int) -> bool:
        """Tells whether the commit of a session may have been asked for."""
        return self._read(f"{_COMMIT}-{number}.json") is not None

    def done(self) -> Snapshot | None:
        """Returns what the commit answered; None before that."""
        told = self._read(_DONE)
        return None if told is None else Snapshot(**told["snapshot"])

    def finish(self, snapshot: Snapshot) -> Snapshot:
        """Notes what the commit answers, and returns it: the first answer stays."""
        self._create(_DONE, {"snapshot": snapshot.to_json()})
        return self.done() or snapshot

    def _create(self, name: str, told: dict[str, Any]) -> bool:
        # What one writer creates no other may: two may have the same to say.
        data = json.dumps({**told, "by": secrets.token_hex(8)}, ensure_ascii=False, indent=1).encode()
        try:
            self._store.create(join(self._folder, name), data)
        except ObjectExists:
            return False
        return True

    def _read(self, name: str) -> dict[str, Any] | None:
        url = join(self._folder, name)
        if self._store.info(url) is None:
            return None
        try:
            told: dict[str, Any] = json.loads(self._store.read(url))
        except ValueError as fault:
            raise TableError("not a record of a write", where=url, got=str(fault), todo="name another folder") from None
        return told
