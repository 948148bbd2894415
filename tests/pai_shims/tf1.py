"""A process in which `import tensorflow` is TensorFlow 1's, with our contrib and estimator; forked for every check."""

from __future__ import annotations

import importlib
import json
import os
import runpy
import sys
from pathlib import Path

os.environ.update(TF_USE_LEGACY_KERAS="1", TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="-1")

import tensorflow as whole
import tensorflow.compat.v1 as tf

tf.disable_v2_behavior()
sys.modules["tensorflow"] = tf
importlib.import_module("tf_keras")
assert whole is not tf

from pai_train.pai.installed import install  # noqa: E402

install(tf)
tf.logging.set_verbosity(tf.logging.ERROR)


def script(path: str, arguments: list[str], result: str) -> None:
    """Runs a script as `python script …` would, and stores its global RESULT as JSON."""
    sys.argv = [path, *arguments]
    sys.path.insert(0, str(Path(path).parent))
    names = runpy.run_path(path, run_name="__main__")
    if "RESULT" in names:
        Path(result).write_text(json.dumps(names["RESULT"], default=float))


def check(module: str, function: str, folder: str) -> None:
    """Calls a function that checks something, with a graph and a folder of its own."""
    os.chdir(folder)
    with tf.Graph().as_default():
        getattr(importlib.import_module(module), function)(Path(folder))
