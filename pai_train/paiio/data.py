"""`paiio.data`, where some versions of paiio keep the dataset, and PAI its WorkQueue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pai_train.paiio.dataset import TableRecordDataset
    from pai_train.paiio.work_queue import WorkQueue

__all__ = ["TableRecordDataset", "WorkQueue"]


def __getattr__(name: str) -> Any:
    """Imports what is made of TensorFlow when it is asked for."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from pai_train import paiio

    return getattr(paiio, name)
