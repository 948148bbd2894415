"""The local read cache: what it gives is what was put, within its bound, whatever happens to it."""

from __future__ import annotations

import logging
import os
import random
import subprocess
import sys
import tempfile
from collections import OrderedDict
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pai_train.storage.cache import PartCache

ROOT = Path(__file__).parents[2]
HEADER = 16
URL = "s3://bucket/secret-name.csv?token=hunter2"


def entries(folder):
    return sorted(folder.glob("*.part"))


def held(folder):
    """Returns the bytes in the folder; with the lock held, or without readers that remove what is damaged."""
    return sum(path.stat().st_size for path in folder.iterdir() if path.name != "lock")


def part(number, size=100):
    return random.Random(number).randbytes(size)


# One process


def test_a_part_is_given_as_it_was_put(tmp_path):
    cache = PartCache(tmp_path / "a/b", 10_000)
    assert cache.get(URL, "1", 0, 100) is None
    assert not (tmp_path / "a").exists()
    cache.put(URL, "1", 0, 100, part(1))
    cache.put(URL, "1", 100, 200, b"")
    assert PartCache(tmp_path / "a/b", 10_000).get(URL, "1", 0, 100) == part(1)
    assert cache.get(URL, "1", 100, 200) == b""
    for other in ((URL, "2", 0, 100), (URL, "1", 0, 101), (URL, "1", 1, 100), (URL + "x", "1", 0, 100)):
        assert cache.get(*other) is None
    cache.put(URL, "1", 0, 100, part(2))
    assert cache.get(URL, "1", 0, 100) == part(2)


def test_nothing_tells_of_the_object_and_nobody_else_reads_it(tmp_path):
    folder = tmp_path / "cache"
    PartCache(folder, 10_000).put(URL, '"etag"', 7, 9, b"ab")
    names = " ".join(path.name for path in folder.iterdir())
    assert not any(word in names for word in ("s3", "bucket", "secret", "hunter2", "etag"))
    assert {path.stat().st_mode & 0o077 for path in (folder, *folder.iterdir())} == {0}
    told = b"".join(path.read_bytes() for path in folder.iterdir())
    assert b"bucket" not in told
    assert b"hunter2" not in told


def test_what_was_not_read_for_longest_goes_first(tmp_path):
    cache = PartCache(tmp_path, 5 * (100 + HEADER))
    for number in range(5):
        cache.put(URL, "1", number, 0, part(number))
    assert cache.get(URL, "1", 0, 0) == part(0)
    cache.put(URL, "1", 5, 0, part(5))
    kept = [number for number in range(6) if cache.get(URL, "1", number, 0) is not None]
    assert kept == [0, 3, 4, 5]


def test_a_part_larger_than_the_bound_is_not_kept_and_removes_nothing(tmp_path):
    cache = PartCache(tmp_path, 500)
    cache.put(URL, "1", 0, 1, part(1))
    cache.put(URL, "1", 1, 2, part(2, 500))
    assert cache.get(URL, "1", 1, 2) is None
    assert cache.get(URL, "1", 0, 1) == part(1)
    cache.put(URL, "1", 1, 2, part(2, 500 - HEADER))
    assert cache.get(URL, "1", 1, 2) == part(2, 500 - HEADER)
    assert cache.get(URL, "1", 0, 1) is None


def test_files_of_others_are_left_alone(tmp_path):
    others = ["thesis.tex", "0" * 64, "x.part", f"{'0' * 64}.part.bak"]
    for name in others:
        (tmp_path / name).write_bytes(bytes(1000))
    cache = PartCache(tmp_path, 300)
    for number in range(20):
        cache.put(URL, "1", number, 0, part(number))
    assert [(tmp_path / name).stat().st_size for name in others] == [1000] * 4
    assert cache.get(URL, "1", 19, 0) == part(19)


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes()[:7]),
        lambda path: path.write_bytes(path.read_bytes()[:-1]),
        lambda path: path.write_bytes(path.read_bytes() + b"\0"),
        lambda path: path.write_bytes(bytes(path.stat().st_size)),
        lambda path: os.truncate(path, HEADER),
    ],
    ids=["empty", "in-the-header", "short", "long", "zeros", "no-part"],
)
def test_a_damaged_entry_is_a_miss_and_is_removed(tmp_path, damage):
    cache = PartCache(tmp_path, 10_000)
    cache.put(URL, "1", 0, 1, part(1))
    damage(entries(tmp_path)[0])
    assert cache.get(URL, "1", 0, 1) is None
    assert entries(tmp_path) == []
    cache.put(URL, "1", 0, 1, part(1))
    assert cache.get(URL, "1", 0, 1) == part(1)


@given(bit=st.integers(0, (100 + HEADER) * 8 - 1))
def test_every_flipped_bit_is_seen(bit):
    with tempfile.TemporaryDirectory() as folder:
        cache = PartCache(Path(folder), 10_000)
        cache.put(URL, "1", 0, 1, part(1))
        path = entries(Path(folder))[0]
        damaged = bytearray(path.read_bytes())
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        assert cache.get(URL, "1", 0, 1) is None


def test_an_entry_under_anothers_name_is_a_miss(tmp_path):
    cache = PartCache(tmp_path, 10_000)
    cache.put(URL, "1", 0, 1, part(1))
    first = entries(tmp_path)[0]
    cache.put(URL, "2", 0, 1, part(2))
    first.write_bytes(next(path for path in entries(tmp_path) if path != first).read_bytes())
    assert cache.get(URL, "1", 0, 1) is None


PARTS = st.tuples(st.sampled_from(["put", "get", "damage", "lose"]), st.integers(0, 9), st.integers(0, 400))


@settings(max_examples=60)
@given(bound=st.integers(HEADER, 2000), steps=st.lists(PARTS, max_size=60))
def test_any_history_stays_within_the_bound_and_keeps_the_newest(bound, steps):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cache = PartCache(folder, bound)
        recent: OrderedDict[int, bytes] = OrderedDict()  # what would be kept without bound, least recent first
        for step, (kind, number, size) in enumerate(steps):
            if kind == "put" and size + HEADER <= bound:
                recent[number] = part(step, size)
                recent.move_to_end(number)
                cache.put(URL, "1", number, 0, recent[number])
            elif kind == "put":
                cache.put(URL, "2", number, 0, part(step, size))
            elif kind == "get" and cache.get(URL, "1", number, 0) is not None:
                recent.move_to_end(number)
            elif kind == "damage" and entries(folder):
                path = entries(folder)[number % len(entries(folder))]
                path.write_bytes(path.read_bytes()[:-1])
            elif kind == "lose":
                (folder / "lock").unlink(missing_ok=True)
            assert held(folder) <= bound
        intact = not any(kind == "damage" for kind, *_ in steps)
        kept = [number for number in recent if cache.get(URL, "1", number, 0) is not None]
        assert all(cache.get(URL, "1", number, 0) in (None, recent[number]) for number in range(10) if number in recent)
        if intact:
            assert kept == list(recent)[len(recent) - len(kept) :]
            assert not recent or kept


# Off


def test_a_folder_that_cannot_be_is_told_once(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    cache = PartCache(tmp_path / "file/cache", 10_000)
    for number in range(3):
        cache.put(URL, "1", number, 0, part(number))
        assert cache.get(URL, "1", number, 0) is None
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "file/cache cannot be used, nothing more is kept there: Not a directory" in caplog.text
    assert "hunter2" not in caplog.text


FULL = """
import os, sys
from pathlib import Path
from pai_train.storage.cache import PartCache
folder = Path(sys.argv[1])
cache = PartCache(folder, 2**30)
cache.put("u", "1", 0, 0, b"a" * 1000)
for number in range(1, 9):
    cache.put("u", "1", number, 0, bytes(100_000))
assert cache.get("u", "1", 0, 0) == b"a" * 1000
assert not (folder / "unfinished").exists()
print([cache.get("u", "1", number, 0) == bytes(100_000) for number in range(1, 9)])
"""


def test_a_full_disk_is_told_once_and_what_is_there_serves_on(tmp_path):
    mount = f"mount -t tmpfs -o size=400k none {tmp_path} && exec {sys.executable} -c '{FULL}' {tmp_path}"
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mount]
    probe = [*command[:4], "mount", "-t", "tmpfs", "none", str(tmp_path)]
    if subprocess.run(probe, capture_output=True, check=False).returncode:
        pytest.skip("a small file system of one's own cannot be mounted here")
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.split() == ["[True,", "True,", "True,", "False,", "False,", "False,", "False,", "False]"]
    assert done.stderr.count("cannot be used, nothing more is kept there: No space left on device") == 1


LIMITED = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))\n"


def test_a_write_that_fails_in_mid_entry_leaves_nothing(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", LIMITED + FULL, str(tmp_path)], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert done.stdout.split() == str([False] * 8).split()
    assert done.stderr.count("cannot be used, nothing more is kept there: File too large") == 1
    assert len(entries(tmp_path)) == 1


def test_a_folder_emptied_by_somebody_is_made_again(tmp_path, caplog):
    cache = PartCache(tmp_path / "cache", 10_000)
    cache.put(URL, "1", 0, 1, part(1))
    for path in (tmp_path / "cache").iterdir():
        path.unlink()
    (tmp_path / "cache").rmdir()
    assert cache.get(URL, "1", 0, 1) is None
    cache.put(URL, "1", 0, 1, part(1))
    assert cache.get(URL, "1", 0, 1) == part(1)
    assert caplog.records == []
