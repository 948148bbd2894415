"""`tf.contrib.learn.datasets`: handwritten digits, and tables of numbers in CSV files."""

from __future__ import annotations

from pai_train.pai.contrib.learn.datasets import base, mnist
from pai_train.pai.gone import absent

__all__ = ["base", "mnist"]

__getattr__ = absent("tf.contrib.learn.datasets")
