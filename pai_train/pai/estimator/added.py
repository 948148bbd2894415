"""Estimators made of others: more metrics, and features passed on to the predictions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pai_train.pai.estimator.estimator import Estimator
from pai_train.pai.estimator.model_fn import names_of
from pai_train.pai.estimator.spec import ModeKeys, PredictOutput

if TYPE_CHECKING:
    from collections.abc import Callable


def add_metrics(estimator: Estimator, metric_fn: Callable[..., Any]) -> Estimator:
    """Returns an estimator with the same folder whose evaluations have more metrics.

    Args:
        estimator: The estimator.
        metric_fn: From any of labels, predictions, features, config to (value, update) pairs by name.
    """
    names = names_of(metric_fn)

    def model_fn(features: Any, labels: Any, mode: str, config: Any) -> Any:
        spec = estimator.model_fn(features, labels, mode, config)
        if mode != ModeKeys.EVAL:
            return spec
        offered = {"features": features, "labels": labels, "predictions": spec.predictions, "config": config}
        more = metric_fn(**{name: value for name, value in offered.items() if name in names})
        return spec._replace(eval_metric_ops={**(spec.eval_metric_ops or {}), **more})

    return Estimator(model_fn, estimator.model_dir, estimator.config)


def forward_features(estimator: Estimator, keys: Any = None, sparse_default_values: Any = None) -> Estimator:
    """Returns an estimator whose predictions carry features of the input; all if no names are given.

    Raises:
        ValueError: A prediction is called like a feature.
    """
    chosen = [keys] if isinstance(keys, str) else keys

    def model_fn(features: Any, labels: Any, mode: str, config: Any) -> Any:
        spec = estimator.model_fn(features, labels, mode, config)
        if mode != ModeKeys.PREDICT:
            return spec
        passed = {name: features[name] for name in (chosen if chosen is not None else features)}
        clash = set(passed) & set(spec.predictions)
        if clash:
            raise ValueError(f"forward_features: predictions are called so already: {', '.join(sorted(clash))}")
        outputs = {
            name: PredictOutput({**one.outputs, **passed}) if isinstance(one, PredictOutput) else one
            for name, one in (spec.export_outputs or {}).items()
        }
        return spec._replace(predictions={**spec.predictions, **passed}, export_outputs=outputs or None)

    return Estimator(model_fn, estimator.model_dir, estimator.config)
