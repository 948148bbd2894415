"""`tf.contrib.learn`: estimators that `fit`, experiments, vocabularies of texts, and the data sets of tutorials."""

from __future__ import annotations

from typing import Any

from pai_train.pai import estimator as _estimator
from pai_train.pai.contrib.learn.canned import (
    DNNClassifier,
    DNNLinearCombinedClassifier,
    DNNLinearCombinedRegressor,
    DNNRegressor,
    LinearClassifier,
    LinearRegressor,
    infer_real_valued_columns_from_input,
    infer_real_valued_columns_from_input_fn,
)
from pai_train.pai.contrib.learn.estimators import BaseEstimator, Estimator, ModelFnOps, SKCompat
from pai_train.pai.contrib.learn.experiment import Experiment
from pai_train.pai.contrib.learn.metric_spec import MetricSpec, PredictionKey
from pai_train.pai.gone import absent

__all__ = [
    "BaseEstimator", "DNNClassifier", "DNNLinearCombinedClassifier", "DNNLinearCombinedRegressor", "DNNRegressor",
    "Estimator", "Experiment", "LinearClassifier", "LinearRegressor", "MetricSpec", "ModeKeys", "ModelFnOps",
    "PredictionKey", "RunConfig", "SKCompat", "infer_real_valued_columns_from_input",
    "infer_real_valued_columns_from_input_fn",
]  # fmt: skip

RunConfig = _estimator.RunConfig


class ModeKeys:
    """The three uses of a graph."""

    TRAIN = _estimator.ModeKeys.TRAIN
    EVAL = _estimator.ModeKeys.EVAL
    INFER = _estimator.ModeKeys.PREDICT


__getattr__: Any = absent("tf.contrib.learn", "datasets", "learn_runner", "monitors", "preprocessing", package=__name__)
