"""Rows batched by buckets, through queues."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

T = tf.contrib.training
LENGTHS = [1, 5, 2, 9, 3, 3, 7, 1, 6, 2, 12, 4, 5, 1]


def _rows():
    """A queue of numbers of rows, each once, and the row of one: as many numbers as it is long."""
    number = tf.train.string_input_producer([str(at) for at in range(len(LENGTHS))], num_epochs=1, shuffle=False)
    at = tf.strings.to_number(number.dequeue(), tf.int32)
    length = tf.gather(tf.constant(LENGTHS), at)
    return at, length, tf.fill([length], at + 1)


def _batches(fetch):
    found = []
    with tf.Session() as session:
        session.run([tf.global_variables_initializer(), tf.local_variables_initializer()])
        coordinator = tf.train.Coordinator()
        threads = tf.train.start_queue_runners(session, coordinator)
        try:
            while True:
                found.append(session.run(fetch))
        except tf.errors.OutOfRangeError:
            coordinator.request_stop()
        coordinator.join(threads)
    return found


def check_sequences_of_like_lengths(_):
    at, length, row = _rows()
    lengths, out = T.bucket_by_sequence_length(
        length, {"row": row, "at": at}, 2, [3, 6], dynamic_pad=True, allow_smaller_final_batch=True
    )
    assert out["row"].shape.as_list() == [None, None]
    batches = _batches([lengths, out])
    seen = []
    for counts, batch in batches:
        buckets = {sum(count >= edge for edge in (3, 6)) for count in counts.tolist()}
        assert len(buckets) == 1
        assert batch["row"].shape == (len(counts), max(counts))
        for count, number, cells in zip(counts, batch["at"], batch["row"], strict=True):
            assert cells.tolist() == [number + 1] * count + [0] * (max(counts) - count)
            assert LENGTHS[number] == count
            seen.append(number)
    assert sorted(seen) == [*range(len(LENGTHS))]
    assert sum(len(counts) < 2 for counts, _ in batches) <= 3


def check_whole_batches_of_each_bucket(_):
    at, length, _ = _rows()
    number, (found, counts) = T.bucket(
        [at, length], length % 2, [2, 3], 2, keep_input=length < 10, bucket_capacities=[8, 8], num_threads=2
    )
    odd = [one for one in LENGTHS if one % 2]
    batches = _batches([number, found, counts])
    for which, rows, lengths in batches:
        assert len(rows) == (3 if which else 2)
        assert [LENGTHS[row] for row in rows] == lengths.tolist()
        assert set(lengths % 2) == {which}
        assert lengths.max() < 10
    assert sum(which for which, _, _ in batches) == len(odd) // 3
    assert np.unique(np.concatenate([rows for _, rows, _ in batches])).size == sum(len(rows) for _, rows, _ in batches)


def check_mistakes(_):
    at, length, row = _rows()
    with pytest.raises(ValueError, match="dynamic_pad=True"):
        T.bucket([row], length % 2, 2, 2)
    with pytest.raises(ValueError, match="wanted 3 batch sizes, got 2"):
        T.bucket([at], length % 3, [2, 2], 3)
    with pytest.raises(ValueError, match="that grow"):
        T.bucket_by_sequence_length(length, [at], 2, [5, 3])
    with pytest.raises(ValueError, match="2 or more"):
        T.bucket([at], 0, 2, 1)
