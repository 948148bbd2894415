"""`paiio.python_io`, where some versions of paiio keep readers and writers, as `tf.python_io` of PAI does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pai_train.paiio.reader import TableReader
from pai_train.paiio.writer import TableWriter

if TYPE_CHECKING:
    from pai_train.paiio.out_of_range import OutOfRangeException

__all__ = ["OutOfRangeException", "TableReader", "TableWriter"]


def __getattr__(name: str) -> Any:
    """Imports the exception, which is one of TensorFlow's, when it is asked for."""
    if name != "OutOfRangeException":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from pai_train.paiio.out_of_range import OutOfRangeException

    return OutOfRangeException
