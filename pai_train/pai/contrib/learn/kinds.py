"""What canned estimators of `tf.contrib.learn` share: their predictions and metrics, over those of `tf.estimator`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pai_train.pai.contrib.learn.estimators import BaseEstimator
from pai_train.pai.contrib.learn.metric_spec import PredictionKey

if TYPE_CHECKING:
    from collections.abc import Callable

NAMELESS = "x"
"""What rows in memory, which have no name, are called inside."""
_NAMES = {
    "label/mean": "labels/actual_label_mean",
    "prediction/mean": "labels/prediction_mean",
    "accuracy_baseline": "accuracy/baseline_label_mean",
    "precision": "precision/positive_threshold_0.500000_mean",
    "recall": "recall/positive_threshold_0.500000_mean",
}


class Canned(BaseEstimator):
    """A canned estimator of `tf.estimator` with the predictions and metrics of `tf.contrib.learn`.

    Attributes:
        key: The name of what it predicts if nothing else is asked for.
    """

    key: str

    def __init__(self, made: Any, engineering: Callable[..., Any] | None) -> None:
        inner = made.model_fn

        def model_fn(features: Any, labels: Any, mode: str, params: Any, config: Any) -> Any:
            if engineering is not None:
                features, labels = engineering(features, labels)
            features = features if isinstance(features, dict) else {NAMELESS: features}
            spec = inner(
                {NAMELESS if name == "" else name: one for name, one in features.items()}, labels, mode, config
            )
            metrics = {_NAMES.get(name, name): one for name, one in (spec.eval_metric_ops or {}).items()}
            return spec._replace(predictions=self._predictions(spec.predictions), eval_metric_ops=metrics or None)

        super().__init__(model_fn, None, made.config)

    def _predictions(self, found: Any) -> Any:
        raise NotImplementedError

    def predict(
        self, x: Any = None, input_fn: Any = None, batch_size: int | None = None, outputs: Any = None,
        as_iterable: bool = True, iterate_batches: bool = False,
    ) -> Any:  # fmt: skip
        """Returns the class or the value of each row, or some predictions by name."""
        if outputs:
            return super().predict(x, input_fn, batch_size, outputs, as_iterable, iterate_batches)
        return self._one(self.key, x, input_fn, batch_size, as_iterable)

    def _one(self, key: str, x: Any, input_fn: Any, batch_size: int | None, as_iterable: bool) -> Any:
        found = BaseEstimator.predict(self, x, input_fn, batch_size, [key], as_iterable)
        return (row[key] for row in found) if as_iterable else found[key]


class Classifier(Canned):
    """Classes by number, or by name where there are `label_keys`."""

    key = PredictionKey.CLASSES
    is_named = False

    def _predictions(self, found: Any) -> Any:
        classes = found["classes" if self.is_named else "class_ids"][:, 0]
        kept = {name: found[name] for name in ("logits", "probabilities", "logistic") if name in found}
        return {PredictionKey.CLASSES: classes, **kept}

    def predict_classes(
        self, x: Any = None, input_fn: Any = None, batch_size: int | None = None, as_iterable: bool = True
    ) -> Any:
        """Returns the class of each row."""
        return self._one(PredictionKey.CLASSES, x, input_fn, batch_size, as_iterable)

    def predict_proba(
        self, x: Any = None, input_fn: Any = None, batch_size: int | None = None, as_iterable: bool = True
    ) -> Any:
        """Returns each row's probabilities of all classes."""
        return self._one(PredictionKey.PROBABILITIES, x, input_fn, batch_size, as_iterable)


class Regressor(Canned):
    """Values."""

    key = PredictionKey.SCORES

    def _predictions(self, found: Any) -> Any:
        scores = found["predictions"]
        return {PredictionKey.SCORES: scores[:, 0] if scores.shape.as_list()[1] == 1 else scores}

    def predict_scores(
        self, x: Any = None, input_fn: Any = None, batch_size: int | None = None, as_iterable: bool = True
    ) -> Any:
        """Returns the value of each row."""
        return self._one(PredictionKey.SCORES, x, input_fn, batch_size, as_iterable)
