"""Pieces of Arrow rows put in order as one batch: by runs of rows where order allows it, which costs one copy."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pai_train.feed.runs import Runs

_SHORTEST_RUN = 16
"""Rows of a run on average, below which a gather of single values costs less than a slice for each run."""


class Columns:
    """A batch's columns, looked at once: rows are taken from them many times.

    Attributes:
        names: Their names.
        arrays: Their values.
        numbers: The same as vectors of numpy; None where a column holds anything but numbers, or a null.
        rows: How many rows there are.
    """

    def __init__(self, batch: pa.RecordBatch) -> None:
        self.names = batch.schema.names
        self.arrays = batch.columns
        self.numbers = [_numbers(column) for column in self.arrays]
        self.rows = batch.num_rows


class Span(NamedTuple):
    """Consecutive rows of a batch, from `start` on."""

    of: Columns
    start: int
    rows: int


def in_order(spans: Sequence[Span], order: Runs | None, count: int) -> pa.RecordBatch:
    """Returns `count` rows of spans that are laid end to end, in an order.

    Args:
        spans: At least one; of one schema, but that a column of strings may be dictionary encoded in some of them.
        order: Where the rows stand, at least `count` of them; None for as they are.
        count: How many rows.

    Returns:
        One batch; a column that is dictionary encoded in all spans still is.
    """
    laid = _Laid(spans, None if order is None else order.head(count), count)
    first = spans[0].of
    return pa.RecordBatch.from_arrays([laid.column(at) for at in range(len(first.arrays))], first.names)


def whole(batches: Sequence[pa.RecordBatch]) -> list[Span]:
    """Returns all rows of batches as spans."""
    return [Span(Columns(batch), 0, batch.num_rows) for batch in batches]


def plain(column: Any) -> Any:
    """Returns an array as it is, or decoded where it is dictionary encoded."""
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column


def _numbers(column: pa.Array) -> np.ndarray[Any, Any] | None:
    kind = column.type
    if (pa.types.is_integer(kind) or pa.types.is_floating(kind)) and not column.null_count:
        values: np.ndarray[Any, Any] = column.to_numpy()
        return values
    return None


class _Laid:
    """Lays the columns of spans end to end, or in an order."""

    def __init__(self, spans: Sequence[Span], order: Runs | None, count: int) -> None:
        self._spans = spans
        self._order = order
        self._count = count
        self._scratch: dict[np.dtype[Any], np.ndarray[Any, Any]] = {}

    def column(self, at: int) -> pa.Array:
        """Returns a column's rows; numbers are laid by numpy, which copies them soonest."""
        spans = self._spans
        if self._order is not None and all(span.of.numbers[at] is not None for span in spans):
            values = [span.of.numbers[at][span.start : span.start + span.rows] for span in spans]  # type: ignore[index]
            return self._vector(values, self._order, spans[0].of.arrays[at].type)
        chunks = [span.of.arrays[at].slice(span.start, span.rows) for span in spans]
        if not any(isinstance(chunk, pa.DictionaryArray) for chunk in chunks):
            return self._array(chunks)
        if not all(isinstance(chunk, pa.DictionaryArray) for chunk in chunks):
            return self._array([plain(chunk) for chunk in chunks])
        joint = pa.chunked_array(chunks).unify_dictionaries()
        indices = self._array([chunk.indices for chunk in joint.chunks])
        # The indices were taken out of a valid array: to check them again costs more than the rest of this module.
        return pa.DictionaryArray.from_arrays(indices, joint.chunk(0).dictionary, safe=False)

    def _array(self, chunks: Sequence[pa.Array]) -> pa.Array:
        order = self._order
        if order is None:
            return (pa.concat_arrays(chunks) if len(chunks) > 1 else chunks[0]).slice(0, self._count)
        vectors = [_numbers(chunk) for chunk in chunks]
        if all(vector is not None for vector in vectors):
            return self._vector(vectors, order, chunks[0].type)  # type: ignore[arg-type]
        if order.mean >= _SHORTEST_RUN:
            parts = [chunks[piece].slice(lo, hi - lo) for piece, lo, hi in self._runs]
            return pa.concat_arrays(parts) if parts else chunks[0].slice(0, 0)
        return pa.concat_arrays(chunks).take(pa.array(order.places))

    def _vector(self, pieces: Sequence[np.ndarray[Any, Any]], order: Runs, kind: pa.DataType) -> pa.Array:
        """Returns numbers in memory of Arrow: TensorFlow takes it as it is, for it is aligned."""
        dtype = pieces[0].dtype
        memory = pa.allocate_buffer(order.rows * dtype.itemsize)
        vector = np.frombuffer(memory, dtype)
        # Every place is known to exist, and numpy writes into a given array at once only where it need not check that.
        np.take(self._end_to_end(pieces, dtype), order.places, out=vector, mode="clip")
        return pa.Array.from_buffers(kind, order.rows, [None, memory], 0)

    def _end_to_end(self, pieces: Sequence[np.ndarray[Any, Any]], dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
        if len(pieces) == 1:
            return pieces[0]
        # Columns share the memory, for it is in the cache when the next one comes.
        laid = self._scratch[dtype] = np.concatenate(pieces, out=self._scratch.get(dtype))
        return laid

    @cached_property
    def _runs(self) -> list[tuple[int, int, int]]:
        return self._order.cut([span.rows for span in self._spans]) if self._order is not None else []
