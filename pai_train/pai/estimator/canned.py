"""Canned estimators over feature columns: linear, deep, and both together; classes or values."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from pai_train.pai.contrib.layers.optimize import optimizer_of
from pai_train.pai.estimator.estimator import Estimator
from pai_train.pai.estimator.heads import Head, RegressionHead, class_head
from pai_train.pai.estimator.spec import ModeKeys
from pai_train.pai.v1 import tf

if TYPE_CHECKING:
    from collections.abc import Sequence

_SUM = "weighted_sum"
_LINEAR, _DEEP = "linear", "dnn"


class _Wide:
    """A linear model: one weight per value of each column."""

    def __init__(self, columns: Sequence[Any], optimizer: Any, rate: float, sparse_combiner: str) -> None:
        self._columns, self._optimizer, self._combiner = list(columns), optimizer, sparse_combiner
        self._rate = min(rate, 1 / math.sqrt(len(self._columns)))

    def logits(self, features: Any, width: int, training: bool) -> Any:
        with tf.variable_scope(_LINEAR, values=list(features.values())):
            return tf.feature_column.linear_model(features, self._columns, width, self._combiner)

    def optimizer(self) -> Any:
        return optimizer_of(self._optimizer, None if callable(self._optimizer) else self._rate)

    scope = _LINEAR


class _Deep:
    """Layers of units over the columns side by side."""

    def __init__(
        self, columns: Sequence[Any], units: Sequence[int], optimizer: Any, activation: Any, dropout: float | None,
        batch_norm: bool,
    ) -> None:  # fmt: skip
        self._columns, self._units, self._optimizer = list(columns), list(units), optimizer
        self._activation, self._dropout, self._batch_norm = activation or tf.nn.relu, dropout, batch_norm

    def logits(self, features: Any, width: int, training: bool) -> Any:
        with tf.variable_scope(_DEEP, values=list(features.values())):
            with tf.variable_scope("input_from_feature_columns"):
                net = tf.feature_column.input_layer(features, self._columns)
            for number, units in enumerate(self._units):
                net = tf.layers.dense(net, units, self._activation, name=f"hiddenlayer_{number}",
                                      kernel_initializer=tf.glorot_uniform_initializer())  # fmt: skip
                if self._dropout and training:
                    net = tf.layers.dropout(net, self._dropout, training=True)
                if self._batch_norm:
                    name = f"hiddenlayer_{number}/batchnorm"
                    net = tf.layers.batch_normalization(net, momentum=0.999, training=training, name=name)
            return tf.layers.dense(net, width, name="logits", kernel_initializer=tf.glorot_uniform_initializer())

    def optimizer(self) -> Any:
        return optimizer_of(self._optimizer, None if callable(self._optimizer) else 0.05)

    scope = _DEEP


def _model_fn(head: Head, parts: Sequence[Any]) -> Any:
    """Returns the model function of one part or two, whose logits are added and which are trained side by side."""

    def model_fn(features: Any, labels: Any, mode: str, config: Any) -> Any:
        if not isinstance(features, dict):
            raise ValueError(f"wanted features as a dict by column, got {features!r}")
        training = mode == ModeKeys.TRAIN
        logits = [part.logits(features, head.logits_dimension, training) for part in parts]

        def train_op(loss: Any) -> Any:
            updates = tf.get_collection(tf.GraphKeys.UPDATE_OPS)
            steps = [
                part.optimizer().minimize(
                    loss, var_list=tf.get_collection(tf.GraphKeys.TRAINABLE_VARIABLES, f"{part.scope}/")
                )
                for part in parts
            ]
            with tf.control_dependencies([*steps, *updates]):
                return tf.assign_add(tf.train.get_global_step(), 1).op

        return head.spec(features, labels, mode, tf.add_n(logits), train_op)

    return model_fn


class LinearClassifier(Estimator):
    """Classes by a linear model."""

    def __init__(
        self,
        feature_columns: Sequence[Any],
        model_dir: Any = None,
        n_classes: int = 2,
        weight_column: Any = None,
        label_vocabulary: Sequence[Any] | None = None,
        optimizer: Any = "Ftrl",
        config: Any = None,
        partitioner: Any = None,
        warm_start_from: Any = None,
        loss_reduction: str = _SUM,
        sparse_combiner: str = "sum",
    ) -> None:
        head = class_head(n_classes, weight_column, label_vocabulary, loss_reduction)
        wide = _Wide(feature_columns, optimizer, 0.2, sparse_combiner)
        super().__init__(_model_fn(head, [wide]), model_dir, config, None, warm_start_from)


class LinearRegressor(Estimator):
    """Values by a linear model."""

    def __init__(
        self,
        feature_columns: Sequence[Any],
        model_dir: Any = None,
        label_dimension: int = 1,
        weight_column: Any = None,
        optimizer: Any = "Ftrl",
        config: Any = None,
        partitioner: Any = None,
        warm_start_from: Any = None,
        loss_reduction: str = _SUM,
        sparse_combiner: str = "sum",
    ) -> None:
        head = RegressionHead(label_dimension, weight_column, loss_reduction)
        wide = _Wide(feature_columns, optimizer, 0.2, sparse_combiner)
        super().__init__(_model_fn(head, [wide]), model_dir, config, None, warm_start_from)


class DNNClassifier(Estimator):
    """Classes by layers of units."""

    def __init__(
        self,
        hidden_units: Sequence[int],
        feature_columns: Sequence[Any],
        model_dir: Any = None,
        n_classes: int = 2,
        weight_column: Any = None,
        label_vocabulary: Sequence[Any] | None = None,
        optimizer: Any = "Adagrad",
        activation_fn: Any = None,
        dropout: float | None = None,
        input_layer_partitioner: Any = None,
        config: Any = None,
        warm_start_from: Any = None,
        loss_reduction: str = _SUM,
        batch_norm: bool = False,
    ) -> None:
        head = class_head(n_classes, weight_column, label_vocabulary, loss_reduction)
        deep = _Deep(feature_columns, hidden_units, optimizer, activation_fn, dropout, batch_norm)
        super().__init__(_model_fn(head, [deep]), model_dir, config, None, warm_start_from)


class DNNRegressor(Estimator):
    """Values by layers of units."""

    def __init__(
        self,
        hidden_units: Sequence[int],
        feature_columns: Sequence[Any],
        model_dir: Any = None,
        label_dimension: int = 1,
        weight_column: Any = None,
        optimizer: Any = "Adagrad",
        activation_fn: Any = None,
        dropout: float | None = None,
        input_layer_partitioner: Any = None,
        config: Any = None,
        warm_start_from: Any = None,
        loss_reduction: str = _SUM,
        batch_norm: bool = False,
    ) -> None:
        head = RegressionHead(label_dimension, weight_column, loss_reduction)
        deep = _Deep(feature_columns, hidden_units, optimizer, activation_fn, dropout, batch_norm)
        super().__init__(_model_fn(head, [deep]), model_dir, config, None, warm_start_from)


def _both(
    linear: Any, linear_optimizer: Any, deep: Any, deep_optimizer: Any, units: Any, activation: Any, dropout: Any,
    batch_norm: bool, combiner: str,
) -> list[Any]:  # fmt: skip
    if not linear and not deep:
        raise ValueError("wanted linear_feature_columns or dnn_feature_columns")
    if bool(deep) != bool(units):
        raise ValueError("wanted dnn_hidden_units with dnn_feature_columns, and neither without the other")
    parts: list[Any] = []
    if deep:
        parts.append(_Deep(deep, units, deep_optimizer, activation, dropout, batch_norm))
    if linear:
        parts.append(_Wide(linear, linear_optimizer, 0.005, combiner))
    return parts


class DNNLinearCombinedClassifier(Estimator):
    """Classes by a linear model and layers of units together: wide and deep."""

    def __init__(
        self,
        model_dir: Any = None,
        linear_feature_columns: Sequence[Any] | None = None,
        linear_optimizer: Any = "Ftrl",
        dnn_feature_columns: Sequence[Any] | None = None,
        dnn_optimizer: Any = "Adagrad",
        dnn_hidden_units: Sequence[int] | None = None,
        dnn_activation_fn: Any = None,
        dnn_dropout: float | None = None,
        n_classes: int = 2,
        weight_column: Any = None,
        label_vocabulary: Sequence[Any] | None = None,
        input_layer_partitioner: Any = None,
        config: Any = None,
        warm_start_from: Any = None,
        loss_reduction: str = _SUM,
        batch_norm: bool = False,
        linear_sparse_combiner: str = "sum",
    ) -> None:
        head = class_head(n_classes, weight_column, label_vocabulary, loss_reduction)
        parts = _both(
            linear_feature_columns, linear_optimizer, dnn_feature_columns, dnn_optimizer, dnn_hidden_units,
            dnn_activation_fn, dnn_dropout, batch_norm, linear_sparse_combiner,
        )  # fmt: skip
        super().__init__(_model_fn(head, parts), model_dir, config, None, warm_start_from)


class DNNLinearCombinedRegressor(Estimator):
    """Values by a linear model and layers of units together."""

    def __init__(
        self,
        model_dir: Any = None,
        linear_feature_columns: Sequence[Any] | None = None,
        linear_optimizer: Any = "Ftrl",
        dnn_feature_columns: Sequence[Any] | None = None,
        dnn_optimizer: Any = "Adagrad",
        dnn_hidden_units: Sequence[int] | None = None,
        dnn_activation_fn: Any = None,
        dnn_dropout: float | None = None,
        label_dimension: int = 1,
        weight_column: Any = None,
        input_layer_partitioner: Any = None,
        config: Any = None,
        warm_start_from: Any = None,
        loss_reduction: str = _SUM,
        batch_norm: bool = False,
        linear_sparse_combiner: str = "sum",
    ) -> None:
        head = RegressionHead(label_dimension, weight_column, loss_reduction)
        parts = _both(
            linear_feature_columns, linear_optimizer, dnn_feature_columns, dnn_optimizer, dnn_hidden_units,
            dnn_activation_fn, dnn_dropout, batch_norm, linear_sparse_combiner,
        )  # fmt: skip
        super().__init__(_model_fn(head, parts), model_dir, config, None, warm_start_from)
