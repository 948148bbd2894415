"""Declarative training on data that lives in object stores and warehouse tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pai_train.experiment.record import Record
    from pai_train.feed.feed import Feed
    from pai_train.feed.ids import Ids
    from pai_train.feed.open import merge_positions, open_feed
    from pai_train.findings import Report
    from pai_train.front.composed import Composed, compose
    from pai_train.spec.config import JobConfig
    from pai_train.stage import Staged

__all__ = ["Feed", "Ids", "__version__", "compose", "merge_positions", "open_feed", "run"]

_ELSEWHERE = {
    "compose": "pai_train.front.composed",
    "Feed": "pai_train.feed.feed",
    "Ids": "pai_train.feed.ids",
    "merge_positions": "pai_train.feed.open",
    "open_feed": "pai_train.feed.open",
}

__version__ = "0.1.0"


def run(job: Composed | JobConfig, *, callbacks: Sequence[Any] = ()) -> Record | Report | Staged:
    """Runs what `compose` gave, or a configuration made in Python.

    Args:
        job: What to run.
        callbacks: keras.callbacks.Callback objects of a training, beside those that `train.callbacks` names.

    Returns:
        The record of a training; of `mode=check` what was found, of `mode=stage` what was staged.

    Raises:
        Refused: The configuration has faults.
        PaiTrainError: The run failed.
    """
    from pai_train import resolver
    from pai_train.front.composed import of_config
    from pai_train.spec.config import JobConfig

    composed = of_config(job) if isinstance(job, JobConfig) else job
    return resolver.run(composed, callbacks) if callbacks else resolver.run(composed)


def __getattr__(name: str) -> Any:
    if name not in _ELSEWHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_ELSEWHERE[name]), name)
