"""The engines by name; TensorFlow is imported when one is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pai_train.feed.contracts import Engine


def engine(name: str, parallel: int | None = None) -> Engine:
    """Returns an engine.

    Args:
        name: 'tf_data' or 'queue_runner'.
        parallel: Chunks read at once by 'tf_data', None for the number of cores; 'queue_runner' reads one per lane.
    """
    if name == "tf_data":
        from pai_train.feed.tf_data import TfDataEngine

        return TfDataEngine(parallel)
    if name == "queue_runner":
        from pai_train.feed.queue_runner import QueueRunnerEngine

        return QueueRunnerEngine()
    raise ValueError(f"no engine is named {name!r}")
