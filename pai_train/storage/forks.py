"""What holds locks or threads is made anew in a forked child: there its threads are gone and its locks may be held."""

from __future__ import annotations

import os
from typing import Protocol
from weakref import WeakSet


class Forkable(Protocol):
    """Something that can begin anew."""

    def renew(self) -> None:
        """Makes locks and threads anew; called in the child, where no other thread runs."""


_KNOWN: WeakSet[Forkable] = WeakSet()


def renew_after_fork(thing: Forkable) -> None:
    """Has `thing.renew` called in every child that is forked while it lives."""
    _KNOWN.add(thing)


def _renew_all() -> None:
    for thing in list(_KNOWN):
        thing.renew()


os.register_at_fork(after_in_child=_renew_all)
