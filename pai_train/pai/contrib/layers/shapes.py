"""Layers without weights: pooling, flattening, dropout, one-hot codes, and layers in a row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pai_train.pai.contrib.arg_scope import add_arg_scope
from pai_train.pai.contrib.layers.normalization import _known
from pai_train.pai.contrib.layers.variables import finished, pair
from pai_train.pai.v1 import tf

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def _pool2d(kind: str, inputs: Any, kernel_size: Any, stride: Any, padding: str, data_format: str, scope: Any) -> Any:
    with tf.name_scope(scope, kind, [inputs]):
        inputs = tf.convert_to_tensor(inputs)
        size, steps = pair(kernel_size), pair(stride)
        sizes, strides = ([1, *one, 1] if data_format == "NHWC" else [1, 1, *one] for one in (size, steps))
        pool = tf.nn.max_pool if kind == "MaxPool2D" else tf.nn.avg_pool
        return pool(inputs, sizes, strides, padding.upper(), data_format=data_format)


@add_arg_scope
def max_pool2d(
    inputs: Any,
    kernel_size: Any,
    stride: Any = 2,
    padding: str = "VALID",
    data_format: str = "NHWC",
    outputs_collections: Any = None,
    scope: Any = None,
) -> Any:
    """Returns the largest value of each window of an image batch [batch, height, width, channels]."""
    outputs = _pool2d("MaxPool2D", inputs, kernel_size, stride, padding, data_format, scope)
    return finished(outputs, outputs_collections)


@add_arg_scope
def avg_pool2d(
    inputs: Any,
    kernel_size: Any,
    stride: Any = 2,
    padding: str = "VALID",
    data_format: str = "NHWC",
    outputs_collections: Any = None,
    scope: Any = None,
) -> Any:
    """Returns the mean of each window of an image batch [batch, height, width, channels]."""
    outputs = _pool2d("AvgPool2D", inputs, kernel_size, stride, padding, data_format, scope)
    return finished(outputs, outputs_collections)


@add_arg_scope
def flatten(inputs: Any, outputs_collections: Any = None, scope: Any = None) -> Any:
    """Returns [batch, everything else in one dimension]."""
    with tf.name_scope(scope, "Flatten", [inputs]):
        inputs = tf.convert_to_tensor(inputs)
        static = inputs.shape.as_list()
        width = None
        if None not in static[1:]:
            width = 1
            for size in static[1:]:
                width *= size
        outputs = tf.reshape(inputs, tf.stack([tf.shape(inputs)[0], -1 if width is None else width]))
        outputs.set_shape([static[0], width])
        return finished(outputs, outputs_collections)


@add_arg_scope
def dropout(
    inputs: Any,
    keep_prob: Any = 0.5,
    noise_shape: Any = None,
    is_training: Any = True,
    outputs_collections: Any = None,
    scope: Any = None,
    seed: int | None = None,
) -> Any:
    """Returns the input with each value kept with `keep_prob` and scaled by its inverse, while training."""
    with tf.name_scope(scope, "Dropout", [inputs]):
        inputs = tf.convert_to_tensor(inputs)

        def dropped() -> Any:
            return tf.nn.dropout(inputs, rate=1 - keep_prob, noise_shape=noise_shape, seed=seed)

        training = _known(is_training)
        if training is None:
            outputs = tf.cond(is_training, dropped, lambda: tf.identity(inputs))
        else:
            outputs = dropped() if training else tf.identity(inputs)
        return finished(outputs, outputs_collections)


@add_arg_scope
def one_hot_encoding(
    labels: Any,
    num_classes: int,
    on_value: float = 1.0,
    off_value: float = 0.0,
    outputs_collections: Any = None,
    scope: Any = None,
) -> Any:
    """Returns class numbers [batch] as float32 [batch, num_classes]."""
    with tf.name_scope(scope, "OneHotEncoding", [labels]):
        labels = tf.convert_to_tensor(labels)
        labels = tf.cast(labels, tf.int64) if labels.dtype == tf.int32 else labels
        return finished(tf.one_hot(labels, num_classes, on_value, off_value), outputs_collections)


@add_arg_scope
def softmax(logits: Any, scope: Any = None) -> Any:
    """Returns the softmax over the last dimension."""
    with tf.name_scope(scope, "softmax", [logits]):
        return tf.nn.softmax(logits)


@add_arg_scope
def unit_norm(inputs: Any, dim: int, epsilon: float = 1e-7, scope: Any = None) -> Any:
    """Returns the input divided by its Euclidean length along a dimension."""
    with tf.name_scope(scope, "UnitNorm", [inputs]):
        inputs = tf.convert_to_tensor(inputs)
        return inputs / tf.sqrt(epsilon + tf.reduce_sum(tf.square(inputs), dim, keepdims=True))


def repeat(inputs: Any, repetitions: int, layer: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Returns a layer applied so many times in a row, in scopes `NAME/NAME_1`, `NAME/NAME_2` and so on."""
    scope = kwargs.pop("scope", None) or layer.__name__
    with tf.variable_scope(scope, "Repeat", [inputs]):
        for number in range(repetitions):
            inputs = layer(inputs, *args, scope=f"{scope}_{number + 1}", **kwargs)
        return inputs


def stack(inputs: Any, layer: Callable[..., Any], stack_args: Sequence[Any], **kwargs: Any) -> Any:
    """Returns a layer applied in a row with one argument, or one tuple of arguments, per application."""
    scope = kwargs.pop("scope", None) or layer.__name__
    with tf.variable_scope(scope, "Stack", [inputs]):
        for number, one in enumerate(stack_args, 1):
            given = one if isinstance(one, (list, tuple)) else (one,)
            inputs = layer(inputs, *given, scope=f"{scope}_{number}", **kwargs)
        return inputs
