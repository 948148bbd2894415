"""`tf.contrib.feature_column` over `tf.feature_column`: columns of sequences."""

from __future__ import annotations

from typing import Any

from pai_train.pai.gone import absent
from pai_train.pai.v1 import tf

_absent = absent("tf.contrib.feature_column")


def __getattr__(name: str) -> Any:
    if name.startswith("sequence_") and hasattr(tf.feature_column, name):
        return getattr(tf.feature_column, name)
    return _absent(name)
