"""Attention over a memory: Luong's and Bahdanau's, and the wrapper that gives a cell one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from pai_train.pai.gone import argument_gone
from pai_train.pai.v1 import tf

if TYPE_CHECKING:
    from collections.abc import Callable

_RNNCell: Any = tf.nn.rnn_cell.RNNCell


class _Attention:
    """Scores of the places of a memory for a query, as weights that sum up to 1.

    Attributes:
        keys: [batch, places, units].
        values: The memory [batch, places, width]; zeros behind each row's length.
        batch_size: A scalar tensor.
        alignments_size: How many places there are.
    """

    def __init__(
        self,
        num_units: int,
        memory: Any,
        memory_sequence_length: Any,
        probability_fn: Callable[[Any], Any] | None,
        score_mask_value: float | None,
        dtype: Any,
        name: str,
    ) -> None:
        self._units, self._name, self._dtype = num_units, name, dtype or tf.float32
        self._probability = probability_fn or tf.nn.softmax
        self._masked = float("-inf") if score_mask_value is None else score_mask_value
        memory = tf.convert_to_tensor(memory)
        self._there = None
        if memory_sequence_length is not None:
            self._there = tf.sequence_mask(memory_sequence_length, tf.shape(memory)[1])
            memory *= tf.cast(self._there, memory.dtype)[..., tf.newaxis]
        self.values = memory
        layer = tf.layers.Dense(num_units, use_bias=False, name="memory_layer", dtype=self._dtype)
        self.keys = layer(memory)
        self.batch_size = tf.shape(memory)[0]
        self.alignments_size = memory.shape.as_list()[1] or tf.shape(memory)[1]
        self.state_size = self.alignments_size

    def initial_alignments(self, batch_size: Any, dtype: Any) -> Any:
        """Returns the weights before the first step: zeros [batch, places]."""
        return tf.zeros([batch_size, self.alignments_size], dtype)

    def initial_state(self, batch_size: Any, dtype: Any) -> Any:
        """Returns the state before the first step: the weights."""
        return self.initial_alignments(batch_size, dtype)

    def __call__(self, query: Any, state: Any) -> tuple[Any, Any]:
        """Returns the weights [batch, places] for a query [batch, units], and the next state: the same."""
        query = tf.convert_to_tensor(query)
        with tf.variable_scope(None, self._name, [query]):
            score = self._score(query)
        if self._there is not None:
            score = tf.where(self._there, score, self._masked * tf.ones_like(score))
        weights = self._probability(score)
        return weights, weights

    def _score(self, query: Any) -> Any:
        raise NotImplementedError


class LuongAttention(_Attention):
    """The product of query and keys.

    Args:
        num_units: The width of the keys, which is the query's.
        memory: [batch, places, width].
        memory_sequence_length: How many places each row has [batch].
        scale: Whether scores are multiplied by a variable.
        probability_fn: From scores to weights, softmax if none.
        score_mask_value: The score of places behind a row's length.
        dtype: The variables' type.
        name: The variables' scope.
    """

    def __init__(
        self,
        num_units: int,
        memory: Any,
        memory_sequence_length: Any = None,
        scale: bool = False,
        probability_fn: Callable[[Any], Any] | None = None,
        score_mask_value: float | None = None,
        dtype: Any = None,
        name: str = "LuongAttention",
    ) -> None:
        super().__init__(
            num_units, memory, memory_sequence_length, probability_fn, score_mask_value, dtype, "luong_attention"
        )
        self._scale = scale

    def _score(self, query: Any) -> Any:
        if query.shape.as_list()[-1] != self._units:
            raise ValueError(f"LuongAttention: wanted a query of {self._units} units, got {query.shape}")
        score = tf.matmul(query[:, tf.newaxis, :], self.keys, transpose_b=True)[:, 0, :]
        if self._scale:
            score *= tf.get_variable("attention_g", [], self._dtype, tf.ones_initializer())
        return score


class BahdanauAttention(_Attention):
    """A layer over the sum of query and keys.

    Args:
        num_units: The width of that layer.
        memory: [batch, places, width].
        memory_sequence_length: How many places each row has [batch].
        normalize: Whether the layer's weights are normalised.
        probability_fn: From scores to weights, softmax if none.
        score_mask_value: The score of places behind a row's length.
        dtype: The variables' type.
        name: The variables' scope.
    """

    def __init__(
        self,
        num_units: int,
        memory: Any,
        memory_sequence_length: Any = None,
        normalize: bool = False,
        probability_fn: Callable[[Any], Any] | None = None,
        score_mask_value: float | None = None,
        dtype: Any = None,
        name: str = "BahdanauAttention",
    ) -> None:
        super().__init__(
            num_units, memory, memory_sequence_length, probability_fn, score_mask_value, dtype, "bahdanau_attention"
        )
        self._normalize = normalize
        self._query: Any = tf.layers.Dense(num_units, use_bias=False, name="query_layer", dtype=self._dtype)

    def _score(self, query: Any) -> Any:
        both = self.keys + self._query(query)[:, tf.newaxis, :]
        v = tf.get_variable("attention_v", [self._units], self._dtype)
        if self._normalize:
            start = tf.constant_initializer((1 / self._units) ** 0.5)
            g = tf.get_variable("attention_g", [], self._dtype, start)
            both += tf.get_variable("attention_b", [self._units], self._dtype, tf.zeros_initializer())
            v = g * v * tf.math.rsqrt(tf.reduce_sum(tf.square(v)))
        return tf.reduce_sum(v * tf.tanh(both), 2)


class AttentionWrapperState(NamedTuple):
    """The state of a cell with attention.

    Attributes:
        cell_state: The cell's own.
        attention: What it saw at the step before [batch, width].
        time: The step's number.
        alignments: The weights of that step [batch, places].
        alignment_history: Those of all steps, a `tf.TensorArray`, or ().
        attention_state: The mechanism's own.
    """

    cell_state: Any
    attention: Any
    time: Any
    alignments: Any
    alignment_history: Any
    attention_state: Any

    def clone(self, **changes: Any) -> AttentionWrapperState:
        """Returns the state with other parts."""
        return self._replace(**changes)


class AttentionWrapper(_RNNCell):  # type: ignore[misc]
    """A cell that reads its input and what it saw, and then looks at a memory.

    Args:
        cell: The cell.
        attention_mechanism: One mechanism; lists of them are not taken.
        attention_layer_size: The width of a layer over output and context; none: the context is what is seen.
        alignment_history: Whether the weights of all steps are kept in the state.
        cell_input_fn: From input and what was seen to the cell's input; side by side if none.
        output_attention: Whether the output is what is seen, and not the cell's.
        initial_cell_state: What `zero_state` has as the cell's.
        name: The variables' scope.
        attention_layer: A layer in the place of the one that `attention_layer_size` makes.
    """

    def __init__(
        self,
        cell: Any,
        attention_mechanism: Any,
        attention_layer_size: int | None = None,
        alignment_history: bool = False,
        cell_input_fn: Callable[[Any, Any], Any] | None = None,
        output_attention: bool = True,
        initial_cell_state: Any = None,
        name: str | None = None,
        attention_layer: Any = None,
    ) -> None:
        super().__init__(name=name or "attention_wrapper")
        if isinstance(attention_mechanism, list | tuple):
            raise argument_gone(
                "tf.contrib.seq2seq.AttentionWrapper", "a list of mechanisms", "wrap the cell once for each"
            )
        self._cell, self._mechanism, self._history = cell, attention_mechanism, alignment_history
        self._read = cell_input_fn or (lambda inputs, seen: tf.concat([inputs, seen], -1))
        self._output_attention, self._start = output_attention, initial_cell_state
        self._layer: Any = attention_layer
        self._width = attention_mechanism.values.shape.as_list()[-1]
        if attention_layer_size is not None:
            self._layer = tf.layers.Dense(attention_layer_size, use_bias=False, name="attention_layer")
            self._width = attention_layer_size
        elif attention_layer is not None:
            joined = cell.output_size + self._width
            self._width = attention_layer.compute_output_shape(tf.TensorShape([None, joined])).as_list()[-1]

    @property
    def output_size(self) -> Any:
        return self._width if self._output_attention else self._cell.output_size

    @property
    def state_size(self) -> Any:
        places = self._mechanism.alignments_size
        return AttentionWrapperState(
            self._cell.state_size, self._width, tf.TensorShape([]), places, (), self._mechanism.state_size
        )

    def zero_state(self, batch_size: Any, dtype: Any) -> AttentionWrapperState:
        start = self._cell.zero_state(batch_size, dtype) if self._start is None else self._start
        return AttentionWrapperState(
            cell_state=start,
            attention=tf.zeros([batch_size, self._width], dtype),
            time=tf.constant(0),
            alignments=self._mechanism.initial_alignments(batch_size, dtype),
            alignment_history=tf.TensorArray(dtype, size=0, dynamic_size=True) if self._history else (),
            attention_state=self._mechanism.initial_state(batch_size, dtype),
        )

    def call(self, inputs: Any, state: Any) -> Any:
        output, cell_state = self._cell(self._read(inputs, state.attention), state.cell_state)
        weights, attention_state = self._mechanism(output, state.attention_state)
        seen = tf.matmul(weights[:, tf.newaxis, :], self._mechanism.values)[:, 0, :]
        if self._layer is not None:
            seen = self._layer(tf.concat([output, seen], 1))
        history = state.alignment_history.write(state.time, weights) if self._history else ()
        after = AttentionWrapperState(cell_state, seen, state.time + 1, weights, history, attention_state)
        return (seen if self._output_attention else output), after


def tile_batch(t: Any, multiplier: int, name: str | None = None) -> Any:
    """Returns tensors [batch, …], or a structure of them, with each row so many times: [batch * multiplier, …]."""

    def tiled(one: Any) -> Any:
        one = tf.convert_to_tensor(one)
        return tf.repeat(one, multiplier, axis=0) if one.shape.ndims else one

    with tf.name_scope(name, "tile_batch"):
        return tf.nest.map_structure(tiled, t)
