"""The sessions of the MaxCompute server: what one reads, what one has written; they end, and outlive a restart."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.servers.maxcompute_answers import new_id
from tests.servers.maxcompute_rows import Part, RowFile, View
from tests.servers.maxcompute_state import Table, Values, put_json

LIFE_S = 24 * 3600.0
_SESSION = "session.json"


@dataclass
class Session:
    """A session.

    Attributes:
        id: Its name.
        kind: `download`, `upload`, `read` or `write`.
        table: The id of its table.
        expires: When it ends, in seconds since 1970.
        asked: What it was made with.
        view: The rows that it reads.
        blocks: What it has written, by number.
        polls: How often it still says that it is being made.
    """

    id: str
    kind: str
    table: str
    expires: float
    asked: dict[str, Any]
    view: View = field(default_factory=lambda: View(()))
    blocks: dict[str, RowFile] = field(default_factory=dict)
    polls: int = 0

    def asked_whether_ready(self) -> bool:
        """Returns whether it is made; each question brings that nearer."""
        ready = self.polls == 0
        self.polls -= not ready
        return ready


class Sessions:
    """All sessions, in memory and under a folder.

    Args:
        root: The folder; what is there already is taken over.
        clock: Seconds since 1970.

    Attributes:
        life_s: How long new sessions live.
        polls: How often new sessions say that they are being made.
        reorders: Whether each new session that reads has an order of rows of its own.
    """

    def __init__(self, root: Path, clock: Callable[[], float]) -> None:
        self._root = root
        self._clock = clock
        self._sessions: dict[str, Session] = {}
        self.life_s = LIFE_S
        self.polls = 0
        self.reorders = False
        for path in root.glob(f"*/{_SESSION}"):
            session = self._load(path)
            self._sessions[session.id] = session

    def open(self, kind: str, table: Table, asked: dict[str, Any], parts: Iterable[Part] = ()) -> Session:
        """Makes a session.

        Args:
            kind: `download`, `upload`, `read` or `write`.
            table: Where.
            asked: What it is made with.
            parts: What it reads: the rows that are there now, whatever is written later.
        """
        view = View(tuple(parts), secrets.randbits(32) if self.reorders else None)
        session = Session(new_id(), kind, table.id, self._clock() + self.life_s, asked, view)
        session.polls = 0 if kind == "upload" else self.polls
        self._sessions[session.id] = session
        self._keep(session)
        return session

    def find(self, session_id: str, kind: str, table: Table) -> Session | None:
        """Returns a session of a table, or None."""
        found = self._sessions.get(session_id)
        return found if found is not None and (found.kind, found.table) == (kind, table.id) else None

    def expired(self, session: Session) -> bool:
        """Returns whether a session has ended."""
        return self._clock() >= session.expires

    def expire(self, session_id: str, life_s: float = 0) -> None:
        """Lets a session end `life_s` seconds from now."""
        session = self._sessions[session_id]
        session.expires = self._clock() + life_s
        self._keep(session)

    def keep_block(self, session: Session, key: str, file: RowFile) -> None:
        """Notes a block that has come whole, in the place of an older one of the same number."""
        put_json(self._root / session.id / f"block-{key}.json", {"key": key, "file": file.told()})
        session.blocks[key] = file

    def files(self) -> set[str]:
        """Returns the names of all files that a session which has not ended needs."""
        alive = [session for session in self._sessions.values() if not self.expired(session)]
        read = {file.name for session in alive for part in session.view.parts for file in part.files}
        return read | {file.name for session in alive for file in session.blocks.values()}

    def _keep(self, session: Session) -> None:
        told = {name: getattr(session, name) for name in ("id", "kind", "table", "expires", "asked")}
        parts = [
            {"folder": str(part.folder), "files": [file.told() for file in part.files], "values": part.values}
            for part in session.view.parts
        ]
        put_json(self._root / session.id / _SESSION, {**told, "seed": session.view.seed, "parts": parts})

    def _load(self, path: Path) -> Session:
        told = json.loads(path.read_text())
        parts = tuple(
            Part(Path(one["folder"]), tuple(RowFile.of(file) for file in one["files"]), _values(one["values"]))
            for one in told.pop("parts")
        )
        session = Session(view=View(parts, told.pop("seed")), **told)
        for block in path.parent.glob("block-*.json"):
            one = json.loads(block.read_text())
            session.blocks[one["key"]] = RowFile.of(one["file"])
        return session


def _values(told: list[list[str]]) -> Values:
    return tuple((name, value) for name, value in told)
