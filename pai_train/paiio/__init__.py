"""The table API that code for PAI already uses, on a current TensorFlow; usable without recipes, Hydra and our loop.

Readers and writers do without TensorFlow; it is imported for what is made of it, and for the end of a table.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from pai_train.paiio import data, python_io
from pai_train.paiio.reader import TableReader
from pai_train.paiio.settings import ReadStyle, configure
from pai_train.paiio.writer import TableWriter, commit

if TYPE_CHECKING:
    from pai_train.paiio.dataset import TableRecordDataset
    from pai_train.paiio.out_of_range import OutOfRangeException
    from pai_train.paiio.queue_io import TableRecordReader, TableRecordWriter
    from pai_train.paiio.work_queue import WorkQueue

__all__ = [
    "OutOfRangeException",
    "ReadStyle",
    "TableReader",
    "TableRecordDataset",
    "TableRecordReader",
    "TableRecordWriter",
    "TableWriter",
    "WorkQueue",
    "commit",
    "configure",
    "data",
    "python_io",
]

_OF_TENSORFLOW = {
    "OutOfRangeException": "out_of_range",
    "TableRecordDataset": "dataset",
    "TableRecordReader": "queue_io",
    "TableRecordWriter": "queue_io",
    "WorkQueue": "work_queue",
}


def __getattr__(name: str) -> Any:
    """Imports what is made of TensorFlow when it is asked for."""
    if name not in _OF_TENSORFLOW:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_OF_TENSORFLOW[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
