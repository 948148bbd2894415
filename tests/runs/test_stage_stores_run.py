"""mode=stage on every service: there and back, killed and gone on with, and through failures."""

from __future__ import annotations

import os
import re
import signal

import pytest

from pai_train.front.recipes import folder
from pai_train.storage import join, resolve
from tests.servers.faults import faulty
from tests.suites.modes import below, command, put, refused, rows, staged

REMOTE = ["s3", "gcs", "azure", "oss"]
SAMPLES = folder("recipes") / "data"
FILES = {"src/a.csv": "1\n", "src/b c#?%.csv": "2\n", "src/deep/a.csv": b"", "src/deep/big.bin": b"\0" * (9 * 2**20)}


@pytest.mark.parametrize("served", REMOTE, indirect=True)
def test_samples_on_a_service(served, here):
    root = served.root()
    for recipe in ("iris", "csvtest"):
        words = command(served, root, f"+recipe={recipe}")
        if recipe == "iris" and not served.exclusive_create:
            continue
        assert (staged(*words).files, staged(*words).skipped) == (1, 1)
    stores = served.stores()
    assert stores.open(root).read(join(root, "csvtest.csv")) == (SAMPLES / "csvtest.csv").read_bytes()
    assert len(rows("iris", join(root, "tables"), stores)) == 150


@pytest.mark.parametrize("served", REMOTE, indirect=True)
def test_a_folder_there_and_back(served, here):
    root = served.root()
    put(here, {**FILES, "src/large.bin": os.urandom(21 * 2**20)})
    words = command(served, root, "storage.part_mb=8")
    assert staged(*words, "stage.from=src", "stage.to=up").files == 5
    assert staged(*words, "stage.from=src", "stage.to=up").skipped == 5
    put(here, {"src/a.csv": "3\n"})
    assert "another object lies there" in refused(*words, "stage.from=src", "stage.to=up")
    assert staged(*words, "stage.from=src", "stage.to=up", "stage.replace=true").files == 1
    assert staged(*words, f"stage.from={root}/up", f"stage.to={resolve(str(here), 'back')}").files == 5
    assert below(here, "back") == below(here, "src")


@pytest.mark.parametrize("served", REMOTE, indirect=True)
def test_killed_on_a_service_it_goes_on(served, jobs):
    root = served.root()
    put(jobs.cwd, {f"src/{number:02}": os.urandom(2**20) for number in range(20)})
    words = command(served, root, "mode=stage", "stage.from=src", "stage.to=up", "storage.parallel=2")
    store = served.stores().open(root)
    running = jobs.start(*words, env=served.env)
    running.wait_for(lambda: len(store.list(root)) >= 2)
    os.kill(running.pid, signal.SIGKILL)
    running.wait()
    there = store.list(root)
    assert {info.size for info in there} == {2**20}
    finished = jobs.run(*words, env=served.env)
    assert finished.code == 0, finished
    sent, skipped = (
        int(found) for found in re.search(r"staged (\d+) files?, .* (\d+) skipped", finished.text).groups()
    )
    # What was on its way at the kill may have arrived after it.
    assert (sent + skipped, skipped >= len(there)) == (20, True)
    assert {store.read(info.url) for info in store.list(root)} == {
        (jobs.cwd / f"src/{number:02}").read_bytes() for number in range(20)
    }


@pytest.mark.parametrize("served", REMOTE, indirect=True)
def test_through_failures_everything_arrives(served, here, monkeypatch):
    root = served.root()
    put(here, {**{f"src/{number:02}": os.urandom(1000) for number in range(20)}, "src/big": os.urandom(12 * 2**20)})
    with faulty(served, seed=11, share=0.1) as (proxied, control):
        proxied_words = command(proxied, root, "stage.from=src", "stage.to=up", "storage.deadline_s=60")
        proxied.enter(monkeypatch)
        assert staged(*proxied_words).files == 21
        assert sum(control.injected().values()) > 2
    store = served.stores().open(root)
    for info in store.list(root):
        assert store.read(info.url) == (here / "src" / info.url.rsplit("/", 1)[1]).read_bytes()
    assert len(store.list(root)) == 21


def test_a_bucket_with_versions(oss_server, oss_door, here, monkeypatch):
    oss_server.enter(monkeypatch)
    bucket = oss_door.bucket(versioning="Enabled")
    put(here, {"src/small": "1\n", "src/large": b"\0" * (5 * 2**20)})
    words = command(oss_server, f"oss://{bucket}")
    assert staged(*words, "stage.from=src", "stage.to=up").files == 2
    oss_door.versioning(bucket, None)
