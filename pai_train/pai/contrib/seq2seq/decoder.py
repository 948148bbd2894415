"""The loop of a decoder: a cell, step after step, until every row is finished."""

from __future__ import annotations

from typing import Any, NamedTuple

from pai_train.pai.v1 import tf


class BasicDecoderOutput(NamedTuple):
    """One step, or all of them.

    Attributes:
        rnn_output: The outputs [batch, width].
        sample_id: What is said [batch].
    """

    rnn_output: Any
    sample_id: Any


class Decoder:
    """What `dynamic_decode` runs; scripts write their own.

    Attributes:
        batch_size: A scalar tensor.
        output_size: The shapes of one step's outputs, without the batch.
        output_dtype: Their types.
    """

    batch_size: Any
    output_size: Any
    output_dtype: Any
    tracks_own_finished = False

    def initialize(self, name: str | None = None) -> tuple[Any, Any, Any]:
        """Returns which rows are finished before the first step, its inputs, and the state."""
        raise NotImplementedError

    def step(self, time: Any, inputs: Any, state: Any, name: str | None = None) -> tuple[Any, Any, Any, Any]:
        """Returns a step's outputs, the next state, the next inputs, and which rows are finished."""
        raise NotImplementedError

    def finalize(self, outputs: Any, final_state: Any, sequence_lengths: Any) -> tuple[Any, Any]:
        """Returns outputs and state as they are handed out."""
        return outputs, final_state


class BasicDecoder(Decoder):
    """A cell, and a helper that tells what it reads.

    Args:
        cell: The cell.
        helper: A `Helper`.
        initial_state: The cell's state before the first step.
        output_layer: A layer over the cell's outputs.
    """

    def __init__(self, cell: Any, helper: Any, initial_state: Any, output_layer: Any = None) -> None:
        self._cell, self._helper, self._state, self._layer = cell, helper, initial_state, output_layer

    @property
    def batch_size(self) -> Any:
        return self._helper.batch_size

    @property
    def output_size(self) -> Any:
        width = tf.TensorShape(self._cell.output_size)
        if self._layer is not None:
            width = self._layer.compute_output_shape(tf.TensorShape([None]).concatenate(width))[1:]
        return BasicDecoderOutput(width, tf.TensorShape(self._helper.sample_ids_shape))

    @property
    def output_dtype(self) -> Any:
        first = tf.nest.flatten(self._state)[0]
        return BasicDecoderOutput(first.dtype, tf.as_dtype(self._helper.sample_ids_dtype))

    def initialize(self, name: str | None = None) -> tuple[Any, Any, Any]:
        finished, inputs = self._helper.initialize()
        return finished, inputs, self._state

    def step(self, time: Any, inputs: Any, state: Any, name: str | None = None) -> tuple[Any, Any, Any, Any]:
        with tf.name_scope(name, "BasicDecoderStep"):
            outputs, after = self._cell(inputs, state)
            if self._layer is not None:
                outputs = self._layer(outputs)
            said = self._helper.sample(time=time, outputs=outputs, state=after)
            finished, following, after = self._helper.next_inputs(
                time=time, outputs=outputs, state=after, sample_ids=said
            )
        return BasicDecoderOutput(outputs, said), after, following, finished


def dynamic_decode(
    decoder: Any,
    output_time_major: bool = False,
    impute_finished: bool = False,
    maximum_iterations: Any = None,
    parallel_iterations: int = 32,
    swap_memory: bool = False,
    scope: Any = None,
) -> tuple[Any, Any, Any]:
    """Runs a decoder until every row is finished.

    Args:
        decoder: A `Decoder`.
        output_time_major: Whether outputs are [time, batch, …] and not [batch, time, …].
        impute_finished: Whether a finished row's outputs are zeros, and its state stays.
        maximum_iterations: The most steps.
        parallel_iterations: As `tf.while_loop` takes it.
        swap_memory: As `tf.while_loop` takes it.
        scope: The variables' scope, `decoder` if none.

    Returns:
        The outputs of all steps, the last state, and each row's number of steps: int32 [batch].
    """
    with tf.variable_scope(scope or "decoder"):
        finished, inputs, state = decoder.initialize()
        nest, kinds = tf.nest, decoder.output_dtype
        most = None if maximum_iterations is None else tf.cast(maximum_iterations, tf.int32)
        if most is not None:
            finished = tf.logical_or(finished, most <= 0)
        lengths = tf.zeros_like(finished, tf.int32)
        zeros = nest.map_structure(
            lambda size, kind: tf.zeros([decoder.batch_size, *tf.TensorShape(size).as_list()], kind),
            decoder.output_size, kinds,
        )  # fmt: skip
        arrays = nest.map_structure(
            lambda kind: tf.TensorArray(kind, size=0, dynamic_size=True, clear_after_read=False), kinds
        )

        def go_on(time: Any, arrays: Any, state: Any, inputs: Any, finished: Any, lengths: Any) -> Any:
            return tf.logical_not(tf.reduce_all(finished))

        def step(time: Any, arrays: Any, state: Any, inputs: Any, finished: Any, lengths: Any) -> Any:
            outputs, after, following, done = decoder.step(time, inputs, state)
            if not decoder.tracks_own_finished:
                done = tf.logical_or(done, finished)
            if impute_finished:
                outputs = nest.map_structure(lambda new, zero: _kept(finished, zero, new), outputs, zeros)
                after = nest.map_structure(lambda new, old: _kept(finished, old, new), after, state)
            lengths = tf.where(tf.logical_not(finished), tf.fill(tf.shape(lengths), time + 1), lengths)
            if most is not None:
                done = tf.logical_or(done, time + 1 >= most)
            arrays = nest.map_structure(lambda array, output: array.write(time, output), arrays, outputs)
            return time + 1, arrays, nest.pack_sequence_as(state, nest.flatten(after)), following, done, lengths

        _, arrays, state, _, _, lengths = tf.while_loop(
            go_on, step, (tf.constant(0), arrays, state, inputs, finished, lengths),
            parallel_iterations=parallel_iterations, swap_memory=swap_memory,
        )  # fmt: skip
        outputs, state = decoder.finalize(nest.map_structure(lambda array: array.stack(), arrays), state, lengths)
        if not output_time_major:
            outputs = nest.map_structure(lambda one: tf.transpose(one, [1, 0, *range(2, one.shape.ndims)]), outputs)
    return outputs, state, lengths


def _kept(finished: Any, old: Any, new: Any) -> Any:
    """Returns the old values of finished rows and the new ones of others; what has no rows is new."""
    if isinstance(new, tf.TensorArray) or new.shape.ndims == 0:
        return new
    kept = tf.where(finished, old, new)
    kept.set_shape(new.shape)
    return kept
