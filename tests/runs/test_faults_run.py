"""Runs over a network that fails: the same metrics and intact objects, or a clear end within the deadline."""

from __future__ import annotations

import time

import pytest

from pai_train.storage import fetch, join, read_manifest
from tests.runs.test_matrix_run import REMOTE, SMALL
from tests.runs.test_recipes_run import read_table
from tests.servers.faults import faulty
from tests.suites.jobs import Jobs


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    folder = tmp_path_factory.mktemp("straight") / "work"
    folder.mkdir()
    return Jobs(folder).done("+recipe=iris", *SMALL)


@pytest.fixture
def served(request, monkeypatch):
    served = request.getfixturevalue(f"{request.param}_server")
    served.enter(monkeypatch)
    return served


def staged(jobs, served):
    command = ["+recipe=iris", *served.overrides, f"storage.root={served.root()}"]
    done = jobs.run(*command, "mode=stage", env=served.env)
    assert done.code == 0, done
    return command[-1].partition("=")[2]


@pytest.mark.parametrize("share", [0.05, 0.2])
@pytest.mark.parametrize("served", REMOTE, indirect=True)
def test_failing_requests_change_nothing(served, share, jobs, straight, tmp_path):
    root = staged(jobs, served)
    with faulty(served, seed=int(share * 100), share=share) as (proxied, control):
        finished = jobs.run("+recipe=iris", *proxied.overrides, f"storage.root={root}", *SMALL, env=proxied.env)
        assert finished.code == 0, finished
        assert sum(control.injected().values()) > 5
    record = jobs.last()
    assert record["metrics"] == straight["metrics"]
    assert record["weights_sha256"] == straight["weights_sha256"]
    assert record["storage"][served.scheme]["retries"] > 0
    store = served.stores().open(root)
    rows = read_table(join(root, "tables"), "iris_output", served.stores())
    assert len(rows) == 150
    folders = {info.url.rpartition("/")[0] for info in store.list(join(root, "checkpoints")) if "step-" in info.url}
    published = [manifest for folder in folders if (manifest := read_manifest(store, folder)) is not None]
    assert published
    for number, manifest in enumerate(published):
        fetch(store, manifest, tmp_path / str(number))


@pytest.mark.parametrize(
    "served",
    [pytest.param(kind, marks=pytest.mark.full) if kind in ("gcs", "azure") else kind for kind in REMOTE],
    indirect=True,
)
def test_a_server_that_is_gone_for_good_ends_the_run_within_the_deadline(served, jobs):
    root = staged(jobs, served)
    with faulty(served, seed=1, share=0.0) as (proxied, control):
        running = jobs.start(
            *["+recipe=iris", *proxied.overrides, f"storage.root={root}", "train.epochs=100000"],
            *["storage.deadline_s=6", "storage.timeout_s=3", "train.checkpoint.every_steps=20"],
            env=proxied.env,
        )
        running.wait_for(lambda: "epoch " in running.text)
        control.down()
        gone = time.monotonic()
        finished = running.wait(90)
        assert time.monotonic() - gone < 60
    assert finished.code == 1, finished
    assert "Traceback" not in finished.text
    assert root in finished.text
    assert "wanted" in finished.text or "to do" in finished.text
    assert jobs.last()["status"] == "failed"


@pytest.mark.parametrize("served", REMOTE, indirect=True)
def test_a_server_that_never_answers_is_refused_in_time(served, jobs):
    root = staged(jobs, served)
    with faulty(served, seed=1, share=0.0) as (proxied, control):
        control.hang()
        finished = jobs.run(
            *["+recipe=iris", *proxied.overrides, f"storage.root={root}"],
            *["storage.deadline_s=4", "storage.timeout_s=2"],
            env=proxied.env,
        )
    assert finished.code == 2, finished
    assert "Traceback" not in finished.text
    assert not list(jobs.cwd.glob("runs/*/*/run.json"))
