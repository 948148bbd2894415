"""Every row once, whatever died: what a table store must keep under kills, races and repetition.

Inherit, and give the fixtures `reach`, how any process opens an empty project, and `env`, what it needs for that.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from pai_train.errors import TableError
from pai_train.spec.ddl import parse_ddl
from pai_train.storage.owner import _started
from tests.suites.once_jobs import INPUT, OUTPUT, finished, reached
from tests.suites.table_rows import DAILY, IRIS, ids, ref, rows, stage, write
from tests.suites.zygote import Zygote

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pai_train.spec.contracts import Part, Source
    from pai_train.tables.contracts import Tables

ROWS = 3000
FULL = (pytest.mark.full, pytest.mark.timeout(1200))


class RaceSuite:
    """Several writers at once; `reach` and `env` are fixtures of the subclass.

    Attributes:
        modules: What the processes import before they start.
        racing_commits: How many commits each of four processes makes.
        rounds: How often two writers meet in one table.
    """

    modules: tuple[str, ...] = ()
    racing_commits = 4
    rounds = 4

    @pytest.fixture
    def env(self) -> Mapping[str, str]:
        return {}

    @pytest.fixture
    def tables(self, reach: list[Any], env: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> Tables:
        for name, value in env.items():
            monkeypatch.setenv(name, value)
        return reached(reach)

    @pytest.fixture(scope="class")
    @classmethod
    def zygote(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zygote]:
        with Zygote(tmp_path_factory.mktemp("zygote"), "tests.suites.once_jobs", *cls.modules) as zygote:
            yield zygote

    def test_an_overwrite_and_an_append_of_two_partitions_both_survive(self, tables):
        tables.ensure(ref("daily"), parse_ddl(DAILY))
        for day in ("a", "b"):
            write(tables, f"odps://lab/tables/daily/pt={day}/hh=0", f"old-{day}", pa.record_batch({"id": [ord(day)]}))
        for number in range(self.rounds):
            one = tables.write(ref("odps://lab/tables/daily/pt=a/hh=0"), "overwrite", f"over-{number}")
            other = tables.write(ref("odps://lab/tables/daily/pt=b/hh=0"), "append", f"add-{number}")
            staged = [
                stage(one, 0, pa.record_batch({"id": [1000 + number]})),
                stage(other, 0, pa.record_batch({"id": [2000 + number]})),
            ]
            threads = [
                threading.Thread(target=session.commit, args=([part],))
                for session, part in zip((one, other), staged, strict=True)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert ids(tables.source(ref("odps://lab/tables/daily/pt=a"))) == [1000 + self.rounds - 1]
        assert sorted(ids(tables.source(ref("odps://lab/tables/daily/pt=b")))) == [
            ord("b"),
            *range(2000, 2000 + self.rounds),
        ]

    def test_four_processes_append_and_nothing_is_lost_or_doubled(self, tables, reach, env, zygote, tmp_path):
        tables.ensure(ref(OUTPUT), parse_ddl(IRIS.replace("iris", OUTPUT)))
        begin = tmp_path / "begin"
        each, commits = 100, self.racing_commits
        arguments = [(worker, commits, each, str(begin)) for worker in range(4)]
        pids = [zygote.start("tests.suites.once_jobs:append_often", reach, *one, env=dict(env)) for one in arguments]
        begin.touch()
        assert [zygote.wait(pid, 200) for pid in pids] == [0] * 4, zygote.output
        assert sorted(ids(tables.source(ref(OUTPUT)))) == list(range(4 * commits * each))


class OnceSuite(RaceSuite):
    """Several writers, repetition, readers and kills.

    Attributes:
        most_commits: How many commits a reader looks at, at most: each lists what all before it have left.
        most_held_up: How often a writer is held up, at most.
    """

    most_commits = 200
    most_held_up = 30

    def check_store(self, tables: Tables, token: str) -> None:
        """Looks, after the last commit of a token, at what only this store knows of: files, sessions."""

    # -- one write, again and again

    def test_a_repeated_commit_gives_the_first_answer_and_changes_nothing(self, tables):
        tables.ensure(ref("iris"), parse_ddl(IRIS))
        session = tables.write(ref("iris"), "append", "once")
        parts = [stage(session, n, rows(n * 5, n * 5 + 5)) for n in range(2)]
        answer = session.commit(parts)
        assert session.commit(parts) == answer
        write(tables, "iris", "more", rows(10, 15), mode="append")
        assert session.commit(parts) == answer
        assert sorted(ids(tables.source(ref("iris")))) == list(range(15))
        write(tables, "iris", "new", rows(20, 25), mode="overwrite")
        again = tables.write(ref("iris"), "append", "once")
        assert again.commit([stage(again, n, rows(n * 5, n * 5 + 5), attempt=1) for n in range(2)]) == answer
        assert sorted(ids(tables.source(ref("iris")))) == list(range(20, 25))

    def test_mode_fail_knows_its_own_rows(self, tables):
        tables.ensure(ref("iris"), parse_ddl(IRIS))
        answer = write(tables, "iris", "mine", rows(0, 5), mode="fail")
        again = tables.write(ref("iris"), "fail", "mine")
        assert again.commit([stage(again, 0, rows(0, 5), attempt=1)]) == answer
        with pytest.raises(TableError, match="holds rows"):
            tables.write(ref("iris"), "fail", "other")
        assert sorted(ids(tables.source(ref("iris")))) == list(range(5))

    @pytest.mark.parametrize("commits", [12, pytest.param(200, marks=FULL)])
    def test_a_reader_sees_one_commit_never_a_mixture(self, tables, commits):
        tables.ensure(ref("iris"), parse_ddl(IRIS))
        commits = min(commits, self.most_commits)
        content = [list(range(100 * n, 100 * n + 10 + n % 7)) for n in range(commits)]
        write(tables, "iris", "w0", rows(content[0][0], content[0][-1] + 1))
        seen: list[int] = []
        mixed: list[Any] = []
        ended = threading.Event()

        def look() -> None:
            while not ended.is_set():
                source: Source = tables.source(ref("iris"))
                time.sleep(0.005)  # opened before the rows are read
                found = sorted(ids(source))
                number = found[0] // 100 if found else -1
                seen.append(number)
                time.sleep(0.02)
                if number < 0 or found != content[number]:
                    mixed.append(found)

        reader = threading.Thread(target=look)
        reader.start()
        try:
            for number in range(1, commits):
                span = content[number]
                middle = span[0] + len(span) // 2
                write(tables, "iris", f"w{number}", rows(span[0], middle), rows(middle, span[-1] + 1))
        finally:
            ended.set()
            reader.join()
        assert mixed == []
        assert seen == sorted(seen)
        assert len(set(seen)) > commits // 20

    # -- kills

    @pytest.mark.parametrize(
        ("slices", "kills"),
        [
            *((1, 3), (2, 3), (4, 4)),
            *(pytest.param(slices, 40, marks=FULL) for slices in (1, 2, 4)),
        ],
    )
    def test_killed_anywhere_and_started_again(self, tables, reach, env, zygote, tmp_path, slices, kills):
        for name in (INPUT, OUTPUT):
            tables.ensure(ref(name), parse_ddl(IRIS.replace("iris", name)))
        third = ROWS // 3
        write(tables, INPUT, "input", *(rows(n * third, (n + 1) * third) for n in range(3)))
        killer = Killer(zygote, reach, dict(env), tmp_path, slices, seed=slices * 1000 + kills)
        written = 0
        took_s = killer.run("append", "whole", None)
        while True:
            written += 1
            expected = sorted([*range(ROWS)] * written)
            token = killer.tokens[-1]
            assert sorted(ids(tables.source(ref(OUTPUT)))) == expected, f"after {killer.kills} kills, write {token}"
            session = tables.write(ref(OUTPUT), "append", token)
            session.commit(killer.parts)
            self.check_store(tables, token)
            if killer.kills >= kills:
                break
            if written == 4:
                write(tables, OUTPUT, f"empty-{token}")
                written = 0
            # The quickest so far, so that most kills find somebody alive.
            took_s = min(took_s, killer.run("append", f"write-{len(killer.tokens)}", took_s, most=kills))
        assert sorted(ids(tables.source(ref(OUTPUT)))) == expected

    @pytest.mark.parametrize("times", [2, pytest.param(30, marks=FULL)])
    def test_a_writer_that_was_held_up_goes_on_behind_another(self, tables, reach, env, zygote, tmp_path, times):
        times = min(times, self.most_held_up)
        for name in (INPUT, OUTPUT):
            tables.ensure(ref(name), parse_ddl(IRIS.replace("iris", name)))
        write(tables, INPUT, "input", rows(0, ROWS))
        killer = Killer(zygote, reach, dict(env), tmp_path, slices=2, seed=times)
        took_s = killer.run("append", "whole", None)
        for number in range(times):
            killer.hold_up("append", f"held-{number}", took_s)
            assert sorted(ids(tables.source(ref(OUTPUT)))) == sorted([*range(ROWS)] * (number + 2))
            tables.write(ref(OUTPUT), "append", killer.tokens[-1]).commit(killer.parts)
            self.check_store(tables, killer.tokens[-1])


class Killer:
    """Runs writes whose processes it kills at random moments, until each has ended well."""

    def __init__(
        self, zygote: Zygote, reach: list[Any], env: dict[str, str], folder: Path, slices: int, seed: int
    ) -> None:
        self._zygote, self._reach, self._env, self._folder = zygote, reach, env, folder
        self._slices = slices
        self._chances = random.Random(seed)
        self.kills = 0
        self.tokens: list[str] = []
        self.parts: list[Part] = []

    def run(self, mode: str, token: str, took_s: float | None, most: int = 0) -> float:
        """Runs one write; returns how long its last life took.

        Args:
            mode: Of the write.
            token: Names it.
            took_s: How long a life takes that nobody ends; None to end none.
            most: How many kills there may be in all.
        """
        self.tokens.append(token)
        journal = self._folder / token
        journal.mkdir()
        groups = []
        life, code = 0, -1
        try:
            while code != 0:
                begin = time.monotonic()
                goes_on = self._chances.random() < 0.5
                arguments = (self._reach, mode, token, self._slices, life, str(journal), goes_on)
                pid = self._zygote.start("tests.suites.once_jobs:coordinate", *arguments, env=self._env)
                groups.append(pid)
                killed = took_s is not None and self.kills < most and self._kill(pid, took_s)
                code = self._zygote.wait(pid)
                assert code == 0 or (killed and code == -signal.SIGKILL), self._zygote.output
                self.kills += code == -signal.SIGKILL
                life += 1
        finally:
            # Workers whose coordinator is gone have been writing all the while.
            for group in groups:
                with suppress(ProcessLookupError):
                    os.killpg(group, signal.SIGKILL)
            _wait_until_dead(groups)
        self.parts = finished(str(journal), self._slices)
        return time.monotonic() - begin

    def hold_up(self, mode: str, token: str, took_s: float) -> None:
        """Stops all processes of a write at a random moment, lets others do it again, and lets the first go on.

        Args:
            mode: Of the write.
            token: Names it.
            took_s: How long it takes.
        """
        self.tokens.append(token)
        journal = self._folder / token
        journal.mkdir()
        call = "tests.suites.once_jobs:coordinate"
        lives = [(self._reach, mode, token, self._slices, life, str(journal), False) for life in range(2)]
        first = self._zygote.start(call, *lives[0], env=self._env)
        try:
            time.sleep(self._chances.uniform(0.02, took_s))
            with suppress(ProcessLookupError):
                os.killpg(first, signal.SIGSTOP)
            assert self._zygote.wait(self._zygote.start(call, *lives[1], env=self._env)) == 0, self._zygote.output
        finally:
            with suppress(ProcessLookupError):
                os.killpg(first, signal.SIGCONT)
        assert self._zygote.wait(first) == 0, self._zygote.output
        self.parts = finished(str(journal), self._slices)

    def _kill(self, coordinator: int, took_s: float) -> bool:
        """Kills the coordinator, one of its workers or all of them; returns whether the coordinator was meant.

        A worker that was there counts as a kill at once; the coordinator, once its exit code says so.
        """
        time.sleep(self._chances.uniform(0, took_s))
        victim = self._chances.choice(["coordinator", "worker", "all"])
        with suppress(ProcessLookupError, FileNotFoundError):
            if victim == "worker":
                workers = Path(f"/proc/{coordinator}/task/{coordinator}/children").read_text().split()
                living = [int(worker) for worker in workers if _started(int(worker)) is not None]
                if living:
                    os.kill(self._chances.choice(living), signal.SIGKILL)
                    self.kills += 1
                    return False
            (os.killpg if victim == "all" else os.kill)(coordinator, signal.SIGKILL)
            return True
        return False


def _wait_until_dead(groups: list[int], timeout_s: float = 30) -> None:
    """Waits for what was killed: a kill returns before the files of a process are closed."""
    end = time.monotonic() + timeout_s
    while living := [group for group in groups if _lives(group)]:
        if time.monotonic() > end:
            raise TimeoutError(f"process groups {living} do not die")
        time.sleep(0.005)


def _lives(group: int) -> bool:
    """Whether a process of a group has not ended; one that nobody has waited for yet has."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, _, of_group = stat.read_text().rpartition(")")[2].split()[:3]
            if int(of_group) == group and state not in "ZX":
                return True
    return False
