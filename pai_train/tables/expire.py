"""Snapshots that nobody needs any more, and the files that nobody refers to: what they are, and away with them.

A snapshot expires when it is no longer among the newest, stopped being the current one long enough ago, is no branch
or tag, and no unfinished run has pinned it (see pins.py). Its removal is one commit of the table. Files are looked for
afterwards: what lies in the table's `data` and `metadata` folders, no kept snapshot refers to and is older than a
grace period is deleted, so that a write under way is not robbed: of the folder of one write, all files are as young as
the youngest. Killed between any two steps, the table is readable and the next collection takes the rest.

Of the metadata files, the newest and those that its log names stay (Iceberg's write.metadata.previous-versions-max,
100 unless the table says otherwise), and of the store's own catalog v1, by which tables are found, too. A commit that
was under way since before the grace period finds out by itself that its version is no longer the next one.

Nothing else in the folder is touched, and nothing outside of it.
"""

from __future__ import annotations

import re
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pyiceberg.exceptions import CommitFailedException, CommitStateUnknownException, ValidationException
from pyiceberg.serializers import FromByteStream
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from pai_train.errors import TableError
from pai_train.storage import ObjectInfo, ObjectMissing, basename, join, resolve
from pai_train.tables.pins import Pin, read_pins
from pai_train.tables.store_io import entries_of, manifests_of
from pai_train.tables.write import TOKEN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pyiceberg.table import Table
    from pyiceberg.table.snapshots import Snapshot as IcebergSnapshot

    from pai_train.spec.address import TableRef
    from pai_train.tables.catalogs import TableCatalog

SHORTEST_GRACE_S = 3600.0
"""A commit must be over in less."""

_METADATA = ".metadata.json"
_COLLECTED = re.compile(r".*(?:\.avro|\.metadata\.json|\.puffin|\.stats)")
_FIRST_OF_STORE = re.compile(r"v1\.metadata\.json")
_STAGED = re.compile(r"data/([A-Za-z0-9._-]+)/.*")
_ATTEMPTS = 30


@dataclass(frozen=True)
class Policy:
    """What may go.

    Attributes:
        older_than_s: Seconds since a snapshot stopped being the current one.
        keep_last: So many of the newest snapshots stay, however old.
        grace_s: Seconds since a file was written.
    """

    older_than_s: float
    keep_last: int
    grace_s: float

    def __post_init__(self) -> None:
        if self.grace_s < SHORTEST_GRACE_S:
            raise ValueError(f"a grace of {self.grace_s} s would rob writes under way")


@dataclass(frozen=True)
class Found:
    """What goes, or went.

    Attributes:
        snapshots: Ids of snapshots that expire, oldest first.
        location: The table's folder.
        kept: How many stay.
        pins: The runs that hold on to something.
        files: Files that nobody refers to afterwards, with their sizes.
        young: How many more are too young to tell.
    """

    snapshots: tuple[int, ...]
    location: str
    kept: int
    pins: tuple[Pin, ...]
    files: tuple[ObjectInfo, ...]
    young: int

    @property
    def bytes(self) -> int:
        """Sum of the files' sizes."""
        return sum(info.size for info in self.files)


class Expiry:
    """Expires snapshots of one table and collects its files.

    Args:
        catalog: Where the table is.
        ref: The table.
        policy: What may go.
        clock: Seconds since 1970; must agree with the store's clock to well within the grace.
    """

    def __init__(
        self, catalog: TableCatalog, ref: TableRef, policy: Policy, clock: Callable[[], float] = time.time
    ) -> None:
        self._catalog, self._store = catalog, catalog.store
        self._ref, self._policy, self._clock = ref, policy, clock
        self._own: set[str] = set()

    def look(self) -> Found:
        """Returns what would go; changes nothing.

        Raises:
            TableError: No such table, a pin that cannot be read, or files of another table in its folder.
        """
        table = self._load()
        pins = self._pins(table)
        expired = self._expired(table, pins)
        return self._found(table, expired, pins)

    def run(self, check: Callable[[], None]) -> Found:
        """Expires and deletes, and returns what went.

        Args:
            check: Called between deletions; may raise to stop, after which the table is as readable as before.

        Raises:
            TableError: As `look`, or other commits came first again and again.
        """
        raced = (CommitFailedException, CommitStateUnknownException, ValidationException)
        retrying = Retrying(
            retry=retry_if_exception_type(raced),
            stop=stop_after_attempt(_ATTEMPTS),
            wait=wait_random_exponential(multiplier=0.05, max=2.0),
            reraise=True,
        )
        # Before anything is changed: files of another table would be found only afterwards.
        table = self._load()
        deque(self._candidates(table, self._pins(table)), maxlen=0)
        try:
            expired = retrying(self._expire)
        except raced as fault:
            raise TableError(
                f"other writers committed first, {_ATTEMPTS} times", where=str(self._ref), got=str(fault)
            ) from fault
        table = self._load()
        found = self._found(table, [], self._pins(table))
        self._delete([info.url for info in found.files], check)
        return replace(found, snapshots=tuple(expired))

    def _delete(self, urls: Sequence[str], check: Callable[[], None]) -> None:
        parallel = self._store.limits.parallel
        with ThreadPoolExecutor(parallel) as pool:
            for at in range(0, len(urls), 4 * parallel):
                check()
                deque(pool.map(self._store.delete, urls[at : at + 4 * parallel]), maxlen=0)

    def _load(self) -> Table:
        return self._catalog.load_table((self._ref.project, self._ref.name))

    def _pins(self, table: Table) -> list[Pin]:
        return read_pins(self._store, table.location(), self._clock())

    def _expire(self) -> list[int]:
        table = self._load()
        expired = self._expired(table, self._pins(table))
        if expired:
            table.maintenance.expire_snapshots().by_ids(expired).commit()
        return expired

    def _expired(self, table: Table, pins: Sequence[Pin]) -> list[int]:
        """Returns the ids of the snapshots that may go, oldest first."""
        before = 1000 * (self._clock() - self._policy.older_than_s)
        snapshots = sorted(table.snapshots(), key=lambda one: one.timestamp_ms)
        newest = {one.snapshot_id for one in snapshots[-self._policy.keep_last :]}
        heads = {one.snapshot_id for one in table.metadata.refs.values()} | {table.metadata.current_snapshot_id}
        log = sorted(table.metadata.snapshot_log, key=lambda one: one.timestamp_ms)
        superseded = {one.snapshot_id: log[at + 1].timestamp_ms for at, one in enumerate(log[:-1])}
        return [
            one.snapshot_id
            for one in snapshots
            if one.snapshot_id not in newest | heads
            and superseded.get(one.snapshot_id, one.timestamp_ms) <= before
            and not _pinned(one, pins)
        ]

    def _found(self, table: Table, expired: Sequence[int], pins: Sequence[Pin]) -> Found:
        kept = [one for one in table.snapshots() if one.snapshot_id not in expired]
        needed = set(self._needed(table, kept))
        old = self._clock() - self._policy.grace_s
        candidates = list(self._candidates(table, pins))
        location = _url(table.location())
        under_way = {_write_of(info, location) for info in candidates if _is_young(info, old)} - {None}
        files, young = [], 0
        for info in candidates:
            if info.url in needed:
                continue
            if _is_young(info, old) or _write_of(info, location) in under_way:
                young += 1
            else:
                files.append(info)
        return Found(tuple(expired), location, len(kept), tuple(pins), tuple(files), young)

    def _needed(self, table: Table, kept: Sequence[IcebergSnapshot]) -> Iterator[str]:
        """Yields the URLs of all files that a reader of the kept snapshots may ask for."""
        metadata = table.metadata
        places = [table.metadata_location, *(entry.metadata_file for entry in metadata.metadata_log)]
        places += [one.statistics_path for one in (*metadata.statistics, *metadata.partition_statistics)]
        yield from map(_url, places)
        seen: set[str] = set()
        for snapshot in kept:
            yield _url(snapshot.manifest_list)
            for manifest in manifests_of(table, snapshot):
                if manifest.manifest_path in seen:
                    continue
                seen.add(manifest.manifest_path)
                yield _url(manifest.manifest_path)
                for entry in entries_of(table, manifest):
                    yield _url(entry.data_file.file_path)

    def _candidates(self, table: Table, pins: Sequence[Pin]) -> Iterator[ObjectInfo]:
        """Yields the table's own kinds of files, without the staged files of unfinished runs."""
        location = table.location()
        staged = tuple(f"{_url(join(location, 'data', token))}/" for pin in pins for token in pin.tokens)
        for info in self._store.list(join(location, "data")):
            if not info.url.startswith(staged):
                yield info
        known = set(map(_url, (table.metadata_location, *(one.metadata_file for one in table.metadata.metadata_log))))
        for info in self._store.list(join(location, "metadata")):
            name = basename(info.url)
            if name.endswith(_METADATA) and info.url not in known | self._own:
                self._check_own(table, info)
                self._own.add(info.url)
            if _COLLECTED.fullmatch(name) and not _FIRST_OF_STORE.fullmatch(name):
                yield info

    def _check_own(self, table: Table, info: ObjectInfo) -> None:
        """Refuses a folder that another table uses too, such as one of the same name in another catalog."""
        try:
            other = FromByteStream.table_metadata(self._store.open_input(info.url))
        except ObjectMissing:
            return
        if other.table_uuid != table.metadata.table_uuid and other.snapshots:
            raise TableError(
                "files of two tables lie in one folder; whose they are cannot be told",
                where=str(self._ref),
                got=info.url,
                wanted=f"metadata of the table {table.metadata.table_uuid} only",
                todo="move one of the tables; nothing was deleted",
            )


def _pinned(snapshot: IcebergSnapshot, pins: Sequence[Pin]) -> bool:
    token = snapshot.summary.additional_properties.get(TOKEN) if snapshot.summary is not None else None
    return any(str(snapshot.snapshot_id) in pin.snapshots or token in pin.tokens for pin in pins)


def _is_young(info: ObjectInfo, old: float) -> bool:
    """Tells whether a file is not known to have been written long ago."""
    return info.modified is None or info.modified > old


def _write_of(info: ObjectInfo, location: str) -> str | None:
    """Returns the token of the write whose folder a file lies in; None where it lies elsewhere."""
    match = _STAGED.fullmatch(info.url.removeprefix(f"{location}/"))
    return match[1] if match is not None else None


def _url(place: str) -> str:
    """Returns the one spelling of a place by which a store lists it; other engines write some differently."""
    return resolve("/", place)
