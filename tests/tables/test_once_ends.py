"""A process that writes a table ends at any storage operation; the same write done again holds every row once."""

from __future__ import annotations

import os
import random
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import product
from typing import TYPE_CHECKING, Any

import pytest
from pyiceberg.utils.concurrent import ExecutorFactory

from pai_train.errors import StorageError
from pai_train.spec.ddl import parse_ddl
from tests.suites.mortal import ENDS, ENDS_DONE, FAILS_DONE, FAULTS, Ended, World, at
from tests.suites.once_rows import check_whole, held, keys, unreferenced, whole_write
from tests.suites.table_rows import IRIS, ids, ref, rows, write

if TYPE_CHECKING:
    from collections.abc import Callable

    from pai_train.spec.contracts import Part

OLD = list(range(10))
FULL = (pytest.mark.full, pytest.mark.timeout(1200))


@pytest.fixture(params=["memory", "file"])
def world(request, tmp_path, monkeypatch):
    # One thread, so that operations have the same numbers in every run.
    monkeypatch.setattr(ExecutorFactory, "_instance", ThreadPoolExecutor(1))
    monkeypatch.setattr(ExecutorFactory, "_instance_pid", os.getpid())
    world = World(tmp_path if request.param == "file" else None)
    world.tables.ensure(ref("iris"), parse_ddl(IRIS))
    return world


def _filled(world, mode):
    """Puts old rows into the table, where the mode allows it; returns the keys before and after a whole write."""
    if mode == "fail":
        return [], keys()
    write(world.tables, "iris", "old", rows(0, 10))
    return OLD, keys() if mode == "overwrite" else [*OLD, *keys()]


def _count(world, mode, slices):
    objects = world.save()
    life = world.live()
    whole_write(life.tables, "t", mode, slices)
    world.restore(objects)
    return life.files.count


class Death:
    """One write that ends, is done again, and is looked at."""

    def __init__(self, world: World, mode: Any, slices: int, before: list[int], after: list[int]) -> None:
        self.world, self.mode, self.slices, self.before, self.after = world, mode, slices, before, after
        self.objects = world.save()
        self.snapshot = world.tables.describe(ref("iris")).snapshot

    def __call__(self, *plans: Callable[[str, int], Any], again: str = "anew") -> None:
        """Runs one process for each plan, which may end, and one more to the end."""
        world = self.world
        old = world.tables.source(ref("iris"))
        journal: dict[int, Part] = {}
        for attempt, plan in enumerate(plans):
            life = world.live(plan)
            done = dict(journal) if again == "missing" else None
            with suppress(StorageError, Ended):
                whole_write(life.tables, "t", self.mode, self.slices, attempt, done, journal)
            assert life.files.struck or attempt, "the plan struck nothing"
            self._look()
        meanwhile = world.tables.source(ref("iris"))
        done = journal if again == "missing" else None
        answer = whole_write(world.tables, "t", self.mode, self.slices, len(plans), done)
        assert held(world.tables) == self.after
        assert answer == world.tables.source(ref("iris")).snapshot
        assert sorted(ids(old)) == self.before
        assert meanwhile.snapshot == old.snapshot or sorted(ids(meanwhile)) == self.after
        check_whole(world.tables)
        assert unreferenced(world.tables, "t") == []
        world.restore(self.objects)

    def _look(self) -> None:
        """Checks that there is the old snapshot, which is read at the end, or a whole new one."""
        if self.world.tables.describe(ref("iris")).snapshot != self.snapshot:
            assert held(self.world.tables) == self.after
            check_whole(self.world.tables)


def test_ending_is_caught_by_nobody(world):
    _filled(world, "append")
    objects = world.save()
    for number in range(1, _count(world, "append", 2) + 1):
        life = world.live(at(number, ENDS))
        with pytest.raises(Ended):
            whole_write(life.tables, "t", "append", 2)
        assert life.files.count == number, "something was asked of the store after the end"
        world.restore(objects)


def _cases():
    """What `make test` looks at; the rest of all combinations is for the full run.

    Ending before an operation is ending after the one before it, where operations follow each other.
    """
    quick = {
        ("memory", "overwrite", 1, ENDS_DONE, "anew"),
        ("memory", "append", 2, FAILS_DONE, "missing"),
        ("memory", "fail", 4, ENDS_DONE, "missing"),
        ("file", "append", 2, ENDS, "anew"),
    }
    for case in product(["memory", "file"], ["overwrite", "append", "fail"], [1, 2, 4], FAULTS, ["anew", "missing"]):
        world, mode, slices, fault, again = case
        name = f"{world}-{mode}-{slices} slices-{fault}-{again}"
        yield pytest.param(world, mode, slices, fault, again, marks=() if case in quick else FULL, id=name)


@pytest.mark.parametrize(("world", "mode", "slices", "fault", "again"), list(_cases()), indirect=["world"])
def test_an_end_at_every_operation(world, mode, slices, fault, again):
    before, after = _filled(world, mode)
    death = Death(world, mode, slices, before, after)
    for number in range(1, _count(world, mode, slices) + 1):
        print(f"operation {number}")  # noqa: T201 - names the case that failed
        death(at(number, fault), again=again)


@pytest.mark.parametrize("pairs", [6, pytest.param(200, marks=FULL)])
def test_an_end_in_the_second_try_too(world, pairs):
    before, after = _filled(world, "append")
    death = Death(world, "append", 2, before, after)
    chances, most = random.Random(pairs), _count(world, "append", 2)
    for _ in range(pairs):
        first, second = (at(chances.randint(1, most), chances.choice(FAULTS)) for _ in range(2))
        death(first, second, again=chances.choice(["anew", "missing"]))


def test_a_reader_at_every_operation_sees_old_or_new(world, monkeypatch):
    monkeypatch.setattr(ExecutorFactory, "_instance", None)  # a look inside an operation needs threads of its own
    before, after = _filled(world, "overwrite")
    seen = []

    def look(_name, _number):
        seen.append(held(world.tables))

    whole_write(world.live(look).tables, "t", "overwrite", 2)
    assert seen == sorted(seen, key=lambda found: found == after)
    assert {tuple(found) for found in seen} == {tuple(before), tuple(after)}
