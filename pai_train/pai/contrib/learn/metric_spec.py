"""`tf.contrib.learn.MetricSpec`: which prediction a metric is of, and which label."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pai_train.pai.estimator.model_fn import names_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_LABELS = ("labels", "targets", "label", "target")


class PredictionKey:
    """Names of predictions."""

    CLASSES = "classes"
    PROBABILITIES = "probabilities"
    LOGITS = "logits"
    LOGISTIC = "logistic"
    SCORES = "scores"
    GENERIC = "output"


class MetricSpec:
    """A metric of one prediction and one label.

    Args:
        metric_fn: From predictions and labels, and as it likes weights, to a value, or to (value, update).
        prediction_key: Which prediction; needed where there are several.
        label_key: Which label, likewise.
        weight_key: The feature that holds a weight per row.
    """

    def __init__(
        self,
        metric_fn: Callable[..., Any],
        prediction_key: str | None = None,
        label_key: str | None = None,
        weight_key: str | None = None,
    ) -> None:
        self.metric_fn, self.prediction_key = metric_fn, prediction_key
        self.label_key, self.weight_key = label_key, weight_key

    def create_metric_ops(self, inputs: Any, labels: Any, predictions: Any) -> Any:
        """Returns what the metric function makes of one batch.

        Raises:
            ValueError: A key is missing where there are several, or names nothing.
        """
        predictions = _chosen("prediction_key", predictions, self.prediction_key)
        labels = _chosen("label_key", labels, self.label_key)
        more = {} if self.weight_key is None else {"weights": inputs[self.weight_key]}
        names = names_of(self.metric_fn)
        label = next((name for name in _LABELS if name in names), None)
        if "predictions" in names and label is not None:
            return self.metric_fn(**{"predictions": predictions, label: labels}, **more)
        return self.metric_fn(predictions, labels, **more)


def metric_ops(metrics: Mapping[Any, Any], features: Any, labels: Any, predictions: Any) -> dict[str, Any]:
    """Returns (value, update) by name.

    Args:
        metrics: A `MetricSpec` or a function of predictions and labels by name, or by (name, prediction).
        features: Of one batch.
        labels: Of the same.
        predictions: Of the same.
    """
    made = {}
    for key, metric in metrics.items():
        name, prediction = key if isinstance(key, tuple) else (key, None)
        spec = metric if isinstance(metric, MetricSpec) else MetricSpec(metric, prediction)
        made[name] = spec.create_metric_ops(features, labels, predictions)
    return made


def _chosen(what: str, values: Any, key: str | None) -> Any:
    if not isinstance(values, dict):
        if key is not None and key not in (PredictionKey.CLASSES, PredictionKey.GENERIC):
            raise ValueError(f"MetricSpec: {what} is {key!r}, and there is one tensor without a name")
        return values
    if key is None and len(values) == 1:
        return next(iter(values.values()))
    if key not in values:
        raise ValueError(f"MetricSpec: wanted one of {', '.join(map(str, values))} as {what}, got {key!r}")
    return values[key]
