"""Recurrent cells and wrappers that `tf.nn.rnn_cell` has not: attention, projections, layer normalization."""

from __future__ import annotations

from typing import Any

from pai_train.pai.contrib.layers.normalization import layer_norm
from pai_train.pai.v1 import tf

_RNNCell: Any = tf.nn.rnn_cell.RNNCell


def _linear(inputs: Any, width: int, bias: bool = True) -> Any:
    kernel = tf.get_variable("kernel", [inputs.shape.as_list()[-1], width], inputs.dtype)
    outputs = tf.matmul(inputs, kernel)
    if bias:
        outputs += tf.get_variable("bias", [width], inputs.dtype, tf.zeros_initializer())
    return outputs


class OutputProjectionWrapper(_RNNCell):  # type: ignore[misc]
    """A cell whose output is projected to another width."""

    def __init__(self, cell: Any, output_size: int, activation: Any = None, reuse: Any = None) -> None:
        super().__init__(_reuse=reuse)
        self._cell, self._output_size, self._activation = cell, output_size, activation

    @property
    def state_size(self) -> Any:
        return self._cell.state_size

    @property
    def output_size(self) -> int:
        return self._output_size

    def zero_state(self, batch_size: Any, dtype: Any) -> Any:
        return self._cell.zero_state(batch_size, dtype)

    def call(self, inputs: Any, state: Any) -> Any:
        output, state = self._cell(inputs, state)
        projected = _linear(output, self._output_size)
        return (self._activation(projected) if self._activation else projected), state


class InputProjectionWrapper(_RNNCell):  # type: ignore[misc]
    """A cell whose input is projected to another width."""

    def __init__(
        self, cell: Any, num_proj: int, activation: Any = None, input_size: Any = None, reuse: Any = None
    ) -> None:
        super().__init__(_reuse=reuse)
        self._cell, self._num_proj, self._activation = cell, num_proj, activation

    @property
    def state_size(self) -> Any:
        return self._cell.state_size

    @property
    def output_size(self) -> Any:
        return self._cell.output_size

    def zero_state(self, batch_size: Any, dtype: Any) -> Any:
        return self._cell.zero_state(batch_size, dtype)

    def call(self, inputs: Any, state: Any) -> Any:
        projected = _linear(inputs, self._num_proj)
        return self._cell(self._activation(projected) if self._activation else projected, state)


class EmbeddingWrapper(_RNNCell):  # type: ignore[misc]
    """A cell over class numbers, which are embedded first."""

    def __init__(
        self, cell: Any, embedding_classes: int, embedding_size: int, initializer: Any = None, reuse: Any = None
    ) -> None:
        super().__init__(_reuse=reuse)
        self._cell, self._shape, self._initializer = cell, [embedding_classes, embedding_size], initializer

    @property
    def state_size(self) -> Any:
        return self._cell.state_size

    @property
    def output_size(self) -> Any:
        return self._cell.output_size

    def zero_state(self, batch_size: Any, dtype: Any) -> Any:
        return self._cell.zero_state(batch_size, dtype)

    def call(self, inputs: Any, state: Any) -> Any:
        bound = 3.0**0.5
        table = tf.get_variable(
            "embedding", self._shape, initializer=self._initializer or tf.random_uniform_initializer(-bound, bound)
        )
        return self._cell(tf.nn.embedding_lookup(table, tf.reshape(inputs, [-1])), state)


class AttentionCellWrapper(_RNNCell):  # type: ignore[misc]
    """A cell that attends over its last `attn_length` outputs; the state is (cell's, attention, outputs flattened)."""

    def __init__(
        self,
        cell: Any,
        attn_length: int,
        attn_size: int | None = None,
        attn_vec_size: int | None = None,
        input_size: int | None = None,
        state_is_tuple: bool = True,
        reuse: Any = None,
    ) -> None:
        super().__init__(_reuse=reuse)
        if attn_length <= 0 or not state_is_tuple:
            raise ValueError("AttentionCellWrapper: wanted attn_length above 0 and state_is_tuple=True")
        self._cell, self._length = cell, attn_length
        self._size = attn_size or cell.output_size
        self._vector = attn_vec_size or self._size
        self._input_size = input_size

    @property
    def state_size(self) -> Any:
        return self._cell.state_size, self._size, self._size * self._length

    @property
    def output_size(self) -> int:
        return self._size

    def call(self, inputs: Any, state: Any) -> Any:
        inner, attention, flat = state
        past = tf.reshape(flat, [-1, self._length, self._size])
        with tf.variable_scope("input"):
            width = self._input_size or inputs.shape.as_list()[-1]
            mixed = _linear(tf.concat([inputs, attention], 1), width)
        output, inner = self._cell(mixed, inner)
        query = tf.concat(tf.nest.flatten(inner), 1)
        with tf.variable_scope("attention"):
            keys = tf.get_variable("attn_w", [1, 1, self._size, self._vector], inputs.dtype)
            scale = tf.get_variable("attn_v", [self._vector], inputs.dtype)
            features = tf.tensordot(past, keys[0, 0], [[2], [0]])
            scores = tf.reduce_sum(scale * tf.tanh(features + _linear(query, self._vector)[:, tf.newaxis, :]), 2)
            weights = tf.nn.softmax(scores)
            attention = tf.reduce_sum(weights[:, :, tf.newaxis] * past, 1)
        with tf.variable_scope("output"):
            output = _linear(tf.concat([output, attention], 1), self._size)
        kept = tf.concat([past[:, 1:, :], output[:, tf.newaxis, :]], 1)
        return output, (inner, attention, tf.reshape(kept, [-1, self._size * self._length]))


class LayerNormBasicLSTMCell(_RNNCell):  # type: ignore[misc]
    """An LSTM cell with layer normalization of its gates and state, and recurrent dropout."""

    def __init__(
        self,
        num_units: int,
        forget_bias: float = 1.0,
        input_size: Any = None,
        activation: Any = None,
        layer_norm: bool = True,
        norm_gain: float = 1.0,
        norm_shift: float = 0.0,
        dropout_keep_prob: Any = 1.0,
        dropout_prob_seed: int | None = None,
        reuse: Any = None,
    ) -> None:
        super().__init__(_reuse=reuse)
        self._units, self._forget, self._activation = num_units, forget_bias, activation or tf.tanh
        self._normed, self._gain, self._shift = layer_norm, norm_gain, norm_shift
        self._keep, self._seed = dropout_keep_prob, dropout_prob_seed

    @property
    def state_size(self) -> Any:
        return tf.nn.rnn_cell.LSTMStateTuple(self._units, self._units)

    @property
    def output_size(self) -> int:
        return self._units

    def _norm(self, inputs: Any, scope: str) -> Any:
        if not self._normed:
            return inputs
        width = [inputs.shape.as_list()[-1]]
        with tf.variable_scope(scope):
            tf.get_variable("gamma", width, initializer=tf.constant_initializer(self._gain))
            tf.get_variable("beta", width, initializer=tf.constant_initializer(self._shift))
        return layer_norm(inputs, reuse=True, scope=scope)

    def call(self, inputs: Any, state: Any) -> Any:
        cell, hidden = state
        both = _linear(tf.concat([inputs, hidden], 1), 4 * self._units, bias=not self._normed)
        gates = tf.split(both, 4, 1)
        i, j, f, o = (
            self._norm(gate, name) for gate, name in zip(gates, ("input", "transform", "forget", "output"), strict=True)
        )
        new = self._activation(j)
        if tf.is_tensor(self._keep) or self._keep < 1:
            new = tf.nn.dropout(new, rate=1 - self._keep, seed=self._seed)
        cell = self._norm(cell * tf.sigmoid(f + self._forget) + tf.sigmoid(i) * new, "state")
        hidden = self._activation(cell) * tf.sigmoid(o)
        return hidden, tf.nn.rnn_cell.LSTMStateTuple(cell, hidden)
