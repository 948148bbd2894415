"""A writer that was thought dead comes back, at any operation, while or after another has done the same write."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from pai_train.errors import TableError
from pai_train.spec.contracts import Part
from pai_train.spec.ddl import parse_ddl
from pai_train.storage import StoreUnavailable
from pai_train.tables.staging import Staging
from tests.suites.mortal import FAILS_DONE, World, at
from tests.suites.once_rows import check_whole, held, keys, stage_slice, unreferenced, whole_write
from tests.suites.table_rows import IRIS, ids, ref, rows, stage, write

OLD = list(range(10))
FULL = pytest.mark.full


@pytest.fixture(params=["memory", pytest.param("file", marks=FULL)])
def world(request, tmp_path):
    world = World(tmp_path if request.param == "file" else None)
    world.tables.ensure(ref("iris"), parse_ddl(IRIS))
    write(world.tables, "iris", "old", rows(0, 10))
    return world


class Write:
    """The first writer's process: all of a write, or what is given up before the commit."""

    def __init__(self, tables, mode, *, gives_up):
        self.tables, self.mode, self.gives_up = tables, mode, gives_up
        self.journal = {}

    def run(self, staged=lambda: None):
        session = self.tables.write(ref("iris"), self.mode, "t")
        for slice_id in range(2):
            self.journal[slice_id] = stage_slice(session, slice_id, 2)
        staged()
        return session.abort() if self.gives_up else session.commit(list(self.journal.values()))


def restarts(world, first):
    """Another process does all of the write again."""
    return whole_write(world.tables, "t", first.mode, 2, 1)


def goes_on(world, first):
    """Another process publishes the parts that the first has finished, and makes the others."""
    return whole_write(world.tables, "t", first.mode, 2, 1, done=dict(first.journal))


def gives_up(world, first):
    """Another process begins the write, and gives it up."""
    session = world.tables.write(ref("iris"), first.mode, "t")
    stage_slice(session, 0, 2, attempt=1)
    session.abort()


def operations(world, mode, gives_up):
    """Returns how many operations the first writer has made when all is staged, and at its end."""
    objects = world.save()
    life = world.live()
    staged = []
    Write(life.tables, mode, gives_up=gives_up).run(lambda: staged.append(life.files.count))
    world.restore(objects)
    return staged[0], life.files.count


@pytest.mark.parametrize("mode", ["append", pytest.param("overwrite", marks=FULL)])
@pytest.mark.parametrize("gives_up_first", [False, True], ids=["commits", "aborts"])
@pytest.mark.parametrize("other", [restarts, goes_on, gives_up])
@pytest.mark.parametrize("held_up", ["at its end", pytest.param("anywhere", marks=FULL)])
def test_the_first_writer_goes_on_behind_the_other(world, mode, gives_up_first, other, held_up):
    objects = world.save()
    staged, most = operations(world, mode, gives_up_first)
    for number in range(1 if held_up == "anywhere" else staged + 1, most + 1):
        print(f"operation {number}")  # noqa: T201 - names the case that failed
        meet(world, mode, gives_up_first, other, number)
        world.restore(objects)


def meet(world, mode, gives_up_first, other, number):
    """Lets the other writer do its work before one operation of the first, and looks at what becomes of both."""
    answers = []

    def answer():
        with suppress(TableError):  # it may find parts that the first has given up
            answers.append(other(world, first))

    first = Write(world.live(at(number, answer)).tables, mode, gives_up=gives_up_first)
    own = None
    with suppress(TableError):
        own = first.run()
    theirs = answers[0] if answers else None
    published = theirs or own
    assert held(world.tables) == (OLD if not published else keys() if mode == "overwrite" else [*OLD, *keys()])
    check_whole(world.tables)
    if not gives_up_first:
        assert own == published is not None, "the first writer gets the other's answer, or its own"
        assert own == theirs or other is gives_up
    if published:
        # The first may have finished a part behind the sweep; the next commit of the write finds it.
        assert whole_write(world.tables, "t", mode, 2, 2) == published
        assert unreferenced(world.tables, "t") == []


@pytest.mark.parametrize(
    ("first_mode", "other_mode", "after"),
    [
        pytest.param("append", "append", [*OLD, *keys(), 500, 501], marks=FULL),
        ("append", "overwrite", [*keys(), 500, 501]),
        ("overwrite", "append", keys()),
        pytest.param("overwrite", "overwrite", keys(), marks=FULL),
    ],
)
@pytest.mark.parametrize("step", [4, pytest.param(1, marks=FULL)])
def test_writes_of_two_runs_take_effect_one_after_the_other(world, first_mode, other_mode, after, step):
    """The first is held up anywhere while the other begins and commits."""
    objects = world.save()
    others_last = {"append": sorted({*after, 500, 501}), "overwrite": [500, 501]}[other_mode]
    _, most = operations(world, first_mode, False)
    for number in range(most, 0, -step):
        other = lambda: write(world.tables, "iris", "other", rows(500, 502), mode=other_mode)
        whole_write(world.live(at(number, other)).tables, "t", first_mode, 2)
        assert held(world.tables) in (sorted(after), others_last)
        check_whole(world.tables)
        assert unreferenced(world.tables, "t") == unreferenced(world.tables, "other") == []
        world.restore(objects)


def test_a_part_of_another_write_is_refused(world):
    other = world.tables.write(ref("iris"), "append", "other")
    part = stage_slice(other, 0, 1)
    with pytest.raises(TableError, match="a part of another write"):
        world.tables.write(ref("iris"), "append", "t").commit([part])
    other.commit([part])
    assert held(world.tables) == [*OLD, *keys()]


def test_a_part_given_up_is_refused_and_can_be_staged_again(world):
    first, second = (world.tables.write(ref("iris"), "append", "t") for _ in range(2))
    part = stage_slice(first, 0, 1)
    first.abort()
    with pytest.raises(TableError, match=r"a staged part is gone(.|\n)*stage its slice again"):
        second.commit([part])
    second.commit([stage_slice(second, 0, 1, attempt=1)])
    assert held(world.tables) == [*OLD, *keys()]


def test_a_finished_part_is_the_sessions_to_give_up(world):
    first, second = (world.tables.write(ref("iris"), "append", "t") for _ in range(2))
    writer = first.part(0, 0)
    writer.write(rows(1000, 1023))
    second.commit([writer.finish()])
    writer.abort()
    first.abort()
    assert held(world.tables) == [*OLD, *keys()]


def test_a_commit_whose_answer_never_came_is_repeated_by_the_same_session(world):
    objects = world.save()
    names = []
    whole_write(world.live(lambda name, _: names.append(name)).tables, "t", "append", 2)
    world.restore(objects)
    publishing = len(names) - names[::-1].index("create")
    session = world.live(at(publishing, FAILS_DONE)).tables.write(ref("iris"), "append", "t")
    parts = [stage_slice(session, n, 2) for n in range(2)]
    with pytest.raises(StoreUnavailable):
        session.commit(parts)
    published = world.tables.describe(ref("iris")).snapshot
    write(world.tables, "iris", "later", rows(500, 502), mode="append")
    assert session.commit(parts) == published
    write(world.tables, "iris", "last", rows(600, 602))
    assert session.commit(parts) == published
    assert held(world.tables) == [600, 601]
    check_whole(world.tables)


def test_one_slice_is_written_by_one_living_writer(world):
    first, second = (world.tables.write(ref("iris"), "append", "t") for _ in range(2))
    writer = first.part(0, 0)
    for session in (first, second):
        with pytest.raises(TableError, match=r"slice 0 in attempt 0 is being written(.|\n)*one writer for each"):
            session.part(0, 0)
    second.part(1, 0).abort()
    second.part(0, 1).abort()
    del writer  # dropped, not finished
    second.commit([stage(second, 0, rows(1000, 1023))])
    assert sorted(ids(world.tables.source(ref("iris")))) == [*OLD, *keys()]


def test_of_many_threads_one_writes_a_slice(world):
    session = world.tables.write(ref("iris"), "append", "t")

    def begin(_):
        try:
            return session.part(0, 0)
        except TableError:
            return None

    with ThreadPoolExecutor(8) as pool:
        writers = [writer for writer in pool.map(begin, range(8)) if writer is not None]
    assert len(writers) == 1
    writers[0].abort()
    session.part(0, 0).abort()
    assert unreferenced(world.tables, "t") == []


def test_two_workers_that_commit_alone_are_told(world):
    first, second = (world.tables.write(ref("iris"), "append", "t") for _ in range(2))
    parts = [stage_slice(session, n, 2) for n, session in enumerate((first, second))]
    first.commit(parts[:1])
    with pytest.raises(TableError, match=r"already published, with other rows(.|\n)*slices 1(.|\n)*slices 0"):
        second.commit(parts[1:])
    assert whole_write_in_three(world.tables).rows == 22
    assert held(world.tables) == [*OLD, *keys()[:12]]


def whole_write_in_three(tables):
    """The same rows cut into other slices are the same write."""
    session = tables.write(ref("iris"), "append", "t")
    spans = [(0, 5), (5, 9), (9, 12)]
    parts = [stage(session, n, rows(1000 + lo, 1000 + hi), attempt=1) for n, (lo, hi) in enumerate(spans)]
    return session.commit(parts)


def test_a_store_that_cannot_decide_keeps_what_was_given_up(world):
    """A catalog elsewhere commits for it: no session may delete what another might publish."""
    world.tables._catalog.store.exclusive_create = False
    first, second = (Staging(world.tables._catalog.store, f"{world.root}/data/t", "iris") for _ in range(2))
    urls = []
    for session in (first, second):
        session.part(0, 0, urls.append)
    for url in urls:
        world.store.put(url, b"rows")
    first.give_up(lambda: False)
    second.hold([Part(0, 0, urls[0], 1, 4)])
    assert second.staged() == set(urls)
    second.sweep({urls[0]})
    assert second.staged() == {urls[1]}
