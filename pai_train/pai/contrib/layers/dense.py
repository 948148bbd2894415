"""Layers over the last dimension: `fully_connected` and its relatives."""

from __future__ import annotations

import functools
from typing import Any

from pai_train.pai.contrib.arg_scope import add_arg_scope
from pai_train.pai.contrib.layers.initializers import xavier_initializer
from pai_train.pai.contrib.layers.variables import finished, layer_scope, model_variable
from pai_train.pai.v1 import tf


def relu(inputs: Any) -> Any:
    """Returns `tf.nn.relu` of a tensor: the default activation, by a name that can stand in a signature."""
    return tf.nn.relu(inputs)


def zeros(shape: Any, dtype: Any = None, partition_info: Any = None) -> Any:
    """Returns zeros: the default initializer of biases."""
    return tf.zeros(shape, dtype or "float32")


def ones(shape: Any, dtype: Any = None, partition_info: Any = None) -> Any:
    """Returns ones: the default initializer of scales and variances."""
    return tf.ones(shape, dtype or "float32")


DEFAULT_WEIGHTS: Any = "xavier"


def weights_of(initializer: Any) -> Any:
    """Returns a layer's initializer of weights, the default being Glorot's uniform one."""
    return xavier_initializer() if isinstance(initializer, str) else initializer


@add_arg_scope
def fully_connected(
    inputs: Any,
    num_outputs: int,
    activation_fn: Any = relu,
    normalizer_fn: Any = None,
    normalizer_params: Any = None,
    weights_initializer: Any = DEFAULT_WEIGHTS,
    weights_regularizer: Any = None,
    biases_initializer: Any = zeros,
    biases_regularizer: Any = None,
    reuse: Any = None,
    variables_collections: Any = None,
    outputs_collections: Any = None,
    trainable: bool = True,
    scope: Any = None,
) -> Any:
    """Returns `activation(inputs · weights + biases)` over the last dimension.

    Args:
        inputs: Float [..., n], n known.
        num_outputs: The units.
        activation_fn: The activation, relu unless told; None for none.
        normalizer_fn: A layer such as `batch_norm` in the biases' place.
        normalizer_params: Its arguments.
        weights_initializer: Glorot's unless told.
        weights_regularizer: A penalty on the weights.
        biases_initializer: Zeros unless told; None for no biases.
        biases_regularizer: A penalty on the biases.
        reuse: Whether the scope's variables exist already.
        variables_collections: Further collections of the variables.
        outputs_collections: Collections of the result.
        trainable: Whether optimizers change the variables.
        scope: The layer's scope, `fully_connected` made unique if none; the variables are `weights` and `biases`.

    Raises:
        ValueError: The last dimension is not known, or the number of units is no integer.
    """
    if isinstance(num_outputs, bool) or int(num_outputs) != num_outputs:
        raise ValueError(f"fully_connected: wanted an integer as num_outputs, got {num_outputs!r}")
    with layer_scope(scope, "fully_connected", inputs, reuse):
        inputs = tf.convert_to_tensor(inputs)
        width = inputs.shape[-1] if inputs.shape.rank else None
        width = getattr(width, "value", width)
        if width is None:
            raise ValueError(f"fully_connected: the last dimension of its input is not known: {inputs.shape}")
        weights = model_variable(
            "weights", [width, int(num_outputs)], inputs.dtype, weights_of(weights_initializer), weights_regularizer,
            trainable, variables_collections,
        )  # fmt: skip
        outputs = tf.matmul(inputs, weights) if inputs.shape.rank == 2 else tf.tensordot(inputs, weights, [[-1], [0]])
        if normalizer_fn is not None:
            outputs = normalizer_fn(outputs, **(normalizer_params or {}))
        elif biases_initializer is not None:
            biases = model_variable(
                "biases", [int(num_outputs)], inputs.dtype, biases_initializer, biases_regularizer, trainable,
                variables_collections,
            )  # fmt: skip
            outputs = tf.nn.bias_add(outputs, biases) if inputs.shape.rank == 2 else outputs + biases
        return finished(outputs, outputs_collections, activation_fn)


@add_arg_scope
def bias_add(
    inputs: Any,
    activation_fn: Any = None,
    initializer: Any = zeros,
    regularizer: Any = None,
    reuse: Any = None,
    variables_collections: Any = None,
    outputs_collections: Any = None,
    trainable: bool = True,
    data_format: str = "NHWC",
    scope: Any = None,
) -> Any:
    """Returns `activation(inputs + biases)`, one bias per channel."""
    with layer_scope(scope, "BiasAdd", inputs, reuse):
        inputs = tf.convert_to_tensor(inputs)
        width = inputs.shape[1 if data_format.startswith("NC") else -1]
        biases = model_variable(
            "biases", [getattr(width, "value", width)], inputs.dtype, initializer, regularizer, trainable,
            variables_collections,
        )  # fmt: skip
        outputs = tf.nn.bias_add(inputs, biases, data_format=data_format)
        return finished(outputs, outputs_collections, activation_fn)


linear = functools.partial(fully_connected, activation_fn=None)
