"""Decoders and attention of contrib against the same loop by hand, and a copying model that learns."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import tensorflow as tf

from pai_train.pai.gone import ArgumentGone, ModuleGone
from tests.pai_shims.checks_layers import run

S = tf.contrib.seq2seq
R = np.random.RandomState(0)


def check_taught_decoder(_):
    x, lengths = R.randn(3, 4, 2).astype("float32"), [2, 4, 0]
    cell = tf.nn.rnn_cell.GRUCell(5)
    layer = tf.layers.Dense(6, name="out")
    helper = S.TrainingHelper(tf.constant(x), tf.constant(lengths))
    decoder = S.BasicDecoder(cell, helper, cell.zero_state(3, tf.float32), layer)
    (output, said), state, counted = S.dynamic_decode(decoder, impute_finished=True)
    by_hand, last = tf.nn.dynamic_rnn(cell, tf.constant(x), lengths, dtype=tf.float32, scope="decoder")
    wanted = layer(by_hand)
    assert output.shape.as_list()[2] == 6
    got, ids, end, count, right, right_end = run(output, said, state, counted, wanted, last)
    for row, length in enumerate(lengths):
        np.testing.assert_allclose(got[row, :length], right[row, :length], rtol=1e-5)
        assert not got[row, length:].any()
        assert ids[row, :length].tolist() == right[row, :length].argmax(-1).tolist()
    np.testing.assert_allclose(end, right_end, rtol=1e-5)
    assert count.tolist() == lengths


def check_greedy_decoder_stops(_):
    # Number n is followed by n + 1: the cell adds one to what it reads, and 5 ends.
    table = tf.constant(np.eye(8, dtype="float32"))

    class Next(tf.nn.rnn_cell.RNNCell):
        output_size, state_size = 8, 8

        def call(self, inputs, state):
            return tf.roll(inputs, 1, 1), state

    cell = Next()
    helper = S.GreedyEmbeddingHelper(table, tf.constant([1, 3, 5]), 5)
    decoder = S.BasicDecoder(cell, helper, cell.zero_state(3, tf.float32))
    (_, said), _, lengths = S.dynamic_decode(decoder, maximum_iterations=6)
    ids, count = run(said, lengths)
    assert count.tolist() == [4, 2, 6]
    assert ids[0, :4].tolist() == [2, 3, 4, 5]
    assert ids[1, :2].tolist() == [4, 5]
    drawn = S.SampleEmbeddingHelper(lambda one: 50 * tf.nn.embedding_lookup(table, one), tf.constant([1, 3, 5]), 5)
    (_, again), _, _ = S.dynamic_decode(S.BasicDecoder(cell, drawn, cell.zero_state(3, tf.float32)), True, False, 6)
    assert run(again)[:4, 0].tolist() == [2, 3, 4, 5]


def check_attention_is_of_the_places_that_are_there(_):
    memory, query = R.randn(2, 4, 3).astype("float32"), R.randn(2, 3).astype("float32")
    lengths = np.array([4, 2])
    luong = S.LuongAttention(3, tf.constant(memory), lengths, scale=True)
    bahdanau = S.BahdanauAttention(5, tf.constant(memory), lengths, normalize=True)
    got, plain, keys = run(luong(query, None)[0], bahdanau(tf.constant(query), None)[0], luong.keys)
    score = np.einsum("bu,bpu->bp", query, keys)
    score[1, 2:] = -np.inf
    wanted = np.exp(score) / np.exp(score).sum(1, keepdims=True)
    np.testing.assert_allclose(got, wanted, rtol=1e-4)
    np.testing.assert_allclose(plain.sum(1), [1, 1], rtol=1e-5)
    assert not plain[1, 2:].any()
    assert {one.op.name for one in tf.global_variables()} == {
        "memory_layer/kernel", "memory_layer_1/kernel", "luong_attention/attention_g",
        "bahdanau_attention/query_layer/kernel", "bahdanau_attention/attention_v", "bahdanau_attention/attention_g",
        "bahdanau_attention/attention_b",
    }  # fmt: skip


def _copying(attention):
    """A model that says its input backwards; returns loss, greedy answer and the placeholder."""
    rows = tf.placeholder(tf.int32, [None, 4])
    batch = tf.shape(rows)[0]
    table = tf.get_variable("table", [7, 12])
    encoded, state = tf.nn.dynamic_rnn(
        tf.nn.rnn_cell.GRUCell(24), tf.nn.embedding_lookup(table, rows), dtype=tf.float32, scope="encoder"
    )
    mechanism = attention(24, encoded)
    cell = S.AttentionWrapper(tf.nn.rnn_cell.GRUCell(24), mechanism, attention_layer_size=24, alignment_history=True)
    start = cell.zero_state(batch, tf.float32).clone(cell_state=state)
    layer = tf.layers.Dense(7, name="out")
    goal = tf.reverse(rows, [1])
    taught = tf.concat([tf.zeros([batch, 1], tf.int32), goal[:, :-1]], 1)
    helper = S.TrainingHelper(tf.nn.embedding_lookup(table, taught), tf.fill([batch], 4))
    outputs, _, _ = S.dynamic_decode(S.BasicDecoder(cell, helper, start, layer), scope="decode")
    loss = S.sequence_loss(outputs.rnn_output, goal, tf.ones([batch, 4]))
    greedy = S.GreedyEmbeddingHelper(table, tf.fill([batch], 0), 6)
    said, end, _ = S.dynamic_decode(S.BasicDecoder(cell, greedy, start, layer), maximum_iterations=4, scope="decode")
    return rows, loss, said.sample_id, end


def check_a_model_that_copies(_):
    rows, loss, said, end = _copying(S.BahdanauAttention)
    train = tf.train.AdamOptimizer(0.02).minimize(loss)
    weights = end.alignment_history.stack()
    draw = np.random.RandomState(1)
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        losses = [session.run([loss, train], {rows: draw.randint(1, 6, (32, 4))})[0] for _ in range(200)]
        some = draw.randint(1, 6, (32, 4))
        answer, seen = session.run([said, weights], {rows: some})
    assert losses[-1] < 0.2 * losses[0]
    assert np.mean(answer == some[:, ::-1]) > 0.9
    assert seen.shape == (4, 32, 4)
    np.testing.assert_allclose(seen.sum(2), 1, rtol=1e-4)


END, WORDS = 3, 4


class Chain(tf.nn.rnn_cell.RNNCell):
    """Says what a table has for the last word and the number of the step; its state is that number."""

    output_size, state_size = WORDS, 1

    def call(self, inputs, state):
        logits = tf.constant(np.random.RandomState(3).randn(8, WORDS, WORDS).astype("float32"))
        step = tf.cast(state[:, 0], tf.int32)
        return tf.einsum("bw,bwx->bx", inputs, tf.gather(logits, step)), state + 1


def _likely(first, steps, weight):
    """All answers of at most so many words, best first, each with its score."""
    table = np.random.RandomState(3).randn(8, WORDS, WORDS).astype("float32")
    logs = table - np.log(np.exp(table).sum(2, keepdims=True))
    found = []
    for length in range(1, steps + 1):
        for said in itertools.product(range(WORDS), repeat=length):
            if END in said[:-1] or (length < steps and said[-1] != END):
                continue
            total = sum(logs[at, before, word] for at, (before, word) in enumerate(itertools.pairwise((first, *said))))
            # A search counts the words before the end.
            counted = length - (said[-1] == END)
            found.append((total / ((5 + counted) / 6) ** weight, [*said, *[END] * (steps - length)]))
    return sorted(found, reverse=True)


def _searched(beams, first, steps, weight=0.0):
    cell = Chain()
    start = S.tile_batch(cell.zero_state(len(first), tf.float32), beams)
    decoder = S.BeamSearchDecoder(cell, tf.eye(WORDS), tf.constant(first), END, start, beams, None, weight)
    return S.dynamic_decode(decoder, maximum_iterations=steps)


def check_a_search_of_all_beams_finds_the_best(_):
    output, state, _ = _searched(130, [0, 2], 4)
    said, scores, lengths = run(output.predicted_ids, state.log_probs, state.lengths)
    for row, first in enumerate([0, 2]):
        wanted = _likely(first, 4, 0)
        assert len(wanted) < 130
        np.testing.assert_allclose(scores[row, : len(wanted)], [score for score, _ in wanted], rtol=1e-4)
        assert said[row, :, :20].T.tolist() == [answer for _, answer in wanted[:20]]
        counts = [min([*answer, END].index(END) + 1, 4) for _, answer in wanted]
        assert lengths[row, : len(wanted)].tolist() == counts


def check_a_long_answer_may_be_preferred(_):
    output, _, _ = _searched(130, [1], 4, 2.0)
    said, scores = run(output.predicted_ids, output.beam_search_decoder_output.scores)
    wanted = _likely(1, 4, 2.0)
    assert said[0, :, :10].T.tolist() == [answer for _, answer in wanted[:10]]
    np.testing.assert_allclose(scores[0, -1, :10], [score for score, _ in wanted[:10]], rtol=1e-4)
    assert [answer for _, answer in wanted[:10]] != [answer for _, answer in _likely(1, 4, 0)[:10]]


def check_a_search_of_one_beam_is_greedy(_):
    cell, table = Chain(), tf.eye(WORDS)
    greedy = S.BasicDecoder(cell, S.GreedyEmbeddingHelper(table, [0, 1, 2], END), cell.zero_state(3, tf.float32))
    (_, plain), _, counted = S.dynamic_decode(greedy, maximum_iterations=6)
    output, state, _ = _searched(1, [0, 1, 2], 6)
    said, right, counts, lengths = run(output.predicted_ids, plain, counted, state.lengths)
    assert counts.tolist() == lengths[:, 0].tolist()
    for row, count in enumerate(counts):
        assert said[row, :count, 0].tolist() == right[row, :count].tolist()
        assert set(said[row, count:, 0].tolist()) <= {END}


def check_a_tree_of_steps(_):
    # What TensorFlow's documentation of the operation has.
    steps = tf.constant([[[1, 2, 3]], [[4, 5, 6]], [[7, 8, 9]], [[-1, -1, -1]]])
    parents = tf.constant([[[0, 0, 0]], [[0, 1, 1]], [[2, 1, 2]], [[-1, -1, -1]]])
    got = run(S.gather_tree(steps, parents, tf.constant([3]), 10))
    assert got[:, 0].tolist() == [[2, 2, 2], [6, 5, 6], [7, 8, 9], [10, 10, 10]]


def check_a_search_with_attention(_):
    beams, memory = 3, tf.constant(R.randn(2, 5, 6).astype("float32"))
    there = S.tile_batch(memory, beams)
    cell = S.AttentionWrapper(tf.nn.rnn_cell.GRUCell(6), S.BahdanauAttention(6, there), attention_layer_size=6)
    start = cell.zero_state(2 * beams, tf.float32).clone(cell_state=S.tile_batch(tf.zeros([2, 6]), beams))
    layer = tf.layers.Dense(7, use_bias=False)
    decoder = S.BeamSearchDecoder(cell, tf.eye(7), tf.constant([1, 1]), 0, start, beams, layer)
    output, _, _ = S.dynamic_decode(decoder, maximum_iterations=5)
    said, scores = run(output.predicted_ids, output.beam_search_decoder_output.scores)
    assert said.shape[::2] == (2, beams)
    assert (np.diff(scores[:, -1]) <= 0).all()


def check_what_is_not_given(_):
    assert run(S.tile_batch(tf.constant([[1], [2]]), 3))[:, 0].tolist() == [1, 1, 1, 2, 2, 2]
    with pytest.raises(ModuleGone, match="ScheduledOutputTrainingHelper"):
        from tensorflow.contrib.seq2seq import ScheduledOutputTrainingHelper  # noqa: F401
    cell = S.AttentionWrapper(tf.nn.rnn_cell.GRUCell(2), S.LuongAttention(2, tf.zeros([4, 2, 3])), None, True)
    with pytest.raises(ArgumentGone, match="alignment_history"):
        S.BeamSearchDecoder(cell, tf.eye(2), [0, 0], 1, cell.zero_state(4, tf.float32), 2)
    with pytest.raises(ArgumentGone, match="list of mechanisms"):
        S.AttentionWrapper(tf.nn.rnn_cell.GRUCell(2), [S.LuongAttention(2, tf.zeros([1, 2, 3]))])
