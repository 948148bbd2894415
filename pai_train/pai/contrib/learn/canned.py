"""`tf.contrib.learn`'s canned estimators, over those of `tf.estimator`: linear, deep, and both together."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from pai_train.pai import estimator as core
from pai_train.pai.contrib.estimator import clip_gradients_by_norm
from pai_train.pai.contrib.layers.columns import real_valued_column
from pai_train.pai.contrib.layers.optimize import optimizer_of
from pai_train.pai.contrib.learn.kinds import NAMELESS, Classifier, Regressor
from pai_train.pai.gone import argument_gone
from pai_train.pai.v1 import tf

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def infer_real_valued_columns_from_input(x: Any) -> list[Any]:
    """Returns one column for rows in memory [rows, values], or one for each array of a dict."""
    arrays = x if isinstance(x, dict) else {"": x}
    return [real_valued_column(name, _width(one)) for name, one in arrays.items()]


def infer_real_valued_columns_from_input_fn(input_fn: Callable[[], Any]) -> list[Any]:
    """Returns one column for each feature that an input function gives."""
    with tf.Graph().as_default():
        features, _ = input_fn()
        return infer_real_valued_columns_from_input(features)


def _width(one: Any) -> int:
    shape = [int(size) if size is not None else None for size in one.shape]
    return int(shape[1] or 1) if len(shape) > 1 else 1


class DNNClassifier(Classifier):
    """Classes by layers of units."""

    def __init__(
        self,
        hidden_units: Sequence[int],
        feature_columns: Sequence[Any],
        model_dir: Any = None,
        n_classes: int = 2,
        weight_column_name: str | None = None,
        optimizer: Any = None,
        activation_fn: Any = None,
        dropout: float | None = None,
        gradient_clip_norm: float | None = None,
        enable_centered_bias: bool = False,
        config: Any = None,
        feature_engineering_fn: Callable[..., Any] | None = None,
        embedding_lr_multipliers: Any = None,
        input_layer_min_slice_size: int | None = None,
        label_keys: Sequence[str] | None = None,
    ) -> None:
        _refuse("DNNClassifier", enable_centered_bias, embedding_lr_multipliers)
        self.is_named = label_keys is not None
        made = core.DNNClassifier(
            hidden_units,
            _named(feature_columns),
            model_dir,
            n_classes,
            weight_column_name,
            label_keys,
            _clipped(optimizer or "Adagrad", 0.05, gradient_clip_norm),
            activation_fn,
            dropout,
            config=config,
            loss_reduction=_MEAN,
        )
        super().__init__(made, feature_engineering_fn)


class DNNRegressor(Regressor):
    """Values by layers of units."""

    def __init__(
        self,
        hidden_units: Sequence[int],
        feature_columns: Sequence[Any],
        model_dir: Any = None,
        weight_column_name: str | None = None,
        optimizer: Any = None,
        activation_fn: Any = None,
        dropout: float | None = None,
        gradient_clip_norm: float | None = None,
        enable_centered_bias: bool = False,
        config: Any = None,
        feature_engineering_fn: Callable[..., Any] | None = None,
        label_dimension: int = 1,
        embedding_lr_multipliers: Any = None,
        input_layer_min_slice_size: int | None = None,
    ) -> None:
        _refuse("DNNRegressor", enable_centered_bias, embedding_lr_multipliers)
        made = core.DNNRegressor(
            hidden_units,
            _named(feature_columns),
            model_dir,
            label_dimension,
            weight_column_name,
            _clipped(optimizer or "Adagrad", 0.05, gradient_clip_norm),
            activation_fn,
            dropout,
            config=config,
            loss_reduction=_MEAN,
        )
        super().__init__(made, feature_engineering_fn)


class LinearClassifier(Classifier):
    """Classes by a linear model."""

    def __init__(
        self,
        feature_columns: Sequence[Any],
        model_dir: Any = None,
        n_classes: int = 2,
        weight_column_name: str | None = None,
        optimizer: Any = None,
        gradient_clip_norm: float | None = None,
        enable_centered_bias: bool = False,
        _joint_weight: bool = False,
        config: Any = None,
        feature_engineering_fn: Callable[..., Any] | None = None,
        label_keys: Sequence[str] | None = None,
    ) -> None:
        _refuse("LinearClassifier", enable_centered_bias)
        self.is_named = label_keys is not None
        columns = _named(feature_columns)
        made = core.LinearClassifier(
            columns,
            model_dir,
            n_classes,
            weight_column_name,
            label_keys,
            _clipped(optimizer or "Ftrl", _linear_rate(0.2, columns), gradient_clip_norm),
            config,
            loss_reduction=_MEAN,
        )
        super().__init__(made, feature_engineering_fn)


class LinearRegressor(Regressor):
    """Values by a linear model."""

    def __init__(
        self,
        feature_columns: Sequence[Any],
        model_dir: Any = None,
        weight_column_name: str | None = None,
        optimizer: Any = None,
        gradient_clip_norm: float | None = None,
        enable_centered_bias: bool = False,
        label_dimension: int = 1,
        _joint_weights: bool = False,
        config: Any = None,
        feature_engineering_fn: Callable[..., Any] | None = None,
    ) -> None:
        _refuse("LinearRegressor", enable_centered_bias)
        columns = _named(feature_columns)
        made = core.LinearRegressor(
            columns,
            model_dir,
            label_dimension,
            weight_column_name,
            _clipped(optimizer or "Ftrl", _linear_rate(0.2, columns), gradient_clip_norm),
            config,
            loss_reduction=_MEAN,
        )
        super().__init__(made, feature_engineering_fn)


class DNNLinearCombinedClassifier(Classifier):
    """Classes by a linear model and layers of units together: wide and deep."""

    def __init__(
        self,
        model_dir: Any = None,
        n_classes: int = 2,
        weight_column_name: str | None = None,
        linear_feature_columns: Sequence[Any] | None = None,
        linear_optimizer: Any = None,
        _joint_linear_weights: bool = False,
        dnn_feature_columns: Sequence[Any] | None = None,
        dnn_optimizer: Any = None,
        dnn_hidden_units: Sequence[int] | None = None,
        dnn_activation_fn: Any = None,
        dnn_dropout: float | None = None,
        gradient_clip_norm: float | None = None,
        enable_centered_bias: bool = False,
        config: Any = None,
        feature_engineering_fn: Callable[..., Any] | None = None,
        embedding_lr_multipliers: Any = None,
        input_layer_min_slice_size: int | None = None,
        label_keys: Sequence[str] | None = None,
        fix_global_step_increment_bug: bool = True,
    ) -> None:
        _refuse("DNNLinearCombinedClassifier", enable_centered_bias, embedding_lr_multipliers)
        self.is_named = label_keys is not None
        linear, deep = _named(linear_feature_columns), _named(dnn_feature_columns)
        made = core.DNNLinearCombinedClassifier(
            model_dir,
            linear,
            _clipped(linear_optimizer or "Ftrl", _linear_rate(0.2, linear), gradient_clip_norm),
            deep,
            _clipped(dnn_optimizer or "Adagrad", 0.05, gradient_clip_norm),
            dnn_hidden_units,
            dnn_activation_fn,
            dnn_dropout,
            n_classes,
            weight_column_name,
            label_keys,
            config=config,
            loss_reduction=_MEAN,
        )
        super().__init__(made, feature_engineering_fn)


class DNNLinearCombinedRegressor(Regressor):
    """Values by a linear model and layers of units together."""

    def __init__(
        self,
        model_dir: Any = None,
        weight_column_name: str | None = None,
        linear_feature_columns: Sequence[Any] | None = None,
        linear_optimizer: Any = None,
        _joint_linear_weights: bool = False,
        dnn_feature_columns: Sequence[Any] | None = None,
        dnn_optimizer: Any = None,
        dnn_hidden_units: Sequence[int] | None = None,
        dnn_activation_fn: Any = None,
        dnn_dropout: float | None = None,
        gradient_clip_norm: float | None = None,
        enable_centered_bias: bool = False,
        label_dimension: int = 1,
        config: Any = None,
        feature_engineering_fn: Callable[..., Any] | None = None,
        embedding_lr_multipliers: Any = None,
        input_layer_min_slice_size: int | None = None,
        fix_global_step_increment_bug: bool = True,
    ) -> None:
        _refuse("DNNLinearCombinedRegressor", enable_centered_bias, embedding_lr_multipliers)
        linear, deep = _named(linear_feature_columns), _named(dnn_feature_columns)
        made = core.DNNLinearCombinedRegressor(
            model_dir,
            linear,
            _clipped(linear_optimizer or "Ftrl", _linear_rate(0.2, linear), gradient_clip_norm),
            deep,
            _clipped(dnn_optimizer or "Adagrad", 0.05, gradient_clip_norm),
            dnn_hidden_units,
            dnn_activation_fn,
            dnn_dropout,
            label_dimension,
            weight_column_name,
            config=config,
            loss_reduction=_MEAN,
        )
        super().__init__(made, feature_engineering_fn)


_MEAN = tf.losses.Reduction.MEAN


def _named(columns: Sequence[Any] | None) -> list[Any]:
    """Returns columns, of which the one for rows in memory has a name."""
    found: list[Any] = []
    for column in columns or ():
        nameless = getattr(column, "key", None) == ""
        found.append(column._replace(key=NAMELESS) if nameless else column)
    return found


def _linear_rate(most: float, columns: Sequence[Any]) -> float:
    return min(most, 1 / math.sqrt(max(1, len(columns))))


def _clipped(optimizer: Any, rate: float, norm: float | None) -> Any:
    """Returns what makes an optimizer, in the graph that it is for, with clipped gradients if a norm is given."""

    def make() -> Any:
        found = optimizer_of(optimizer, rate if isinstance(optimizer, str | type) else None)
        return found if norm is None else clip_gradients_by_norm(found, norm)

    return make


def _refuse(name: str, centered: bool, multipliers: Any = None) -> None:
    symbol = f"tf.contrib.learn.{name}"
    if centered:
        raise argument_gone(symbol, "enable_centered_bias=True", "leave it out: the logits have a bias")
    if multipliers:
        raise argument_gone(symbol, "embedding_lr_multipliers", "give the embedding's part an optimizer of its own")
