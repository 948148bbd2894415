"""`tf.estimator` for scripts of TensorFlow 1, over `tf.compat.v1`.

Every name that is not given raises an `AttributeError` that names it, the line of the script and what stands in its
place.
"""

from __future__ import annotations

from typing import Any

from pai_train.pai.estimator import experimental, export, inputs
from pai_train.pai.estimator.added import add_metrics
from pai_train.pai.estimator.canned import (
    DNNClassifier,
    DNNLinearCombinedClassifier,
    DNNLinearCombinedRegressor,
    DNNRegressor,
    LinearClassifier,
    LinearRegressor,
)
from pai_train.pai.estimator.early_stopping import make_early_stopping_hook
from pai_train.pai.estimator.estimator import Estimator
from pai_train.pai.estimator.exporters import BestExporter, Exporter, FinalExporter, LatestExporter
from pai_train.pai.estimator.parsing import classifier_parse_example_spec, regressor_parse_example_spec
from pai_train.pai.estimator.run_config import RunConfig, TaskType
from pai_train.pai.estimator.spec import EstimatorSpec, ModeKeys
from pai_train.pai.estimator.train_and_evaluate import EvalSpec, TrainSpec, train_and_evaluate
from pai_train.pai.estimator.warm_start import WarmStartSettings
from pai_train.pai.gone import absent
from pai_train.pai.v1 import tf

__all__ = [
    "BestExporter", "DNNClassifier", "DNNLinearCombinedClassifier", "DNNLinearCombinedRegressor", "DNNRegressor",
    "Estimator", "EstimatorSpec", "EvalSpec", "Exporter", "FinalExporter", "LatestExporter", "LinearClassifier",
    "LinearRegressor", "ModeKeys", "RunConfig", "TaskType", "TrainSpec", "WarmStartSettings", "add_metrics",
    "classifier_parse_example_spec", "experimental", "export", "inputs", "make_early_stopping_hook",
    "regressor_parse_example_spec", "train_and_evaluate",
]  # fmt: skip

# Hooks and their like, which tf.train has as well.
_TRAIN = {
    "CheckpointSaverHook", "CheckpointSaverListener", "FeedFnHook", "FinalOpsHook", "GlobalStepWaiterHook",
    "LoggingTensorHook", "NanLossDuringTrainingError", "NanTensorHook", "ProfilerHook", "SecondOrStepTimer",
    "SessionRunArgs", "SessionRunContext", "SessionRunHook", "SessionRunValues", "StepCounterHook", "StopAtStepHook",
    "SummarySaverHook", "VocabInfo",
}  # fmt: skip
_absent = absent("tf.estimator")


def __getattr__(name: str) -> Any:
    return getattr(tf.train, name) if name in _TRAIN else _absent(name)
