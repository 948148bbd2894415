"""`tf.contrib.rnn` over `tf.nn.rnn_cell`: cells, wrappers and networks of old."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pai_train.pai.gone import absent, argument_gone
from pai_train.pai.v1 import tf

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["GRUBlockCell", "GRUBlockCellV2", "LSTMBlockCell", "stack_bidirectional_dynamic_rnn",
           "stack_bidirectional_rnn"]  # fmt: skip

_CELLS = {
    "BasicLSTMCell", "BasicRNNCell", "DeviceWrapper", "DropoutWrapper", "GRUCell", "LSTMCell", "LSTMStateTuple",
    "MultiRNNCell", "RNNCell", "ResidualWrapper",
}  # fmt: skip
_NETWORKS = {
    "bidirectional_dynamic_rnn", "dynamic_rnn", "raw_rnn", "static_bidirectional_rnn", "static_rnn",
    "static_state_saving_rnn",
}  # fmt: skip
_WRAPPERS = {
    "AttentionCellWrapper", "EmbeddingWrapper", "InputProjectionWrapper", "LayerNormBasicLSTMCell",
    "OutputProjectionWrapper",
}  # fmt: skip


def LSTMBlockCell(  # noqa: N802
    num_units: int,
    forget_bias: float = 1.0,
    cell_clip: float | None = None,
    use_peephole: bool = False,
    dtype: Any = None,
    reuse: Any = None,
    name: str = "lstm_cell",
) -> Any:
    """Returns an LSTM cell of the same formula and variables; the fused kernel of old is not used."""
    if use_peephole or (cell_clip is not None and cell_clip > 0):
        raise argument_gone(
            "tf.contrib.rnn.LSTMBlockCell", f"use_peephole={use_peephole}, cell_clip={cell_clip}",
            "use tf.nn.rnn_cell.LSTMCell, whose variables have other names",
        )  # fmt: skip
    return tf.nn.rnn_cell.BasicLSTMCell(num_units, forget_bias=forget_bias, reuse=reuse, name=name, dtype=dtype)


def GRUBlockCellV2(  # noqa: N802
    num_units: int | None = None, cell_size: int | None = None, reuse: Any = None, name: str = "gru_cell"
) -> Any:
    """Returns a GRU cell of the same formula; its variables are those of `GRUCell`."""
    return tf.nn.rnn_cell.GRUCell(num_units or cell_size, reuse=reuse, name=name)


GRUBlockCell = GRUBlockCellV2


def stack_bidirectional_dynamic_rnn(
    cells_fw: Sequence[Any],
    cells_bw: Sequence[Any],
    inputs: Any,
    initial_states_fw: Sequence[Any] | None = None,
    initial_states_bw: Sequence[Any] | None = None,
    dtype: Any = None,
    sequence_length: Any = None,
    parallel_iterations: int | None = None,
    time_major: bool = False,
    scope: Any = None,
) -> tuple[Any, tuple[Any, ...], tuple[Any, ...]]:
    """Runs layers of two directions, each over both directions' outputs of the layer below.

    Returns:
        The last layer's outputs [batch, time, forward + backward], and the last states of each layer forward and
        backward.
    """
    states_fw, states_bw = [], []
    with tf.variable_scope(scope or "stack_bidirectional_rnn"):
        for layer, (forward, backward) in enumerate(zip(cells_fw, cells_bw, strict=True)):
            with tf.variable_scope(f"cell_{layer}"):
                outputs, (state_fw, state_bw) = tf.nn.bidirectional_dynamic_rnn(
                    forward,
                    backward,
                    inputs,
                    sequence_length,
                    initial_states_fw[layer] if initial_states_fw else None,
                    initial_states_bw[layer] if initial_states_bw else None,
                    dtype,
                    parallel_iterations,
                    time_major=time_major,
                )
                inputs = tf.concat(outputs, 2)
            states_fw.append(state_fw)
            states_bw.append(state_bw)
    return inputs, tuple(states_fw), tuple(states_bw)


def stack_bidirectional_rnn(
    cells_fw: Sequence[Any],
    cells_bw: Sequence[Any],
    inputs: Sequence[Any],
    initial_states_fw: Sequence[Any] | None = None,
    initial_states_bw: Sequence[Any] | None = None,
    dtype: Any = None,
    sequence_length: Any = None,
    scope: Any = None,
) -> tuple[Any, tuple[Any, ...], tuple[Any, ...]]:
    """Runs layers of two directions over a list of steps; the result as of `stack_bidirectional_dynamic_rnn`."""
    states_fw, states_bw = [], []
    with tf.variable_scope(scope or "stack_bidirectional_rnn"):
        for layer, (forward, backward) in enumerate(zip(cells_fw, cells_bw, strict=True)):
            with tf.variable_scope(f"cell_{layer}"):
                inputs, state_fw, state_bw = tf.nn.static_bidirectional_rnn(
                    forward,
                    backward,
                    inputs,
                    initial_states_fw[layer] if initial_states_fw else None,
                    initial_states_bw[layer] if initial_states_bw else None,
                    dtype,
                    sequence_length,
                )
            states_fw.append(state_fw)
            states_bw.append(state_bw)
    return inputs, tuple(states_fw), tuple(states_bw)


_absent = absent("tf.contrib.rnn")


def __getattr__(name: str) -> Any:
    if name in _CELLS:
        return getattr(tf.nn.rnn_cell, name)
    if name in _NETWORKS:
        return getattr(tf.nn, name)
    if name in _WRAPPERS:
        from pai_train.pai.contrib import rnn_cells

        return getattr(rnn_cells, name)
    if name in ("_Linear", "_linear"):
        from pai_train.pai.contrib import rnn_linear

        return getattr(rnn_linear, name[1:])
    return _absent(name)
