"""Large row groups in ranges: the right rows in any order, and decoded once where they come in order."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pai_train.tables import group_streams
from pai_train.tables.group_streams import GroupStreams

ROWS = 1000


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """A file of two row groups."""
    path = tmp_path_factory.mktemp("large") / "rows.parquet"
    pq.write_table(pa.table({"n": range(2 * ROWS), "t": [str(n) for n in range(2 * ROWS)]}), path, row_group_size=ROWS)
    return path


class Reads:
    """Reads ranges, and counts the rows that are decoded for them and the files that are open."""

    def __init__(self, path, held_bytes):
        self._path, self._footer = path, pq.read_metadata(path)
        self.streams = GroupStreams(held_bytes)
        self.begun, self.open = 0, 0

    @contextmanager
    def opened(self):
        self.begun, self.open = self.begun + 1, self.open + 1
        try:
            with self._path.open("rb") as file:
                yield file
        finally:
            self.open -= 1

    def __call__(self, rows, group=0):
        found = self.streams.read("rows", self.opened, self._footer, group, ["n"], rows)
        return [n for table in found for n in table["n"].to_pylist()]


@pytest.fixture(autouse=True)
def short_batches(monkeypatch):
    monkeypatch.setattr(group_streams, "_ROWS", 16)


def test_ranges_in_order_are_decoded_once(path):
    read = Reads(path, 0)
    assert [n for start in range(0, ROWS, 48) for n in read(range(start, min(start + 48, ROWS)))] == [*range(ROWS)]
    assert (read.begun, read.open) == (1, 0)


def test_threads_that_ask_for_neighbours_decode_once(path):
    read = Reads(path, 8 * ROWS)
    with ThreadPoolExecutor(4) as executor:
        found = list(executor.map(lambda start: read(range(start, min(start + 48, ROWS)), 1), range(0, ROWS, 48)))
    assert [n for part in found for n in part] == [*range(ROWS, 2 * ROWS)]
    assert read.begun == 1


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.integers(0, 1), st.integers(0, ROWS), st.integers(0, 200)), max_size=12),
    st.integers(0, 4000),
)
def test_any_ranges_hold_their_rows(path, ranges, held_bytes):
    read = Reads(path, held_bytes)
    for group, start, count in ranges:
        stop = min(start + count, ROWS)
        assert read(range(start, stop), group) == [*range(group * ROWS + start, group * ROWS + stop)]
    assert read.begun <= len(ranges)


def test_few_files_stay_open(path):
    read = Reads(path, 0)
    for key in range(5):
        list(read.streams.read(key, read.opened, read._footer, 0, ["n"], range(10)))
    assert read.open <= 2


def test_a_failure_is_not_the_end_of_the_rows(path):
    read = Reads(path, 0)
    assert read(range(32)) == [*range(32)]

    def fails():
        raise OSError("gone")

    read.streams._streams.clear()
    with pytest.raises(OSError, match="gone"):
        list(read.streams.read("rows", fails, read._footer, 0, ["n"], range(32)))
    with pytest.raises(OSError, match="gone"):
        list(read.streams.read("rows", fails, read._footer, 0, ["n"], range(32, 64)))
