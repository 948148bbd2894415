"""Text as Python 2 had it: what TensorFlow and tables hand to a converted script is str, not bytes."""

from __future__ import annotations

from functools import wraps
from typing import Any

import numpy as np


class Text(str):
    """A str that can be decoded once more, as those of Python 2 could."""

    __slots__ = ()

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """Returns itself: it is text already."""
        return self


def as_text(value: Any) -> Any:
    """Returns bytes that are text as `Text`, arrays of them likewise, and everything else as it is.

    Args:
        value: A value, an array, or lists, tuples and dicts of them.
    """
    if isinstance(value, bytes):
        try:
            return Text(value, "utf-8")
        except UnicodeDecodeError:
            # An image, a record, a serialised message.
            return value
    if isinstance(value, np.ndarray) and value.dtype == object:
        made = np.empty(value.shape, object)
        made.reshape(-1)[:] = [as_text(one) for one in value.reshape(-1)]
        return made
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(as_text(one) for one in value))
    if isinstance(value, list | tuple):
        return type(value)(as_text(one) for one in value)
    if isinstance(value, dict):
        return type(value)((name, as_text(one)) for name, one in value.items())
    return value


def install(real: Any, reader: Any) -> None:
    """Makes sessions, functions in graphs and table readers hand out text, in this process from now on.

    Args:
        real: TensorFlow.
        reader: The class of table readers that returns rows as PAI-TF does.
    """
    from tensorflow.python.client.session import _FetchHandler

    built, py_func, read = _FetchHandler.build_results, real.compat.v1.py_func, reader.read

    @wraps(built)
    def built_of_text(self: Any, session: Any, values: Any) -> Any:
        # A summary is a serialised message, which by chance may be text too; its writer takes bytes alone.
        fetched = zip(self.fetches(), values, strict=True)
        return built(self, session, [one if "Summary" in of.op.type else as_text(one) for of, one in fetched])

    @wraps(py_func)
    def py_func_of_text(func: Any, *arguments: Any, **options: Any) -> Any:
        return py_func(lambda *values: func(*map(as_text, values)), *arguments, **options)

    @wraps(read)
    def read_text(self: Any, *arguments: Any, **options: Any) -> Any:
        return as_text(read(self, *arguments, **options))

    _FetchHandler.build_results, reader.read = built_of_text, read_text
    real.compat.v1.py_func = py_func_of_text
