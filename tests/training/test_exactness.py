"""A training that ends before and after every storage operation, and with unsynced pages lost: always exact."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pai_train.errors import PaiTrainError
from pai_train.storage import Store, join, local, open_store, read_manifest
from pai_train.storage.owner import Owner
from pai_train.training.checkpoints import Checkpoints
from pai_train.training.contracts import TrainState
from pai_train.training.generations import Runs
from pai_train.training.retention import Best, Retention
from tests.suites.mortal import ENDS, ENDS_DONE, FAULTS, Ended, World, at

if TYPE_CHECKING:
    from collections.abc import Callable

STEPS = 9
PER_EPOCH = 2
KEEP = Retention(1, Best("test/loss", 1, largest=False), 35.0)
LOSSES = [0.5, 0.2, 0.9, 0.4, 0.3]


def weights(before: str, step: int) -> str:
    return hashlib.sha256(f"{before} {step}".encode()).hexdigest()


def trained(store: Store, url: str, scratch: Path, saved: list[int], now: Callable[[], float] | None = None) -> str:
    """One start of a training that saves each step; `saved` gets what it was told to be safe."""
    runs = Runs(store, url)
    run = runs.open("h")
    clock = [0.0]
    checkpoints = Checkpoints(store, run.url, keep=KEEP, scratch=scratch, clock=lambda: clock[0])
    shutil.rmtree(scratch / "to", ignore_errors=True)
    with checkpoints.lease(run.run_id), checkpoints:
        state = checkpoints.restore(scratch / "to")
        checkpoints.tidy()
        # Never less than what had been reported, and never what had not been begun.
        assert (state.step if state else 0) in range(saved[-1], saved[-1] + 2)
        value = (scratch / "to" / "value").read_text() if state else ""
        state = state or TrainState(0, 0, {}, run.run_id, "h")
        assert value == straight(state.step)
        for step in range(state.step + 1, STEPS + 1):
            value = weights(value, step)
            clock[0] = 10.0 * step
            history = state.history
            if step % PER_EPOCH == 0:
                history = (*history, {"step": float(step), "test/loss": LOSSES[step // PER_EPOCH - 1]})
            state = TrainState(step, step // PER_EPOCH, {}, run.run_id, "h", history=history)
            checkpoints.save(state, lambda folder, value=value: (folder / "value").write_text(value)).result()
            checkpoints.wait()
            saved.append(step)
        assert [epoch["test/loss"] for epoch in state.history] == LOSSES[: STEPS // PER_EPOCH]
    runs.finish(run, {"value": value})
    return value


def straight(steps: int) -> str:
    value = ""
    for step in range(1, steps + 1):
        value = weights(value, step)
    return value


def kept(store: Store, url: str) -> list[int]:
    """The steps of which there is a checkpoint; one that is half there is an error."""
    (run,) = Runs(store, url).listing()
    assert run.finished
    sizes = {info.url: info.size for info in store.list(run.url)}
    names = {one.removeprefix(f"{run.url}/").split("/")[0] for one in sizes}
    steps = []
    for name in sorted(name for name in names if name.startswith("step-")):
        manifest = read_manifest(store, join(run.url, name))
        assert manifest is not None, name
        assert all(sizes[join(manifest.url, file)] == entry.size for file, entry in manifest.files.items())
        steps.append(int(name.split("-")[1]))
    return steps


@pytest.fixture
def dead(monkeypatch) -> Callable[[], None]:
    """Makes the processes to come such that have ended on this machine when the next one looks."""
    me = Owner.current()

    def begin() -> None:
        monkeypatch.setattr(Owner, "current", classmethod(lambda cls: Owner(**{**me.to_json(), "pid": 2**22 + 1})))

    return begin


# 1 and 5 for the time, 4 for its loss, 9 for being the newest.
WANTED = [1, 4, 5, 9]


def check_kept(store: Store, url: str, fault: str, when: object) -> None:
    """A store that fails while the last retention looks around lets one more stay, and takes none too many."""
    found = kept(store, url)
    assert set(found) >= set(WANTED), when
    assert len(found) <= len(WANTED) + (fault not in (ENDS, ENDS_DONE)), when


QUICK = [("memory", ENDS), ("memory", ENDS_DONE)]
FULL = [(where, fault) for where in ("local", "memory") for fault in FAULTS if (where, fault) not in QUICK]


@pytest.mark.parametrize(("where", "fault"), [*QUICK, *(pytest.param(*one, marks=pytest.mark.full) for one in FULL)])
def test_the_process_may_end_at_every_operation_of_a_store(tmp_path, dead, where, fault):
    dead()
    scratch = tmp_path / "scratch"
    scratch.mkdir()

    def world(name: str) -> tuple[World, str]:
        made = World(tmp_path / name if where == "local" else None)
        return made, join(made.root, "model")

    one, url = world("count")
    counting = one.live()
    assert trained(counting.stores.open(url), url, scratch, [0]) == straight(STEPS)
    assert kept(one.store, url) == WANTED
    total = counting.files.count
    assert total > 60
    for number in range(1, total + 1):
        one, url = world(str(number))
        life, saved = one.live(at(number, fault)), [0]
        with suppress(Ended, PaiTrainError):
            trained(life.stores.open(url), url, scratch, saved)
        assert life.files.struck, number
        if Runs(one.store, url).unfinished("h") or not Runs(one.store, url).listing():
            assert trained(one.live().stores.open(url), url, scratch, saved) == straight(STEPS), life.files.struck
        check_kept(one.store, url, fault, (number, life.files.struck))
        if where == "local":
            shutil.rmtree(tmp_path / str(number))


@pytest.mark.parametrize("fault", [ENDS, *(pytest.param(one, marks=pytest.mark.full) for one in FAULTS[1:])])
def test_what_is_left_behind_the_last_save_goes_whatever_happens_to_the_resume(tmp_path, dead, fault):
    """The first start ends before each operation of its last retention, the second at each of its own."""
    dead()

    def ended(first: int, plan: Callable[[str, int], Any]) -> tuple[World, str, Any, list[int]]:
        """The world after two starts that may have ended early."""
        one, saved = World(None), [0]
        url = join(one.root, "model")
        for begun in (at(first, ENDS), plan):
            life = one.live(begun)
            with suppress(Ended, PaiTrainError):
                trained(life.stores.open(url), url, tmp_path, saved)
        return one, url, life, saved

    one = World(None)
    url = join(one.root, "model")
    last: dict[str, list[int]] = {}
    counting = one.live(lambda name, number: last.setdefault(name, []).append(number))
    trained(counting.stores.open(url), url, tmp_path, [0])
    # The run is finished by the last write but one, and the lease given back by the last; what is deleted behind the
    # manifest of the last save is what retention takes away.
    retention = [number for number in last["rm"] if number > last["pipe"][-3]]
    assert len(retention) >= 2
    for first in retention:
        _, _, life, _ = ended(first, lambda name, number: None)
        for number in range(1, life.files.count + 1):
            one, url, life, saved = ended(first, at(number, fault))
            if Runs(one.store, url).unfinished("h"):
                assert trained(one.live().stores.open(url), url, tmp_path, saved) == straight(STEPS)
            check_kept(one.store, url, fault, (first, number, life.files.struck))


class PowerCut(BaseException):
    """The machine stops here."""


class Disk:
    """The calls by which local files become durable, numbered; what was not synced is lost when the power goes.

    Names are durable once their folder was synced, contents once the file was. Stands in for `os` in one module.
    """

    def __init__(self, root: Path, at: int) -> None:
        self._root = root
        self._at = at
        self.count = 0
        self._contents: dict[tuple[int, int], bytes] = {}
        self._folders: dict[str, dict[str, bytes | None]] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def _step(self) -> None:
        self.count += 1
        if self.count >= self._at:
            raise PowerCut

    def fsync(self, descriptor: int) -> None:
        self._step()
        status = os.fstat(descriptor)
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        if not stat.S_ISDIR(status.st_mode):
            self._contents[status.st_ino, status.st_mtime_ns] = Path(path).read_bytes()
            return
        self._folders[path] = {entry.name: self._synced(entry) for entry in os.scandir(path)}

    def _synced(self, entry: os.DirEntry[str]) -> bytes | None:
        """The durable content of a file, b"" where none of it is; None for a folder."""
        status = entry.stat()
        return None if entry.is_dir() else self._contents.get((status.st_ino, status.st_mtime_ns), b"")

    def mkdir(self, path: str, *how: Any) -> None:
        self._step()
        os.mkdir(path, *how)

    def replace(self, old: str, new: str) -> None:
        self._step()
        os.replace(old, new)

    def link(self, old: str, new: str) -> None:
        self._step()
        os.link(old, new)

    def remove(self, path: str) -> None:
        self._step()
        os.remove(path)

    def left(self, to: Path, *, names: bool) -> None:
        """Writes what is there after the power has come back.

        Args:
            to: Where to.
            names: Whether all names have reached the disk, though contents have not; else those that were synced.
        """
        self._leave(str(self._root), to, names=names)

    def _leave(self, path: str, to: Path, *, names: bool) -> None:
        to.mkdir()
        found = (
            {entry.name: self._synced(entry) for entry in os.scandir(path)} if names else self._folders.get(path, {})
        )
        for name, content in found.items():
            if content is not None:
                (to / name).write_bytes(content)
            elif names or f"{path}/{name}" in self._folders:
                self._leave(f"{path}/{name}", to / name, names=names)


@pytest.mark.parametrize("names", [pytest.param(False, marks=pytest.mark.full, id="names and contents"), True])
def test_unsynced_pages_may_be_lost_at_every_operation(tmp_path, monkeypatch, dead, names):
    dead()
    scratch = tmp_path / "scratch"
    scratch.mkdir()

    def cut(number: int, power_at: int) -> tuple[Disk, list[int]]:
        root = tmp_path / f"disk-{number}"
        root.mkdir()
        disk, saved = Disk(root, power_at), [0]
        url = join(f"file://{root}", "model")
        with monkeypatch.context() as patched, suppress(PowerCut):
            patched.setattr(local, "os", disk)
            trained(open_store(url), url, scratch, saved)
        return disk, saved

    total = cut(0, 10**9)[0].count
    assert total > 80
    for number in range(1, total + 1):
        disk, saved = cut(number, number)
        after = tmp_path / f"after-{number}"
        disk.left(after, names=names)
        url = join(f"file://{after}", "model")
        store = open_store(url)
        if Runs(store, url).unfinished("h") or not Runs(store, url).listing():
            assert trained(store, url, scratch, saved) == straight(STEPS), number
        assert kept(store, url)[-1] == STEPS, number
        shutil.rmtree(after)
        shutil.rmtree(tmp_path / f"disk-{number}")
