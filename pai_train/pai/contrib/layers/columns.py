"""Feature columns by the names of `tf.contrib.layers`, as columns of `tf.feature_column`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pai_train.pai.v1 import tf

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def real_valued_column(
    column_name: str, dimension: int = 1, default_value: Any = None, dtype: Any = None, normalizer: Any = None
) -> Any:
    """Returns a numeric column of so many values a row."""
    return tf.feature_column.numeric_column(
        column_name, (dimension or 1,), default_value, tf.as_dtype(dtype or "float32"), normalizer
    )


def sparse_column_with_hash_bucket(
    column_name: str, hash_bucket_size: int, combiner: str = "sum", dtype: Any = None
) -> Any:
    """Returns a categorical column of hashed values; the combiner is that of the column built on it."""
    return tf.feature_column.categorical_column_with_hash_bucket(
        column_name, hash_bucket_size, tf.as_dtype(dtype or "string")
    )


def sparse_column_with_keys(
    column_name: str, keys: Sequence[Any], default_value: int = -1, combiner: str = "sum", dtype: Any = None
) -> Any:
    """Returns a categorical column over a list of values."""
    kind = tf.as_dtype(dtype) if dtype is not None else None
    return tf.feature_column.categorical_column_with_vocabulary_list(column_name, keys, kind, default_value)


def sparse_column_with_vocabulary_file(
    column_name: str,
    vocabulary_file: str,
    num_oov_buckets: int = 0,
    vocab_size: int | None = None,
    default_value: int = -1,
    combiner: str = "sum",
    dtype: Any = None,
) -> Any:
    """Returns a categorical column over the lines of a file."""
    return tf.feature_column.categorical_column_with_vocabulary_file(
        column_name,
        vocabulary_file,
        vocab_size,
        num_oov_buckets,
        default_value if not num_oov_buckets else None,
        tf.as_dtype(dtype or "string"),
    )


def sparse_column_with_integerized_feature(
    column_name: str, bucket_size: int, combiner: str = "sum", dtype: Any = None
) -> Any:
    """Returns a categorical column of numbers from 0 to `bucket_size - 1`."""
    return tf.feature_column.categorical_column_with_identity(column_name, bucket_size)


def weighted_sparse_column(sparse_id_column: Any, weight_column_name: str, dtype: Any = None) -> Any:
    """Returns a categorical column whose values carry weights."""
    return tf.feature_column.weighted_categorical_column(
        sparse_id_column, weight_column_name, tf.as_dtype(dtype or "float32")
    )


def embedding_column(
    sparse_id_column: Any,
    dimension: int,
    combiner: str = "mean",
    initializer: Any = None,
    ckpt_to_load_from: str | None = None,
    tensor_name_in_ckpt: str | None = None,
    max_norm: float | None = None,
    trainable: bool = True,
) -> Any:
    """Returns a dense column of learned vectors."""
    return tf.feature_column.embedding_column(
        sparse_id_column, dimension, combiner, initializer, ckpt_to_load_from, tensor_name_in_ckpt, max_norm, trainable
    )


def one_hot_column(sparse_id_column: Any) -> Any:
    """Returns a dense column of zeros and ones."""
    return tf.feature_column.indicator_column(sparse_id_column)


def bucketized_column(source_column: Any, boundaries: Sequence[float]) -> Any:
    """Returns a numeric column cut at boundaries."""
    return tf.feature_column.bucketized_column(source_column, list(boundaries))


def crossed_column(columns: Sequence[Any], hash_bucket_size: int, combiner: str = "sum", hash_key: Any = None) -> Any:
    """Returns the combinations of columns, hashed; a hashed column takes part with its raw values."""
    raw = [one.key if type(one).__name__ == "HashedCategoricalColumn" else one for one in columns]
    return tf.feature_column.crossed_column(raw, hash_bucket_size, hash_key)


def input_from_feature_columns(
    columns_to_tensors: Mapping[str, Any],
    feature_columns: Sequence[Any],
    weight_collections: Any = None,
    trainable: bool = True,
    scope: Any = None,
) -> Any:
    """Returns the dense columns of a batch side by side, float32 [batch, width]."""
    with tf.variable_scope(scope, "input_from_feature_columns", list(columns_to_tensors.values())):
        return tf.feature_column.input_layer(columns_to_tensors, feature_columns, weight_collections, trainable)


def create_feature_spec_for_parsing(feature_columns: Sequence[Any]) -> dict[str, Any]:
    """Returns what `tf.parse_example` needs to read the columns."""
    spec: dict[str, Any] = tf.feature_column.make_parse_example_spec(list(feature_columns))
    return spec
