"""Statistics of the training rows, gathered in one streaming pass: means, variances, vocabularies, classes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pai_train.errors import DataError, did_you_mean
from pai_train.models.contracts import ClassValue, ColumnSpec, DataType
from pai_train.models.finite import not_finite_error

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray


def describe(
    batches: Iterable[pa.RecordBatch], columns: Sequence[str], max_rows: int | None, max_vocabulary: int
) -> list[ColumnSpec]:
    """Describes feature columns. Nulls are left out; the result depends on the rows alone.

    Memory grows with the distinct strings among the rows looked at, not with the rows.

    Args:
        batches: Rows that hold at least `columns`; not read further than `max_rows`.
        columns: The columns to describe, in the order of the result.
        max_rows: Look at this many rows; None for all.
        max_vocabulary: Most values kept of a string column: the most frequent first, ties by value.

    Raises:
        DataError: No rows, a column is missing, its type is no feature, or it holds NaN or infinite values.
    """
    moments: dict[str, _Moments] = {}
    counts: dict[str, _Counts] = {}
    dtypes: dict[str, DataType] = {}
    for batch in _head(batches, max_rows):
        for name in columns:
            values = _column(batch, name)
            dtypes.setdefault(name, data_type(name, values.type))
            if dtypes[name] == "string":
                counts.setdefault(name, _Counts()).add(values.cast(pa.string()))
            else:
                moments.setdefault(name, _Moments()).add(_numbers(name, values))
    if len(dtypes) != len(set(columns)):
        raise DataError("there are no rows to describe the columns by", todo="check the input and its split")
    return [
        ColumnSpec(name, "string", vocabulary=counts[name].most_frequent(max_vocabulary))
        if dtypes[name] == "string"
        else ColumnSpec(name, dtypes[name], mean=moments[name].mean, variance=moments[name].variance)
        for name in columns
    ]


def count_values(batches: Iterable[pa.RecordBatch], column: str, values: Sequence[ClassValue]) -> list[int]:
    """Returns how many rows hold each of some values of a label column; other rows are not counted."""
    found: dict[Any, int] = {}
    for batch in batches:
        for entry in pc.value_counts(_column(batch, column)).to_pylist():
            found[entry["values"]] = found.get(entry["values"], 0) + entry["counts"]
    return [found.get(value, 0) for value in values]


def collect_classes(
    batches: Iterable[pa.RecordBatch], column: str, max_rows: int | None, max_classes: int
) -> tuple[ClassValue, ...]:
    """Returns the distinct values of a label column in ascending order.

    Raises:
        DataError: No rows, a column that holds no classes, or more than `max_classes` of them.
    """
    counts = _Counts()
    seen: DataType | None = None
    for batch in _head(batches, max_rows):
        values = _column(batch, column)
        seen = data_type(column, values.type)
        if seen == "float":
            raise DataError(f"label {column!r} holds real numbers, which are no classes", todo="use task: regression")
        counts.add(values.cast({"string": pa.string(), "int": pa.int64(), "bool": pa.bool_()}[seen]))
        if len(counts.values) > max_classes:
            raise DataError(
                f"label {column!r} has more than {max_classes} classes",
                todo="use task: regression, or name the classes in label.classes",
            )
    if seen is None or not len(counts.values):
        raise DataError(f"there are no rows to collect the classes of {column!r} from")
    return tuple(counts.values.sort().to_pylist())


def data_type(name: str, kind: pa.DataType) -> DataType:
    """Returns the kind of feature that an Arrow type is.

    Raises:
        DataError: It is none.
    """
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_boolean(kind):
        return "bool"
    if pa.types.is_integer(kind):
        return "int"
    if pa.types.is_floating(kind):
        return "float"
    if any(check(kind) for check in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)):
        return "string"
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return "string"
    raise DataError(
        f"column {name!r} cannot be a feature or a label",
        got=str(kind),
        wanted="a number, a boolean or a string",
        todo="leave it out by `features`",
    )


def _head(batches: Iterable[pa.RecordBatch], max_rows: int | None) -> Iterator[pa.RecordBatch]:
    left = max_rows
    for batch in batches:
        if left is not None and batch.num_rows >= left:
            yield batch.slice(0, left)
            return
        if batch.num_rows:
            yield batch
        left = None if left is None else left - batch.num_rows


def _column(batch: pa.RecordBatch, name: str) -> Any:
    if name not in batch.schema.names:
        raise DataError(f"no column {name!r}", todo=did_you_mean(name, batch.schema.names))
    return batch.column(name)


def _numbers(name: str, values: Any) -> NDArray[np.float64]:
    """Returns the values that are not null as float64."""
    values = values.drop_null()
    # A bool has no zero-copy numpy form, and Arrow refuses to cast an integer above 2**53 that a float rounds.
    whole = values.cast(pa.int8()) if pa.types.is_boolean(values.type) else values
    numbers: NDArray[np.float64] = whole.to_numpy(zero_copy_only=False).astype(np.float64)
    if not np.isfinite(numbers).all():
        raise not_finite_error({name: int(np.count_nonzero(~np.isfinite(numbers)))})
    return numbers


@dataclass
class _Moments:
    """Count, mean and sum of squared deviations, merged batch by batch (Chan, Golub and LeVeque)."""

    count: int = 0
    mean: float = 0.0
    deviations: float = 0.0
    low: float = np.inf
    high: float = -np.inf

    def add(self, numbers: NDArray[np.float64]) -> None:
        if not numbers.size:
            return
        count = self.count + numbers.size
        # Shifted by one of the values, the sum stays exact for a constant column and small for a narrow one.
        mean = float(numbers[0] + np.mean(numbers - numbers[0]))
        delta = mean - self.mean
        self.deviations += float(np.sum((numbers - mean) ** 2)) + delta * delta * self.count * numbers.size / count
        self.mean += delta * numbers.size / count
        self.low, self.high = min(self.low, float(numbers.min())), max(self.high, float(numbers.max()))
        self.count = count

    @property
    def variance(self) -> float:
        variance = self.deviations / self.count if self.count and self.low < self.high else 1.0
        return variance if np.isfinite(variance) and variance > 0 else 1.0


@dataclass
class _Counts:
    """How often each value occurs."""

    values: Any = None
    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))

    def add(self, values: Any) -> None:
        found = pc.value_counts(values.drop_null())
        new, counts = found.field("values"), found.field("counts").to_numpy()
        if self.values is None:
            self.values, self.counts = new, counts
            return
        table = pa.table(
            {"value": pa.chunked_array([self.values, new]), "count": np.concatenate([self.counts, counts])}
        )
        merged = table.group_by("value").aggregate([("count", "sum")])
        self.values = merged.column("value").combine_chunks()
        self.counts = merged.column("count_sum").to_numpy()

    def most_frequent(self, limit: int) -> tuple[str, ...]:
        table = pa.table({"value": self.values, "count": self.counts})
        ranked = table.take(pc.sort_indices(table, sort_keys=[("count", "descending"), ("value", "ascending")]))
        return tuple(ranked.column("value").slice(0, limit).to_pylist())
