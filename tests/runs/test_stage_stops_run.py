"""mode=stage stopped, killed and damaged on the way: it goes on, and nothing half is ever visible."""

from __future__ import annotations

import os
import random
import signal

import pytest

from pai_train.errors import Interrupted, StorageError
from pai_train.stage import Plan, stage
from pai_train.storage import Store, Stores, join
from pai_train.transfer import BLOCK_BYTES, Copy, Digest
from tests.suites.modes import below, put, tree


class _Stops:
    """Says stop from some question on."""

    def __init__(self, after):
        self.left = after

    def __call__(self):
        self.left -= 1
        return self.left < 0


def test_stopped_anywhere_it_goes_on(here):
    chance = random.Random(7)
    sizes = [3, BLOCK_BYTES, 2 * BLOCK_BYTES + 7, 0]
    put(here, {f"src/{number}": chance.randbytes(size) for number, size in enumerate(sizes)})
    origin = Stores().open(f"file://{here}")
    stopped = after = 0
    for after in range(0, 400, 2):
        url = f"file://{here}/out"
        copies = [
            Copy(info, origin, origin, join(url, info.url.rsplit("/", 1)[1]), None, replace=False)
            for info in origin.list(f"file://{here}/src")
        ]
        copies = [Copy(one.source, origin, origin, one.url, origin.info(one.url), replace=False) for one in copies]
        try:
            stage(Plan(copies, "out", 2), _Stops(after))
        except Interrupted:
            stopped += 1
            # What is visible is whole.
            for name, text in tree(here).items():
                assert not name.startswith("out/") or text == (here / name.replace("out/", "src/")).read_bytes()
        else:
            break
    assert stopped > 3
    assert below(here, "out") == below(here, "src")


def test_killed_it_goes_on(jobs):
    chance = random.Random(1)
    put(jobs.cwd, {f"src/{number:02}": chance.randbytes(5 * 2**20) for number in range(24)})
    words = ["mode=stage", "stage.from=src", "stage.to=up", "storage.parallel=2"]
    running = jobs.start(*words)
    up = jobs.cwd / "data" / "up"
    running.wait_for(lambda: up.is_dir() and sum(1 for path in up.iterdir() if path.name.isdigit()) >= 3)
    os.kill(running.pid, signal.SIGKILL)
    running.wait()
    there = [path.name for path in up.iterdir() if path.name.isdigit()]
    finished = jobs.run(*words)
    assert finished.code == 0, finished
    assert f"staged {24 - len(there)} files" in finished.text
    assert f"{len(there)} skipped" in finished.text
    assert len(there) < 24
    assert all(
        (up / f"{number:02}").read_bytes() == (jobs.cwd / f"src/{number:02}").read_bytes() for number in range(24)
    )


def test_a_signal_ends_it_with_75(jobs):
    put(jobs.cwd, {f"src/{number:02}": os.urandom(5 * 2**20) for number in range(24)})
    running = jobs.start("mode=stage", "stage.from=src", "stage.to=up", "storage.parallel=1")
    running.wait_for((jobs.cwd / "data" / "up").is_dir)
    os.kill(running.pid, signal.SIGTERM)
    finished = running.wait()
    assert finished.code == 75, finished
    assert "the same command goes on" in finished.text
    assert finished.text.count("Traceback") == 0
    assert {path.stat().st_size for path in (jobs.cwd / "data" / "up").iterdir()} <= {5 * 2**20}
    assert jobs.run("mode=stage", "stage.from=src", "stage.to=up").code == 0
    assert below(jobs.cwd / "data", "up") == below(jobs.cwd, "src")


# What goes wrong on the way


class _Damaging(Store):
    """A store that puts other bytes than it was given; what reads them back is real."""

    def put(self, url, data):
        return super().put(url, b"x" + data[1:])

    def create(self, url, data):
        super().create(url, b"x" + data[1:])


def test_what_arrived_otherwise_than_it_was_sent_is_found(here):
    put(here, {"src": "12345"})
    origin = Stores().open(f"file://{here}")
    damaging = _Damaging("file", origin.filesystem, is_local=True, exclusive_create=True)
    copy = Copy(origin.info(f"file://{here}/src"), origin, damaging, f"file://{here}/out", None, replace=False)
    with pytest.raises(StorageError, match="not what was sent"):
        copy.run(lambda _: None, lambda: None)


def test_a_file_that_changes_on_the_way_is_not_put(here):
    for size in (5, BLOCK_BYTES + 5):
        put(here, {"src": b"1" * size})
        store = Stores().open(f"file://{here}")
        copy = Copy(store.info(f"file://{here}/src"), store, store, f"file://{here}/out", None, replace=False)
        put(here, {"src": b"1" * (size + 1)})
        with pytest.raises(StorageError, match="changed while it was staged"):
            copy.run(lambda _: None, lambda: None)
        assert not (here / "out").exists()


def test_what_appears_meanwhile_stays_as_it_is(here):
    put(here, {"src": "12345"})
    store = Stores().open(f"file://{here}")
    copy = Copy(store.info(f"file://{here}/src"), store, store, f"file://{here}/out", None, replace=False)
    put(here, {"out": "mine"})
    with pytest.raises(StorageError, match="already exists"):
        copy.run(lambda _: None, lambda: None)
    assert (here / "out").read_text() == "mine"


def test_etags_that_prove_the_bytes():
    import hashlib

    data = random.Random(3).randbytes(100)
    for part in (10, 33, 50, 100, 1000):
        digest = Digest(part)
        for at in range(0, 100, 7):
            digest.update(data[at : at + 7])
        parts = [hashlib.md5(data[at : at + part]).digest() for at in range(0, 100, part)]  # noqa: S324 - S3's etag
        joined = f'"{hashlib.md5(b"".join(parts)).hexdigest()}-{len(parts)}"'  # noqa: S324
        whole = hashlib.md5(data).hexdigest()  # noqa: S324
        assert digest.proven_by(joined)
        assert digest.proven_by(whole.upper())
        assert not digest.proven_by(f"{whole}-1")
        assert not digest.proven_by("64-1850fd2e")
        assert digest.sha256 == hashlib.sha256(data).hexdigest()
