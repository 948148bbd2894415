"""record_defaults: what each column is delivered as, and what stands for NULL. Imports no TensorFlow."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pai_train.errors import TableError

if TYPE_CHECKING:
    from collections.abc import Iterable

_INT32 = np.iinfo(np.int32)
_NUMBERS = tuple(np.dtype(kind) for kind in (np.float32, np.float64, np.int32, np.int64, np.bool_))
_WANTED = "a value of FLOAT32, FLOAT64, INT32, INT64, BOOL or STRING, such as 0.0, np.int64(0) or ''"


@dataclass(frozen=True)
class Default:
    """One entry of record_defaults.

    Attributes:
        dtype: The numpy dtype its column is delivered in; object stands for text, as bytes.
        value: What stands for NULL.
    """

    dtype: np.dtype[Any]
    value: Any

    @property
    def name(self) -> str:
        """TensorFlow's name of the dtype, as people write it."""
        return "STRING" if self.dtype.hasobject else self.dtype.name.upper()


def read_defaults(record_defaults: Iterable[Any]) -> tuple[Default, ...]:
    """Reads record_defaults: Python, numpy or TensorFlow scalars, or one of them in a list.

    Python's own numbers are what TensorFlow makes of them: int is INT32, float is FLOAT32.

    Raises:
        TableError: An entry is none of the six types, or nothing is given.
    """
    if isinstance(record_defaults, str | bytes) or not hasattr(record_defaults, "__iter__"):
        raise TableError("record_defaults is a list, one entry per column", got=repr(record_defaults))
    found = tuple(_default(index, entry) for index, entry in enumerate(record_defaults))
    if not found:
        raise TableError("record_defaults is empty", wanted="one entry per column")
    return found


def _default(index: int, entry: Any) -> Default:
    value = _value(index, entry)
    if isinstance(value, str):
        return Default(np.dtype(object), value.encode())
    if isinstance(value, bytes):
        return Default(np.dtype(object), bytes(value))
    if isinstance(value, bool):
        return Default(np.dtype(np.bool_), value)
    if isinstance(value, int):
        if not _INT32.min <= value <= _INT32.max:
            raise _refused(index, entry, todo=f"write np.int64({value}) for an INT64 column")
        return Default(np.dtype(np.int32), value)
    if type(value) is float:
        return Default(np.dtype(np.float32), value)
    dtype = getattr(value, "dtype", None)
    if not isinstance(dtype, np.dtype) or dtype not in _NUMBERS:
        raise _refused(index, entry)
    return Default(np.dtype(dtype), value.item())


def _value(index: int, entry: Any) -> Any:
    """Returns the scalar that an entry is, or holds as its only element."""
    if _is_tensor(entry):
        from tensorflow import get_static_value

        known = get_static_value(entry)
        if known is None:
            raise _refused(index, entry, todo="give a constant: its value is needed before the graph runs")
        entry = known
    if isinstance(entry, list | tuple):
        if len(entry) != 1:
            raise _refused(index, entry)
        return _value(index, entry[0])
    if isinstance(entry, np.ndarray):
        if entry.size != 1:
            raise _refused(index, entry)
        return entry.reshape(())[()]
    return entry


def _is_tensor(entry: Any) -> bool:
    tensorflow = sys.modules.get("tensorflow")
    return tensorflow is not None and isinstance(entry, tensorflow.Tensor | tensorflow.Variable)


def _refused(index: int, entry: Any, todo: str | None = None) -> TableError:
    return TableError(f"entry {index} of record_defaults has no dtype", got=repr(entry), wanted=_WANTED, todo=todo)
