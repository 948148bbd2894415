"""The decoders with attention of `tf.contrib.legacy_seq2seq`, over lists of steps."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from pai_train.pai.contrib.rnn_linear import linear
from pai_train.pai.v1 import tf

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def finding(embedding: Any, output_projection: tuple[Any, Any] | None, trained: bool) -> Callable[[Any, int], Any]:
    """Returns what makes a step's input of the output before: the vector of the likeliest symbol.

    Args:
        embedding: Vectors by symbol.
        output_projection: Weights [units, symbols] and biases [symbols] that find the symbol of an output.
        trained: Whether gradients go through such vectors.
    """

    def found(previous: Any, step: int) -> Any:
        if output_projection is not None:
            previous = tf.nn.xw_plus_b(previous, *output_projection)
        vectors = tf.nn.embedding_lookup(embedding, tf.argmax(previous, 1))
        return vectors if trained else tf.stop_gradient(vectors)

    return found


def decided(feed_previous: Any, decode: Callable[[bool], tuple[list[Any], Any]]) -> tuple[list[Any], Any]:
    """Returns outputs and state of a decoder that is fed its own outputs, or not, as a bool or a tensor says."""
    if isinstance(feed_previous, bool):
        return decode(feed_previous)
    states: list[Any] = []

    def flat(feeds: bool) -> list[Any]:
        with tf.variable_scope(tf.get_variable_scope(), reuse=None if feeds else True):
            outputs, state = decode(feeds)
        states.append((len(outputs), state))
        return [*outputs, *tf.nest.flatten(state)]

    found = tf.cond(feed_previous, lambda: flat(True), lambda: flat(False))
    count, state = states[0]
    return found[:count], tf.nest.pack_sequence_as(state, found[count:])


def attention_decoder(
    decoder_inputs: Sequence[Any],
    initial_state: Any,
    attention_states: Any,
    cell: Any,
    output_size: int | None = None,
    num_heads: int = 1,
    loop_function: Callable[[Any, int], Any] | None = None,
    dtype: Any = None,
    scope: Any = None,
    initial_state_attention: bool = False,
) -> tuple[list[Any], Any]:
    """Runs a cell over steps that looks at a memory at each.

    Args:
        decoder_inputs: Tensors [batch, inputs], one a step.
        initial_state: The cell's state before the first step.
        attention_states: The memory [batch, places, width].
        cell: The cell.
        output_size: The width of the outputs, the cell's if none.
        num_heads: How many looks are taken at each step.
        loop_function: Makes a step's input, from the second on, of the output and the number of the step before.
        dtype: The type of variables and outputs.
        scope: The variables' scope, `attention_decoder` if none.
        initial_state_attention: Whether a look is taken before the first step.

    Returns:
        The outputs [batch, output_size], one a step, and the last state.

    Raises:
        ValueError: There is no step, no look, or the memory's width is not known.
    """
    if not decoder_inputs or num_heads < 1:
        raise ValueError("attention_decoder: wanted one step or more, and num_heads of 1 or more")
    width = attention_states.shape.as_list()[2]
    if width is None:
        raise ValueError(f"attention_decoder: wanted a memory of known width, got {attention_states.shape}")
    size = output_size or cell.output_size
    with tf.variable_scope(scope or "attention_decoder", dtype=dtype) as inside:
        look = _Looks(attention_states, width, num_heads, inside.dtype)
        state, seen = initial_state, look.nothing(tf.shape(decoder_inputs[0])[0])
        if initial_state_attention:
            seen = look.at(initial_state)
        outputs: list[Any] = []
        for step, given in enumerate(decoder_inputs):
            inputs = given
            if step > 0:
                tf.get_variable_scope().reuse_variables()
            if loop_function is not None and outputs:
                with tf.variable_scope("loop_function", reuse=True):
                    inputs = loop_function(outputs[-1], step)
            joined = linear([inputs, *seen], inputs.shape.as_list()[1], True)
            output, state = cell(joined, state)
            with tf.variable_scope(tf.get_variable_scope(), reuse=True if step or initial_state_attention else None):
                seen = look.at(state)
            with tf.variable_scope("AttnOutputProjection"):
                outputs.append(linear([output, *seen], size, True))
    return outputs, state


class _Looks:
    """Looks at a memory by a layer over query and places, each with weights of its own."""

    def __init__(self, memory: Any, width: int, heads: int, dtype: Any) -> None:
        self._memory, self._width, self._dtype = memory, width, dtype
        self._keys, self._v = [], []
        for head in range(heads):
            weights = tf.get_variable(f"AttnW_{head}", [1, 1, width, width], dtype)
            self._keys.append(tf.nn.conv2d(memory[:, :, tf.newaxis], weights, [1, 1, 1, 1], "SAME"))
            self._v.append(tf.get_variable(f"AttnV_{head}", [width], dtype))

    def nothing(self, rows: Any) -> list[Any]:
        """Returns what is seen before the first look."""
        seen = [tf.zeros([rows, self._width], self._dtype) for _ in self._v]
        for one in seen:
            one.set_shape([None, self._width])
        return seen

    def at(self, state: Any) -> list[Any]:
        """Returns what is seen from a state: [batch, width] for each head."""
        query = tf.concat(tf.nest.flatten(state), 1)
        seen = []
        for head, (keys, v) in enumerate(zip(self._keys, self._v, strict=True)):
            with tf.variable_scope(f"Attention_{head}"):
                asked = linear(query, self._width, True)[:, tf.newaxis, tf.newaxis]
                weights = tf.nn.softmax(tf.reduce_sum(v * tf.tanh(keys + asked), [2, 3]))
                seen.append(tf.reduce_sum(weights[:, :, tf.newaxis] * self._memory, 1))
        return seen


def embedding_attention_decoder(
    decoder_inputs: Sequence[Any],
    initial_state: Any,
    attention_states: Any,
    cell: Any,
    num_symbols: int,
    embedding_size: int,
    num_heads: int = 1,
    output_size: int | None = None,
    output_projection: tuple[Any, Any] | None = None,
    feed_previous: bool = False,
    update_embedding_for_previous: bool = True,
    dtype: Any = None,
    scope: Any = None,
    initial_state_attention: bool = False,
) -> tuple[list[Any], Any]:
    """Runs a cell with attention over symbols; see `embedding_rnn_decoder` and `attention_decoder`."""
    with tf.variable_scope(scope or "embedding_attention_decoder", dtype=dtype):
        embedding = tf.get_variable("embedding", [num_symbols, embedding_size])
        fed = finding(embedding, output_projection, update_embedding_for_previous) if feed_previous else None
        return attention_decoder(
            [tf.nn.embedding_lookup(embedding, symbols) for symbols in decoder_inputs],
            initial_state,
            attention_states,
            cell,
            output_size,
            num_heads,
            fed,
            initial_state_attention=initial_state_attention,
        )


def embedding_attention_seq2seq(
    encoder_inputs: Sequence[Any],
    decoder_inputs: Sequence[Any],
    cell: Any,
    num_encoder_symbols: int,
    num_decoder_symbols: int,
    embedding_size: int,
    num_heads: int = 1,
    output_projection: tuple[Any, Any] | None = None,
    feed_previous: Any = False,
    dtype: Any = None,
    scope: Any = None,
    initial_state_attention: bool = False,
) -> tuple[list[Any], Any]:
    """Runs a cell over the encoder's symbols, and another over the decoder's, which looks at the encoder's outputs.

    Args:
        encoder_inputs: Whole numbers [batch], one a step.
        decoder_inputs: Whole numbers [batch], one a step.
        cell: The cell.
        num_encoder_symbols: How many symbols the encoder knows.
        num_decoder_symbols: How many the decoder knows.
        embedding_size: The size of their vectors.
        num_heads: How many looks are taken at each step.
        output_projection: Weights [units, symbols] and biases [symbols]; a layer of its own if none.
        feed_previous: Whether each step's input is the symbol found before; a bool or a tensor of one.
        dtype: The variables' type.
        scope: The variables' scope, `embedding_attention_seq2seq` if none.
        initial_state_attention: Whether a look is taken before the first step.

    Returns:
        The outputs [batch, symbols], or [batch, units] for an `output_projection`, one a step, and the last state.
    """
    from pai_train.pai.contrib.rnn import EmbeddingWrapper
    from pai_train.pai.contrib.rnn import OutputProjectionWrapper as Projection

    with tf.variable_scope(scope or "embedding_attention_seq2seq", dtype=dtype or tf.float32):
        encoder = EmbeddingWrapper(copy.deepcopy(cell), num_encoder_symbols, embedding_size)
        outputs, state = tf.nn.static_rnn(encoder, encoder_inputs, dtype=dtype or tf.float32)
        memory = tf.stack(outputs, 1)
        size = None
        if output_projection is None:
            cell, size = Projection(cell, num_decoder_symbols), num_decoder_symbols

        def decode(feeds: bool) -> tuple[list[Any], Any]:
            return embedding_attention_decoder(
                decoder_inputs, state, memory, cell, num_decoder_symbols, embedding_size, num_heads, size,
                output_projection, feeds, isinstance(feed_previous, bool),
                initial_state_attention=initial_state_attention,
            )  # fmt: skip

        return decided(feed_previous, decode)
