"""Workers side by side: batch for batch they have the rows that one worker alone has, whatever rows are bad."""

import itertools
import threading

import pyarrow as pa
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pai_train.feed.align import OWN, align
from pai_train.feed.bad_rows import BadRows
from pai_train.feed.contracts import FeedPlan, Shard
from pai_train.feed.csv import CsvSource
from pai_train.feed.engines import engine
from pai_train.storage import open_store

STORE = open_store("memory://aligned")
NUMBERS = itertools.count()
NOTHING = {"i": []}


class Table:
    """Where workers in threads lay down what each has to say."""

    def __init__(self, size):
        self._said = [None] * size
        self._barrier = threading.Barrier(size, timeout=20)

    def gather(self, rank, value):
        self._said[rank] = value
        self._barrier.wait()
        said = list(self._said)
        self._barrier.wait()
        return said

    def leave(self):
        self._barrier.abort()


def read(source, plan, at, rank, size, table, limit):
    with engine("tf_data", 1).open(source, plan, at, shard=Shard(rank, size)) as batches:
        if size == 1:
            return [(one.rows, one.rows, list(one.columns["i"]), one.after) for one in batches]
        try:
            found = align(batches, lambda value: table.gather(rank, value), rank, NOTHING, limit)
            return [(one.rows, tuple(one.columns[OWN]), list(one.columns["i"]), one.after) for one in found]
        except BaseException:
            table.leave()
            raise


def together(source, plan, size, at=None, limit=None):
    """Returns what each worker is given."""
    table, results = Table(size), [None] * size

    def work(rank):
        results[rank] = read(source, plan, at, rank, size, table, limit)

    threads = [threading.Thread(target=work, args=(rank,), daemon=True) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert None not in results
    return results


def batches(results):
    """Returns the rows of each batch with rows, over all workers, sorted in each."""
    found = []
    for parts in zip(*results, strict=True):
        assert len({part[0] for part in parts}) == len({part[3] for part in parts}) == 1
        rests = [list(part[2]) for part in parts]
        for at, count in enumerate(parts[0][0]):
            rows = []
            for part, rest in zip(parts, rests, strict=True):
                rows += rest[: part[1][at]]
                del rest[: part[1][at]]
            assert len(rows) == count
            found.append(sorted(rows))
        assert not any(rests)
    return [rows for rows in found if rows]


@settings(deadline=None, max_examples=12)
@given(
    bad=st.lists(st.booleans(), min_size=1, max_size=60),
    chunk_bytes=st.sampled_from([4, 9, 40]),
    batch_size=st.integers(1, 7),
    steps=st.integers(2, 4),
    lanes=st.integers(2, 4),
    size=st.integers(2, 3),
    shuffle=st.sampled_from(["none", "block"]),
)
@example([False] * 20 + [True] * 40, 9, 3, 2, 2, 2, "none")
@example([True] * 40 + [False] * 3, 4, 2, 2, 4, 3, "block")
def test_batches_of_several_workers_are_those_of_one(bad, chunk_bytes, batch_size, steps, lanes, size, shuffle):
    size = min(size, lanes)
    text = "".join("x\n" if odd else f"{number}\n" for number, odd in enumerate(bad)).encode()
    file = STORE.put(f"memory://aligned/{next(NUMBERS)}.csv", text)
    source = CsvSource([file], store=STORE, chunk_bytes=chunk_bytes, columns={"i": pa.int64()}, header=False)

    def plan():
        return FeedPlan(
            ("i",), batch_size, {}, epochs=2, steps=steps, lanes=lanes, shuffle=shuffle, seed=3, bad_rows=BadRows("i")
        )

    alone = together(source, plan(), 1)
    results = together(source, plan(), size)
    assert batches(results) == batches(alone)
    if results[0]:
        # From any place on, with any number of workers.
        middle = len(results[0]) // 2
        done = sum(count > 0 for one in results[0][: middle + 1] for count in one[0])
        rest = together(source, plan(), 1, results[0][middle][3])
        assert batches(rest) == batches(alone)[done:]
        limited = together(source, plan(), size, limit=3)
        assert batches(limited) == batches(alone)[: sum(len(one[0]) for one in limited[0])]
