"""The engines by name; TensorFlow is imported when one is asked for."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pai_train.feed.contracts import Engine, Measure


def engine(name: str, parallel: int | None = None, measure: Measure = nullcontext) -> Engine:
    """Returns an engine.

    Args:
        name: 'tf_data' or 'queue_runner'.
        parallel: Chunks read at once by 'tf_data', None for the number of cores; 'queue_runner' reads one per lane.
        measure: Measures the reading of a block.
    """
    if name == "tf_data":
        from pai_train.feed.tf_data import TfDataEngine

        return TfDataEngine(parallel, measure)
    if name == "queue_runner":
        from pai_train.feed.queue_runner import QueueRunnerEngine

        return QueueRunnerEngine(measure)
    raise ValueError(f"no engine is named {name!r}")
