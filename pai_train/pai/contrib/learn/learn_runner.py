"""`tf.contrib.learn.learn_runner`: runs the part of an experiment that is this process's."""

from __future__ import annotations

from pai_train.pai.contrib.learn.experiment import run
from pai_train.pai.gone import absent

__all__ = ["run"]

__getattr__ = absent("tf.contrib.learn.learn_runner")
