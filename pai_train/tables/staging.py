"""The staged parts of one write: what they are called, whose they are, who may still publish or delete them."""

from __future__ import annotations

import re
import secrets
from itertools import count
from typing import TYPE_CHECKING

from pai_train.errors import TableError
from pai_train.storage import ObjectExists, ObjectMissing, Store, basename, join
from pai_train.storage.leftovers import discard_unfinished
from pai_train.tables.claim import ClaimedPart

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pai_train.spec.contracts import Part, PartWriter

_PART = re.compile(r"part-[0-9]+-[0-9]+-([0-9a-f]{8})-[0-9]+\.parquet")
_GIVEN_UP, _PUBLISHED = "given up", "published"


class Staging:
    """The folder of one write as one session of it sees it.

    Sessions of one token share the folder, so that one can publish what another has staged; the name of a part says
    which session made it. Before the write is published only a session itself deletes its parts, and never after
    another has set out to publish them: whichever of the two creates the session's seal first decides. Once the write
    is published, no other part of it can ever be, and all of them are swept.

    On a store without exclusive create, which a table has only where the catalog is elsewhere, no finished part is
    deleted before the write is published, and two writers of one slice are found out at the commit alone.

    Args:
        store: Where the table lies.
        folder_url: `data/<token>` of the table.
        where: The output, for messages.
    """

    def __init__(self, store: Store, folder_url: str, where: str) -> None:
        self._store = store
        self._folder_url = folder_url
        self._where = where
        self._session = secrets.token_hex(4)
        self._numbers = count()

    def part(self, slice_id: int, attempt: int, begin: Callable[[str], PartWriter]) -> PartWriter:
        """Opens the writer of a slice.

        Args:
            slice_id: The slice.
            attempt: Which try at it.
            begin: Opens the writer of a URL.

        Raises:
            TableError: Another living process writes this slice in the same attempt.
        """
        name = f"part-{slice_id:05}-{attempt}-{self._session}-{next(self._numbers)}.parquet"
        url = join(self._folder_url, name)
        if not self._decides():
            return begin(url)
        claim = join(self._folder_url, f"slice-{slice_id:05}-{attempt}.json")
        what = f"slice {slice_id} in attempt {attempt}"
        return ClaimedPart(self._store, claim, what, self._where, lambda: begin(url))

    def hold(self, parts: Sequence[Part]) -> None:
        """Makes sure that nobody deletes these parts while they are published.

        Raises:
            TableError: A part of another write, or of a session that has given up its parts.
        """
        sessions = {self._session_of(part): part for part in parts}
        for session, part in sorted(sessions.items()):
            if session != self._session and self._decides() and not self._seal(session, _PUBLISHED):
                raise TableError(
                    "a staged part was given up by the session that made it",
                    where=part.url,
                    todo=f"stage slice {part.slice_id} again, as attempt {part.attempt + 1}",
                )

    def give_up(self, is_published: Callable[[], bool]) -> None:
        """Deletes the parts of this session, unless another session publishes some of them.

        Args:
            is_published: Looks whether the write is.
        """
        if not self._decides() or not self._seal(self._session, _GIVEN_UP):
            return
        if not is_published():
            for info in self._store.list(self._folder_url):
                match = _PART.fullmatch(basename(info.url))
                if match and match[1] == self._session:
                    self._store.delete(info.url)
        self._store.delete(self._seal_url(self._session))

    def staged(self) -> set[str]:
        """Lists all that lies in the folder."""
        return {info.url for info in self._store.list(self._folder_url)}

    def sweep(self, unpublished: set[str]) -> None:
        """Deletes what is staged and was not published, whole or half; for a write that is published."""
        for url in sorted(unpublished):
            self._store.delete(url)
        discard_unfinished(self._store, self._folder_url)

    def _decides(self) -> bool:
        return self._store.creates_exclusively(self._folder_url)

    def _session_of(self, part: Part) -> str:
        match = _PART.fullmatch(basename(part.url))
        if match is None or part.url != join(self._folder_url, basename(part.url)):
            raise TableError(
                "a part of another write",
                where=part.url,
                wanted=f"a part staged below {self._folder_url}",
                todo="commit it by a session of its own token",
            )
        return match[1]

    def _seal(self, session: str, word: str) -> bool:
        """Seals a session with a word; False when it is sealed with the other one."""
        while True:
            try:
                self._store.create(self._seal_url(session), f"{word} by {self._session}".encode())
            except ObjectExists:
                try:
                    return self._store.read(self._seal_url(session)).startswith(word.encode())
                except ObjectMissing:
                    continue
            return True

    def _seal_url(self, session: str) -> str:
        return join(self._folder_url, f"session-{session}.seal")
