"""Writing to MaxCompute: what is there once, whatever died, whose answer was lost, and whichever session ended."""

from __future__ import annotations

import json
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from pai_train.errors import StorageError, TableError
from pai_train.spec.ddl import parse_ddl
from pai_train.storage import Store, StoreUnavailable
from pai_train.tables.maxcompute import write as maxcompute_write
from pai_train.tables.maxcompute.connection import Connection
from pai_train.tables.maxcompute.register import Register
from tests.suites.table_rows import IRIS, ids, ref, rows, stage, write
from tests.tables.maxcompute_tables import reopen, service, tables  # noqa: F401 - fixtures

# ruff: noqa: F811 - fixtures that are imported


@pytest.fixture
def iris(tables):
    tables.ensure(ref("iris"), parse_ddl(IRIS))
    return tables


def held(tables):
    return sorted(ids(tables.source(ref("iris"))))


def session_of(part):
    return part.url.rpartition("#")[2].partition("/")[0]


def test_a_part_names_its_session_and_block(iris, maxcompute_door):
    part = stage(iris.write(ref("iris"), "append", "t"), 7, rows(0, 3))
    address, _, block = part.url.partition("#")
    assert address == "odps://lab/tables/iris"
    assert block.endswith("/7")
    assert (part.rows, part.bytes > 0) == (3, True)


@pytest.mark.parametrize("in_memory", [1, 2_000, 10**6])
def test_a_full_disk_is_no_service_that_is_away(iris, monkeypatch, in_memory):
    write(iris, "iris", "before", rows(0, 5))
    session = iris.write(ref("iris"), "overwrite", "full")
    with monkeypatch.context() as patch:
        patch.setattr(maxcompute_write, "_IN_MEMORY", in_memory)
        patch.setattr(tempfile, "TemporaryFile", lambda **_: Path("/dev/full").open("w+b"))  # noqa: SIM115
        part = session.part(0, 0)
        with pytest.raises(StorageError, match=r"No space left on device(.|\n)*free space there") as caught:
            for lo in range(0, 60_000, 1_000):
                part.write(rows(lo, lo + 1_000))
            part.finish()
        assert not isinstance(caught.value, StoreUnavailable)
        part.abort()
    session.abort()
    assert held(iris) == list(range(5))
    assert session.commit([stage(session, 0, rows(0, 7), attempt=1)]).rows == 7


def test_a_restarted_process_finds_the_session_by_the_token(iris, reopen, maxcompute_door):
    first = stage(iris.write(ref("iris"), "append", "t"), 0, rows(0, 10))
    maxcompute_door.requests(forget=True)
    again = reopen().write(ref("iris"), "append", "t")
    second = stage(again, 1, rows(10, 20))
    assert session_of(first) == session_of(second)
    assert "CreateUpload" not in maxcompute_door.requests()
    snapshot = reopen().write(ref("iris"), "append", "t").commit([first, second])
    assert (held(iris), snapshot.rows) == (list(range(20)), 20)


def test_processes_that_begin_at_once_share_one_session(iris, reopen):
    sessions = [reopen().write(ref("iris"), "append", "t") for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        parts = list(pool.map(lambda n: stage(sessions[n], n, rows(10 * n, 10 * n + 10)), range(4)))
    assert len({session_of(part) for part in parts}) == 1
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda session: session.commit(parts), sessions))
    assert len(set(answers)) == 1
    assert held(iris) == list(range(40))


def test_blocks_that_are_not_committed_are_not_shown(iris, reopen):
    """A run that had four slices died, and goes on with two."""
    dead = iris.write(ref("iris"), "append", "t")
    for slice_id in range(4):
        stage(dead, slice_id, rows(100 * slice_id, 100 * slice_id + 50))
    alive = reopen().write(ref("iris"), "append", "t")
    parts = [stage(alive, slice_id, rows(10 * slice_id, 10 * slice_id + 10), attempt=1) for slice_id in range(2)]
    assert alive.commit(parts).rows == 20
    assert held(iris) == list(range(20))


def test_of_two_attempts_the_one_that_finishes_last_counts(iris):
    session = iris.write(ref("iris"), "append", "t")
    slow, fast = session.part(0, 0), session.part(0, 1)
    slow.write(rows(0, 5))
    fast.write(rows(0, 10))
    slow.finish()
    session.commit([fast.finish()])
    assert held(iris) == list(range(10))


def test_an_abort_harms_nobody(iris, reopen):
    mine = iris.write(ref("iris"), "overwrite", "t")
    part = stage(mine, 0, rows(0, 10))
    reopen().write(ref("iris"), "overwrite", "t").abort()
    mine.commit([part])
    mine.abort()
    assert held(iris) == list(range(10))


@pytest.mark.parametrize("mode", ["append", "overwrite"])
@pytest.mark.parametrize("fault", ["lost", "reset", "error", "empty"])
def test_a_commit_whose_answer_is_lost_is_made_once(mode, fault, iris, reopen, maxcompute_door):
    session = iris.write(ref("iris"), mode, "t")
    parts = [stage(session, slice_id, rows(10 * slice_id, 10 * slice_id + 10)) for slice_id in range(2)]
    maxcompute_door.fault("CommitUpload", fault)
    snapshot = session.commit(parts)
    assert maxcompute_door.forget() == 0
    assert reopen().write(ref("iris"), mode, "t").commit(parts) == snapshot
    assert (held(iris), snapshot.rows) == (list(range(20)), 20)


@pytest.mark.parametrize("moment", ["committing", "finish"])
@pytest.mark.parametrize("mode", ["append", "overwrite", "fail"])
def test_a_process_that_dies_at_the_commit(mode, moment, iris, reopen, monkeypatch):
    """Right before the service is asked, or before its answer is noted."""
    session = iris.write(ref("iris"), mode, "t")
    parts = [stage(session, 0, rows(0, 10))]
    with monkeypatch.context() as patch:
        patch.setattr(Register, moment, lambda *_: (_ for _ in ()).throw(SystemError("killed")))
        with pytest.raises(SystemError):
            session.commit(parts)
    again = reopen().write(ref("iris"), mode, "t")
    parts = [stage(again, 0, rows(0, 10), attempt=1)]
    assert again.commit(parts) == reopen().write(ref("iris"), mode, "t").commit(parts)
    assert held(iris) == list(range(10))


class Killed(BaseException):
    """Nothing that a process can catch."""


class Dies:
    """Ends a process before or after the N-th of its operations, on the service or beside it."""

    def __init__(self, patch, number, *, after):
        self.left, self.after, self.is_dead = number, after, False
        for owner, name in [
            *((Connection, name) for name in ("tunnel", "find")),
            *((Store, name) for name in ("create", "list", "info", "read")),
        ]:
            patch.setattr(owner, name, self.counting(getattr(owner, name)))

    def counting(self, operation):
        def counted(*arguments, **options):
            self.left -= 1
            if self.is_dead or (self.left < 0 and not self.after):
                self.is_dead = True
                raise Killed
            answer = operation(*arguments, **options)
            if self.left < 0:
                self.is_dead = True
                raise Killed
            return answer

        return counted


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("mode", ["append", "overwrite"])
def test_killed_at_any_operation_the_rows_are_there_once(mode, after, iris, reopen, monkeypatch):
    batches = [rows(0, 10), rows(10, 20)]

    def whole(tables, token):
        session = tables.write(ref("iris"), mode, token)
        return session.commit([stage(session, index, batch) for index, batch in enumerate(batches)])

    write(iris, "iris", "first", rows(100, 103))
    wanted = [100, 101, 102]
    for number in range(100):
        token = f"t{number}"
        with monkeypatch.context() as patch:
            dying = Dies(patch, number, after=after)
            with suppress(Killed):
                whole(reopen(), token)
        survived = not dying.is_dead
        assert whole(reopen(), token).rows == (len(wanted) if mode == "append" else 0) + 20
        wanted = sorted([*(wanted if mode == "append" else []), *range(20)])
        assert held(iris) == wanted
        if survived:
            break
    assert number > 15


def test_a_session_that_ended_uncommitted_is_begun_anew(iris, reopen, maxcompute_door):
    session = iris.write(ref("iris"), "append", "t")
    parts = [stage(session, slice_id, rows(10 * slice_id, 10 * slice_id + 10)) for slice_id in range(2)]
    maxcompute_door.expire(session_of(parts[0]))
    with pytest.raises(TableError, match=r"#.*/0: a staged part is gone(.|\n)*write the slice again"):
        reopen().write(ref("iris"), "append", "t").commit(parts)
    assert held(iris) == []
    again = reopen().write(ref("iris"), "append", "t")
    fresh = [stage(again, slice_id, rows(10 * slice_id, 10 * slice_id + 10), attempt=1) for slice_id in range(2)]
    with pytest.raises(TableError, match="a staged part is gone"):
        again.commit([parts[0], fresh[1]])
    again.commit(fresh)
    assert held(iris) == list(range(20))


def test_nothing_is_appended_where_nobody_knows_whether_it_is_there(iris, reopen, maxcompute_door, monkeypatch):
    """The commit was asked for, and the session ended before anybody looked what became of it."""
    for mode in ("append", "overwrite"):
        session = iris.write(ref("iris"), mode, mode)
        parts = [stage(session, 0, rows(0, 10))]
        maxcompute_door.fault("CommitUpload", "error", times=100)
        with pytest.raises(StoreUnavailable, match="failed to serve"):
            session.commit(parts)
        maxcompute_door.forget()
        maxcompute_door.expire(session_of(parts[0]))
    with pytest.raises(TableError, match=r"its answer was lost(.|\n)*look whether the rows are there"):
        reopen().write(ref("iris"), "append", "append").commit([])
    again = reopen().write(ref("iris"), "overwrite", "overwrite")
    again.commit([stage(again, 0, rows(0, 10), attempt=1)])
    assert held(iris) == list(range(10))


def test_a_published_write_is_known_after_its_session_ended(iris, reopen, maxcompute_door):
    session = iris.write(ref("iris"), "append", "t")
    parts = [stage(session, 0, rows(0, 10))]
    snapshot = session.commit(parts)
    maxcompute_door.expire(session_of(parts[0]))
    again = reopen().write(ref("iris"), "append", "t")
    assert again.commit([stage(again, 0, rows(0, 10), attempt=1)]) == snapshot
    assert held(iris) == list(range(10))


@pytest.mark.parametrize("fault", ["error", "reset", "lost"])
def test_a_block_that_fails_is_sent_again(fault, iris, maxcompute_door):
    session = iris.write(ref("iris"), "append", "t")
    maxcompute_door.fault("UploadBlock", fault, times=2)
    session.commit([stage(session, 0, *(rows(lo, lo + 1000) for lo in range(0, 20_000, 1000)))])
    assert maxcompute_door.forget() == 0
    assert held(iris) == list(range(20_000))


def test_a_write_makes_its_partition(tables, service):
    tables.ensure(ref("p"), parse_ddl("CREATE TABLE p (id BIGINT) PARTITIONED BY (pt STRING)"))
    assert write(tables, "odps://lab/tables/p/pt=a", "t", pa.record_batch({"id": [1]})).rows == 1
    assert [str(one.partition_spec) for one in service.get_table("p").partitions] == ["pt='a'"]


def test_a_token_is_of_one_write(tables):
    tables.ensure(ref("p"), parse_ddl("CREATE TABLE p (id BIGINT) PARTITIONED BY (pt STRING)"))
    stage(tables.write(ref("odps://lab/tables/p/pt=a"), "append", "t"), 0, pa.record_batch({"id": [1]}))
    with pytest.raises(TableError, match=r"the token belongs to another write(.|\n)*append into .*pt=a"):
        stage(tables.write(ref("odps://lab/tables/p/pt=b"), "append", "t"), 0, pa.record_batch({"id": [1]}))


def test_what_is_kept_beside_is_small_and_not_secret(iris, tmp_path, maxcompute_server):
    write(iris, "iris", "t", rows(0, 10))
    files = {path.name: path.read_text() for path in (tmp_path / "tables").rglob("*.json")}
    assert sorted(files) == ["commit-0.json", "done.json", "session-0.json"]
    assert json.loads(files["session-0.json"])["target"] == "odps://lab/tables/iris"
    assert not any(maxcompute_server.user.secret in text for text in files.values())


def test_a_store_without_exclusive_create_is_refused(iris, monkeypatch):
    store = iris._store
    monkeypatch.setattr(store, "exclusive_create", False)
    with pytest.raises(TableError, match=r"exactly one creates an object(.|\n)*tables.root"):
        iris.write(ref("iris"), "append", "t")


def test_a_range_of_rows_is_not_written_to(iris):
    with pytest.raises(TableError, match=r"names a range of them(.|\n)*write to odps://lab/tables/iris$"):
        iris.write(ref("odps://lab/tables/iris?start=1&end=2"), "append", "t")


def test_slices_have_bounds(iris):
    with pytest.raises(TableError, match=r"no such slice(.|\n)*0 to 19999"):
        iris.write(ref("iris"), "append", "t").part(20_000, 0)


def test_a_part_of_another_write_is_refused(iris):
    session = iris.write(ref("iris"), "append", "t")
    part = stage(session, 0, rows(0, 10))
    with pytest.raises(TableError, match="a staged part is gone"):
        session.commit([replace(part, slice_id=1)])
    assert held(iris) == []
