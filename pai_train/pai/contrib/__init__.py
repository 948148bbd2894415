"""`tf.contrib` for scripts of TensorFlow 1: the part that was commonly used, over `tf.compat.v1`.

Modules are imported when they are first asked for. Every name that is not given raises an `AttributeError` (an import,
an `ImportError`) that names it, the line of the script and what stands in its place.
"""

from __future__ import annotations

from typing import Any

from pai_train.pai.gone import absent
from pai_train.pai.v1 import tf

MODULES = (
    "crf", "data", "deprecated", "distribute", "estimator", "feature_column", "framework", "layers", "learn",
    "legacy_seq2seq", "lookup", "losses", "metrics", "opt", "predictor", "rnn", "seq2seq", "slim", "tensorboard", "tpu",
    "training", "util",
)  # fmt: skip

_absent = absent("tf.contrib", *MODULES, package=__name__)


def __getattr__(name: str) -> Any:
    return tf.keras if name == "keras" else _absent(name)
