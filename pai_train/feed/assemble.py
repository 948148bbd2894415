"""Pieces of Arrow rows put in order as one batch: by runs of rows where order allows it, which costs one copy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pai_train.feed.order import Int64s

_SHORTEST_RUN = 16
"""Rows of a run on average, below which a gather of single rows costs less than a slice for each run."""


def in_order(pieces: Sequence[pa.RecordBatch], order: Int64s | None, count: int) -> pa.RecordBatch:
    """Returns `count` rows of pieces that are laid end to end, in an order.

    Args:
        pieces: At least one; of one schema, but that a column of strings may be dictionary encoded in some of them.
        order: Where each row stands, int64 of shape [count] or longer; None for as they are.
        count: How many rows.

    Returns:
        One batch; a column that is dictionary encoded in all pieces still is.
    """
    alike, dictionaries = _alike(pieces)
    if order is None:
        batch = _one(pa.Table.from_batches(alike).slice(0, count))
    else:
        starts, lengths = _runs(order[:count])
        if count >= _SHORTEST_RUN * len(starts):
            batch = _one(pa.Table.from_batches(list(_slices(alike, starts, lengths)), alike[0].schema))
        else:
            batch = _one(_one(pa.Table.from_batches(alike)).take(pa.array(order[:count])))
    return _with_dictionaries(batch, dictionaries) if dictionaries else batch


def plain(column: Any) -> Any:
    """Returns an array as it is, or decoded where it is dictionary encoded."""
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column


def _alike(pieces: Sequence[pa.RecordBatch]) -> tuple[list[pa.RecordBatch], dict[int, pa.Array]]:
    """Gives all pieces one schema: dictionary encoded columns become indices into one dictionary, or are decoded."""
    encoded = [
        at
        for at in range(pieces[0].num_columns)
        if any(pa.types.is_dictionary(p.schema.field(at).type) for p in pieces)
    ]
    if not encoded:
        return list(pieces), {}
    dictionaries: dict[int, pa.Array] = {}
    columns = [piece.columns for piece in pieces]
    for at in encoded:
        chunks = [row[at] for row in columns]
        if all(pa.types.is_dictionary(chunk.type) for chunk in chunks):
            joint = pa.chunked_array(chunks).unify_dictionaries()
            dictionaries[at] = joint.chunk(0).dictionary
            chunks = [chunk.indices for chunk in joint.chunks]
        else:
            chunks = [plain(chunk) for chunk in chunks]
        for row, chunk in zip(columns, chunks, strict=True):
            row[at] = chunk
    names = pieces[0].schema.names
    return [pa.RecordBatch.from_arrays(row, names) for row in columns], dictionaries


def _runs(order: Int64s) -> tuple[Int64s, Int64s]:
    """Returns where in the pieces each run of consecutive rows starts, and how long it is."""
    first = np.flatnonzero(np.diff(order, prepend=-2) != 1)
    return order[first], np.diff(np.append(first, len(order)))


def _slices(pieces: Sequence[pa.RecordBatch], starts: Int64s, lengths: Int64s) -> Iterator[pa.RecordBatch]:
    """Yields the runs, cut where a piece ends."""
    edges = np.cumsum([0, *(piece.num_rows for piece in pieces)])
    holders = np.searchsorted(edges, starts, side="right") - 1
    for run_start, run_length, first in zip(starts.tolist(), lengths.tolist(), holders.tolist(), strict=True):
        at, left, holder = run_start - int(edges[first]), run_length, first
        while left:
            part = pieces[holder].slice(at, left)
            yield part
            at, left, holder = 0, left - part.num_rows, holder + 1


def _one(rows: Any) -> pa.RecordBatch:
    """Returns rows, a table or a batch, as one batch."""
    table = rows if isinstance(rows, pa.Table) else pa.Table.from_batches([rows])
    batches = table.combine_chunks().to_batches()
    if batches:
        return batches[0]
    return pa.RecordBatch.from_arrays([pa.array([], field.type) for field in table.schema], schema=table.schema)


def _with_dictionaries(batch: pa.RecordBatch, dictionaries: dict[int, pa.Array]) -> pa.RecordBatch:
    columns = batch.columns
    for at, dictionary in dictionaries.items():
        columns[at] = pa.DictionaryArray.from_arrays(columns[at], dictionary)
    return pa.RecordBatch.from_arrays(columns, batch.schema.names)
