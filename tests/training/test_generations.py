"""Runs have a name: which one a start goes on with, and that none is ever overwritten."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from pathlib import Path

import pytest

from pai_train.errors import CheckpointError
from pai_train.storage import ObjectExists, Store, join, open_store
from pai_train.training.generations import Runs

CODE = str(Path(__file__).parents[2])


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"file://{tmp_path}/model [1]"


@pytest.fixture
def store(url: str) -> Store:
    return open_store(url)


@pytest.fixture
def runs(store, url) -> Runs:
    numbers = itertools.count(1)
    return Runs(store, url, mint=lambda: f"id{next(numbers)}")


def test_the_first_run(runs, store, url):
    run = runs.open("h")
    assert (run.run_id, run.generation, run.resumed, run.notice) == ("id1", 1, False, None)
    assert run.url == join(url, "g0001-id1")
    assert json.loads(store.read(join(url, "g0001.json"))) == {"run_id": "id1", "config_hash": "h"}
    assert json.loads(store.read(join(run.url, "run.json"))) == {"run_id": "id1", "config_hash": "h"}


def test_an_unfinished_run_goes_on(runs):
    first, again = runs.open("h"), runs.open("h")
    assert (again.run_id, again.generation, again.url, again.resumed) == (first.run_id, 1, first.url, True)
    assert again.notice is not None
    assert again.notice.startswith("Going on with generation 1 in /")
    assert again.notice.endswith("which is not finished.")


def test_a_finished_run_is_left_alone(runs, store):
    first = runs.open("h")
    runs.finish(first, {"loss": 0.5})
    second = runs.open("h")
    assert (second.generation, second.resumed) == (2, False)
    assert second.url != first.url
    assert second.notice is not None
    assert second.notice.endswith("because generation 1 there, of the same configuration, is finished.")
    assert json.loads(store.read(join(first.url, "finished.json"))) == {"loss": 0.5}


def test_another_configuration_gets_a_generation_of_its_own(runs):
    first, second = runs.open("h"), runs.open("other")
    assert (second.generation, second.resumed) == (2, False)
    assert second.notice is not None
    assert second.notice.endswith("because generation 1 there has another configuration.")
    assert runs.open("h").run_id == first.run_id
    assert runs.open("other").run_id == second.run_id


def test_never_starts_beside_an_unfinished_one(runs):
    runs.open("h")
    second = runs.open("h", "never")
    assert (second.generation, second.resumed) == (2, False)
    assert second.notice is not None
    assert second.notice.endswith("because train.resume is never.")


def test_an_older_unfinished_run_is_not_dug_out_behind_a_finished_one(runs):
    runs.open("h")
    runs.finish(runs.open("h", "never"), {})
    assert runs.open("h").generation == 3


def test_listing(runs):
    assert runs.listing() == []
    runs.finish(runs.open("a"), {"loss": 1.0})
    runs.open("b")
    listed = runs.listing()
    assert [(r.generation, r.run_id, r.config_hash, r.result, r.finished) for r in listed] == [
        (1, "id1", "a", {"loss": 1.0}, True),
        (2, "id2", "b", None, False),
    ]


def test_generations_are_numbers_and_not_names(runs, store, url):
    store.put(join(url, "g9999.json"), b'{"run_id": "x", "config_hash": "o"}')
    assert runs.open("h").url == join(url, "g10000-id1")
    assert runs.open("h").resumed
    assert runs.open("z").generation == 10001


def test_what_is_no_claim_is_not_read(runs, store, url):
    for name in ("g1.json", "g0001.json.bak", "deep/g0007.json", "g0003-x/run.json"):
        store.put(join(url, name), b"not json")
    assert runs.open("h").generation == 1


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b'{"run_id": 1, "config_hash": "h"}'])
def test_a_damaged_claim_is_named_and_not_passed_over(runs, store, url, content):
    store.put(join(url, "g0001.json"), content)
    with pytest.raises(CheckpointError, match="the record of a run cannot be read") as caught:
        runs.open("h")
    assert caught.value.fault.where is not None
    assert caught.value.fault.where.endswith("g0001.json")


class Crash(BaseException):
    pass


@pytest.mark.parametrize("at", [1, 2])
@pytest.mark.parametrize("after", [False, True])
def test_a_start_may_end_at_every_operation(store, url, at, after):
    class Ending:
        calls = 0

        def __getattr__(self, name):
            method = getattr(store, name)

            def call(*args):
                self.calls += 1
                if self.calls < at or after:
                    method(*args)
                if self.calls == at:
                    raise Crash

            return call if name in ("create", "put") else method

    with pytest.raises(Crash):
        Runs(Ending(), url).open("h")
    run = Runs(store, url).open("h")
    assert run.generation == 1
    assert json.loads(store.read(join(run.url, "run.json")))["run_id"] == run.run_id
    assert Runs(store, url).open("h").url == run.url


def test_a_claim_whose_answer_was_lost_is_ours(store, url):
    class Repeating:
        def __getattr__(self, name):
            return getattr(store, name)

        def create(self, at: str, data: bytes) -> None:
            store.create(at, data)
            raise ObjectExists("repeated", where=at)

    run = Runs(Repeating(), url).open("h", "never")
    assert (run.generation, run.resumed) == (1, False)
    assert len(Runs(store, url).listing()) == 1


RACE = """
import sys
from pai_train.storage import open_store
from pai_train.training.generations import Runs
url, resume = sys.argv[1:]
runs = Runs(open_store(url), url)
print('ready', flush=True)
sys.stdin.readline()
run = runs.open('h', resume)
print(run.run_id, run.generation, run.resumed)
"""


@pytest.mark.parametrize("resume", ["auto", "never"])
def test_racing_starts_never_share_a_new_generation(store, url, resume):
    racers = [
        subprocess.Popen([sys.executable, "-c", RACE, url, resume], stdin=-1, stdout=-1, text=True, cwd=CODE)
        for _ in range(4)
    ]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()
    said = [racer.communicate(timeout=20)[0].split() for racer in racers]
    begun = [line for line in said if line[2] == "False"]
    assert len({generation for _, generation, _ in begun}) == len(begun)
    assert len(Runs(store, url).listing()) == len(begun)
    assert len(begun) == (1 if resume == "auto" else 4)
    assert len({run_id for run_id, _, _ in said}) == len(begun)


def test_the_unfinished_run_is_told_without_writing(runs, store, url):
    assert runs.unfinished("h") is None
    assert store.list(url) == []
    first = runs.open("h")
    known = runs.unfinished("h")
    assert known is not None
    assert (known.run_id, known.generation) == (first.run_id, 1)
    assert runs.unfinished("other") is None
    runs.finish(first, {})
    assert runs.unfinished("h") is None
