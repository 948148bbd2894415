"""TensorFlow 1's module, for what is written over it; it knows neither scripts nor stores.

A script's process has `tensorflow.compat.v1` in the place of `tensorflow`, with file access wrapped. Names are looked
up at every use, so that code written over `tf` sees the wrapped ones whenever they were put in.
"""

from __future__ import annotations

import importlib
from typing import Any


class _TensorFlow1:
    """The attributes of `tensorflow` where that is version 1's, else of `tensorflow.compat.v1`."""

    def __getattr__(self, name: str) -> Any:
        top = importlib.import_module("tensorflow")
        v1 = top if hasattr(top, "placeholder") else importlib.import_module("tensorflow.compat.v1")
        return getattr(v1, name)


tf: Any = _TensorFlow1()
