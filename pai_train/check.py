"""The check mode: tests what a run will need before it starts, prints what came out, and leaves nothing behind."""

from __future__ import annotations

import sys
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO

from pai_train import preflight
from pai_train.errors import Interrupted
from pai_train.findings import CheckFailed, Finding, Report, show

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Sequence
    from datetime import datetime

    from pai_train.preflight import Place
    from pai_train.storage import Stores


@dataclass(frozen=True)
class Plan:
    """What is to be checked.

    Attributes:
        title: What the run is, for people.
        stores: How stores are reached.
        places: The folders it uses.
        looks: What else is looked at; the last one alone where a store does not answer.
        known: What is known beforehand.
    """

    title: str
    stores: Stores
    places: Sequence[Place]
    looks: Sequence[Callable[[], Iterable[Finding]]]
    known: tuple[Finding, ...] = ()


def check(
    plan: Plan,
    stop: Callable[[], bool],
    stream: TextIO | None = None,
    now: Callable[[], datetime] | None = None,
) -> Report:
    """Runs all checks and prints them.

    Args:
        plan: What to check.
        stop: Tells whether to give up; asked between two checks.
        stream: Where the table goes; standard output when left out.
        now: This machine's time; replaced in tests.

    Raises:
        CheckFailed: Something failed.
        Interrupted: `stop` said so.
    """
    found = []
    with closing(_findings(plan, now)) as findings:
        for finding in findings:
            found.append(finding)
            if stop():
                raise Interrupted("the check was stopped, and left nothing behind", todo="the same command starts anew")
    report = Report(plan.title, tuple(found))
    show(report, sys.stdout if stream is None else stream)
    if report.count("fail"):
        raise CheckFailed(report)
    return report


def _findings(plan: Plan, now: Callable[[], datetime] | None) -> Generator[Finding]:
    """Yields what is found; closed early, it still puts everything back."""
    yield from plan.known
    broken = {finding.place for finding in plan.known if finding.fatal}
    for bucket, places in _by_bucket(plan.places).items():
        store = plan.stores.open(bucket)
        for finding in () if store.is_local else preflight.service(store, bucket, now):
            yield finding
            broken |= {bucket} if finding.fatal else set()
        for place in places:
            if bucket in broken:
                yield Finding(place.title, "list", "skip", f"not tried: {bucket} does not serve")
                continue
            for finding in preflight.permissions(store, place):
                yield finding
                broken |= {bucket} if finding.fatal else set()
    for look in plan.looks[-1:] if broken else plan.looks:
        yield from look()


def _by_bucket(places: Sequence[Place]) -> dict[str, list[Place]]:
    """Sorts places by the bucket they are in; all files of this machine are in one."""
    buckets: dict[str, list[Place]] = {}
    for place in places:
        scheme, _, path = place.url.partition("://")
        buckets.setdefault(f"{scheme}://{path.partition('/')[0]}", []).append(place)
    return buckets
