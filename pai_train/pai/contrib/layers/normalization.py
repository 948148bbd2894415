"""Normalization over a batch and over a row: `batch_norm` and `layer_norm`."""

from __future__ import annotations

from typing import Any

from pai_train.pai.contrib.arg_scope import add_arg_scope
from pai_train.pai.contrib.layers.dense import ones, zeros
from pai_train.pai.contrib.layers.variables import finished, layer_scope, model_variable
from pai_train.pai.gone import argument_gone
from pai_train.pai.v1 import tf


@add_arg_scope
def batch_norm(
    inputs: Any,
    decay: float = 0.999,
    center: bool = True,
    scale: bool = False,
    epsilon: float = 0.001,
    activation_fn: Any = None,
    param_initializers: Any = None,
    param_regularizers: Any = None,
    updates_collections: Any = "update_ops",
    is_training: Any = True,
    reuse: Any = None,
    variables_collections: Any = None,
    outputs_collections: Any = None,
    trainable: bool = True,
    batch_weights: Any = None,
    fused: bool | None = None,
    data_format: str = "NHWC",
    zero_debias_moving_mean: bool = False,
    scope: Any = None,
    renorm: bool = False,
    renorm_clipping: Any = None,
    renorm_decay: float = 0.99,
    adjustment: Any = None,
) -> Any:
    """Returns the input with the batch's mean and variance taken out of each channel.

    Args:
        inputs: Float [batch, ..., channels], or [batch, channels, ...] where `data_format` begins with NC.
        decay: How much of the moving mean and variance a step keeps.
        center: Whether `beta` is added.
        scale: Whether it is multiplied by `gamma`.
        epsilon: Added to the variance.
        activation_fn: Applied to the result.
        param_initializers: Initializers by name: beta, gamma, moving_mean, moving_variance.
        param_regularizers: Penalties by name: beta, gamma.
        updates_collections: Where the updates of the moving values go; None makes the result wait for them instead.
        is_training: Whether the batch's own mean and variance are used; a bool or a tensor.
        reuse: Whether the scope's variables exist already.
        variables_collections: Further collections of the variables.
        outputs_collections: Collections of the result.
        trainable: Whether optimizers change beta and gamma.
        batch_weights: Not given here.
        fused: Taken and ignored but for its meaning: the moving variance of images is the unbiased one unless False.
        data_format: The order of dimensions.
        zero_debias_moving_mean: Not given here.
        scope: The layer's scope, `BatchNorm` made unique if none.
        renorm: Not given here.
        renorm_clipping: As `renorm`.
        renorm_decay: As `renorm`.
        adjustment: Not given here.
    """
    refused = {"renorm": renorm, "adjustment": adjustment, "zero_debias_moving_mean": zero_debias_moving_mean}
    for name, value in {**refused, "batch_weights": batch_weights}.items():
        if value is not None and value is not False:
            raise argument_gone("tf.contrib.layers.batch_norm", f"{name}={value}", f"leave {name} out")
    with layer_scope(scope, "BatchNorm", inputs, reuse):
        inputs = tf.convert_to_tensor(inputs)
        rank = inputs.shape.rank
        channel = 1 if data_format.startswith("NC") and rank > 2 else rank - 1
        width = inputs.shape.as_list()[channel]
        make, penalties = dict(param_initializers or {}), dict(param_regularizers or {})

        def variable(name: str, default: Any, learned: bool) -> Any:
            return model_variable(
                name, [width], inputs.dtype, make.get(name, default), penalties.get(name), learned and trainable,
                variables_collections,
            )  # fmt: skip

        beta = variable("beta", zeros, True) if center else None
        gamma = variable("gamma", ones, True) if scale else None
        moving_mean = variable("moving_mean", zeros, False)
        moving_variance = variable("moving_variance", ones, False)
        axes = [axis for axis in range(rank) if axis != channel]
        training = _known(is_training)
        mean, variance = moving_mean, moving_variance
        if training is not False:
            batch_mean, batch_variance = tf.nn.moments(inputs, axes)
            seen = batch_variance
            if rank == 4 and fused is not False:
                count = tf.cast(tf.size(inputs) // width, inputs.dtype)
                seen = batch_variance * count / tf.maximum(count - 1, 1)
            kept = decay if training else tf.cond(is_training, lambda: decay, lambda: 1.0)
            updates = [
                tf.assign_sub(moving, (moving - new) * (1.0 - kept), name="AssignMovingAvg")
                for moving, new in ((moving_mean, batch_mean), (moving_variance, seen))
            ]
            mean, variance = batch_mean, batch_variance
            if training is None:
                mean = tf.cond(is_training, lambda: batch_mean, lambda: tf.identity(moving_mean))
                variance = tf.cond(is_training, lambda: batch_variance, lambda: tf.identity(moving_variance))
            if updates_collections is None:
                with tf.control_dependencies(updates):
                    mean, variance = tf.identity(mean), tf.identity(variance)
            else:
                tf.add_to_collections(updates_collections, updates[0])
                tf.add_to_collections(updates_collections, updates[1])
        shape = [width if axis == channel else 1 for axis in range(rank)]
        mean, variance, beta, gamma = (
            None if one is None else tf.reshape(one, shape) for one in (mean, variance, beta, gamma)
        )
        outputs = tf.nn.batch_normalization(inputs, mean, variance, beta, gamma, epsilon)
        outputs.set_shape(inputs.shape)
        return finished(outputs, outputs_collections, activation_fn)


@add_arg_scope
def layer_norm(
    inputs: Any,
    center: bool = True,
    scale: bool = True,
    activation_fn: Any = None,
    reuse: Any = None,
    variables_collections: Any = None,
    outputs_collections: Any = None,
    trainable: bool = True,
    begin_norm_axis: int = 1,
    begin_params_axis: int = -1,
    scope: Any = None,
) -> Any:
    """Returns the input with the mean and variance of each row's dimensions from `begin_norm_axis` on taken out.

    `beta` and `gamma` have the dimensions from `begin_params_axis` on; the scope is `LayerNorm`.

    Raises:
        ValueError: The dimensions of the parameters are not known.
    """
    with layer_scope(scope, "LayerNorm", inputs, reuse):
        inputs = tf.convert_to_tensor(inputs)
        rank = inputs.shape.rank
        first = begin_norm_axis + rank if begin_norm_axis < 0 else begin_norm_axis
        shape = inputs.shape.as_list()[begin_params_axis:]
        if None in shape:
            raise ValueError(f"layer_norm: the dimensions of its parameters are not known: {inputs.shape}")

        def variable(name: str, initializer: Any) -> Any:
            return model_variable(
                name, shape, inputs.dtype, initializer, None, trainable, variables_collections
            )  # fmt: skip

        beta = variable("beta", zeros) if center else None
        gamma = variable("gamma", ones) if scale else None
        mean, variance = tf.nn.moments(inputs, list(range(first, rank)), keep_dims=True)
        epsilon = 1e-3 if inputs.dtype == tf.float16 else 1e-12
        outputs = tf.nn.batch_normalization(inputs, mean, variance, beta, gamma, epsilon)
        outputs.set_shape(inputs.shape)
        return finished(outputs, outputs_collections, activation_fn)


def _known(is_training: Any) -> bool | None:
    value = tf.get_static_value(is_training) if tf.is_tensor(is_training) else is_training
    return None if value is None else bool(value)
