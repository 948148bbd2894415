"""What to say of a name that TensorFlow has no longer: the name, the script's line, and what does the same today."""

from __future__ import annotations

import re
import traceback
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

from pai_train.errors import LaunchError, did_you_mean

REPLACEMENTS = {
    "tf.mul": "tf.multiply",
    "tf.sub": "tf.subtract",
    "tf.neg": "tf.negative",
    "tf.pack": "tf.stack",
    "tf.unpack": "tf.unstack",
    "tf.select": "tf.where",
    "tf.inv": "tf.reciprocal",
    "tf.concat_v2": "tf.concat(values, axis)",
    "tf.batch_matmul": "tf.matmul",
    "tf.complex_abs": "tf.abs",
    "tf.listdiff": "tf.setdiff1d",
    "tf.all_variables": "tf.global_variables",
    "tf.scalar_summary": "tf.summary.scalar",
    "tf.histogram_summary": "tf.summary.histogram",
    "tf.image_summary": "tf.summary.image",
    "tf.merge_summary": "tf.summary.merge",
    "tf.merge_all_summaries": "tf.summary.merge_all",
    "tf.train.SummaryWriter": "tf.summary.FileWriter",
    "tf.nn.rnn": "tf.nn.static_rnn",
    "tf.nn.bidirectional_rnn": "tf.nn.static_bidirectional_rnn",
    "tf.nn.seq2seq": "tf.nn.dynamic_rnn, or a tf.keras model",
    "tf.get_embedding_variable": "tf.get_variable with a shape, and ids by tf.string_to_hash_bucket_fast",
    "tf.train.AdamAsyncOptimizer": "tf.train.AdamOptimizer",
    "tf.train.AdagradDecayOptimizer": "tf.train.AdagradOptimizer",
    "tf.contrib.data": "tf.data, and tf.data.experimental",
    "tf.contrib.slim": "tf.layers, or the package tf_slim",
    "tf.contrib.rnn": "tf.nn.rnn_cell, and tf.nn.static_rnn",
    "tf.contrib.layers": "tf.layers, and tf.keras.initializers",
    "tf.contrib.crf": "the package tensorflow_addons, or a tf.keras layer",
    "tf.contrib.lookup": "tf.lookup",
    "tf.contrib.learn": "tf.estimator, or a tf.keras model",
    "tf.contrib.metrics": "tf.metrics",
    "tf.contrib.eager": "scripts for TensorFlow 2: run them without this shim",
    "tf.contrib": "tf.layers, tf.nn, tf.data and others: see docs/18-pai-scripts.md",
    "tf.estimator": "a session with tf.train.MonitoredTrainingSession, or a tf.keras model",
}
_PYTHON2_NAMES = {"xrange", "unicode", "basestring", "long", "raw_input", "reduce", "unichr", "execfile", "file"}
_PREFIX = re.compile(r"^tensorflow(?:\._api\.v\d)?(?:\.compat\.v1)?|^pai_train\.pai(?=\.(?:contrib|estimator)\b)")


def explain(error: BaseException, folder: Path) -> LaunchError | None:
    """Returns what to say of an error that comes of a missing name in a script; None for any other error.

    Args:
        error: What the script raised.
        folder: The script's folder: a name that a library misses is not the script's.
    """
    symbol, module = _symbol(error)
    if symbol is None:
        return None
    line = _line(error.__traceback__, folder)
    if line is None:
        return None
    known = next((word for name, word in REPLACEMENTS.items() if f"{symbol}.".startswith(f"{name}.")), None)
    return LaunchError(
        f"TensorFlow has no {symbol} any more" if known else f"TensorFlow has no {symbol}",
        where=line,
        todo=f"use {known}" if known else _near(symbol, module),
    )


def may_be_python2(error: BaseException, folder: Path) -> bool:
    """Tells whether an error is one that sources of Python 2 raise when they are run as they are."""
    if isinstance(error, SyntaxError):
        return error.filename is not None and Path(error.filename).is_relative_to(folder)
    return isinstance(error, NameError) and error.name in _PYTHON2_NAMES


def _symbol(error: BaseException) -> tuple[str | None, Any]:
    if isinstance(error, AttributeError) and isinstance(error.obj, ModuleType | object):
        own = getattr(error.obj, "__name__", "") if error.obj is not None else ""
        if isinstance(own, str) and own.startswith(("tensorflow", "pai_train.pai.")) and error.name:
            return f"{_PREFIX.sub('tf', own)}.{error.name}", error.obj
    if isinstance(error, ImportError) and (error.name or "").startswith("tensorflow"):
        found = re.search(r"cannot import name '(\w+)'", str(error))
        own = _PREFIX.sub("tf", error.name or "")
        return (f"{own}.{found[1]}" if found else own), None
    return None, None


def _line(trace: TracebackType | None, folder: Path) -> str | None:
    """Returns file, line and text of the innermost frame, where that is the script's or our shim's."""
    last = None
    for frame in traceback.extract_tb(trace):
        path = Path(frame.filename)
        if path.is_relative_to(folder):
            last = f"{path.relative_to(folder)}:{frame.lineno}: {frame.line}"
        elif "/pai_train/pai/" not in frame.filename and not frame.filename.startswith("<frozen importlib"):
            last = last if _is_wrapper(frame.filename) else None
    return last


def _is_wrapper(filename: str) -> bool:
    return filename.endswith(("module_wrapper.py", "lazy_loader.py", "importlib/__init__.py"))


def _near(symbol: str, module: Any) -> str | None:
    return did_you_mean(symbol.rpartition(".")[2], dir(module)) if module is not None else None
