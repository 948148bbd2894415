"""`tensorflow.examples`: of the tutorials that came with TensorFlow 1, the reader of handwritten digits."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

from pai_train.pai.contrib.learn.datasets import mnist as input_data
from pai_train.pai.gone import absent

__path__: list[str] = []  # imports of modules below it go through its names


def _module(name: str, **contents: Any) -> ModuleType:
    made: Any = ModuleType(f"tensorflow.{name}", "What came with TensorFlow 1.")
    made.__dict__.update(contents, __path__=[], __getattr__=absent(f"tf.{name}"))
    sys.modules.setdefault(f"{__name__}.{name.partition('.')[2]}", made)
    return made  # type: ignore[no-any-return]


_mnist = _module("examples.tutorials.mnist", input_data=input_data)
tutorials = _module("examples.tutorials", mnist=_mnist)

__getattr__ = absent("tf.examples")
