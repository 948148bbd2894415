"""Several workers' superbatches side by side: the same batches for all, with the row counts of all together."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from pai_train.feed.contracts import Position, Superbatch
from pai_train.feed.order import merge

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

OWN = "$rows"
"""The column that holds, by batch, the rows of this worker; what `rows` counts are those of all workers."""


def align(
    batches: Iterator[Superbatch],
    gather: Callable[[Any], list[Any]],
    rank: int,
    nothing: Mapping[str, Any],
    limit: int | None = None,
) -> Iterator[Superbatch]:
    """Yields one superbatch on every worker at a time, until no worker has rows any more.

    Each covers the same batches on all workers. `rows` counts the rows of all of them, columns hold this worker's own,
    and `after` is where all of them stand together.

    Args:
        batches: This worker's superbatches; of a plan with two steps or more, so that a worker with lanes has rows.
        gather: Gives every worker what each gave, by rank.
        rank: This worker's number.
        nothing: The columns without rows, for batches to which this worker gives none.
        limit: Batches after which to end.
    """
    held: Superbatch | None = next(batches, None)
    while limit is None or limit > 0:
        told = gather(None if held is None else _told(held))
        epochs = [one["epoch"] for one in told if one is not None]
        if not epochs:
            return
        epoch = min(epochs)
        present = [one if one is not None and one["epoch"] == epoch else None for one in told]
        own = held if present[rank] is not None else None
        yield _together(own, present, epoch, rank, nothing, limit)
        if limit is not None:
            limit -= _batches(present)
        if own is not None:
            # Not held while the next one is made.
            held = own = None
            held = next(batches, None)


def _told(superbatch: Superbatch) -> dict[str, Any]:
    after = superbatch.after
    ends = after.batch == 0
    rows = list(superbatch.rows)
    while ends and rows and not rows[-1]:
        rows.pop()
    return {"epoch": after.epoch - (1 if ends else 0), "ends": ends, "rows": rows, "after": after.to_json()}


def _batches(present: list[Any]) -> int:
    return max(len(one["rows"]) for one in present if one is not None)


def _together(
    own: Superbatch | None,
    present: list[Any],
    epoch: int,
    rank: int,
    nothing: Mapping[str, Any],
    limit: int | None,
) -> Superbatch:
    count = _batches(present)
    counts = np.zeros((len(present), count), np.int64)
    for row, one in zip(counts, present, strict=True):
        if one is not None:
            row[: len(one["rows"])] = one["rows"]
    after = _after(present, epoch)
    if limit is not None and count > limit:
        # What is left of these batches is never asked for: the position only says that the epoch goes on.
        counts = counts[:, :limit]
        after = replace(after, epoch=epoch, batch=max(1, after.batch))
    filled = counts[:, counts.sum(axis=0) > 0]
    kept = int(counts[rank].sum())
    columns: Mapping[str, Any] = nothing if own is None else own.columns
    if own is not None and kept < sum(own.rows):
        columns = {name: column[:kept] for name, column in columns.items()}
    rows = tuple(filled.sum(axis=0).tolist())
    return Superbatch({**columns, OWN: filled[rank]}, rows, after)


def _after(present: list[Any], epoch: int) -> Position:
    """Returns where all stand: workers that have no row in this epoch any more stand at the next one's beginning."""
    known = next(Position.from_json(one["after"]) for one in present if one is not None)
    begun = replace(known, epoch=epoch + 1, batch=0, lanes=((0, 0),) * len(known.lanes))
    return merge([begun if one is None else Position.from_json(one["after"]) for one in present])
