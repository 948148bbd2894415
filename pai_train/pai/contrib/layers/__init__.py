"""`tf.contrib.layers` over `tf.compat.v1`: layers by their old names, arguments, scopes and variables."""

from __future__ import annotations

from functools import partial

from pai_train.pai.contrib.layers.columns import (
    bucketized_column,
    create_feature_spec_for_parsing,
    crossed_column,
    embedding_column,
    input_from_feature_columns,
    one_hot_column,
    real_valued_column,
    sparse_column_with_hash_bucket,
    sparse_column_with_integerized_feature,
    sparse_column_with_keys,
    sparse_column_with_vocabulary_file,
    weighted_sparse_column,
)
from pai_train.pai.contrib.layers.convolution import (
    conv1d,
    conv2d,
    conv2d_transpose,
    conv3d,
    convolution,
    convolution1d,
    convolution2d,
    convolution2d_transpose,
    convolution3d,
    separable_conv2d,
    separable_convolution2d,
)
from pai_train.pai.contrib.layers.dense import bias_add, fully_connected, linear
from pai_train.pai.contrib.layers.embeddings import (
    embed_sequence,
    embedding_lookup_unique,
    safe_embedding_lookup_sparse,
)
from pai_train.pai.contrib.layers.initializers import (
    variance_scaling_initializer,
    xavier_initializer,
    xavier_initializer_conv2d,
)
from pai_train.pai.contrib.layers.normalization import batch_norm, layer_norm
from pai_train.pai.contrib.layers.optimize import optimize_loss
from pai_train.pai.contrib.layers.regularizers import (
    apply_regularization,
    l1_l2_regularizer,
    l1_regularizer,
    l2_regularizer,
    sum_regularizer,
)
from pai_train.pai.contrib.layers.shapes import (
    avg_pool2d,
    dropout,
    flatten,
    max_pool2d,
    one_hot_encoding,
    repeat,
    softmax,
    stack,
    unit_norm,
)
from pai_train.pai.gone import absent

relu = partial(fully_connected)
OPTIMIZER_SUMMARIES = ("learning_rate", "loss", "gradients", "gradient_norm", "global_gradient_norm")

__all__ = [
    "OPTIMIZER_SUMMARIES", "apply_regularization", "avg_pool2d", "batch_norm", "bias_add", "bucketized_column",
    "conv1d", "conv2d", "conv2d_transpose", "conv3d", "convolution", "convolution1d", "convolution2d",
    "convolution2d_transpose", "convolution3d", "create_feature_spec_for_parsing", "crossed_column", "dropout",
    "embed_sequence", "embedding_column", "embedding_lookup_unique", "flatten", "fully_connected",
    "input_from_feature_columns", "l1_l2_regularizer", "l1_regularizer", "l2_regularizer", "layer_norm", "linear",
    "max_pool2d", "one_hot_column", "one_hot_encoding", "optimize_loss", "real_valued_column", "relu", "repeat",
    "safe_embedding_lookup_sparse", "separable_conv2d", "separable_convolution2d", "softmax",
    "sparse_column_with_hash_bucket", "sparse_column_with_integerized_feature", "sparse_column_with_keys",
    "sparse_column_with_vocabulary_file", "stack", "sum_regularizer", "unit_norm", "variance_scaling_initializer",
    "weighted_sparse_column", "xavier_initializer", "xavier_initializer_conv2d",
]  # fmt: skip

__getattr__ = absent("tf.contrib.layers")
