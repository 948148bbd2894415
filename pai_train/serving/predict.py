"""Predictions for every row of a source, written into a table or files by one transactional write."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pyarrow as pa

from pai_train.feed.batches import arrow_superbatches
from pai_train.feed.contracts import FeedPlan
from pai_train.feed.id_source import texts_beside
from pai_train.feed.nulls import EmptyError, fill
from pai_train.feed.tensors import numpy_columns, row_shape

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from pai_train.feed.bad_rows import BadRows
    from pai_train.spec.contracts import Snapshot, Source, WriteSession

PREDICTION = "$prediction"
PROBABILITY = "$probability"

BATCH_ROWS = 8192
IMAGES_BYTES = 32 * 2**20
"""Bytes of the images of a batch, unless one alone takes more."""


class Model(Protocol):
    """What predicting needs of a learner."""

    def predict(self, columns: Mapping[str, Any]) -> NDArray[np.float32]:
        """Returns probabilities of shape (rows, n classes), or values of shape (rows,)."""
        ...


def predict_into(
    session: WriteSession,
    model: Model,
    source: Source,
    *,
    features: Sequence[str],
    defaults: Mapping[str, Any],
    classes: Sequence[Any],
    mapping: Sequence[tuple[str, str]],
    check: Callable[[], None] = lambda: None,
    bad_rows: BadRows | None = None,
) -> tuple[int, Snapshot]:
    """Writes one row per source row, in the source's order, and commits; there is none for a row that is left out.

    Args:
        session: Where to write; its token makes a repeated commit harmless.
        model: Gives the predictions.
        source: The rows.
        features: Columns the model takes.
        defaults: Values that stand for null in them; columns carried along keep their nulls.
        classes: Class values in the order of the model's outputs; empty for regression.
        mapping: (output column, input column or PREDICTION or PROBABILITY), in the output's order.
        check: Called between batches; may raise to stop.
        bad_rows: Takes rows that cannot be read, or where a feature is null and has no default.

    Returns:
        The number of rows, and what the commit published.

    Raises:
        DataError: A feature is null and has no default.
        TableError: The rows cannot be written or committed.
    """
    carried = [value for _, value in mapping if value not in (PREDICTION, PROBABILITY)]
    # The model takes texts as ids, and the output holds them as they are.
    source, stored = texts_beside(source, carried)
    columns = tuple(dict.fromkeys([*features, *stored.values()]))
    required = tuple(name for name in features if defaults.get(name) is None)
    plan = FeedPlan(columns, _batch_rows(source, columns), None, lanes=1, bad_rows=bad_rows, required=required)
    rows = 0
    writer = session.part(0, 0)
    try:
        with arrow_superbatches(source, plan) as deliveries:
            for delivery in deliveries:
                check()
                batch = delivery.data
                filled = _filled(batch.select(list(features)), defaults, rows)
                scores = model.predict(dict(zip(features, numpy_columns(filled), strict=True)))
                made = _made(scores, classes)
                arrays = [made[value] if value in made else batch.column(stored[value]) for _, value in mapping]
                writer.write(pa.RecordBatch.from_arrays(arrays, names=[name for name, _ in mapping]))
                rows += batch.num_rows
        part = writer.finish()
    except BaseException:
        writer.abort()
        session.abort()
        raise
    return rows, session.commit([part])


def _batch_rows(source: Source, columns: Sequence[str]) -> int:
    shapes = [row_shape(source.schema.field(name)) for name in columns]
    pixels = sum(math.prod(shape) for shape in shapes if shape)
    return max(1, min(BATCH_ROWS, IMAGES_BYTES // max(1, pixels)))


def _filled(batch: pa.RecordBatch, defaults: Mapping[str, Any], before: int) -> pa.RecordBatch:
    try:
        return fill(batch, {name: value for name, value in defaults.items() if name in batch.schema.names})
    except EmptyError as error:
        raise error.at(f"row {before + error.row} of the rows to predict") from None


def _made(scores: NDArray[np.float32], classes: Sequence[Any]) -> dict[str, pa.Array]:
    if not classes:
        values = pa.array(scores, pa.float64())
        return {PREDICTION: values, PROBABILITY: pa.nulls(len(scores), pa.float64())}
    best = scores.argmax(axis=1)
    probability = scores[np.arange(len(scores)), best]
    return {
        PREDICTION: pa.array(list(classes)).take(pa.array(best)),
        PROBABILITY: pa.array(probability, pa.float64()),
    }
