"""`tf.contrib.slim`: the layers, losses and variables of contrib by slim's names, and its loops."""

from __future__ import annotations

from typing import Any

from pai_train.pai.contrib import layers, losses, metrics
from pai_train.pai.contrib.framework import (
    add_arg_scope,
    arg_scope,
    assign_from_checkpoint,
    assign_from_checkpoint_fn,
    assign_from_values,
    assign_from_values_fn,
    filter_variables,
    get_local_variables,
    get_model_variables,
    get_trainable_variables,
    get_unique_variable,
    get_variables,
    get_variables_by_name,
    get_variables_by_suffix,
    get_variables_to_restore,
    has_arg_scope,
    local_variable,
    model_variable,
    variable,
)
from pai_train.pai.contrib.layers import (
    avg_pool2d,
    batch_norm,
    bias_add,
    conv1d,
    conv2d,
    conv2d_transpose,
    conv3d,
    dropout,
    flatten,
    fully_connected,
    l1_regularizer,
    l2_regularizer,
    layer_norm,
    max_pool2d,
    one_hot_encoding,
    repeat,
    separable_conv2d,
    softmax,
    stack,
    unit_norm,
    variance_scaling_initializer,
    xavier_initializer,
    xavier_initializer_conv2d,
)
from pai_train.pai.gone import absent
from pai_train.pai.v1 import tf

__all__ = [
    "add_arg_scope", "arg_scope", "assign_from_checkpoint", "assign_from_checkpoint_fn", "assign_from_values",
    "assign_from_values_fn", "avg_pool2d", "batch_norm", "bias_add", "conv1d", "conv2d", "conv2d_transpose", "conv3d",
    "dropout", "filter_variables", "flatten", "fully_connected", "get_local_variables", "get_model_variables",
    "get_trainable_variables", "get_unique_variable", "get_variables", "get_variables_by_name",
    "get_variables_by_suffix", "get_variables_to_restore", "has_arg_scope", "l1_regularizer", "l2_regularizer",
    "layer_norm", "layers", "local_variable", "losses", "max_pool2d", "metrics", "model_variable",
    "one_hot_encoding", "repeat", "separable_conv2d", "softmax", "stack", "unit_norm", "variable",
    "variance_scaling_initializer", "xavier_initializer", "xavier_initializer_conv2d",
]  # fmt: skip

_TRAIN = {"create_global_step", "get_global_step", "get_or_create_global_step"}
_absent = absent("tf.contrib.slim", "evaluation", "learning", "model_analyzer", package=__name__)
_SAME = {"initializers": layers, "regularizers": layers}
"""Modules of slim whose names are those of `tf.contrib.layers`."""


def __getattr__(name: str) -> Any:
    if name in _SAME:
        return _SAME[name]
    return getattr(tf.train, name) if name in _TRAIN else _absent(name)
