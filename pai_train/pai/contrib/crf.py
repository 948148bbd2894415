"""`tf.contrib.crf`: linear-chain conditional random fields; scores, likelihood and the best path."""

from __future__ import annotations

from typing import Any

import numpy as np

from pai_train.pai.gone import absent
from pai_train.pai.v1 import tf

__all__ = ["crf_binary_score", "crf_decode", "crf_log_likelihood", "crf_log_norm", "crf_sequence_score",
           "crf_unary_score", "viterbi_decode"]  # fmt: skip


def crf_unary_score(tag_indices: Any, sequence_lengths: Any, inputs: Any) -> Any:
    """Returns the sum of the tags' own scores, [batch]."""
    chosen = tf.reduce_sum(tf.one_hot(tag_indices, tf.shape(inputs)[2], dtype=inputs.dtype) * inputs, 2)
    mask = tf.sequence_mask(sequence_lengths, tf.shape(tag_indices)[1], inputs.dtype)
    return tf.reduce_sum(chosen * mask, 1)


def crf_binary_score(tag_indices: Any, sequence_lengths: Any, transition_params: Any) -> Any:
    """Returns the sum of the transitions' scores, [batch]."""
    pairs = tf.stack([tag_indices[:, :-1], tag_indices[:, 1:]], 2)
    scores = tf.gather_nd(transition_params, pairs)
    lengths = tf.maximum(tf.convert_to_tensor(sequence_lengths) - 1, 0)
    return tf.reduce_sum(scores * tf.sequence_mask(lengths, tf.shape(tag_indices)[1] - 1, scores.dtype), 1)


def crf_sequence_score(inputs: Any, tag_indices: Any, sequence_lengths: Any, transition_params: Any) -> Any:
    """Returns the score of a path, [batch]."""
    unary = crf_unary_score(tag_indices, sequence_lengths, inputs)
    return unary + crf_binary_score(tag_indices, sequence_lengths, transition_params)


def crf_log_norm(inputs: Any, sequence_lengths: Any, transition_params: Any) -> Any:
    """Returns the log of the sum over all paths of the exponent of their score, [batch]."""
    lengths = tf.cast(sequence_lengths, tf.int32)

    def forward(state: Any, step: Any) -> Any:
        scores, number = step
        after = tf.reduce_logsumexp(state[:, :, tf.newaxis] + transition_params[tf.newaxis], 1) + scores
        return tf.where(number < lengths, after, state)

    rest = tf.transpose(inputs[:, 1:, :], [1, 0, 2])
    numbers = tf.range(1, tf.shape(inputs)[1])
    alphas = tf.scan(forward, (rest, numbers), initializer=inputs[:, 0, :])
    last = tf.concat([inputs[tf.newaxis, :, 0, :], alphas], 0)[-1]
    norm = tf.reduce_logsumexp(last, 1)
    return tf.where(lengths > 0, norm, tf.zeros_like(norm))


def crf_log_likelihood(
    inputs: Any, tag_indices: Any, sequence_lengths: Any, transition_params: Any = None
) -> tuple[Any, Any]:
    """Returns the log likelihood of paths, [batch], and the transitions [tags, tags].

    Args:
        inputs: Float [batch, time, tags], the tags' scores.
        tag_indices: Integers [batch, time], the paths.
        sequence_lengths: Integers [batch].
        transition_params: The transitions; the variable `transitions` if none.
    """
    tags = inputs.shape.as_list()[2]
    if transition_params is None:
        transition_params = tf.get_variable("transitions", [tags, tags])
    score = crf_sequence_score(inputs, tag_indices, sequence_lengths, transition_params)
    return score - crf_log_norm(inputs, sequence_lengths, transition_params), transition_params


def crf_decode(potentials: Any, transition_params: Any, sequence_length: Any) -> tuple[Any, Any]:
    """Returns the best paths, int32 [batch, time] with zeros behind a sequence's end, and their scores, [batch]."""
    lengths = tf.cast(sequence_length, tf.int32)
    tags = tf.shape(potentials)[2]

    def forward(before: Any, step: Any) -> Any:
        state, _ = before
        scores, number = step
        options = state[:, :, tf.newaxis] + transition_params[tf.newaxis]
        inside = number < lengths
        best = tf.where(inside, tf.reduce_max(options, 1) + scores, state)
        stay = tf.tile(tf.range(tags)[tf.newaxis], [tf.shape(state)[0], 1])
        return best, tf.where(inside, tf.argmax(options, 1, output_type=tf.int32), stay)

    first = potentials[:, 0, :]
    rest = tf.transpose(potentials[:, 1:, :], [1, 0, 2])
    numbers = tf.range(1, tf.shape(potentials)[1])
    start = (first, tf.zeros(tf.shape(first), tf.int32))
    states, backs = tf.scan(forward, (rest, numbers), initializer=start)
    last = tf.concat([first[tf.newaxis], states], 0)[-1]
    final = tf.argmax(last, 1, output_type=tf.int32)

    def backward(tag: Any, back: Any) -> Any:
        return tf.gather_nd(back, tf.stack([tf.range(tf.shape(tag)[0]), tag], 1))

    path = tf.scan(backward, backs, initializer=final, reverse=True)
    path = tf.transpose(tf.concat([path, final[tf.newaxis]], 0))
    mask = tf.sequence_mask(lengths, tf.shape(potentials)[1], tf.int32)
    return path * mask, tf.reduce_max(last, 1)


def viterbi_decode(score: Any, transition_params: Any) -> tuple[list[int], Any]:
    """Returns the best path of arrays [time, tags] and [tags, tags], and its score."""
    best, backs = np.asarray(score[0], dtype=np.float64), []
    for step in score[1:]:
        options = best[:, np.newaxis] + transition_params
        backs.append(np.argmax(options, 0))
        best = np.max(options, 0) + step
    path = [int(np.argmax(best))]
    for back in reversed(backs):
        path.append(int(back[path[-1]]))
    return path[::-1], np.max(best)


__getattr__ = absent("tf.contrib.crf")
