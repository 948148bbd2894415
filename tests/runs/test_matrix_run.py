"""Every shipped recipe on every store with both engines, killed and resumed: the same metrics everywhere."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from pai_train.storage import join
from tests.suites.jobs import Jobs

REMOTE = ["s3", "gcs", "azure", "oss"]
ENGINES = ["tf_data", "queue_runner"]
SMALL = ["train.epochs=4", "train.batch_size=16", "train.steps_per_call=2", "train.checkpoint.every_steps=4"]


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """What each recipe comes to on local disk, never interrupted."""
    folder = tmp_path_factory.mktemp("straight") / "work"
    folder.mkdir()
    return {recipe: Jobs(folder).done(f"+recipe={recipe}", *SMALL) for recipe in ("iris", "csvtest")}


@pytest.fixture
def served(request, monkeypatch):
    served = request.getfixturevalue(f"{request.param}_server")
    served.enter(monkeypatch)
    return served


def lines(record):
    found = [json.loads(line) for line in (Path(record["folder"]) / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "time"} for line in found]


# Each recipe and each engine is tried on every store; both recipes with both engines in the full run.
PAIRS = [
    pytest.param(recipe, engine, marks=() if (recipe == "iris") == (engine == "tf_data") else pytest.mark.full)
    for recipe in ("iris", "csvtest")
    for engine in ENGINES
]


@pytest.mark.parametrize(("recipe", "engine"), PAIRS)
@pytest.mark.parametrize("served", REMOTE, indirect=True)
def test_killed_and_resumed_it_ends_like_the_straight_run_on_local_disk(recipe, served, engine, jobs, straight):
    root = served.root()
    command = [f"+recipe={recipe}", *served.overrides, f"storage.root={root}"]
    staged = jobs.run(*command, "mode=stage", env=served.env)
    assert staged.code == 0, staged
    store = served.stores().open(root)

    def newest():
        found = [info.url.split("/")[-2] for info in store.list(join(root, "checkpoints")) if "MANIFEST" in info.url]
        return max((int(step.split("-")[1]) for step in found if step.startswith("step-")), default=0)

    train = [*command, *SMALL, f"engine={engine}"]
    running = jobs.start(*train, env=served.env, stand_behind=8)
    running.wait_for(lambda: newest() >= 8)
    os.kill(running.pid, signal.SIGKILL)
    assert running.wait().code == -signal.SIGKILL
    finished = jobs.run(*train, env=served.env)
    assert finished.code == 0, finished
    assert "going on behind step" in finished.text, finished
    record = jobs.last()
    wanted = straight[recipe]
    assert record["metrics"] == wanted["metrics"]
    assert record["weights_sha256"] == wanted["weights_sha256"]
    rows = {name: output["rows"] for name, output in record["outputs"].items()}
    assert rows == {name: output["rows"] for name, output in wanted["outputs"].items()}
    assert record["checkpoint"].startswith(root)
    counts = record["storage"][served.scheme]
    assert counts["requests"] > 10
    assert counts["bytes_read"] > 0
    assert counts["bytes_written"] > 0
    # Nothing but the run folder is on this machine.
    assert {path.name for path in jobs.cwd.iterdir()} == {"runs"}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("recipe", ["iris", "csvtest"])
def test_in_memory_it_ends_like_on_local_disk(recipe, engine, jobs, straight):
    record = jobs.done(f"+recipe={recipe}", "storage=memory", *SMALL, f"engine={engine}")
    assert record["metrics"] == straight[recipe]["metrics"]
    assert record["weights_sha256"] == straight[recipe]["weights_sha256"]
    assert lines(record) == lines(straight[recipe])


@pytest.mark.parametrize("recipe", ["iris"])
def test_a_store_without_exclusive_create_is_refused_for_checkpoints_and_tables(recipe, rclone_server, jobs):
    root = rclone_server.root()
    command = [f"+recipe={recipe}", *rclone_server.overrides, f"storage.root={root}"]
    refused = jobs.run(*command, env=rclone_server.env)
    assert refused.code == 2, refused
    assert "checkpointDir" in refused.text
    assert "tables.root" in refused.text
    assert "no exclusive create" in refused.text
    assert not list(jobs.cwd.iterdir())


@pytest.mark.parametrize("served", REMOTE, indirect=True)
@pytest.mark.parametrize("recipe", ["iris", "csvtest"])
def test_a_missing_bucket_is_one_fault(recipe, served, jobs):
    if served.name == "gcs":
        pytest.skip("the emulator makes missing buckets when something is written")
    root = f"{served.scheme}://no-such-bucket/folder"
    refused = jobs.run(f"+recipe={recipe}", *served.overrides, f"storage.root={root}", env=served.env)
    assert refused.code == 2, refused
    assert "1 fault, nothing was touched" in refused.text
    assert "storage.root" in refused.text
    assert "no such bucket" in refused.text
    assert "probe" not in refused.text
