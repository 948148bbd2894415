"""Folders for what is under way: gone with their process, and those of killed ones with the next that begins."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from pai_train.storage import Scratch

HOLDING = """
import os, signal, sys
from pai_train.storage import Scratch
scratch = Scratch()
(scratch.path / "weights").write_bytes(b"1")
print(scratch.path, flush=True)
if sys.argv[1:] == ["fork"]:
    if os.fork():
        os.kill(os.getpid(), signal.SIGKILL)
    sys.stdin.read()
    os._exit(0)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    yield tmp_path
    monkeypatch.setattr("tempfile.tempdir", None)


@pytest.fixture
def start():
    made = []

    def begin(*arguments):
        child = subprocess.Popen(
            [sys.executable, "-c", HOLDING, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        made.append(child)
        return child, child.stdout.readline().strip()

    yield begin
    for child in made:
        child.stdin.close()
        child.stdout.close()
        child.kill()
        child.wait()


def age(path, seconds=3600):
    at = time.time() - seconds
    os.utime(path, (at, at))


def test_a_folder_goes_with_its_block_and_with_its_process(temporary, start):
    with Scratch() as folder:
        (folder / "inner").mkdir()
        assert list(temporary.iterdir()) == [folder]
    assert not list(temporary.iterdir())
    child, path = start()
    assert os.listdir(path) == ["weights"]
    child.stdin.close()
    assert child.wait(30) == 0
    assert not list(temporary.iterdir())


def test_what_a_killed_process_left_goes_with_the_next(temporary, start):
    child, path = start()
    living, held = start()
    child.send_signal(signal.SIGKILL)
    child.wait(30)
    assert sorted(os.listdir(temporary)) == sorted([os.path.basename(path), os.path.basename(held)])
    with Scratch():
        # It may be another's who has just made it.
        assert os.path.exists(path)
    age(path)
    age(held)
    (temporary / "pai-tmp-file").write_text("")
    (temporary / "pai-tmp-link").symlink_to(temporary)
    (temporary / "other").mkdir()
    age(temporary / "other")
    with Scratch() as mine:
        left = {os.path.basename(held), mine.name, "pai-tmp-file", "pai-tmp-link", "other"}
        assert set(os.listdir(temporary)) == left
    assert living.poll() is None


def test_a_forked_child_keeps_the_folder(temporary, start):
    child, path = start("fork")
    assert child.wait(30) == -signal.SIGKILL
    age(path)
    with Scratch():
        assert os.listdir(path) == ["weights"]
    child.stdin.close()
    deadline = time.monotonic() + 30
    while os.path.exists(path) and time.monotonic() < deadline:
        age(path)
        Scratch().close()
    assert not os.path.exists(path)


def test_a_forked_child_takes_no_folder_away():
    scratch = Scratch()
    pid = os.fork()
    if not pid:
        scratch.close()
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    assert scratch.path.is_dir()
    scratch.close()
    assert not scratch.path.exists()
