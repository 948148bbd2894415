"""What `tf.parse_example` needs to read a canned estimator's features and labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pai_train.pai.v1 import tf

if TYPE_CHECKING:
    from collections.abc import Sequence


def classifier_parse_example_spec(
    feature_columns: Sequence[Any],
    label_key: str,
    label_dtype: Any = None,
    label_default: Any = None,
    weight_column: Any = None,
) -> dict[str, Any]:
    """Returns the features of columns, of one label (an integer unless told) and of a weight."""
    label = tf.FixedLenFeature((1,), tf.as_dtype(label_dtype or "int64"), label_default)
    return _spec(feature_columns, label_key, label, weight_column)


def regressor_parse_example_spec(
    feature_columns: Sequence[Any],
    label_key: str,
    label_dtype: Any = None,
    label_default: Any = None,
    label_dimension: int = 1,
    weight_column: Any = None,
) -> dict[str, Any]:
    """Returns the features of columns, of labels (floats unless told) and of a weight."""
    label = tf.FixedLenFeature((label_dimension,), tf.as_dtype(label_dtype or "float32"), label_default)
    return _spec(feature_columns, label_key, label, weight_column)


def _spec(feature_columns: Sequence[Any], label_key: str, label: Any, weight_column: Any) -> dict[str, Any]:
    columns = list(feature_columns)
    if weight_column is not None:
        column = tf.feature_column.numeric_column(weight_column) if isinstance(weight_column, str) else weight_column
        columns.append(column)
    spec: dict[str, Any] = tf.feature_column.make_parse_example_spec(columns)
    if label_key in spec:
        raise ValueError(f"the label is called like a feature: {label_key}")
    return {**spec, label_key: label}
