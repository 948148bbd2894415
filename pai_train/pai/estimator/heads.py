"""From a canned model's logits to its loss, predictions, metrics and outputs: two classes, several, or values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pai_train.pai.estimator.spec import (
    ClassificationOutput,
    EstimatorSpec,
    ModeKeys,
    PredictOutput,
    RegressionOutput,
)
from pai_train.pai.v1 import tf

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class Head:
    """What all heads share: weights, the summed loss, and the spec of each mode.

    Args:
        logits_dimension: The logits' width.
        weight_column: A feature with a weight per row, or its numeric column.
        loss_reduction: `tf.losses.Reduction.SUM`, as in TensorFlow 1, or another.
    """

    def __init__(self, logits_dimension: int, weight_column: Any, loss_reduction: Any) -> None:
        self.logits_dimension = logits_dimension
        self._weight_column, self._reduction = weight_column, loss_reduction

    def spec(
        self, features: Any, labels: Any, mode: str, logits: Any, train_op_fn: Callable[[Any], Any]
    ) -> EstimatorSpec:
        """Returns the spec of one mode.

        Args:
            features: A dict of tensors, for the weights.
            labels: [batch] or [batch, 1], or [batch, width] for values; None in prediction.
            mode: The mode.
            logits: Float [batch, width].
            train_op_fn: From the loss to one step.
        """
        predictions = self._predictions(logits)
        if mode == ModeKeys.PREDICT:
            return EstimatorSpec(mode, predictions=predictions, export_outputs=self._outputs(predictions))
        labels = self._labels(labels)
        losses = self._losses(labels, logits)
        weights = self._weights(features)
        regularization = tf.losses.get_regularization_losses()
        loss = tf.losses.compute_weighted_loss(losses, weights, reduction=self._reduction)
        if regularization:
            loss += tf.add_n(regularization)
        if mode == ModeKeys.TRAIN:
            return EstimatorSpec(mode, predictions=predictions, loss=loss, train_op=train_op_fn(loss))
        metrics = {"average_loss": tf.metrics.mean(losses, weights * tf.ones_like(losses))}
        metrics.update(self._metrics(labels, predictions, weights))
        return EstimatorSpec(mode, predictions=predictions, loss=loss, eval_metric_ops=metrics)

    def _weights(self, features: Any) -> Any:
        column = self._weight_column
        if column is None:
            return 1.0
        name = column if isinstance(column, str) else column.key
        weights = tf.cast(features[name], tf.float32)
        return tf.reshape(weights, [-1, 1])

    def _labels(self, labels: Any) -> Any:
        raise NotImplementedError

    def _losses(self, labels: Any, logits: Any) -> Any:
        raise NotImplementedError

    def _predictions(self, logits: Any) -> dict[str, Any]:
        raise NotImplementedError

    def _metrics(self, labels: Any, predictions: dict[str, Any], weights: Any) -> dict[str, Any]:
        raise NotImplementedError

    def _outputs(self, predictions: dict[str, Any]) -> dict[str, Any]:
        raise NotImplementedError


class _ClassHead(Head):
    """Classes: numbers, or texts of a vocabulary."""

    def __init__(
        self, classes: int, dimension: int, weight_column: Any, vocabulary: Sequence[Any] | None, reduction: Any
    ) -> None:
        super().__init__(dimension, weight_column, reduction)
        self._classes, self._vocabulary = classes, list(vocabulary) if vocabulary else None
        if self._vocabulary and len(self._vocabulary) != classes:
            raise ValueError(f"label_vocabulary: wanted {classes} labels, got {len(self._vocabulary)}")

    def _labels(self, labels: Any) -> Any:
        if labels is None:
            raise ValueError("the input has no labels: wanted (features, labels)")
        labels = tf.reshape(labels, [-1, 1])
        if self._vocabulary:
            from pai_train.pai.contrib.lookup import index_table_from_tensor

            labels = index_table_from_tensor(self._vocabulary, name="class_id_lookup").lookup(labels)
        elif labels.dtype == tf.string:
            raise ValueError("the labels are texts: wanted a label_vocabulary")
        labels = tf.cast(labels, tf.int64)
        known = tf.assert_less(labels, tf.constant(self._classes, tf.int64), message="label too big")
        with tf.control_dependencies([known, tf.assert_non_negative(labels, message="label below 0 or not known")]):
            return tf.identity(labels)

    def _named(self, ids: Any) -> Any:
        return tf.gather(tf.constant(self._vocabulary), ids) if self._vocabulary else tf.as_string(ids)

    def _class_predictions(self, probabilities: Any, ids: Any) -> dict[str, Any]:
        rows = tf.shape(probabilities)[0]
        every = tf.constant(self._vocabulary or [str(one) for one in range(self._classes)])
        return {
            "probabilities": probabilities,
            "class_ids": ids,
            "classes": self._named(ids),
            "all_class_ids": tf.tile(tf.range(self._classes)[tf.newaxis], [rows, 1]),
            "all_classes": tf.tile(every[tf.newaxis], [rows, 1]),
        }

    def _outputs(self, predictions: dict[str, Any]) -> dict[str, Any]:
        classified = ClassificationOutput(predictions["probabilities"], predictions["all_classes"])
        return {
            "serving_default": classified,
            "classification": classified,
            "predict": PredictOutput(predictions),
        }


class BinaryHead(_ClassHead):
    """Two classes from one logit."""

    def __init__(self, weight_column: Any, vocabulary: Sequence[Any] | None, reduction: Any) -> None:
        super().__init__(2, 1, weight_column, vocabulary, reduction)

    def _losses(self, labels: Any, logits: Any) -> Any:
        return tf.nn.sigmoid_cross_entropy_with_logits(labels=tf.cast(labels, tf.float32), logits=logits)

    def _predictions(self, logits: Any) -> dict[str, Any]:
        logistic = tf.sigmoid(logits)
        probabilities = tf.concat([1 - logistic, logistic], 1)
        ids = tf.argmax(probabilities, 1)[:, tf.newaxis]
        return {"logits": logits, "logistic": logistic, **self._class_predictions(probabilities, ids)}

    def _metrics(self, labels: Any, predictions: dict[str, Any], weights: Any) -> dict[str, Any]:
        labels = tf.cast(labels, tf.float32)
        weights = weights * tf.ones_like(labels)
        logistic, ids = predictions["logistic"], predictions["class_ids"]
        mean, update = tf.metrics.mean(labels, weights)
        return {
            "accuracy": tf.metrics.accuracy(labels, tf.cast(ids, tf.float32), weights),
            "accuracy_baseline": (tf.maximum(mean, 1 - mean), update),
            "auc": tf.metrics.auc(labels, logistic, weights),
            "auc_precision_recall": tf.metrics.auc(
                labels, logistic, weights, curve="PR", summation_method="careful_interpolation"
            ),
            "label/mean": tf.metrics.mean(labels, weights),
            "precision": tf.metrics.precision(labels, ids, weights),
            "prediction/mean": tf.metrics.mean(logistic, weights),
            "recall": tf.metrics.recall(labels, ids, weights),
        }

    def _outputs(self, predictions: dict[str, Any]) -> dict[str, Any]:
        return {**super()._outputs(predictions), "regression": RegressionOutput(predictions["logistic"])}


class MultiClassHead(_ClassHead):
    """Three classes or more."""

    def __init__(self, classes: int, weight_column: Any, vocabulary: Sequence[Any] | None, reduction: Any) -> None:
        super().__init__(classes, classes, weight_column, vocabulary, reduction)

    def _losses(self, labels: Any, logits: Any) -> Any:
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels[:, 0], logits=logits)
        return losses[:, tf.newaxis]

    def _predictions(self, logits: Any) -> dict[str, Any]:
        ids = tf.argmax(logits, 1)[:, tf.newaxis]
        return {"logits": logits, **self._class_predictions(tf.nn.softmax(logits), ids)}

    def _metrics(self, labels: Any, predictions: dict[str, Any], weights: Any) -> dict[str, Any]:
        weights = weights * tf.ones_like(labels, tf.float32)
        return {"accuracy": tf.metrics.accuracy(labels, predictions["class_ids"], weights)}


class RegressionHead(Head):
    """Values, by squared error."""

    def __init__(self, dimension: int, weight_column: Any, reduction: Any) -> None:
        super().__init__(dimension, weight_column, reduction)

    def _labels(self, labels: Any) -> Any:
        if labels is None:
            raise ValueError("the input has no labels: wanted (features, labels)")
        return tf.reshape(tf.cast(labels, tf.float32), [-1, self.logits_dimension])

    def _losses(self, labels: Any, logits: Any) -> Any:
        return tf.square(labels - logits)

    def _predictions(self, logits: Any) -> dict[str, Any]:
        return {"predictions": logits}

    def _metrics(self, labels: Any, predictions: dict[str, Any], weights: Any) -> dict[str, Any]:
        weights = weights * tf.ones_like(labels)
        return {
            "label/mean": tf.metrics.mean(labels, weights),
            "prediction/mean": tf.metrics.mean(predictions["predictions"], weights),
        }

    def _outputs(self, predictions: dict[str, Any]) -> dict[str, Any]:
        value = RegressionOutput(predictions["predictions"])
        return {"serving_default": value, "regression": value, "predict": PredictOutput(predictions)}


def class_head(n_classes: int, weight_column: Any, label_vocabulary: Any, loss_reduction: Any) -> Head:
    """Returns the head of so many classes.

    Raises:
        ValueError: Fewer than two classes, or a vocabulary of another size.
    """
    if n_classes < 2:
        raise ValueError(f"wanted n_classes of 2 or more, got {n_classes}")
    if n_classes == 2:
        return BinaryHead(weight_column, label_vocabulary, loss_reduction)
    return MultiClassHead(n_classes, weight_column, label_vocabulary, loss_reduction)
