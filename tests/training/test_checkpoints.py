"""Checkpoints: exact states, retention, every operation failing once, damage, errors that are not lost."""

from __future__ import annotations

import json
import math
import struct
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pai_train.errors import CheckpointError, DataError, StorageError
from pai_train.exits import ended
from pai_train.feed.contracts import Position
from pai_train.spec.contracts import Snapshot
from pai_train.storage import AccessRefused, Store, basename, join, open_store, read_manifest
from pai_train.training.checkpoints import Checkpoints
from pai_train.training.contracts import TrainState
from pai_train.training.retention import Retention

if TYPE_CHECKING:
    from pathlib import Path

MUTATING = ("put", "create", "delete", "open_output")


class Crash(BaseException):
    """The end of the process at one operation."""


class Failing:
    """A store whose N-th mutating call does not happen, or happens and its answer is lost; none after it happens.

    Deleting a folder is as many calls as it holds objects, the manifest last: the worst order a store may choose.
    """

    def __init__(self, store: Store, at: int, *, after: bool = False, error: type[BaseException] = Crash) -> None:
        self._store = store
        self._at = at
        self._after = after
        self._error = error
        self.calls: list[str] = []

    def delete_tree(self, url: str) -> None:
        for info in reversed(self._store.list(url)):
            self.delete(info.url)

    def __getattr__(self, name: str):
        method = getattr(self._store, name)
        if name not in MUTATING:
            return method

        def call(url: str, *args):
            self.calls.append(f"{name} {url}")
            if len(self.calls) >= self._at:
                if self._after and len(self.calls) == self._at:
                    method(url, *args)
                raise self._error(f"{name} {url}")
            return method(url, *args)

        return call


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"file://{tmp_path}/store/run"


@pytest.fixture
def store(url: str) -> Store:
    return open_store(url)


def state(step: int, **kwargs) -> TrainState:
    return TrainState(step=step, epoch=0, positions={}, run_id="r", config_hash="h", **kwargs)


def writes(step: int):
    def write(folder: Path) -> None:
        (folder / "deep").mkdir()
        (folder / "variables.index").write_text(f"index of {step}")
        (folder / "deep" / "variables.data").write_text(f"data of {step}" * (step % 100))

    return write


def save(checkpoints: Checkpoints, *steps: int) -> None:
    for step in steps:
        checkpoints.save(state(step), writes(step))
    checkpoints.wait()


def restored(store, url: str, to: Path) -> int | None:
    """What a new process finds: the step, after all files have been compared with what that step wrote."""
    with Checkpoints(store, url, keep=Retention(2)) as checkpoints:
        found = checkpoints.restore(to)
    if found is None:
        return None
    assert (to / "variables.index").read_text() == f"index of {found.step}"
    assert (to / "deep" / "variables.data").read_text() == f"data of {found.step}" * (found.step % 100)
    return found.step


def folders(store: Store, url: str) -> list[str]:
    return sorted({info.url.removeprefix(url + "/").split("/")[0] for info in store.list(url)})


# ---- the state

floats = st.floats(allow_nan=True, allow_infinity=True)
names = st.text(max_size=8)
numbers = st.dictionaries(names, floats, max_size=3)
positions = st.builds(
    Position,
    snapshot=st.builds(Snapshot, id=names, rows=st.none() | st.integers(0), bytes=st.none() | st.integers(0)),
    order=names,
    seed=st.integers(0, 2**32 - 1),
    epoch=st.integers(0),
    batch=st.integers(0),
    lanes=st.lists(st.tuples(st.integers(0), st.integers(0)), max_size=3).map(tuple),
)
states = st.builds(
    TrainState,
    step=st.integers(0),
    epoch=st.integers(0),
    positions=st.dictionaries(names, positions, max_size=2),
    run_id=names,
    config_hash=names,
    totals=numbers,
    tokens=st.dictionaries(names, names, max_size=2),
    best=numbers,
    history=st.lists(numbers, max_size=3).map(tuple),
    versions=st.dictionaries(names, names, max_size=2),
)


def bits(value: TrainState) -> object:
    def exact(mapping):
        # Which of the many nan values it is has no meaning and no text.
        return {k: "nan" if math.isnan(v) else struct.pack("<d", v) for k, v in mapping.items()}

    fields = {**vars(value), "totals": exact(value.totals), "best": exact(value.best)}
    return {**fields, "history": [exact(epoch) for epoch in value.history]}


@settings(deadline=None, max_examples=150)
@given(states)
def test_a_state_comes_back_bit_for_bit(value):
    text = json.dumps(value.to_json(), allow_nan=False)
    assert bits(TrainState.from_json(json.loads(text))) == bits(value)


@pytest.mark.parametrize(
    "change", [{"format": 2}, {"step": "x"}, {"positions": []}, {"totals": None}, {"positions": {"train": {}}}]
)
def test_a_state_that_cannot_be_read_is_named(change):
    with pytest.raises(CheckpointError, match="state"):
        TrainState.from_json({**state(1).to_json(), **change})


def test_the_state_lies_in_the_manifest_and_is_restored(store, url, tmp_path):
    position = Position(Snapshot("s", 3, None), "order", 17, 1, 2, ((0, 5), (1, 7)))
    value = state(7, totals={"loss": 0.1 + 0.2}, tokens={"out": "t"}, history=({"loss": 1e-320},))
    value = TrainState(**{**vars(value), "positions": {"train": position}})
    with Checkpoints(store, url, keep=Retention(1)) as checkpoints:
        manifest = checkpoints.save(value, writes(7)).result()
        assert checkpoints.fetch(manifest, tmp_path / "to") == value
    assert sorted(basename(info.url) for info in store.list(url)) == [
        "MANIFEST.json",
        "variables.data",
        "variables.index",
    ]


# ---- saving and restoring


def test_no_checkpoint_is_none(store, url, tmp_path):
    with Checkpoints(store, url, keep=Retention(1)) as checkpoints:
        assert checkpoints.latest() is None
        assert checkpoints.restore(tmp_path / "to") is None


@pytest.mark.parametrize("keep_last", [1, 2, 3])
def test_the_newest_are_kept(store, url, tmp_path, keep_last):
    with Checkpoints(store, url, keep=Retention(keep_last)) as checkpoints:
        save(checkpoints, 2, 9, 10, 100, 1000000000)
        latest = checkpoints.latest()
        assert latest is not None
        assert basename(latest.url) == "step-1000000000"
        assert checkpoints.fetch(latest, tmp_path / "to").step == 1000000000
    wanted = ["step-000000009", "step-000000010", "step-000000100", "step-1000000000"]
    assert folders(store, url) == wanted[-keep_last:]


def test_nothing_but_checkpoints_is_deleted(store, url):
    for name in ("run.json", "lease/000001.json", "step-x/MANIFEST.json", "other/MANIFEST.json"):
        store.put(join(url, name), b"{}")
    with Checkpoints(store, url, keep=Retention(1)) as checkpoints:
        save(checkpoints, 1, 2)
    assert folders(store, url) == ["lease", "other", "run.json", "step-000000002", "step-x"]


def test_a_step_saved_again_never_replaces_a_complete_one(store, url, tmp_path):
    with Checkpoints(store, url, keep=Retention(1)) as checkpoints:
        save(checkpoints, 5, 5)
        assert folders(store, url) == ["step-000000005-1"]
        save(checkpoints, 5)
        assert folders(store, url) == ["step-000000005-2"]
    assert restored(store, url, tmp_path / "to") == 5


def test_what_an_upload_left_that_was_cut_off_is_not_mixed_with_a_new_one(store, url):
    store.put(join(url, "step-000000005/left"), b"x")
    with Checkpoints(store, url, keep=Retention(1)) as checkpoints:
        save(checkpoints, 5)
    assert store.info(join(url, "step-000000005/left")) is None


def test_retention_leaves_newer_checkpoints_alone(store, url):
    with Checkpoints(store, url, keep=Retention(1)) as checkpoints:
        save(checkpoints, 30, 20, 21)
    assert folders(store, url) == ["step-000000021", "step-000000030"]


def test_restore_wants_an_empty_folder(store, url, tmp_path):
    (tmp_path / "to").mkdir()
    (tmp_path / "to" / "mine").touch()
    with (
        Checkpoints(store, url, keep=Retention(1)) as checkpoints,
        pytest.raises(ValueError, match="not an empty folder"),
    ):
        checkpoints.restore(tmp_path / "to")
    assert (tmp_path / "to" / "mine").exists()


def test_write_runs_in_the_callers_thread_and_the_upload_does_not(store, url, tmp_path):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    released, thread = threading.Event(), []
    slow = Failing(store, at=10**9)
    slow.put = lambda *args: (released.wait(20), store.put(*args))[1]  # type: ignore[attr-defined]

    def write(folder: Path) -> None:
        thread.append(threading.current_thread())
        writes(1)(folder)

    with Checkpoints(slow, url, keep=Retention(1), scratch=scratch) as checkpoints:
        future = checkpoints.save(state(1), write)
        assert thread == [threading.main_thread()]
        assert not future.done()
        second = threading.Thread(target=save, args=(checkpoints, 2))
        second.start()
        second.join(0.1)
        assert len(list(scratch.iterdir())) == 1  # the second save waits before it writes
        released.set()
        second.join(20)
    assert list(scratch.iterdir()) == []
    assert folders(store, url) == ["step-000000002"]


# ---- failures


@pytest.mark.parametrize("end", ["save", "wait", "close"])
def test_an_upload_error_is_raised_once_by_whatever_comes_next(store, url, tmp_path, end):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    checkpoints = Checkpoints(Failing(store, 2, error=StorageError), url, keep=Retention(1), scratch=scratch)
    future = checkpoints.save(state(1), writes(1))
    with pytest.raises(StorageError, match="put"):
        checkpoints.save(state(2), writes(2)) if end == "save" else getattr(checkpoints, end)()
    assert isinstance(future.exception(), StorageError)
    checkpoints.close()
    assert list(scratch.iterdir()) == []


def test_an_upload_error_does_not_hide_the_first_error(store, url, capsys):
    def save_and_fail() -> NoReturn:
        with Checkpoints(Failing(store, 1, error=StorageError), url, keep=Retention(1)) as checkpoints:
            checkpoints.save(state(1), writes(1))
            raise DataError("first")

    assert ended(save_and_fail) == 1
    said = capsys.readouterr().err
    assert said.startswith("first\nThe last checkpoint was not saved: ")


def test_a_write_that_fails_leaves_nothing(store, url, tmp_path):
    scratch = tmp_path / "scratch"
    scratch.mkdir()

    def write(folder: Path) -> None:
        (folder / "half").touch()
        raise RuntimeError

    with Checkpoints(store, url, keep=Retention(1), scratch=scratch) as checkpoints:
        with pytest.raises(RuntimeError):
            checkpoints.save(state(1), write)
        save(checkpoints, 2)
    assert list(scratch.iterdir()) == []
    assert folders(store, url) == ["step-000000002"]


STEPS = (1, 2, 3, 4, 4)


def all_with_a_manifest_are_whole(store: Store, url: str) -> bool:
    manifests = [read_manifest(store, join(url, folder)) for folder in folders(store, url)]
    sizes = {info.url: info.size for info in store.list(url)}
    return all(
        sizes.get(join(manifest.url, name)) == entry.size
        for manifest in manifests
        if manifest is not None
        for name, entry in manifest.files.items()
    )


def operations(url: str, keep_last: int) -> int:
    counting = Failing(open_store(url), at=10**9)
    with Checkpoints(counting, url, keep=Retention(keep_last)) as checkpoints:
        save(checkpoints, *STEPS)
    return len(counting.calls)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("keep_last", [1, 2])
def test_the_process_may_end_at_every_single_operation(tmp_path, caplog, keep_last, after):
    total = operations(join(f"memory://{tmp_path}", "count/run"), keep_last)
    assert total > 20
    for at in range(1, total + 1):
        url = join(f"memory://{tmp_path}", str(at), "run")
        store = open_store(url)
        failing = Failing(store, at, after=after)
        checkpoints = Checkpoints(failing, url, keep=Retention(keep_last))
        completed, begun = [], []
        with suppress(Crash):
            for step in STEPS:
                begun.append(step)
                save(checkpoints, step)
                completed.append(step)
        checkpoints.close()
        assert len(failing.calls) == at

        assert all_with_a_manifest_are_whole(store, url), failing.calls[-1]
        found = restored(store, url, tmp_path / str(at) / "to")
        # Never less than what had been reported as saved, and never what had not been begun.
        assert (found or 0) in {max(completed, default=0), begun[-1]}, failing.calls[-1]

        # A new process goes on: it saves what is left, and leaves no rubbish behind.
        with Checkpoints(store, url, keep=Retention(keep_last)) as again:
            save(again, *range((found or 0) + 1, 7))
        assert restored(store, url, tmp_path / str(at) / "to2") == 6
        assert folders(store, url) == ["step-000000005", "step-000000006"][-keep_last:], failing.calls[-1]
        # A checkpoint that was cut off, in coming or in going, is invisible rather than damaged.
        assert caplog.records == [], failing.calls[-1]


# ---- damage


def damage(store: Store, url: str, step: int, how: str) -> None:
    folder = join(url, f"step-{step:09d}")
    data, manifest = join(folder, "deep/variables.data"), join(folder, "MANIFEST.json")
    if how == "flipped":
        content = bytearray(store.read(data))
        content[3] ^= 1
        store.put(data, bytes(content))
    elif how == "shorter":
        store.put(data, store.read(data)[:-1])
    elif how == "missing":
        store.delete(data)
    elif how == "torn manifest":
        store.put(manifest, store.read(manifest)[:-20])
    elif how == "other state":
        value = json.loads(store.read(manifest))
        value["extra"]["state"]["format"] = 99
        store.put(manifest, json.dumps(value).encode())


HOW = ["flipped", "shorter", "missing", "torn manifest", "other state"]


@pytest.mark.parametrize("how", HOW)
def test_a_damaged_newest_checkpoint_is_reported_and_the_one_before_is_used(store, url, tmp_path, caplog, how):
    with Checkpoints(store, url, keep=Retention(3)) as checkpoints:
        save(checkpoints, 1, 2, 3)
        damage(store, url, 3, how)
        assert restored(store, url, tmp_path / "to") == 2
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        assert "step-000000003" in caplog.text
        save(checkpoints, 3)
    assert restored(store, url, tmp_path / "again") == 3


@pytest.mark.parametrize("how", ["shorter", "missing", "torn manifest"])
def test_latest_passes_over_what_it_can_see_is_damaged(store, url, how):
    with Checkpoints(store, url, keep=Retention(3)) as checkpoints:
        save(checkpoints, 1, 2)
        damage(store, url, 2, how)
        latest = checkpoints.latest()
    assert latest is not None
    assert basename(latest.url) == "step-000000001"


@pytest.mark.parametrize("how", HOW)
def test_if_all_are_damaged_nothing_starts_from_the_beginning_unasked(store, url, tmp_path, how):
    with Checkpoints(store, url, keep=Retention(2)) as checkpoints:
        save(checkpoints, 1, 2)
        damage(store, url, 1, how)
        damage(store, url, 2, how)
        with pytest.raises(CheckpointError, match="none of them is sound") as caught:
            checkpoints.restore(tmp_path / "to")
    assert caught.value.fault.got == "step-000000001, step-000000002"


def test_refused_access_is_not_taken_for_damage(store, url, tmp_path):
    with Checkpoints(store, url, keep=Retention(2)) as checkpoints:
        save(checkpoints, 1, 2)
    refusing = Failing(store, 10**9)

    def refuse(parts):
        raise AccessRefused("no", where=url)

    refusing.read_many = refuse  # type: ignore[attr-defined]
    with Checkpoints(refusing, url, keep=Retention(2)) as checkpoints, pytest.raises(AccessRefused):
        checkpoints.restore(tmp_path / "to")


def test_nothing_is_published_after_the_lease_is_lost(store, url):
    with Checkpoints(store, url, keep=Retention(1)) as checkpoints, checkpoints.lease("r") as lease:
        save(checkpoints, 1)
        store.create(join(url, "lease/000002.json"), store.read(join(url, "lease/000001.json")))
        lease.renew()
        assert lease.lost
        with pytest.raises(CheckpointError, match="taken over"):
            checkpoints.save(state(2), writes(2))
    assert "step-000000002" not in folders(store, url)


def test_closed_inside_the_lease_nothing_is_published_after_it_is_given_back(store, url):
    order: list[str] = []
    slow = Failing(store, 10**9)
    checkpoints = Checkpoints(slow, url, keep=Retention(1))
    lease = checkpoints.lease("r")
    put = slow.put

    def note(target: str, data):
        order.append(basename(target))
        return put(target, data)

    slow.put = note  # type: ignore[attr-defined]
    with pytest.raises(KeyError), lease, checkpoints:
        checkpoints.save(state(1), writes(1))
        raise KeyError("the reason")
    assert order[-2:] == ["MANIFEST.json", "000001.json"]
