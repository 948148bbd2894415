"""Convolutions: plain, transposed and separable ones, over one to three dimensions."""

from __future__ import annotations

from typing import Any

from pai_train.pai.contrib.arg_scope import add_arg_scope
from pai_train.pai.contrib.layers.dense import DEFAULT_WEIGHTS, relu, weights_of, zeros
from pai_train.pai.contrib.layers.variables import finished, layer_scope, model_variable, pair
from pai_train.pai.v1 import tf


@add_arg_scope
def convolution(
    inputs: Any,
    num_outputs: int,
    kernel_size: Any,
    stride: Any = 1,
    padding: str = "SAME",
    data_format: str | None = None,
    rate: Any = 1,
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
    """Returns a convolution of one to three dimensions with biases or a normalizer, then an activation.

    Args:
        inputs: Float [batch, ..., channels], or [batch, channels, ...] where `data_format` begins with NC.
        num_outputs: The filters.
        kernel_size: One number, or one per dimension.
        stride: Steps of the kernel.
        padding: SAME or VALID.
        data_format: The order of dimensions.
        rate: Dilation; only with a stride of 1.
        activation_fn: The activation, relu unless told.
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
        scope: The layer's scope, `Conv` made unique if none; the variables are `weights` and `biases`.
    """
    with layer_scope(scope, "Conv", inputs, reuse):
        inputs = tf.convert_to_tensor(inputs)
        dimensions = inputs.shape.rank - 2
        size = pair(kernel_size, dimensions)
        weights = model_variable(
            "weights", [*size, _channels(inputs, data_format), num_outputs], inputs.dtype,
            weights_of(weights_initializer), weights_regularizer, trainable, variables_collections,
        )  # fmt: skip
        outputs = tf.nn.convolution(
            inputs,
            weights,
            padding=padding.upper(),
            strides=pair(stride, dimensions),
            dilation_rate=pair(rate, dimensions),
            data_format=data_format,
        )
        outputs = _biased(
            outputs, num_outputs, data_format, normalizer_fn, normalizer_params, biases_initializer,
            biases_regularizer, trainable, variables_collections,
        )  # fmt: skip
        return finished(outputs, outputs_collections, activation_fn)


conv1d = conv2d = conv3d = convolution1d = convolution2d = convolution3d = convolution


@add_arg_scope
def conv2d_transpose(
    inputs: Any,
    num_outputs: int,
    kernel_size: Any,
    stride: Any = 1,
    padding: str = "SAME",
    data_format: str = "NHWC",
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
    """Returns a transposed convolution of two dimensions; arguments as for `convolution`, the scope `Conv2d_transpose`.

    The weights are [height, width, filters, channels].
    """
    with layer_scope(scope, "Conv2d_transpose", inputs, reuse):
        inputs = tf.convert_to_tensor(inputs)
        size, steps = pair(kernel_size), pair(stride)
        weights = model_variable(
            "weights", [*size, num_outputs, _channels(inputs, data_format)], inputs.dtype,
            weights_of(weights_initializer), weights_regularizer, trainable, variables_collections,
        )  # fmt: skip
        first = 2 if data_format == "NCHW" else 1
        shape, static = tf.shape(inputs), inputs.shape.as_list()
        lengths, known = [], []
        for at, (length, step) in enumerate(zip(size, steps, strict=True), first):
            extra = max(length - step, 0) if padding.upper() == "VALID" else 0
            lengths.append(shape[at] * step + extra)
            known.append(None if static[at] is None else static[at] * step + extra)
        dynamic = [shape[0], num_outputs, *lengths] if first == 2 else [shape[0], *lengths, num_outputs]
        outputs = tf.nn.conv2d_transpose(
            inputs,
            weights,
            tf.stack(dynamic),
            [1, 1, *steps] if first == 2 else [1, *steps, 1],
            padding.upper(),
            data_format=data_format,
        )
        outputs.set_shape([static[0], num_outputs, *known] if first == 2 else [static[0], *known, num_outputs])
        outputs = _biased(
            outputs, num_outputs, data_format, normalizer_fn, normalizer_params, biases_initializer,
            biases_regularizer, trainable, variables_collections,
        )  # fmt: skip
        return finished(outputs, outputs_collections, activation_fn)


convolution2d_transpose = conv2d_transpose


@add_arg_scope
def separable_conv2d(
    inputs: Any,
    num_outputs: int | None,
    kernel_size: Any,
    depth_multiplier: int = 1,
    stride: Any = 1,
    padding: str = "SAME",
    data_format: str = "NHWC",
    rate: Any = 1,
    activation_fn: Any = relu,
    normalizer_fn: Any = None,
    normalizer_params: Any = None,
    weights_initializer: Any = DEFAULT_WEIGHTS,
    pointwise_initializer: Any = None,
    weights_regularizer: Any = None,
    biases_initializer: Any = zeros,
    biases_regularizer: Any = None,
    reuse: Any = None,
    variables_collections: Any = None,
    outputs_collections: Any = None,
    trainable: bool = True,
    scope: Any = None,
) -> Any:
    """Returns a depthwise convolution, followed by one of 1 x 1 unless `num_outputs` is None.

    The scope is `SeparableConv2d`; the variables are `depthwise_weights`, `pointwise_weights` and `biases`; the other
    arguments are those of `convolution`.
    """
    with layer_scope(scope, "SeparableConv2d", inputs, reuse):
        inputs = tf.convert_to_tensor(inputs)
        channels = _channels(inputs, data_format)
        initializer = weights_of(weights_initializer)
        depthwise = model_variable(
            "depthwise_weights", [*pair(kernel_size), channels, depth_multiplier], inputs.dtype, initializer,
            weights_regularizer, trainable, variables_collections,
        )  # fmt: skip
        steps = [1, 1, *pair(stride)] if data_format == "NCHW" else [1, *pair(stride), 1]
        outputs = tf.nn.depthwise_conv2d(
            inputs, depthwise, steps, padding.upper(), rate=pair(rate), data_format=data_format
        )
        filters = channels * depth_multiplier
        if num_outputs is not None:
            pointwise = model_variable(
                "pointwise_weights", [1, 1, filters, num_outputs], inputs.dtype, pointwise_initializer or initializer,
                weights_regularizer, trainable, variables_collections,
            )  # fmt: skip
            outputs = tf.nn.conv2d(outputs, pointwise, [1, 1, 1, 1], "VALID", data_format=data_format)
            filters = num_outputs
        outputs = _biased(
            outputs, filters, data_format, normalizer_fn, normalizer_params, biases_initializer, biases_regularizer,
            trainable, variables_collections,
        )  # fmt: skip
        return finished(outputs, outputs_collections, activation_fn)


separable_convolution2d = separable_conv2d


def _channels(inputs: Any, data_format: str | None) -> int:
    size = inputs.shape.as_list()[1 if (data_format or "").startswith("NC") else -1]
    if size is None:
        raise ValueError(f"the number of channels of a convolution's input is not known: {inputs.shape}")
    return int(size)


def _biased(
    outputs: Any,
    filters: int,
    data_format: str | None,
    normalizer_fn: Any,
    normalizer_params: Any,
    initializer: Any,
    regularizer: Any,
    trainable: bool,
    collections: Any,
) -> Any:
    if normalizer_fn is not None:
        return normalizer_fn(outputs, **(normalizer_params or {}))
    if initializer is None:
        return outputs
    biases = model_variable("biases", [filters], outputs.dtype, initializer, regularizer, trainable, collections)
    return tf.nn.bias_add(outputs, biases, data_format="NCHW" if (data_format or "").startswith("NC") else None)
