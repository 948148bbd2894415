"""Pieces of Arrow rows put in order as one batch: by runs of rows where order allows it, which costs one copy."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Sequence

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
    if order is None and len(pieces) == 1:
        return pieces[0].slice(0, count)
    alike, dictionaries = _alike(pieces)
    if order is None:
        batch = _one(pa.Table.from_batches(alike).slice(0, count))
    else:
        order = order[:count]
        runs = _Runs(alike, order)
        columns = [_ordered(chunks, order, runs) for chunks in zip(*(piece.columns for piece in alike), strict=True)]
        batch = pa.RecordBatch.from_arrays(columns, schema=alike[0].schema)
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


def _ordered(chunks: Sequence[pa.Array], order: Int64s, runs: _Runs) -> pa.Array:
    """Puts one column in order; numbers without nulls by numpy, which takes values as fast as it copies."""
    kind = chunks[0].type
    if (pa.types.is_integer(kind) or pa.types.is_floating(kind)) and not any(chunk.null_count for chunk in chunks):
        values = [chunk.to_numpy() for chunk in chunks]
        return _taken(np.concatenate(values) if len(values) > 1 else values[0], order, kind)
    if runs.are_long:
        parts = [chunks[piece].slice(start, length) for piece, start, length in runs.slices]
        return pa.concat_arrays(parts) if parts else chunks[0].slice(0, 0)
    return pa.concat_arrays(chunks).take(pa.array(order))


def _taken(values: np.ndarray[Any, Any], order: Int64s, kind: pa.DataType) -> pa.Array:
    """Returns values in an order, in memory of Arrow: TensorFlow takes it as it is, for it is aligned."""
    memory = pa.allocate_buffer(len(order) * values.itemsize)
    # Every place is known to exist, and numpy writes into a given array at once only where it need not check that.
    np.take(values, order, out=np.frombuffer(memory, values.dtype), mode="clip")
    return pa.Array.from_buffers(kind, len(order), [None, memory])


class _Runs:
    """Runs of consecutive rows in an order, over pieces that are laid end to end."""

    def __init__(self, pieces: Sequence[pa.RecordBatch], order: Int64s) -> None:
        self._order = order
        self._pieces = pieces

    @cached_property
    def are_long(self) -> bool:
        """Whether slices cost less than a gather of single rows."""
        return len(self._order) >= _SHORTEST_RUN * len(self._first)

    @cached_property
    def _first(self) -> Int64s:
        return np.flatnonzero(np.diff(self._order, prepend=-2) != 1)

    @cached_property
    def slices(self) -> list[tuple[int, int, int]]:
        """Number of the piece, first row in it and row count of each run, cut where a piece ends."""
        starts, lengths = self._order[self._first], np.diff(np.append(self._first, len(self._order)))
        edges = np.cumsum([0, *(piece.num_rows for piece in self._pieces)])
        holders = np.searchsorted(edges, starts, side="right") - 1
        found = []
        for start, length, holder in zip(starts.tolist(), lengths.tolist(), holders.tolist(), strict=True):
            at, left, piece = start, length, holder
            while left:
                rows = min(left, int(edges[piece + 1]) - at)
                found.append((piece, at - int(edges[piece]), rows))
                at, left, piece = at + rows, left - rows, piece + 1
        return found


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
        # Its indices were taken out of a valid array: to check them again costs more than the rest of this module.
        columns[at] = pa.DictionaryArray.from_arrays(columns[at], dictionary, safe=False)
    return pa.RecordBatch.from_arrays(columns, batch.schema.names)
