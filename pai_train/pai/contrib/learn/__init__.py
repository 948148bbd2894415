"""`tf.contrib.learn`: the names that became `tf.estimator`'s, vocabularies of texts, and the data sets of tutorials."""

from __future__ import annotations

from typing import Any

from pai_train.pai import estimator as _estimator
from pai_train.pai.gone import absent

__all__ = ["ModeKeys", "RunConfig"]

RunConfig = _estimator.RunConfig


class ModeKeys:
    """The three uses of a graph."""

    TRAIN = _estimator.ModeKeys.TRAIN
    EVAL = _estimator.ModeKeys.EVAL
    INFER = _estimator.ModeKeys.PREDICT


__getattr__: Any = absent("tf.contrib.learn", "datasets", "preprocessing", package=__name__)
