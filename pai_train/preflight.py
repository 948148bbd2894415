"""Single probes of what a run needs of a store: permissions, exclusive create, the bucket, the clock."""

from __future__ import annotations

import logging
import os
import secrets
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pai_train.errors import PaiTrainError, StorageError
from pai_train.findings import Finding, failed
from pai_train.machine import around
from pai_train.storage import AccessRefused, ObjectExists, ObjectMissing, Store, display, foreign, join
from pai_train.storage.errors import mapped
from pai_train.storage.facts import BucketFacts, ServiceFacts, TellsFacts, service_time

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pai_train.findings import State

logger = logging.getLogger(__name__)

SKEW_WARNS_S = 5 * 60
SKEW_FAILS_S = 15 * 60
"""Services refuse requests that are signed this far from their own clock."""

_ASK_S = 10.0
_ACTIONS = {
    "oss": {"list": "oss:ListObjects", "get": "oss:GetObject", "put": "oss:PutObject", "delete": "oss:DeleteObject"},
    "s3": {"list": "s3:ListBucket", "get": "s3:GetObject", "put": "s3:PutObject", "delete": "s3:DeleteObject"},
    "gs": {
        "list": "storage.objects.list",
        "get": "storage.objects.get",
        "put": "storage.objects.create",
        "delete": "storage.objects.delete",
    },
    "az": {
        "list": "the role Storage Blob Data Reader",
        "get": "the role Storage Blob Data Reader",
        "put": "the role Storage Blob Data Contributor",
        "delete": "the role Storage Blob Data Contributor",
    },
}
_NEEDS = {"create": "put", "folder": "get"}
"""Checks that are made by what another one is named after."""


@dataclass(frozen=True)
class Place:
    """A folder that a run uses.

    Attributes:
        key: The key that names it, or several.
        url: The folder.
        writes: Whether the run writes there; it lists and reads in any case.
        creates: Whether the run needs to know which of two writers was first.
        lenient: Whether a refused write is only worth a warning, because nothing is written right there.
    """

    key: str
    url: str
    writes: bool = True
    creates: bool = False
    lenient: bool = False

    @property
    def title(self) -> str:
        """The key and the folder, for people."""
        return f"{self.key}  {display(self.url)}"


def permissions(store: Store, place: Place) -> list[Finding]:
    """Does with one tiny object what the run will do with its own: list, put, get, create, delete.

    The object has a name that nobody else uses, and is gone afterwards. Where it could not be deleted again, it is
    not put.
    """
    try:
        trial = _Trial(store, place)
    except StorageError as error:
        return [failed(place.title, "folder", error.fault)]
    listed = trial.tried("list", trial.list)
    if listed.fatal:
        return [listed]
    folder = trial.tried("folder", trial.is_folder)
    if folder.state != "ok":
        return [folder]
    if not place.writes:
        return [listed]
    # Whether a key may be deleted is told without the object.
    delete = trial.tried("delete", trial.delete)
    if delete.state != "ok":
        words = "not tried: what was put could not be deleted again"
        return [listed, Finding(place.title, "put", "skip", words), delete]
    try:
        put = trial.tried("put", trial.put)
        if put.state != "ok":
            return [listed, put, delete]
        found = [listed, trial.tried("get", trial.get), put]
        if place.creates:
            found.append(trial.tried("create", trial.create))
        return [*found, trial.tried("delete", trial.delete)]
    finally:
        trial.clean()


class _Trial:
    """One object in a folder of its own, below a place."""

    def __init__(self, store: Store, place: Place) -> None:
        self._store, self._place = store, place
        self._content = secrets.token_bytes(32)
        self._folder = join(_foothold(place.url), f".pai_train-probe-{secrets.token_hex(8)}")
        self.url = join(self._folder, "probe")
        self._may_be_there = False

    def tried(self, check: str, work: Callable[[], str]) -> Finding:
        place = self._place
        try:
            return Finding(place.title, check, "ok", work())
        except AccessRefused as error:
            known = knows_us(error)
            todo = self._remedy(check) if known else None
            finding = failed(place.title, check, error.fault, todo=todo, fatal=not known)
        except PaiTrainError as error:
            finding = failed(place.title, check, error.fault, fatal=check == "list")
        if place.lenient and check != "list":
            return Finding(place.title, check, "warn", f"{finding.found}; the run writes only below", finding.todo)
        return finding

    def list(self) -> str:
        self._store.list(self._folder)
        return "allowed"

    def is_folder(self) -> str:
        # Who may not read there learns of it by what is tried next.
        with suppress(AccessRefused):
            if self._store.info(self._place.url) is not None:
                raise StorageError("is an object, not a folder", todo="name a folder")
        return ""

    def put(self) -> str:
        self._may_be_there = True
        try:
            self._store.put(self.url, self._content)
        except AccessRefused:
            # Put and not to be looked at: then it is `get` that fails.
            if not self._is_listed():
                raise
        return "allowed"

    def get(self) -> str:
        if self._store.read(self.url) != self._content:
            raise StorageError("other bytes came back than were put", todo="find what stands between us and the store")
        return "what was put came back"

    def create(self) -> str:
        try:
            self._store.create(self.url, b"late")
        except ObjectExists:
            return "of two writers one wins"
        raise StorageError(
            "two writers of one object both won",
            todo="name a store with exclusive create as tables.root and checkpointDir",
        )

    def delete(self) -> str:
        self._store.delete(self.url)
        if self._is_listed():
            raise StorageError("the object is still there", got=self.url, todo="delete it by hand")
        self._may_be_there = False
        return "allowed; the probe is gone"

    def _is_listed(self) -> bool:
        # Who may not list takes the store at its word.
        with suppress(AccessRefused):
            return bool(self._store.list(self._folder))
        return False

    def clean(self) -> None:
        try:
            if self._may_be_there:
                self._store.delete(self.url)
            if self._store.scheme == "file":
                # Folders are objects of their own there.
                self._store.delete_tree(self._folder)
        except StorageError as error:
            # What else was found is worth telling all the same.
            logger.warning("%s may be left, delete it by hand: %s", display(self.url), error.fault.what)

    def _remedy(self, check: str) -> str | None:
        action = _ACTIONS.get(self._store.scheme, {}).get(_NEEDS.get(check, check))
        if action is None:
            return None
        return f"whose key it is needs {action} on {self._place.url.partition('://')[2]}/*"


def knows_us(error: AccessRefused) -> bool:
    """Tells whether only permission is missing, and not a valid key, for which everything would be refused."""
    return error.__cause__ is None or foreign.read(error.__cause__).kind in (foreign.Kind.DENIED, foreign.Kind.OTHER)


def _foothold(url: str) -> str:
    """Returns the folder itself, or on a disk the closest one around it that is there.

    Raises:
        StorageError: What is there is no folder.
    """
    scheme, _, path = url.partition("://")
    if scheme != "file":
        return url
    there = around(path)
    if not os.path.isdir(there):
        raise StorageError("no folder can be made there", where=display(url), got=f"{there} is a file")
    return f"file://{there}"


def service(store: Store, url: str, now: Callable[[], datetime] | None = None) -> Iterator[Finding]:
    """Asks a remote service for its clock, and for what it tells of a bucket.

    Args:
        store: The service.
        url: The bucket.
        now: This machine's time; replaced in tests.
    """
    filesystem, bucket = store.filesystem, url.partition("://")[2]
    if not isinstance(filesystem, TellsFacts):
        return
    try:
        # Sends nothing, and yet reads the settings that lead there.
        with mapped(url):
            facts = filesystem.service_facts(bucket)
    except PaiTrainError as error:
        yield failed(url, "address", error.fault, fatal=True)
        return
    if facts.endpoint is not None:
        yield _clock(url, facts.endpoint, now or _now)
    try:
        told = store.retry(url, lambda: filesystem.bucket_facts(bucket))
    except ObjectMissing:
        words, todo = "there is no such bucket", "correct the name, or create the bucket"
        yield Finding(url, "bucket", "fail", words, todo, fatal=True)
    except AccessRefused as error:
        if not knows_us(error):
            yield failed(url, "bucket", error.fault, fatal=True)
            return
        words = f"may not be asked about, so region and versioning are not known: {error.fault.got}"
        yield Finding(url, "bucket", "warn", words, error.fault.todo)
    except PaiTrainError as error:
        yield failed(url, "bucket", error.fault, fatal=True)
    else:
        yield Finding(url, "bucket", "ok", "is there")
        yield from _region(url, facts, told)
        yield from _versioning(store.scheme, url, told)


def _clock(url: str, endpoint: str, now: Callable[[], datetime]) -> Finding:
    before = now()
    theirs = service_time(endpoint, _ASK_S)
    after = now()
    if theirs is None:
        return Finding(url, "clock", "skip", f"{endpoint} did not tell its time")
    ours = before + (after - before) / 2
    skew_s = (ours - theirs).total_seconds()
    # An answer tells whole seconds.
    words = f"within {abs(skew_s) + 1:.0f} s of the service's"
    if abs(skew_s) <= SKEW_WARNS_S:
        return Finding(url, "clock", "ok", words)
    words = f"this machine's clock is {abs(skew_s) / 60:.0f} min {'ahead of' if skew_s > 0 else 'behind'} the service's"
    state: State = "fail" if abs(skew_s) > SKEW_FAILS_S else "warn"
    return Finding(url, "clock", state, words, "set the clock, best by NTP; from 15 min on requests are refused")


def _region(url: str, facts: ServiceFacts, told: BucketFacts) -> Iterator[Finding]:
    if told.region is None:
        return
    if facts.region is None or facts.region == told.region:
        yield Finding(url, "region", "ok", told.region)
        return
    words = f"the bucket is in {told.region}, and reached by {facts.region}"
    todo = f"storage.region={told.region}, with an endpoint of that region or none"
    yield Finding(url, "region", "fail", words, todo)


def _versioning(scheme: str, url: str, told: BucketFacts) -> Iterator[Finding]:
    if told.versioning is None:
        return
    if scheme == "oss" and told.versioning != "off":
        words = f"{told.versioning}: deleted objects stay and cost, and of two writers of one object none is refused"
        yield Finding(url, "versioning", "fail", words, "use a bucket that never kept versions, as PAI asks for too")
    elif told.versioning == "on":
        yield Finding(url, "versioning", "ok", "on: replaced and deleted objects stay as versions")
    else:
        yield Finding(url, "versioning", "ok", told.versioning)


def _now() -> datetime:
    return datetime.now(UTC)
