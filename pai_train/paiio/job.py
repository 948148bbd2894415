"""How the slices of one job find each other: a record per finished slice, in a folder that all of them reach."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from pai_train.errors import TableError
from pai_train.spec.contracts import Part
from pai_train.storage import ObjectExists, basename, join
from pai_train.tables.token import check_token

if TYPE_CHECKING:
    from pai_train.paiio.settings import Settings
    from pai_train.spec.address import TableRef
    from pai_train.spec.contracts import Snapshot, WriteSession

_RECORD = re.compile(r"slice-([0-9]+)-([0-9]+)\.json")
_PUBLISHED = "published.json"


class Job:
    """The finished slices of one output of a job.

    Args:
        settings: Where jobs are kept.
        name: The job; it is the token of the write too.
        ref: The output.

    Raises:
        TableError: The name cannot name a folder, or there is no folder of jobs.
    """

    def __init__(self, settings: Settings, name: str, ref: TableRef) -> None:
        check_token(name)
        root, self._store = settings.jobs_store()
        partition = "".join(f"/{key}={value}" for pairs in ref.partitions for key, value in pairs)
        self._folder = join(root, name, f"{ref.project}.{ref.name}{partition}")
        self._name, self._ref = name, ref

    def attempts(self, slice_id: int) -> int:
        """Returns how often a slice has been finished.

        Raises:
            TableError: The job has published the table.
        """
        names = self._names()
        if _PUBLISHED in names:
            raise TableError(
                f"job {self._name!r} has published the table",
                where=str(self._ref),
                todo="nothing is left to be done for this job; to write the table anew, give the job another name",
            )
        return sum(1 for found in map(_RECORD.fullmatch, names) if found and int(found[1]) == slice_id)

    def finish(self, part: Part) -> None:
        """Records a finished slice.

        Raises:
            TableError: Another writer has finished the slice since this one was opened.
        """
        url = join(self._folder, f"slice-{part.slice_id:05}-{part.attempt:03}.json")
        try:
            self._store.create(url, json.dumps(part.to_json()).encode())
        except ObjectExists:
            raise TableError(
                f"slice {part.slice_id} of the table was written by another writer at the same time",
                where=str(self._ref),
                wanted="one writer for each slice_id",
                todo="the other one's rows are kept; end one of the two",
            ) from None

    def parts(self) -> list[Part]:
        """Returns the last finished part of each slice."""
        latest: dict[int, tuple[int, str]] = {}
        for name in self._names():
            found = _RECORD.fullmatch(name)
            if found:
                slice_id, attempt = int(found[1]), int(found[2])
                latest[slice_id] = max(latest.get(slice_id, (-1, "")), (attempt, name))
        return [
            Part(**json.loads(self._store.read(join(self._folder, name)))) for _, (_, name) in sorted(latest.items())
        ]

    def publish(self, session: WriteSession, parts: list[Part]) -> Snapshot:
        """Makes the parts the table's content; once more changes nothing."""
        snapshot = session.commit(parts)
        self._store.put(join(self._folder, _PUBLISHED), json.dumps(snapshot.to_json()).encode())
        return snapshot

    def _names(self) -> set[str]:
        return {basename(info.url) for info in self._store.list(self._folder)}
