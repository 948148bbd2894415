"""The expire mode: tells, or does, what goes of the tables that a recipe names; prints it as a table."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TextIO

from pai_train.errors import Interrupted, PaiTrainError
from pai_train.findings import Finding, Report, failed, show

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pai_train.spec.address import TableRef
    from pai_train.storage import ObjectInfo
    from pai_train.tables.contracts import Expiring, Tables
    from pai_train.tables.expire import Found, Policy

_SHOWN = 5


@dataclass(frozen=True)
class Plan:
    """What is to be looked through.

    Attributes:
        title: The recipe, for people.
        tables: Opens the table store.
        expiring: The same one, as what expires.
        refs: The tables.
        policy: What may go.
        delete: Whether it goes, and is not only told.
    """

    title: str
    tables: Tables
    expiring: Expiring
    refs: Sequence[TableRef]
    policy: Policy
    delete: bool


@dataclass(frozen=True)
class Expired(Report):
    """What went, or would go.

    Attributes:
        delete: Whether it went.
        found: Of each table that is there.
    """

    delete: bool
    found: tuple[Found, ...]

    def __str__(self) -> str:
        snapshots, files = (sum(len(getattr(one, name)) for one in self.found) for name in ("snapshots", "files"))
        words = f"{_count(snapshots, 'snapshot')} and {_count(files, 'file')}, "
        words += f"{sum(one.bytes for one in self.found):,} bytes,"
        rest = "are gone" if self.delete else "would go; expire.delete=true does it"
        failed = self.count("fail")
        return f"{self.title}: {words} {rest}" + (f"; {_count(failed, 'table')} failed" if failed else "")


def expire(plan: Plan, stopped: Callable[[], bool], stream: TextIO | None = None) -> Expired:
    """Looks through each table, and expires and deletes where the plan says so.

    Args:
        plan: What to do.
        stopped: Tells whether to give up; asked between two deletions.
        stream: Where the table goes; standard output when left out.

    Raises:
        PaiTrainError: A table could not be looked through; the others have been.
        Interrupted: `stopped` said so; every table is readable, and the same command goes on.
    """

    def check() -> None:
        if stopped():
            raise Interrupted("expiry was stopped; every table is readable", todo="the same command goes on")

    findings: list[Finding] = []
    results: list[Found] = []
    errors: list[PaiTrainError] = []
    for ref in plan.refs:
        check()
        place = f"table  {ref}"
        try:
            if plan.tables.describe(ref) is None:
                findings.append(Finding(place, "table", "skip", "there is no such table yet"))
                continue
            expiry = plan.expiring.expiry(ref, plan.policy)
            results.append(expiry.run(check) if plan.delete else expiry.look())
            findings += _told(place, results[-1], done=plan.delete)
        except Interrupted:
            raise
        except PaiTrainError as error:
            findings.append(failed(place, "table", error.fault))
            errors.append(error)
    report = Expired(plan.title, tuple(findings), plan.delete, tuple(results))
    show(report, sys.stdout if stream is None else stream)
    if errors:
        raise errors[0]
    return report


def _told(place: str, found: Found, *, done: bool) -> Iterator[Finding]:
    would = "" if done else "would "
    many = "no snapshot" if not found.snapshots else f"{len(found.snapshots)} of {_total(found)} snapshots"
    yield Finding(place, "snapshots", "ok", f"{many} {would}{'expired' if done else 'expire'}{_some(found.snapshots)}")
    for pin in found.pins:
        until = datetime.fromtimestamp(pin.until, UTC).strftime("%Y-%m-%d")
        held = [f"snapshot {one}" for one in pin.snapshots] + [f"write {one}" for one in pin.tokens]
        yield Finding(place, "pinned", "ok", f"by run {pin.run_id} until {until}: {', '.join(held)}")
    files = f"{_count(len(found.files), 'file')}, {found.bytes:,} bytes,"
    young = f"; {found.young} more are too young to tell" if found.young else ""
    words = f"{files} {would}{'deleted' if done else 'be deleted'}{_some([_name(found, one) for one in found.files])}"
    yield Finding(place, "files", "ok", words + young)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _total(found: Found) -> int:
    return found.kept + len(found.snapshots)


def _name(found: Found, info: ObjectInfo) -> str:
    return info.url.removeprefix(f"{found.location}/")


def _some(things: Sequence[object]) -> str:
    if not things:
        return ""
    more = [f"and {len(things) - _SHOWN} more"] if len(things) > _SHOWN else []
    return f": {', '.join([*map(str, things[:_SHOWN]), *more])}"
