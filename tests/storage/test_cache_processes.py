"""The local read cache among processes: one small folder for several, killed writers, a lock that nobody keeps."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time

from pai_train.storage.cache import PartCache
from tests.storage.test_cache import HEADER, ROOT, held, part

HAMMER = """
import random, sys
from pathlib import Path
from pai_train.storage.cache import PartCache
folder, seed, bound, rounds = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
chance, cache, hits = random.Random(seed), PartCache(folder, bound), 0
print("begun", flush=True)
while rounds:
    rounds -= 1
    number = chance.randrange(40)
    data = random.Random(number).randbytes(chance.choice([3000, 9000]))
    found = cache.get("u", "1", number, 0)
    assert found is None or random.Random(number).randbytes(len(found)) == found, number
    hits += found is not None
    if found is None:
        cache.put("u", "1", number, 0, data)
print(hits)
"""


def hammer(folder, seed, bound, rounds):
    command = [sys.executable, "-c", HAMMER, str(folder), str(seed), str(bound), str(rounds)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)


def test_four_processes_share_one_small_cache(tmp_path):
    bound = 60_000
    running = [hammer(tmp_path, seed, bound, 1500) for seed in range(4)]
    onlooker, seen = PartCache(tmp_path, bound), []
    while any(process.poll() is None for process in running):
        with onlooker._locked():
            seen.append(held(tmp_path))
        time.sleep(0.005)
    told = [process.communicate() for process in running]
    assert [(process.returncode, errors) for process, (_, errors) in zip(running, told, strict=True)] == [(0, "")] * 4
    assert all(int(output.split()[1]) > 50 for output, _ in told)
    assert bound / 2 < max(seen) <= bound
    assert held(tmp_path) <= bound
    assert not (tmp_path / "unfinished").exists()


def test_writers_killed_at_any_moment_harm_nobody(tmp_path):
    bound, chance = 60_000, random.Random(5)
    cache = PartCache(tmp_path, bound)
    for seed in range(12):
        process = hammer(tmp_path, seed, bound, -1)
        assert process.stdout.readline() == "begun\n"
        time.sleep(chance.uniform(0, 0.03))
        process.send_signal(signal.SIGKILL)
        _, errors = process.communicate()
        assert (process.returncode, errors) == (-signal.SIGKILL, "")
        assert held(tmp_path) <= bound + 9000 + HEADER
        cache.put("mine", "1", seed, 0, part(seed))
        assert cache.get("mine", "1", seed, 0) == part(seed)
        assert held(tmp_path) <= bound
    for number in range(40):
        found = cache.get("u", "1", number, 0)
        assert found is None or found == random.Random(number).randbytes(len(found))


STEPS = """
import os, shutil, signal, sys
from pathlib import Path
from pai_train.storage import cache as module
top, lines = Path(sys.argv[1]), 0
def child(folder, last):
    count = 0
    def at_line(frame, event, value):
        nonlocal count
        if frame.f_code.co_filename != module.__file__:
            return None
        if event == "line":
            count += 1
            if count == last:
                os.kill(os.getpid(), signal.SIGKILL)
        return at_line
    cache = module.PartCache(folder, 500)
    sys.settrace(at_line)
    cache.put("u", "1", 9, 0, b"9" * 100)
    os._exit(0)
while True:
    lines += 1
    folder = top / str(lines)
    cache = module.PartCache(folder, 500)
    for number in range(4):
        cache.put("u", "1", number, 0, bytes([number]) * 100)
    pid = os.fork()
    if not pid:
        child(folder, lines)
    status = os.waitpid(pid, 0)[1]
    total = lambda: sum(path.stat().st_size for path in folder.iterdir() if path.name != "lock")
    assert total() <= 500 + 116, lines
    for number in range(4):
        assert cache.get("u", "1", number, 0) in (None, bytes([number]) * 100)
    assert cache.get("u", "1", 9, 0) in (None, b"9" * 100)
    cache.put("u", "1", 8, 0, b"8" * 100)
    assert cache.get("u", "1", 8, 0) == b"8" * 100
    assert total() <= 500 and not (folder / "unfinished").exists(), lines
    shutil.rmtree(folder)
    if os.WIFEXITED(status):
        print(lines)
        break
"""


def test_a_writer_killed_at_each_single_line_leaves_a_sound_cache(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", STEPS, str(tmp_path)], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert int(done.stdout) > 40


def test_a_forked_child_does_not_hold_the_lock(tmp_path):
    code = """
import os, sys, threading
from pathlib import Path
from pai_train.storage.cache import PartCache
cache = PartCache(Path(sys.argv[1]), 10_000)
alive, ends = os.pipe()
with cache._locked():
    if not os.fork():
        os.close(ends)
        os.read(alive, 1)
        os._exit(0)
cache.put("u", "1", 0, 0, b"1")
print(cache.get("u", "1", 0, 0))
"""
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=30, check=True)
    assert (done.stdout, done.stderr) == ("b'1'\n", "")
