"""Beam search: of all that could be said, the likeliest few are followed at every step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from pai_train.pai.contrib.seq2seq.decoder import Decoder
from pai_train.pai.gone import argument_gone
from pai_train.pai.v1 import tf

if TYPE_CHECKING:
    from collections.abc import Callable

_SYMBOL = "tf.contrib.seq2seq.BeamSearchDecoder"


class BeamSearchDecoderState(NamedTuple):
    """What is known of the beams.

    Attributes:
        cell_state: The cell's [batch, beams, …].
        log_probs: Of all that a beam has said [batch, beams].
        finished: Whether it has said the end token [batch, beams].
        lengths: How much it has said, the end token included: int64 [batch, beams].
    """

    cell_state: Any
    log_probs: Any
    finished: Any
    lengths: Any


class BeamSearchDecoderOutput(NamedTuple):
    """One step, or all of them.

    Attributes:
        scores: [batch, beams], best first.
        predicted_ids: What is said at the step, int32 [batch, beams].
        parent_ids: Which beam of the step before it goes on from, int32 [batch, beams].
    """

    scores: Any
    predicted_ids: Any
    parent_ids: Any


class FinalBeamSearchDecoderOutput(NamedTuple):
    """What a search found.

    Attributes:
        predicted_ids: What each beam says, best beam first: int32 [batch, time, beams].
        beam_search_decoder_output: The steps that led there.
    """

    predicted_ids: Any
    beam_search_decoder_output: Any


class BeamSearchDecoder(Decoder):
    """Follows the best beams of each row, each by what the cell says behind it.

    A beam's score is the sum of its log probabilities over ((5 + length) / 6) ** length_penalty_weight.

    Args:
        cell: The cell; one with attention looks at a memory that `tile_batch` repeated for each beam.
        embedding: Vectors by number, or a function from numbers to vectors.
        start_tokens: What is read first [batch].
        end_token: A beam that says this is finished.
        initial_state: The cell's state before the first step, repeated by `tile_batch`: [batch * beams, …].
        beam_width: How many beams.
        output_layer: A layer over the cell's outputs.
        length_penalty_weight: The larger, the better long answers are; 0 for plain probabilities.
        coverage_penalty_weight: 0; others are not given.
        reorder_tensor_arrays: Has no effect, as no history of attention is taken.
    """

    tracks_own_finished = True

    def __init__(
        self,
        cell: Any,
        embedding: Any,
        start_tokens: Any,
        end_token: Any,
        initial_state: Any,
        beam_width: int,
        output_layer: Any = None,
        length_penalty_weight: Any = 0.0,
        coverage_penalty_weight: float = 0.0,
        reorder_tensor_arrays: bool = True,
    ) -> None:
        if coverage_penalty_weight:
            raise argument_gone(
                _SYMBOL, f"coverage_penalty_weight={coverage_penalty_weight}", "leave it out; scores are of lengths"
            )
        if any(isinstance(one, tf.TensorArray) for one in tf.nest.flatten(initial_state)):
            raise argument_gone(_SYMBOL, "a state with alignment_history", "wrap the cell without it for the search")
        self._cell, self._layer, self._beams = cell, output_layer, beam_width
        self._embed: Callable[[Any], Any] = (
            embedding if callable(embedding) else lambda ids: tf.nn.embedding_lookup(embedding, ids)
        )
        start = tf.cast(tf.convert_to_tensor(start_tokens), tf.int32)
        self.batch_size = tf.size(start)
        self._end = tf.cast(tf.convert_to_tensor(end_token), tf.int32)
        self._start = self._embed(tf.tile(start[:, tf.newaxis], [1, beam_width]))
        self._state = tf.nest.map_structure(self._split, initial_state)
        self._penalty = length_penalty_weight

    @property
    def output_size(self) -> Any:
        beams = tf.TensorShape([self._beams])
        return BeamSearchDecoderOutput(beams, beams, beams)

    @property
    def output_dtype(self) -> Any:
        return BeamSearchDecoderOutput(tf.nest.flatten(self._state)[0].dtype, tf.int32, tf.int32)

    def initialize(self, name: str | None = None) -> tuple[Any, Any, Any]:
        # All beams are alike before the first step: one of them has to stand for them, or all would say the same.
        first = tf.zeros([self.batch_size], tf.int32)
        finished = tf.one_hot(first, self._beams, on_value=False, off_value=True, dtype=tf.bool)
        kind = self.output_dtype.scores
        log_probs = tf.one_hot(first, self._beams, tf.constant(0, kind), tf.constant(float("-inf"), kind), dtype=kind)
        lengths = tf.zeros([self.batch_size, self._beams], tf.int64)
        return finished, self._start, BeamSearchDecoderState(self._state, log_probs, finished, lengths)

    def step(self, time: Any, inputs: Any, state: Any, name: str | None = None) -> tuple[Any, Any, Any, Any]:
        with tf.name_scope(name, "BeamSearchDecoderStep"):
            cell_state = tf.nest.map_structure(self._merged, state.cell_state)
            outputs, after = self._cell(self._merged(inputs), cell_state)
            outputs, after = self._split(outputs), tf.nest.map_structure(self._split, after)
            if self._layer is not None:
                outputs = self._layer(outputs)
            output, following = self._followed(outputs, after, state)
            everything_said = tf.reduce_all(following.finished)
            read = tf.cond(everything_said, lambda: self._start, lambda: self._embed(output.predicted_ids))
            # A loop asks that shapes stay as they were.
            tf.nest.map_structure(lambda new, old: new.set_shape(old.shape), (following, read), (state, inputs))
        return output, following, read, following.finished

    def finalize(self, outputs: Any, final_state: Any, sequence_lengths: Any) -> tuple[Any, Any]:
        longest = tf.cast(tf.reduce_max(final_state.lengths, axis=1), tf.int32)
        said = gather_tree(outputs.predicted_ids, outputs.parent_ids, longest, self._end)
        return FinalBeamSearchDecoderOutput(said, outputs), final_state

    def _followed(self, logits: Any, after: Any, state: BeamSearchDecoderState) -> tuple[Any, BeamSearchDecoderState]:
        """Returns the best beams among all that the beams could say next, and their state."""
        words = logits.shape.as_list()[-1] or tf.shape(logits)[-1]
        probs = tf.nn.log_softmax(logits)
        # What is finished says the end token for certain, so that it keeps its probability.
        only_end = tf.one_hot(self._end, words, tf.constant(0, probs.dtype), probs.dtype.min, dtype=probs.dtype)
        done = tf.broadcast_to(state.finished[..., tf.newaxis], tf.shape(probs))
        probs = tf.where(done, tf.broadcast_to(only_end, tf.shape(probs)), probs)
        total = state.log_probs[..., tf.newaxis] + probs
        grows = tf.logical_not(state.finished)
        # The end token counts only for what has said it, not while beams are compared.
        longer = tf.cast(tf.logical_and(grows[..., tf.newaxis], tf.not_equal(tf.range(words), self._end)), tf.int64)
        scores = self._scores(total, state.lengths[..., tf.newaxis] + longer)
        flat = [self.batch_size, -1]
        best, places = tf.math.top_k(tf.reshape(scores, flat), k=self._beams)
        best.set_shape([None, self._beams])
        said, parents = places % words, places // words

        def of(values: Any) -> Any:
            return tf.gather(values, parents, batch_dims=1)

        ended = of(state.finished)
        following = BeamSearchDecoderState(
            tf.nest.map_structure(lambda one: of(one) if one.shape.ndims else one, after),
            tf.gather(tf.reshape(total, flat), places, batch_dims=1),
            tf.logical_or(ended, tf.equal(said, self._end)),
            of(state.lengths) + tf.cast(tf.logical_not(ended), tf.int64),
        )
        return BeamSearchDecoderOutput(best, said, parents), following

    def _scores(self, log_probs: Any, lengths: Any) -> Any:
        if isinstance(self._penalty, int | float) and not self._penalty:
            return log_probs
        return log_probs / ((5.0 + tf.cast(lengths, log_probs.dtype)) / 6.0) ** self._penalty

    def _split(self, one: Any) -> Any:
        """Returns [batch * beams, …] as [batch, beams, …]; a scalar as it is."""
        one = tf.convert_to_tensor(one)
        if not one.shape.ndims:
            return one
        found = tf.reshape(one, tf.concat([[self.batch_size, self._beams], tf.shape(one)[1:]], 0))
        found.set_shape([None, self._beams, *one.shape.as_list()[1:]])
        return found

    def _merged(self, one: Any) -> Any:
        """Returns [batch, beams, …] as [batch * beams, …]; a scalar as it is."""
        if not one.shape.ndims:
            return one
        found = tf.reshape(one, tf.concat([[-1], tf.shape(one)[2:]], 0))
        found.set_shape([None, *one.shape.as_list()[2:]])
        return found


def gather_tree(
    step_ids: Any, parent_ids: Any, max_sequence_lengths: Any, end_token: Any, name: str | None = None
) -> Any:
    """Returns what each beam says, found from its last step back to its first one.

    Args:
        step_ids: What is said at each step, int32 [time, batch, beams].
        parent_ids: Which beam of the step before that goes on from, int32 [time, batch, beams].
        max_sequence_lengths: Each row's steps, int32 [batch].
        end_token: Stands behind the end of a beam.
        name: The scope.

    Returns:
        int32 [time, batch, beams].
    """
    with tf.name_scope(name, "gather_tree"):
        shape = tf.shape(step_ids)
        steps, own = shape[0], tf.broadcast_to(tf.range(shape[2]), shape[1:])
        lengths = tf.minimum(max_sequence_lengths, steps)[:, tf.newaxis]
        end = tf.fill(shape[1:], end_token)

        def back(carried: Any, at: Any) -> tuple[Any, Any]:
            beams = carried[0]
            there = tf.broadcast_to(at < lengths, tf.shape(beams))
            said = tf.where(there, tf.gather(step_ids[at], beams, batch_dims=1), end)
            return tf.where(there, tf.gather(parent_ids[at], beams, batch_dims=1), beams), said

        _, said = tf.scan(back, tf.range(steps), (own, end), reverse=True)
        ended = tf.cumsum(tf.cast(tf.equal(said, end_token), tf.int32), axis=0, exclusive=True) > 0
        found = tf.where(ended, tf.fill(shape, end_token), said)
        found.set_shape(step_ids.shape)
        return found
