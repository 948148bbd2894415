"""`tf.contrib.legacy_seq2seq`: networks over lists of steps, in buckets of lengths, and their losses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pai_train.pai.contrib.legacy_attention import (
    attention_decoder,
    decided,
    embedding_attention_decoder,
    embedding_attention_seq2seq,
    finding,
)
from pai_train.pai.gone import absent
from pai_train.pai.v1 import tf

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["attention_decoder", "basic_rnn_seq2seq", "embedding_attention_decoder", "embedding_attention_seq2seq",
           "embedding_rnn_decoder", "embedding_rnn_seq2seq", "model_with_buckets", "rnn_decoder", "sequence_loss",
           "sequence_loss_by_example", "tied_rnn_seq2seq"]  # fmt: skip


def rnn_decoder(
    decoder_inputs: Sequence[Any],
    initial_state: Any,
    cell: Any,
    loop_function: Callable[[Any, int], Any] | None = None,
    scope: Any = None,
) -> tuple[list[Any], Any]:
    """Runs a cell over steps.

    Args:
        decoder_inputs: Tensors [batch, inputs], one a step.
        initial_state: The cell's state before the first step.
        cell: The cell.
        loop_function: Makes a step's input, from the second on, of the output and the number of the step before.
        scope: The variables' scope, `rnn_decoder` if none.

    Returns:
        The outputs [batch, units], one a step, and the last state.
    """
    with tf.variable_scope(scope or "rnn_decoder"):
        state = initial_state
        outputs: list[Any] = []
        for step, given in enumerate(decoder_inputs):
            inputs = given
            if loop_function is not None and outputs:
                with tf.variable_scope("loop_function", reuse=True):
                    inputs = loop_function(outputs[-1], step)
            if step > 0:
                tf.get_variable_scope().reuse_variables()
            output, state = cell(inputs, state)
            outputs.append(output)
    return outputs, state


def basic_rnn_seq2seq(
    encoder_inputs: Sequence[Any], decoder_inputs: Sequence[Any], cell: Any, dtype: Any = None, scope: Any = None
) -> tuple[list[Any], Any]:
    """Runs a cell over the encoder's steps, and a copy of it from the state reached over the decoder's."""
    import copy

    with tf.variable_scope(scope or "basic_rnn_seq2seq"):
        _, state = tf.nn.static_rnn(copy.deepcopy(cell), encoder_inputs, dtype=dtype or tf.float32)
        return rnn_decoder(decoder_inputs, state, cell)


def tied_rnn_seq2seq(
    encoder_inputs: Sequence[Any],
    decoder_inputs: Sequence[Any],
    cell: Any,
    loop_function: Callable[[Any, int], Any] | None = None,
    dtype: Any = None,
    scope: Any = None,
) -> tuple[list[Any], Any]:
    """Runs one cell, with one set of variables, over the encoder's steps and then the decoder's."""
    with tf.variable_scope("combined_tied_rnn_seq2seq"):
        scope = scope or "tied_rnn_seq2seq"
        _, state = tf.nn.static_rnn(cell, encoder_inputs, dtype=dtype or tf.float32, scope=scope)
        tf.get_variable_scope().reuse_variables()
        return rnn_decoder(decoder_inputs, state, cell, loop_function, scope)


def embedding_rnn_decoder(
    decoder_inputs: Sequence[Any],
    initial_state: Any,
    cell: Any,
    num_symbols: int,
    embedding_size: int,
    output_projection: tuple[Any, Any] | None = None,
    feed_previous: bool = False,
    update_embedding_for_previous: bool = True,
    scope: Any = None,
) -> tuple[list[Any], Any]:
    """Runs a cell over symbols.

    Args:
        decoder_inputs: Whole numbers [batch], one a step.
        initial_state: The cell's state before the first step.
        cell: The cell.
        num_symbols: How many symbols there are.
        embedding_size: The size of their vectors.
        output_projection: Weights [units, symbols] and biases [symbols] that find the symbol of an output.
        feed_previous: Whether each step's input is the symbol found before; only the first is taken as given.
        update_embedding_for_previous: Whether gradients go through vectors of symbols found so.
        scope: The variables' scope, `embedding_rnn_decoder` if none.

    Returns:
        The outputs [batch, units], one a step, and the last state.
    """
    with tf.variable_scope(scope or "embedding_rnn_decoder"):
        embedding = tf.get_variable("embedding", [num_symbols, embedding_size])
        fed = finding(embedding, output_projection, update_embedding_for_previous) if feed_previous else None
        inputs = [tf.nn.embedding_lookup(embedding, symbols) for symbols in decoder_inputs]
        return rnn_decoder(inputs, initial_state, cell, fed)


def embedding_rnn_seq2seq(
    encoder_inputs: Sequence[Any],
    decoder_inputs: Sequence[Any],
    cell: Any,
    num_encoder_symbols: int,
    num_decoder_symbols: int,
    embedding_size: int,
    output_projection: tuple[Any, Any] | None = None,
    feed_previous: Any = False,
    dtype: Any = None,
    scope: Any = None,
) -> tuple[list[Any], Any]:
    """Runs a cell over the encoder's symbols, and another from the state reached over the decoder's."""
    import copy

    with tf.variable_scope(scope or "embedding_rnn_seq2seq", dtype=dtype or tf.float32):
        from pai_train.pai.contrib.rnn import EmbeddingWrapper
        from pai_train.pai.contrib.rnn import OutputProjectionWrapper as Projection

        encoder = EmbeddingWrapper(copy.deepcopy(cell), num_encoder_symbols, embedding_size)
        _, state = tf.nn.static_rnn(encoder, encoder_inputs, dtype=dtype or tf.float32)
        decoder = cell if output_projection is not None else Projection(cell, num_decoder_symbols)

        def decode(feeds: bool) -> tuple[list[Any], Any]:
            return embedding_rnn_decoder(
                decoder_inputs, state, decoder, num_decoder_symbols, embedding_size, output_projection, feeds,
                isinstance(feed_previous, bool),
            )  # fmt: skip

        return decided(feed_previous, decode)


def sequence_loss_by_example(
    logits: Sequence[Any],
    targets: Sequence[Any],
    weights: Sequence[Any],
    average_across_timesteps: bool = True,
    softmax_loss_function: Any = None,
    name: str | None = None,
) -> Any:
    """Returns each row's weighted cross entropy.

    Args:
        logits: Float [batch, symbols], one a step.
        targets: Integers [batch], one a step.
        weights: Float [batch], one a step.
        average_across_timesteps: Whether it is divided by the row's weights.
        softmax_loss_function: A function of labels and logits in the cross entropy's place.
        name: The scope.

    Returns:
        Float [batch].

    Raises:
        ValueError: The lists are not of one length.
    """
    if not len(logits) == len(targets) == len(weights):
        raise ValueError(f"wanted lists of one length, got {len(logits)}, {len(targets)}, {len(weights)}")
    loss_of = softmax_loss_function or tf.nn.sparse_softmax_cross_entropy_with_logits
    with tf.name_scope(name, "sequence_loss_by_example", [*logits, *targets, *weights]):
        steps = [
            loss_of(labels=tf.reshape(target, [-1]), logits=logit) * weight
            for logit, target, weight in zip(logits, targets, weights, strict=True)
        ]
        total = tf.add_n(steps)
        return total / (tf.add_n(list(weights)) + 1e-12) if average_across_timesteps else total


def sequence_loss(
    logits: Sequence[Any],
    targets: Sequence[Any],
    weights: Sequence[Any],
    average_across_timesteps: bool = True,
    average_across_batch: bool = True,
    softmax_loss_function: Any = None,
    name: str | None = None,
) -> Any:
    """Returns the sum of `sequence_loss_by_example`, divided by the batch where `average_across_batch`: a scalar."""
    with tf.name_scope(name, "sequence_loss", [*logits, *targets, *weights]):
        rows = sequence_loss_by_example(logits, targets, weights, average_across_timesteps, softmax_loss_function)
        cost = tf.reduce_sum(rows)
        return cost / tf.cast(tf.shape(targets[0])[0], cost.dtype) if average_across_batch else cost


def model_with_buckets(
    encoder_inputs: Sequence[Any],
    decoder_inputs: Sequence[Any],
    targets: Sequence[Any],
    weights: Sequence[Any],
    buckets: Sequence[tuple[int, int]],
    seq2seq: Callable[[list[Any], list[Any]], tuple[list[Any], Any]],
    softmax_loss_function: Any = None,
    per_example_loss: bool = False,
    name: str | None = None,
) -> tuple[list[list[Any]], list[Any]]:
    """Makes a model for each bucket of lengths, all with one set of variables.

    Args:
        encoder_inputs: As many steps as the longest bucket has.
        decoder_inputs: Likewise.
        targets: Integers [batch], one a step of the decoder.
        weights: Float [batch], likewise.
        buckets: Steps of encoder and decoder, shortest first.
        seq2seq: From both kinds of steps to outputs and state.
        softmax_loss_function: A function of labels and logits in the cross entropy's place.
        per_example_loss: Whether losses are [batch], and not their mean.
        name: The scope.

    Returns:
        The outputs of each bucket, and its loss.

    Raises:
        ValueError: There are fewer steps than a bucket has.
    """
    for what, steps, at in (("encoder_inputs", encoder_inputs, 0), ("targets", targets, 1), ("weights", weights, 1)):
        longest = max(bucket[at] for bucket in buckets)
        if len(steps) < longest:
            raise ValueError(f"model_with_buckets: wanted {longest} steps of {what}, got {len(steps)}")
    loss_of = sequence_loss_by_example if per_example_loss else sequence_loss
    losses, outputs = [], []
    with tf.name_scope(name, "model_with_buckets", [*encoder_inputs, *decoder_inputs, *targets, *weights]):
        for number, (given, said) in enumerate(buckets):
            with tf.variable_scope(tf.get_variable_scope(), reuse=True if number else None):
                found, _ = seq2seq(list(encoder_inputs[:given]), list(decoder_inputs[:said]))
                outputs.append(found)
                right = targets[:said], weights[:said]
                losses.append(loss_of(found, *right, softmax_loss_function=softmax_loss_function))
    return outputs, losses


__getattr__ = absent("tf.contrib.legacy_seq2seq")
