"""What slices of a job must do over every table store: inherit, and give a `tables` fixture."""

from __future__ import annotations

import re

import pytest

from pai_train import paiio
from pai_train.errors import TableError
from tests.suites.paiio_rows import FRUIT, Configured, create, held, make_fruit


class NoLock:
    """What the lock of another machine is to this one."""

    def __init__(self, *_: object) -> None:
        pass

    def release(self) -> None:
        pass


class PaiioJobSuite(Configured):
    """The tests of slices that are written together; `tables` is a fixture of the subclass."""

    # Whether a slice's rows are those that were sent last, also where their writer was then refused.
    last_counts = False

    @pytest.fixture
    def fruit(self, tables):
        create(tables, FRUIT)
        return tables

    def write(self, slice_id, rows, **job):
        with paiio.TableWriter("fruit", slice_id, **job) as writer:
            writer.write([(row, None, None, None) for row in rows], range(4))

    def uids(self, tables):
        return [row[0] for row in held(tables)]

    def test_the_last_slice_publishes_all(self, fruit):
        make_fruit(fruit)
        for slice_id in (2, 0, 1):
            assert self.uids(fruit) == [25, 38, 17]
            self.write(slice_id, range(slice_id * 10, slice_id * 10 + slice_id), job="j", slice_count=3)
        assert sorted(self.uids(fruit)) == [10, 20, 21]

    def test_the_job_comes_from_the_environment(self, fruit, monkeypatch):
        monkeypatch.setenv("PAI_TRAIN_JOB", "nightly-1")
        monkeypatch.setenv("PAI_TRAIN_SLICE_COUNT", "2")
        self.write(0, [1])
        assert self.uids(fruit) == []
        self.write(1, [2])
        assert sorted(self.uids(fruit)) == [1, 2]

    @pytest.mark.parametrize("count", ["two", "0", "-1"])
    def test_a_count_of_slices_that_is_none(self, fruit, monkeypatch, count):
        monkeypatch.setenv("PAI_TRAIN_SLICE_COUNT", count)
        with pytest.raises(TableError, match=f"PAI_TRAIN_SLICE_COUNT: not a number of slices(.|\n)*{count}"):
            paiio.TableWriter("fruit", job="j")

    def test_an_explicit_commit_publishes_what_is_finished(self, fruit):
        with pytest.raises(TableError, match="finished no slice"):
            paiio.commit("fruit", "j")
        for slice_id in range(2):
            self.write(slice_id, [slice_id], job="j")
        assert self.uids(fruit) == []
        snapshot = paiio.commit("fruit", "j")
        assert (sorted(self.uids(fruit)), paiio.commit("fruit", "j")) == ([0, 1], snapshot)
        with pytest.raises(TableError, match="no job is named"):
            paiio.commit("fruit")

    def test_a_slice_that_is_written_again_replaces_itself(self, fruit):
        self.write(0, [1, 2], job="j", slice_count=2)
        self.write(0, [3], job="j", slice_count=2)
        self.write(1, [4], job="j", slice_count=2)
        assert sorted(self.uids(fruit)) == [3, 4]

    def test_a_slice_that_fails_keeps_what_was_finished(self, fruit):
        self.write(0, [1], job="j", slice_count=2)
        with pytest.raises(KeyError), paiio.TableWriter("fruit", 0, job="j", slice_count=2):
            raise KeyError
        self.write(1, [4], job="j", slice_count=2)
        assert sorted(self.uids(fruit)) == [1, 4]

    def test_a_job_publishes_once(self, fruit):
        self.write(0, [1], job="j", slice_count=1)
        with pytest.raises(TableError, match=r"job 'j' has published the table"):
            paiio.TableWriter("fruit", 0, job="j", slice_count=1)
        self.write(0, [2], job="k", slice_count=1)
        assert self.uids(fruit) == [2]

    def test_two_machines_with_one_slice(self, fruit, monkeypatch):
        """The lock of the machine does not see the other one; the record of the slice does."""
        monkeypatch.setattr("pai_train.paiio.writer.SliceLock", NoLock)
        one, other = (paiio.TableWriter("fruit", 0, job="j", slice_count=2) for _ in range(2))
        for writer, row in ((one, 1), (other, 2)):
            writer.write((row,), (0,))
        one.close()
        with pytest.raises(TableError, match=re.escape("slice 0 of the table was written by another writer")):
            other.close()
        self.write(1, [3], job="j", slice_count=2)
        assert sorted(self.uids(fruit)) == [2 if self.last_counts else 1, 3]
