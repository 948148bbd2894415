"""The host queue and its meter: order, faults, early leaving, and the truth about who waited for whom."""

from __future__ import annotations

import threading
import time
from itertools import count
from queue import Queue

import pytest

from pai_train.feed.ahead import ahead
from pai_train.feed.stats import COMPUTE_BOUND, INPUT_BOUND, Stats


def feed_threads():
    return [thread for thread in threading.enumerate() if thread.name == "feed-ahead"]


@pytest.fixture(autouse=True)
def no_thread_is_left():
    yield
    assert feed_threads() == []


class Tracked:
    """A generator that tells in which thread it was closed."""

    def __init__(self, items, delay_s=0.0):
        self.made = 0
        self.closed_in = None
        self._items = items
        self._delay_s = delay_s

    def __call__(self):
        try:
            for item in self._items:
                time.sleep(self._delay_s)
                self.made += 1
                yield item
        finally:
            self.closed_in = threading.current_thread().name


@pytest.mark.parametrize("depth", [1, 2, 7])
@pytest.mark.parametrize("make", [lambda: iter(range(100)), lambda: lambda: iter(range(100))], ids=["iter", "factory"])
def test_elements_come_in_order_and_end(depth, make):
    with ahead(make(), depth, Stats()) as elements:
        assert list(elements) == list(range(100))
        assert next(elements, "over") == "over"


def test_a_factory_is_called_in_the_thread():
    where = []

    def make():
        where.append(threading.current_thread().name)
        return iter(())

    with ahead(make, 2, Stats()) as elements:
        assert list(elements) == []
    assert where == ["feed-ahead"]


def test_no_more_than_depth_and_one_are_made_ahead():
    source = Tracked(count())
    with ahead(source, 3, Stats()) as elements:
        assert next(elements) == 0
        deadline = time.monotonic() + 5
        while source.made < 5 and time.monotonic() < deadline:
            time.sleep(0.002)
        time.sleep(0.03)
        assert source.made == 1 + 3 + 1


class BrokenError(Exception):
    pass


def test_an_exception_follows_the_elements_before_it_with_its_own_type_and_place():
    def source():
        yield 1
        yield 2
        raise BrokenError("row 3")

    with ahead(source, 4, Stats()) as elements:
        assert [next(elements), next(elements)] == [1, 2]
        with pytest.raises(BrokenError, match="row 3") as caught:
            next(elements)
        assert "source" in [entry.name for entry in caught.traceback]
        assert next(elements, "over") == "over"


def test_an_exception_of_the_factory_arrives():
    def make():
        raise BrokenError("cannot open")

    with ahead(make, 1, Stats()) as elements, pytest.raises(BrokenError, match="cannot open"):
        next(elements)


def test_a_stray_stop_iteration_is_no_end_of_data():
    with ahead(lambda: iter([next(iter(()))]), 1, Stats()) as elements, pytest.raises(RuntimeError, match="StopIter"):
        next(elements)


def test_an_exception_of_close_arrives_after_the_data():
    class Source:
        def __init__(self):
            self._items = iter([1])

        def __iter__(self):
            return self

        def __next__(self):
            return next(self._items)

        def close(self):
            raise BrokenError("close")

    with ahead(Source(), 1, Stats()) as elements:
        assert next(elements) == 1
        with pytest.raises(BrokenError, match="close"):
            next(elements)


@pytest.mark.parametrize("reason", [None, BrokenError, KeyboardInterrupt], ids=["break", "exception", "ctrl-c"])
def test_leaving_early_stops_a_thread_that_is_blocked_on_the_full_queue(reason):
    source = Tracked(count())

    def consume():
        with ahead(source, 1, Stats()) as elements:
            for element in elements:
                if element == 3:
                    time.sleep(0.02)
                    if reason is None:
                        break
                    raise reason

    began = time.monotonic()
    if reason is None:
        consume()
    else:
        with pytest.raises(reason):
            consume()
    assert time.monotonic() - began < 1
    assert feed_threads() == []
    assert source.closed_in == "feed-ahead"


def test_leaving_without_taking_anything_stops_the_thread():
    source = Tracked(count())
    with ahead(source, 2, Stats()):
        pass
    assert feed_threads() == []


@pytest.mark.parametrize("take", range(6))
def test_leaving_at_any_element_many_times(take):
    for _ in range(50):
        source = Tracked(range(5))
        with ahead(source, 1, Stats()) as elements:
            for _ in range(take):
                next(elements, None)
        assert feed_threads() == []


def test_a_thread_inside_a_read_is_given_up_after_the_patience(caplog):
    gate = Queue()

    def source():
        yield 1
        gate.get()
        yield 2

    began = time.monotonic()
    with ahead(source, 1, Stats(), patience_s=0.05) as elements:
        assert next(elements) == 1
    assert time.monotonic() - began < 1
    assert "still reading" in caplog.text
    gate.put(None)
    for thread in feed_threads():
        thread.join(1)


def test_a_closed_feed_refuses_to_be_read():
    with ahead(iter(range(3)), 1, Stats()) as elements:
        next(elements)
    with pytest.raises(RuntimeError, match="closed"):
        next(elements)


def test_a_depth_below_one_is_refused():
    with pytest.raises(ValueError, match="at least 1, got 0"), ahead(iter(()), 0, Stats()):
        pass


def stall_measured_and_true(make_s, use_s):
    """Runs 40 steps with these delays; the truth is taken around the loop's body, as sleeping takes what it takes."""
    stats = Stats()
    busy = 0.0
    began = ended = None

    def source():
        for item in range(40):
            time.sleep(make_s)
            yield item

    with ahead(source, 2, stats) as elements:
        for _ in elements:
            start = time.perf_counter()
            time.sleep(use_s)
            ended = time.perf_counter()
            if began is None:
                began = ended
            else:
                busy += ended - start
    return stats.stall_fraction, 1 - busy / (ended - began)


@pytest.mark.parametrize(("make_s", "use_s"), [(0.010, 0.002), (0.010, 0.005), (0.008, 0.008), (0.005, 0.010)], ids=str)
def test_the_stall_fraction_is_the_truth_within_five_points(make_s, use_s):
    # Of three, as a machine under load may stop the loop between its own clock and the meter's.
    runs = [stall_measured_and_true(make_s, use_s) for _ in range(3)]
    measured, truth = min(runs, key=lambda run: abs(run[0] - run[1]))
    assert measured == pytest.approx(truth, abs=0.05)
    if make_s > use_s:
        assert measured > 0.1
    if make_s < use_s:
        assert min(run[0] for run in runs) < 0.1


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def test_the_first_round_and_the_wait_for_the_end_are_left_out():
    clock = Clock()
    stats = Stats()
    with ahead(iter("abc"), 4, stats, clock=clock) as elements:
        next(elements)
        clock.now += 50  # the tracing of the first step
        next(elements)
        assert (stats.waited_s, stats.busy_s) == (0, 0)
        clock.now += 2
        next(elements)
        assert (stats.waited_s, stats.busy_s) == (0, 2)
        clock.now += 3
        assert next(elements, None) is None
        assert (stats.waited_s, stats.busy_s) == (0, 5)
        clock.now += 7
        assert next(elements, None) is None
    assert (stats.waited_s, stats.busy_s) == (0, 5)
    assert stats.stall_fraction == 0


def test_waiting_is_counted_with_the_round_it_belongs_to():
    """A clock that moves 1 s per reading: every wait and every busy time is then exactly 1 s."""
    ticks = count()
    stats = Stats()
    with ahead(iter(range(5)), 1, stats, clock=lambda: float(next(ticks))) as elements:
        assert list(elements) == list(range(5))
    assert (stats.waited_s, stats.busy_s) == (4, 4)
    assert stats.stall_fraction == 0.5


def cost_of(items, rounds):
    """CPU seconds of this thread per element, which a loaded machine does not stretch."""
    began = time.thread_time()
    taken = sum(1 for _ in items)
    assert taken == rounds
    return (time.thread_time() - began) / rounds


def test_the_meter_costs_microseconds_per_step():
    rounds = 5000
    metered, bare = [], []
    for _ in range(7):
        with ahead(iter(range(rounds)), rounds + 1, Stats()) as elements:
            while elements._queue.qsize() < rounds + 1:
                time.sleep(0.001)
            metered.append(cost_of(elements, rounds))
        queue = Queue()
        for item in range(rounds + 1):
            queue.put(item)
        bare.append(cost_of(iter(queue.get, rounds), rounds))
    # About 0.6 us; the bound leaves room for a slower machine.
    assert min(metered) - min(bare) < 2e-6


def test_stats_lose_nothing_between_threads():
    stats = Stats()

    def work():
        for _ in range(2000):
            stats.step(0.25, 0.75)
            stats.delivered(32)
            stats.spent("a.csv", "read", 0.5, read_bytes=7)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (stats.waited_s, stats.busy_s) == (2000, 6000)
    assert (stats.rows, stats.batches, stats.bytes) == (256_000, 8000, 56_000)
    assert stats.sources["a.csv"].read == 4000
    assert stats.to_json() == {
        "waited_s": 2000,
        "busy_s": 6000,
        "rows": 256_000,
        "batches": 8000,
        "bytes": 56_000,
        "cached_bytes": 0,
        "sources": {"a.csv": {"read": 4000, "decode": 0, "queue": 0}},
    }


def test_timed_adds_the_seconds_of_a_block_even_when_it_fails():
    stats = Stats()

    def work():
        time.sleep(0.01)
        raise BrokenError

    with pytest.raises(BrokenError), stats.timed("a.csv", "decode"):
        work()
    assert 0.01 <= stats.sources["a.csv"].decode < 1


@pytest.mark.parametrize(
    ("waited", "said"),
    [
        (0.004, "compute-bound: input waited on 0.4 % of the time"),
        (COMPUTE_BOUND - 1e-6, "compute-bound: input waited on 5.0 % of the time"),
        (COMPUTE_BOUND, "balanced: 5.0 % of the time waiting on data/csvtest.csv"),
        (0.12, "balanced: 12 % of the time waiting on data/csvtest.csv"),
        (
            INPUT_BOUND,
            "input-bound: 20 % of the time waiting on data/csvtest.csv; raise engine.parallel or engine.ahead",
        ),
        (0.71, "input-bound: 71 % of the time waiting on data/csvtest.csv; raise engine.parallel or engine.ahead"),
        (1.0, "input-bound: 100 % of the time waiting on data/csvtest.csv; raise engine.parallel or engine.ahead"),
    ],
)
def test_the_sentence(waited, said):
    stats = Stats()
    stats.step(waited, 1 - waited)
    assert stats.sentence("data/csvtest.csv") == said


def test_the_sentence_names_the_work_that_takes_most_and_admits_when_nothing_was_measured():
    stats = Stats()
    assert stats.stall_fraction is None
    assert stats.sentence("a.csv") == "too few steps to tell what the run waited for"
    stats.step(1, 1)
    stats.spent("a.csv", "read", 2)
    stats.spent("a.csv", "decode", 1)
    assert "50 % of the time waiting on a.csv, mostly reading;" in stats.sentence("a.csv")
    assert stats.sentence("a.csv").endswith("keep what is read near with storage.cache.dir")
    stats.spent("a.csv", "decode", 5)
    assert "waiting on a.csv, mostly decoding; raise engine.parallel, read fewer columns" in stats.sentence("a.csv")


def test_the_advice_is_for_the_engine_that_reads():
    stats = Stats("queue_runner")
    stats.step(waited_s=0.9, busy_s=0.1)
    assert stats.sentence("a.csv").endswith("a.csv; choose engine=tf_data, or raise engine.ahead")
