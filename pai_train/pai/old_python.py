"""What Python 3.6 and NumPy 1 of TensorFlow 1's days had, and has gone since: names, and arrays of uneven rows."""

from __future__ import annotations

import collections
import collections.abc
import fractions
import inspect
import math
import sys
import time
from functools import wraps
from typing import Any, NamedTuple

import numpy as np

_NUMPY: dict[str, Any] = {
    "int": int, "float": float, "bool": bool, "object": object, "str": str, "complex": complex, "long": int,
    "unicode": str, "float_": np.float64, "complex_": np.complex128, "string_": np.bytes_, "unicode_": np.str_,
    "Inf": np.inf, "Infinity": np.inf, "infty": np.inf, "PINF": np.inf, "NINF": -np.inf, "NaN": np.nan, "NAN": np.nan,
    "alltrue": np.all, "sometrue": np.any, "product": np.prod, "cumproduct": np.cumprod, "row_stack": np.vstack,
    "asscalar": lambda a: a.item(), "msort": lambda a: np.sort(a, axis=0),
    "in1d": lambda ar1, ar2, assume_unique=False, invert=False: np.isin(
        np.ravel(ar1), ar2, assume_unique=assume_unique, invert=invert
    ),
}  # fmt: skip


class ArgSpec(NamedTuple):
    """The arguments of a function, as `inspect.getargspec` told them."""

    args: list[str]
    varargs: str | None
    keywords: str | None
    defaults: tuple[Any, ...] | None


def install() -> None:
    """Puts what is gone back, in this process from now on; what is there stays as it is."""
    for name, value in _NUMPY.items():
        if name not in np.__dict__:
            setattr(np, name, value)
    for name in collections.abc.__all__:
        if not hasattr(collections, name):
            setattr(collections, name, getattr(collections.abc, name))
    for module, name, value in (
        (time, "clock", time.process_time), (inspect, "getargspec", _getargspec), (fractions, "gcd", math.gcd),
    ):  # fmt: skip
        if not hasattr(module, name):
            setattr(module, name, value)
    # A number in a list is shown as 0.5, not as np.float32(0.5): scripts write such texts into tables.
    np.set_printoptions(legacy="1.25")
    for name in ("array", "asarray"):
        setattr(np, name, _of_uneven_rows(getattr(np, name)))


def _getargspec(func: Any) -> ArgSpec:
    found = inspect.getfullargspec(func)
    return ArgSpec(found.args, found.varargs, found.varkw, found.defaults)


def _of_uneven_rows(make: Any) -> Any:
    """Returns a function that makes an array of objects for a script where rows are not of one length."""

    @wraps(make)
    def array(*arguments: Any, **options: Any) -> Any:
        try:
            return make(*arguments, **options)
        except ValueError as error:
            asked = len(arguments) > 1 or options.get("dtype") is not None
            if asked or "inhomogeneous" not in str(error) or _of_a_library(sys._getframe(1).f_code.co_filename):
                raise
            return make(*arguments, **{**options, "dtype": object})

    return array


def _of_a_library(filename: str) -> bool:
    return "site-packages" in filename or "/lib/python3" in filename
