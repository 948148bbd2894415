"""Stop signals, sent for real to real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from pai_train.errors import Interrupted
from pai_train.training.signals import StopSignals, interrupting

CODE = str(Path(__file__).parents[2])
LOOP = """
import time
from pai_train.training.signals import StopSignals
with StopSignals() as stop:
    print("ready", flush=True)
    while not stop.requested:
        time.sleep(0.01)
    print("saving", stop.signal.name, flush=True)
    {saving}
print("saved", flush=True)
raise SystemExit(75)
"""


def process(code: str) -> subprocess.Popen[str]:
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=CODE)
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    return child


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_the_first_signal_lets_the_loop_save(number):
    with process(LOOP.format(saving="time.sleep(0.1)")) as child:
        os.kill(child.pid, number)
        out, _ = child.communicate(timeout=20)
    assert out == f"saving {number.name}\nsaved\n"
    assert child.returncode == 75


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_the_second_signal_ends_at_once(second):
    with process(LOOP.format(saving="time.sleep(600)")) as child:
        os.kill(child.pid, signal.SIGTERM)
        assert child.stdout is not None
        assert child.stdout.readline() == "saving SIGTERM\n"
        os.kill(child.pid, second)
        out, _ = child.communicate(timeout=20)
    assert out == ""
    assert child.returncode == -second


BLOCKED = """
import hashlib
from pai_train.training.signals import StopSignals
with StopSignals():
    print("ready", flush=True)
    hashlib.pbkdf2_hmac("sha256", b"a library", b"that does not come back", 2**31 - 1)
"""


def test_the_second_signal_ends_at_once_what_is_inside_a_library():
    with process(BLOCKED) as child:
        for _ in range(2):
            time.sleep(0.3)
            assert child.poll() is None
            os.kill(child.pid, signal.SIGTERM)
        child.communicate(timeout=20)
    assert child.returncode == 128 + signal.SIGTERM


def test_a_pipe_for_signals_that_the_program_has_stays_its_own():
    read, write = os.pipe()
    os.set_blocking(write, False)
    before = signal.set_wakeup_fd(write)
    try:
        with StopSignals() as stop:
            signal.raise_signal(signal.SIGTERM)
            assert stop.requested
        assert os.read(read, 9) == bytes([signal.SIGTERM])
        assert signal.set_wakeup_fd(write) == write
    finally:
        signal.set_wakeup_fd(before)
        os.close(read)
        os.close(write)


def test_handlers_are_put_back():
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    stop = StopSignals()
    with suppress(KeyError), stop:
        assert stop.active
        assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] != before
        raise KeyError
    assert not stop.active
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before


def test_nothing_is_requested_without_a_signal():
    with StopSignals() as stop:
        assert not stop.requested
        assert stop.signal is None
        signal.raise_signal(signal.SIGTERM)
        assert stop.requested
        assert stop.signal is signal.SIGTERM


def test_another_thread_is_told_that_nothing_is_caught(caplog):
    before = signal.getsignal(signal.SIGTERM)
    seen = []

    def run() -> None:
        with StopSignals() as stop:
            seen.append((stop.active, stop.requested, signal.getsignal(signal.SIGTERM) is before))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert seen == [(False, False, True)]
    assert "main thread" in caplog.text


EARLY = """
import sys
import time
from pai_train.training.signals import interrupting
assert not {"tensorflow", "numpy", "pyarrow"} & sys.modules.keys()
from pai_train.errors import Interrupted
try:
    with interrupting():
        print("ready", flush=True)
        time.sleep(600)
except Interrupted as error:
    print(error, flush=True)
    raise SystemExit(error.exit_code)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_while_nothing_is_written_ends_at_once_in_one_error(number):
    with process(EARLY) as child:
        os.kill(child.pid, number)
        out, _ = child.communicate(timeout=20)
    assert out.startswith("interrupted before anything was written")
    assert child.returncode == 75


def test_interrupting_leaves_what_is_ignored_and_puts_handlers_back():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        terminate = signal.getsignal(signal.SIGTERM)
        with interrupting():
            signal.raise_signal(signal.SIGHUP)
            assert signal.getsignal(signal.SIGTERM) is not terminate
        with pytest.raises(Interrupted), interrupting():
            signal.raise_signal(signal.SIGTERM)
        assert signal.getsignal(signal.SIGTERM) is terminate
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
