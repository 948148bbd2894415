"""What `Estimator.predict` yields: the predictions that are wanted, row by row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator


def kept(predictions: Any, keys: Any) -> Any:
    """Returns the predictions of some names, all if none are given.

    Raises:
        ValueError: None of the names is a prediction, or there is one tensor and no names.
    """
    if not keys:
        return predictions
    keys = [keys] if isinstance(keys, str) else list(keys)
    if not isinstance(predictions, dict):
        raise ValueError("Estimator.predict: predict_keys chooses among a dict, the predictions are one tensor")
    chosen = {name: one for name, one in predictions.items() if name in keys}
    if not chosen:
        raise ValueError(f"Estimator.predict: wanted some of {', '.join(predictions)} as predict_keys, got {keys}")
    return chosen


def rows_of(batch: Any) -> Iterator[Any]:
    """Yields a batch's rows: arrays, or dicts of arrays.

    Raises:
        ValueError: Predictions have different numbers of rows, or one has none.
    """
    if not isinstance(batch, dict):
        yield from batch
        return
    lengths = {name: len(one) if np.ndim(one) else None for name, one in batch.items()}
    if len(set(lengths.values())) != 1 or None in lengths.values():
        raise ValueError(f"Estimator.predict: predictions of different numbers of rows: {lengths}")
    names = list(batch)
    for row in zip(*batch.values(), strict=True):
        yield dict(zip(names, row, strict=True))
