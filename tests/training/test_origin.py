"""Where a run may begin: a checkpoint, a run, a checkpointDir or a run folder, and the claim that keeps it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pai_train.errors import CheckpointError, StorageError
from pai_train.storage import Stores, join, read_manifest
from pai_train.training.checkpoints import Checkpoints
from pai_train.training.contracts import TrainState
from pai_train.training.generations import Runs
from pai_train.training.origin import fetch_weights, find_checkpoint, take_over
from pai_train.training.retention import Retention


def write(folder: Path) -> None:
    (folder / "variables.index").write_text("v")


@pytest.fixture(params=["file", "memory"])
def url(request, tmp_path: Path) -> str:
    return join(f"{request.param}://{tmp_path}", "model")


@pytest.fixture
def stores() -> Stores:
    return Stores()


def run(stores: Stores, url: str, config_hash: str, *steps: int) -> str:
    """A generation with these checkpoints; returns its folder."""
    begun = Runs(stores.open(url), url).open(config_hash, "never")
    with Checkpoints(stores.open(url), begun.url, keep=Retention(9)) as checkpoints:
        for step in steps:
            state = TrainState(step, 1, {}, begun.run_id, config_hash, tokens={"out": "theirs"})
            checkpoints.save(state, write).result()
    return begun.url


def test_a_path_may_be_each_of_the_folders_around_a_checkpoint(stores, url, tmp_path):
    run(stores, url, "a", 5)
    folder = run(stores, url, "b", 7, 9)
    run(stores, url, "c")
    wanted = join(folder, "step-000000009")
    assert find_checkpoint(stores, url) == wanted
    assert find_checkpoint(stores, folder) == wanted
    assert find_checkpoint(stores, join(folder, "step-000000007")) == join(folder, "step-000000007")
    own = tmp_path / "runs" / "now"
    own.mkdir(parents=True)
    (own / "run.json").write_text(json.dumps({"cwd": str(tmp_path), "checkpoint": wanted.removeprefix("file://")}))
    if url.startswith("file:"):
        assert find_checkpoint(stores, f"file://{own}") == wanted


def test_nothing_is_none(stores, url, tmp_path):
    assert find_checkpoint(stores, url) is None
    run(stores, url, "a")
    assert find_checkpoint(stores, url) is None
    (tmp_path / "run.json").write_text(json.dumps({"cwd": "/", "checkpoint": None}))
    assert find_checkpoint(stores, f"file://{tmp_path}") is None


def test_a_damaged_newest_one_is_passed_over_and_none_is_an_error(stores, url):
    folder = run(stores, url, "a", 7, 9)
    store = stores.open(url)
    store.put(join(folder, "step-000000009", "variables.index"), b"")
    assert find_checkpoint(stores, url) == join(folder, "step-000000007")
    store.put(join(folder, "step-000000007", "MANIFEST.json"), b"{")
    with pytest.raises(CheckpointError, match="none of them is sound"):
        find_checkpoint(stores, url)
    with pytest.raises(StorageError, match="damaged"):
        find_checkpoint(stores, join(folder, "step-000000007"))


def test_another_publication_is_no_checkpoint(stores, url):
    content = b'{"format": 1, "files": {}, "extra": {}}'
    stores.open(url).put(join(url, "MANIFEST.json"), content)
    with pytest.raises(CheckpointError, match="no checkpoint"):
        find_checkpoint(stores, url)


def test_what_is_taken_over_writes_rows_of_its_own(stores, url, tmp_path):
    folder = join(run(stores, url, "a", 7), "step-000000007")
    state = take_over(stores, folder, tmp_path / "to", "mine")
    assert (state.step, state.run_id, state.config_hash, state.tokens) == (7, "mine", "a", {})
    assert (tmp_path / "to" / "variables.index").read_text() == "v"
    stores.open(url).delete(join(folder, "MANIFEST.json"))
    with pytest.raises(CheckpointError, match="to begin from is gone"):
        fetch_weights(stores, folder, tmp_path / "again")


def test_a_run_keeps_what_it_began_from_whoever_goes_on_with_it(stores, url):
    store = stores.open(url)
    runs = Runs(store, url)
    first = runs.open("h", begin_from="file:///there/step-1")
    assert (first.generation, first.resumed, first.begun_from) == (1, False, "file:///there/step-1")
    assert "from /there/step-1" in str(first.notice)
    for again in (runs.open("h"), runs.open("h", begin_from="file:///there/step-1")):
        assert (again.generation, again.resumed, again.begun_from) == (1, True, "file:///there/step-1")
    assert runs.unfinished("h", "file:///there/step-2") is None
    other = runs.open("h", begin_from="file:///there/step-2")
    assert (other.generation, other.resumed, other.begun_from) == (2, False, "file:///there/step-2")
    runs.finish(other, {})
    assert runs.open("h", begin_from="file:///there/step-2").generation == 3
    plain = runs.open("h", "never")
    assert (plain.generation, plain.begun_from) == (4, None)
    assert read_manifest(store, first.url) is None
    assert json.loads(store.read(join(first.url, "run.json")))["from"] == "file:///there/step-1"
