"""Every row exactly once, the same batches after a stop anywhere and for any number of workers."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pai_train.errors import DataError
from pai_train.feed.batches import arrow_superbatches
from pai_train.feed.contracts import FeedPlan, Position, Shard, Split
from pai_train.feed.order import in_test, lay_out, merge
from tests.suites.sources import MemorySource

sizes = st.lists(st.integers(0, 40), min_size=0, max_size=12)


@st.composite
def plans(draw, epochs=st.integers(1, 3)):
    split = draw(
        st.none() | st.builds(Split, st.floats(0.05, 0.95), st.integers(0, 9), st.sampled_from(["train", "test"]))
    )
    return FeedPlan(
        columns=("id",),
        defaults={},
        batch_size=draw(st.integers(1, 20)),
        epochs=draw(epochs),
        shuffle=draw(st.sampled_from(["none", "block", "window"])),
        window=draw(st.integers(2, 5)),
        seed=draw(st.integers(0, 5)),
        lanes=draw(st.integers(1, 6)),
        split=split,
        steps=draw(st.integers(1, 5)),
    )


def batches(source, plan, at=None, shard=Shard()):
    """Returns (epoch, number, ids) per batch, and the position after each."""
    out, positions = [], []
    with arrow_superbatches(source, plan, at, shard, parallel=2) as deliveries:
        epoch, number = (at.epoch, at.batch) if at else (0, 0)
        for delivery in deliveries:
            ids, first = delivery.data.column("id").to_pylist(), 0
            assert sum(delivery.rows) == len(ids)
            for rows in delivery.rows:
                out.append((epoch, number, ids[first : first + rows]))
                first, number = first + rows, number + 1
            for count in range(1, len(delivery.rows) + 1):
                positions.append(Position.from_json(json.loads(json.dumps(delivery.position(count).to_json()))))
            if delivery.after.epoch != epoch:
                epoch, number = delivery.after.epoch, 0
    return out, positions


def wanted_ids(source, plan):
    ids, first = [], 0
    for chunk in source.chunks():
        rows = source._starts[chunk.id + 1] - source._starts[chunk.id]
        keep = [True] * rows
        if plan.split:
            keep = list(in_test(plan.split, chunk.id, rows) == (plan.split.part == "test"))
        ids += [first + i for i in range(rows) if keep[i]]
        first += rows
    return ids


@settings(deadline=None, max_examples=60)
@given(sizes, plans(), st.booleans())
def test_every_row_exactly_once_in_every_epoch(sizes, plan, known):
    source = MemorySource(sizes, known=known)
    seen, _ = batches(source, plan)
    ids = wanted_ids(source, plan)
    for epoch in range(plan.epochs):
        assert Counter(i for e, _, batch in seen for i in batch if e == epoch) == Counter(ids)


@settings(deadline=None, max_examples=60)
@given(sizes, plans())
def test_batches_are_full_but_for_the_last_where_row_counts_are_known(sizes, plan):
    source = MemorySource(sizes)
    seen, _ = batches(source, plan)
    lengths = [len(batch) for e, _, batch in seen if e == 0]
    assert all(length == plan.batch_size for length in lengths[:-1])
    assert len(lengths) == lay_out(source.chunks(), plan).batches(plan)


@settings(deadline=None, max_examples=60)
@given(sizes, plans(), st.booleans(), st.integers(0, 1000), st.integers(1, 7))
def test_resuming_anywhere_gives_the_same_batches(sizes, plan, known, stop, steps):
    source = MemorySource(sizes, known=known)
    straight, positions = batches(source, plan)
    if not positions:
        return
    at = positions[stop % len(positions)]
    rest, _ = batches(source, replace(plan, steps=steps), at)
    assert rest == [b for b in straight if (b[0], b[1]) >= (at.epoch, at.batch)]


@settings(deadline=None, max_examples=60)
@given(sizes, plans(epochs=st.just(1)), st.booleans(), st.integers(1, 5))
def test_workers_batches_put_together_equal_one_workers(sizes, plan, known, count):
    source = MemorySource(sizes, known=known)
    whole, _ = batches(source, plan)
    together: dict[int, Counter[int]] = {}
    for index in range(count):
        for _, number, ids in batches(source, plan, shard=Shard(index, count))[0]:
            together.setdefault(number, Counter()).update(ids)
    assert together == {number: Counter(ids) for _, number, ids in whole}


def stopped(source, plan, at, workers, stop):
    """Returns the batches of some superbatches, the workers' rows put together, and the joint position behind them."""
    parts, seen = [], {}
    epoch, number = (at.epoch, at.batch) if at else (0, 0)
    for index in range(workers):
        with arrow_superbatches(source, plan, at, Shard(index, workers)) as deliveries:
            after, e, n = at, epoch, number
            for delivery in islice(deliveries, stop):
                ids, first = delivery.data.column("id").to_pylist(), 0
                for rows in delivery.rows:
                    seen.setdefault((e, n), Counter()).update(ids[first : first + rows])
                    first, n = first + rows, n + 1
                after = delivery.after
                e, n = after.epoch, after.batch
        parts.append(after or parts[0])
    return seen, merge(parts)


@settings(deadline=None, max_examples=80)
@given(
    st.lists(st.integers(5, 40), min_size=3, max_size=12),
    plans(),
    st.lists(st.tuples(st.integers(1, 4), st.integers(1, 3)), min_size=1, max_size=3),
)
def test_the_number_of_workers_may_change_anywhere(sizes, plan, legs):
    plan, source = replace(plan, epochs=2), MemorySource(sizes)
    full = (lay_out(source.chunks(), plan).rows or 0) // plan.batch_size
    straight = {(e, n): Counter(ids) for e, n, ids in batches(source, plan)[0]}
    at, seen = None, {}
    for workers, stop in legs:
        if (at.batch if at else 0) + stop * plan.steps >= full:
            break
        found, at = stopped(source, plan, at, workers, stop)
        seen.update(found)
    for epoch, number, ids in batches(source, plan, at)[0]:
        seen[epoch, number] = Counter(ids)
    assert {key: rows for key, rows in seen.items() if rows} == straight


def test_a_worker_whose_lanes_give_nothing_to_a_batch_has_not_ended():
    source = MemorySource([6, 11, 12, 17])
    plan = FeedPlan(("id",), 6, {}, epochs=1, lanes=3, steps=1)
    parts = [batches(source, plan, shard=Shard(index, 2))[0] for index in range(2)]
    assert sorted(row for part in parts for _, _, ids in part for row in ids) == list(range(46))


@settings(deadline=None, max_examples=60)
@given(sizes, plans(epochs=st.just(2)), st.integers(1, 4))
def test_all_workers_leave_out_the_same_remainder(sizes, plan, count):
    plan, source = replace(plan, drop_remainder=True), MemorySource(sizes)
    together = Counter()
    for index in range(count):
        for epoch, number, ids in batches(source, plan, shard=Shard(index, count))[0]:
            together[epoch, number] += len(ids)
    assert set(together.values()) <= {plan.batch_size}
    assert len(together) == 2 * lay_out(source.chunks(), plan).batches(plan)


def test_a_window_mixes_the_rows_of_its_chunks_and_no_others():
    source = MemorySource([50] * 12)
    plan = FeedPlan(("id",), 50, {}, shuffle="window", window=3, seed=2, lanes=1)
    seen = [ids for _, _, ids in batches(source, plan)[0]]
    windows = [{i // 50 for ids in seen[first : first + 3] for i in ids} for first in range(0, 12, 3)]
    assert [len(chunks) for chunks in windows] == [3] * 4
    assert set.union(*windows) == set(range(12))
    assert all(len({i // 50 for i in ids}) == 3 for ids in seen)
    assert batches(source, replace(plan, window=4))[0] != batches(source, plan)[0]


def test_resume_inside_a_window_reads_no_more_than_the_window_again():
    source = MemorySource([100] * 24)
    plan = FeedPlan(("id",), 10, {}, epochs=1, shuffle="window", window=4, lanes=1)
    straight, positions = batches(source, plan)
    source.reads.clear()
    rest, _ = batches(source, plan, positions[219])
    assert rest == straight[220:]
    assert len(source.reads) == 4


def test_seed_and_epoch_change_the_order_and_repeat_it():
    source = MemorySource([64] * 8)
    plan = FeedPlan(("id",), 16, {}, epochs=2, shuffle="block", seed=1)
    seen, _ = batches(source, plan)
    assert batches(source, plan)[0] == seen
    first, second = ([ids for e, _, ids in seen if e == epoch] for epoch in (0, 1))
    assert first != second
    assert batches(source, FeedPlan(("id",), 16, {}, epochs=2, shuffle="block", seed=2))[0] != seen


def test_one_lane_without_shuffle_is_source_order():
    source = MemorySource([5, 0, 9, 31, 2])
    seen, _ = batches(source, FeedPlan(("id",), 4, {}, lanes=1, steps=3))
    assert [i for _, _, ids in seen for i in ids] == list(range(47))


def test_each_batch_draws_on_every_lane():
    source = MemorySource([50] * 8)
    plan = FeedPlan(("id",), 16, {}, lanes=4)
    layout = lay_out(source.chunks(), plan)
    lane_of = {chunk: lane for lane, chunks in enumerate(layout.lanes) for chunk in chunks}
    for _, _, ids in batches(source, plan)[0][:-1]:
        assert {lane_of[i // 50] for i in ids} == {0, 1, 2, 3}


def test_drop_remainder_leaves_out_the_short_batch():
    source = MemorySource([10, 13])
    seen, _ = batches(source, FeedPlan(("id",), 4, {}, epochs=2, steps=2, drop_remainder=True))
    assert [len(ids) for _, _, ids in seen] == [4] * 10


def test_a_position_refuses_other_data_and_another_order():
    plan = FeedPlan(("id",), 4, {}, epochs=2)
    _, positions = batches(MemorySource([10, 13]), plan)
    with pytest.raises(DataError, match="data changed"):
        batches(MemorySource([10, 14]), plan, positions[0])
    with pytest.raises(DataError, match="order of rows changed"):
        batches(MemorySource([10, 13]), FeedPlan(("id",), 4, {}, epochs=2, shuffle="block"), positions[0])


def test_endless_plans_of_no_rows_end():
    assert batches(MemorySource([0, 0]), FeedPlan(("id",), 4, {}, epochs=None)) == ([], [])


def test_resume_reads_no_more_than_a_block_again():
    source = MemorySource([100] * 20)
    plan = FeedPlan(("id",), 10, {}, epochs=1, shuffle="block", lanes=1)
    _, positions = batches(source, plan)
    source.reads.clear()
    with arrow_superbatches(source, plan, positions[150], parallel=1) as deliveries:
        next(iter(deliveries))
    assert len(set(source.reads)) <= 3


def test_the_first_block_of_every_lane_is_read_before_the_second_of_any():
    source = MemorySource([100] * 20)
    plan = FeedPlan(("id",), 16, {}, shuffle="block", lanes=4)
    layout = lay_out(source.chunks(), plan)
    with arrow_superbatches(source, plan, parallel=1) as deliveries:
        next(iter(deliveries))
    assert source.reads[:4] == [layout.epoch(lane, plan, 0)[0][0] for lane in range(4)]


@given(st.floats(0.01, 0.99), st.integers(0, 99))
def test_a_split_divides_by_its_fraction(fraction, seed):
    share = in_test(Split(fraction, seed, "test"), 7, 20_000).mean()
    assert abs(share - fraction) < 0.02


def test_more_steps_than_sixteen_bits_count():
    plan = FeedPlan(("id",), 1, {}, steps=2**16 + 5)
    seen, _ = batches(MemorySource([2**16 + 9]), plan)
    assert [ids for _, _, ids in seen] == [[i] for i in range(2**16 + 9)]
