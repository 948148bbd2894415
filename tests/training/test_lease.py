"""Leases: one holder at a time, dead ones replaced, lost ones told; with real processes and a clock of our own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from pai_train.errors import CheckpointError, StorageError
from pai_train.storage import Store, join, open_store
from pai_train.storage.owner import Owner
from pai_train.training.lease import Lease

CODE = str(Path(__file__).parents[2])


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"file://{tmp_path}/run/lease"


@pytest.fixture
def store(url: str) -> Store:
    return open_store(url)


@pytest.fixture
def clock() -> Clock:
    return Clock()


ELSEWHERE = Owner("elsewhere", "another machine", 4321, "99")


@pytest.fixture
def make(store, url, clock):
    held: list[Lease] = []

    def call(owner: Owner | None = None, on: Store | None = None, **kwargs) -> Lease:
        lease = Lease(on or store, url, owner=owner, clock=clock, **{"renew_s": 1000, **kwargs})
        held.append(lease)
        return lease

    yield call
    for lease in held:
        lease.release()


def names(store: Store, url: str) -> list[str]:
    return [info.url.rpartition("/")[2] for info in store.list(url)]


def test_a_holder_is_named_with_what_to_do(make):
    with make(), pytest.raises(CheckpointError, match="another process is writing into this run") as caught:
        make().acquire()
    fault = caught.value.fault
    assert fault.got == f"process {os.getpid()} on {Owner.current().host}, since 1970-01-12 13:46:40 UTC"
    assert fault.todo == "stop that process; or start a new generation with train.resume=never"


def test_what_was_given_back_can_be_taken(make, store, url, caplog):
    for _ in range(3):
        with make() as lease:
            assert not lease.lost
    assert names(store, url) == ["000003.json"]
    assert caplog.records == []


def test_giving_back_twice_does_nothing(make):
    lease = make()
    lease.acquire()
    lease.release()
    with make() as second:
        lease.release()
        second.renew()
        assert not second.lost


def test_a_lease_can_be_taken_again(make):
    lease = make()
    for _ in range(2):
        with lease:
            assert not lease.lost


def test_the_record_says_who_and_since_when(make, store, url, clock):
    with make():
        clock.now += 5
        value = json.loads(store.read(join(url, "000001.json")))
    assert value["owner"]["pid"] == os.getpid()
    assert (value["since"], value["renewed"], value["released"]) == (1_000_000.0, 1_000_000.0, False)


def test_another_machine_is_believed_until_its_lease_expires(make, clock, caplog):
    other = make(ELSEWHERE)
    other.acquire()
    clock.now += 59
    with pytest.raises(CheckpointError, match="another process") as caught:
        make().acquire()
    assert caught.value.fault.todo is not None
    assert "or wait 1 s" in caught.value.fault.todo
    clock.now += 1
    with make() as lease:
        assert "process 4321 on elsewhere, which has given no sign for 60 s" in caplog.text
        assert other.lost
        assert not lease.lost
        other.release()
        lease.renew()
        assert not lease.lost


def test_a_renewed_lease_does_not_expire(make, clock):
    other = make(ELSEWHERE)
    other.acquire()
    clock.now += 59
    other.renew()
    clock.now += 59
    with pytest.raises(CheckpointError, match="another process"):
        make().acquire()


def test_a_living_process_on_this_machine_keeps_its_lease(make, clock):
    lease = make()
    lease.acquire()
    clock.now += 10_000
    with pytest.raises(CheckpointError, match="another process"):
        make().acquire()
    assert not lease.lost


def test_a_number_that_a_later_process_got_is_not_the_holder(make):
    make(replace(Owner.current(), started="1")).acquire()
    with make() as lease:
        assert not lease.lost


def test_the_holder_that_was_replaced_learns_it_at_the_next_renewal(make, clock):
    other = make(ELSEWHERE)
    other.acquire()
    clock.now += 60
    with make():
        other.renew()
        assert other.lost


def test_a_create_that_comes_late_gives_way(make, store, url, clock):
    """A process sees a dead holder and is stopped before its create; others take the lease and give it back."""
    make(replace(Owner.current(), started="1")).acquire()

    class Stopped:
        def __getattr__(self, name):
            return getattr(store, name)

        def create(self, at: str, data: bytes) -> None:
            if at.endswith("000002.json"):
                with make():
                    pass
                make().acquire()  # the third, which deletes the second
            store.create(at, data)

    with pytest.raises(CheckpointError, match="another process"):
        make(on=Stopped()).acquire()
    assert names(store, url) == ["000003.json"]


def test_a_create_whose_answer_was_lost_is_ours(make, store):
    class Repeating:
        def __getattr__(self, name):
            return getattr(store, name)

        def create(self, at: str, data: bytes) -> None:
            store.create(at, data)
            store.create(at, data)

    with make(on=Repeating()) as lease:
        assert not lease.lost


class CutOff:
    """A store that can be made unreachable."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.off = False

    def __getattr__(self, name):
        if self.off:
            raise StorageError("unreachable")
        return getattr(self.store, name)


def test_a_holder_that_is_cut_off_counts_as_lost_when_others_may_take_over(make, store, clock, caplog):
    cut = CutOff(store)
    lease = make(on=cut)
    lease.acquire()
    cut.off = True
    clock.now += 59
    lease.renew()
    assert not lease.lost
    assert "could not be renewed for 59 s" in caplog.text
    clock.now += 1
    assert lease.lost


def test_a_machine_that_slept_goes_on_if_nobody_took_over(make, clock):
    lease = make(ELSEWHERE)
    lease.acquire()
    clock.now += 10_000
    assert not lease.lost
    with pytest.raises(CheckpointError, match="another process"):
        make().acquire()


def test_a_lease_that_cannot_be_given_back_is_a_warning(make, store, caplog):
    cut = CutOff(store)
    with make(on=cut):
        cut.off = True
    assert "could not be given back" in caplog.text


def test_the_thread_renews(store, url):
    ticks = iter(range(10**9))
    with Lease(store, url, renew_s=0.01, clock=lambda: float(next(ticks))):
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            if json.loads(store.read(join(url, "000001.json")))["renewed"] > 5:
                return
    pytest.fail("was never renewed")


def test_a_damaged_lease_is_named(make, store, url):
    store.put(join(url, "000001.json"), b"{")
    with pytest.raises(CheckpointError, match="the lease cannot be read"):
        make().acquire()


# ---- real processes

HOLD = """
import sys, time
from pai_train.errors import CheckpointError
from pai_train.storage import open_store
from pai_train.training.lease import Lease
url = sys.argv[1]
"""


def child(code: str, url: str, **kwargs) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", HOLD + code, url],
        stdin=-1,
        stdout=-1,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=CODE,
        **kwargs,
    )


@pytest.mark.parametrize("reaped", [True, False], ids=["gone", "zombie"])
def test_a_killed_holder_is_replaced_at_once(make, url, reaped, caplog):
    with child("Lease(open_store(url), url).acquire(); print('held', flush=True); time.sleep(600)", url) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(CheckpointError, match="another process"):
            make().acquire()
        os.kill(holder.pid, signal.SIGKILL)
        if reaped:
            holder.wait()
        else:
            os.waitid(os.P_PID, holder.pid, os.WEXITED | os.WNOWAIT)
        with make() as lease:
            assert not lease.lost
    assert f"Taking over this run from process {holder.pid}" in caplog.text
    assert "which has ended" in caplog.text


RACE = """
print('ready', flush=True)
sys.stdin.readline()
try:
    Lease(open_store(url), url).acquire()
    print('won', flush=True)
    sys.stdin.readline()
except CheckpointError:
    print('lost', flush=True)
"""


@pytest.mark.parametrize("dead_holder", [False, True], ids=["free", "dead holder"])
def test_of_racing_processes_one_wins(make, url, dead_holder):
    if dead_holder:
        make(replace(Owner.current(), started="1")).acquire()
    racers = [child(RACE, url) for _ in range(4)]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()
    said = [racer.stdout.readline().strip() for racer in racers if racer.stdout]
    for racer in racers:
        racer.communicate("end\n", timeout=20)
    assert sorted(said) == ["lost", "lost", "lost", "won"]


# ---- who is alive


def test_this_process_is_alive():
    assert Owner.current().is_alive() is True


def test_a_process_that_is_gone_is_not():
    done = subprocess.Popen([sys.executable, "-S", "-c", ""])
    done.wait()
    assert replace(Owner.current(), pid=done.pid).is_alive() is False


@pytest.mark.parametrize("change", [{"machine": "other"}, {"machine": ""}, {"started": ""}])
def test_what_cannot_be_known_is_not_claimed(change):
    assert replace(Owner.current(), **change).is_alive() is None


def test_a_process_whose_name_holds_parentheses(tmp_path):
    odd = tmp_path / "a) S 1 (b"
    odd.symlink_to("/bin/sleep")
    with subprocess.Popen([str(odd), "600"]) as process:
        code = "import sys; from pai_train.storage.owner import _started; print(_started(int(sys.argv[1])))"
        said = subprocess.run([sys.executable, "-c", code, str(process.pid)], check=True, capture_output=True, cwd=CODE)
        process.kill()
    assert int(said.stdout) > 100
