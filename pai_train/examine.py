"""What is known of the rows before a training begins: their snapshot, the classes, the statistics."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

from pai_train.errors import DataError
from pai_train.feed.batches import arrow_superbatches
from pai_train.feed.contracts import FeedPlan, Split
from pai_train.models.contracts import ColumnSpec, LabelSpec
from pai_train.models.statistics import collect_classes, describe
from pai_train.spec.images import ImageType

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import pyarrow as pa

    from pai_train.feed.bad_rows import BadRows
    from pai_train.job import JobInput
    from pai_train.spec.contracts import Source
    from pai_train.training.contracts import TrainState

logger = logging.getLogger(__name__)

DESCRIBED_ROWS = 10_000
"""Training rows whose statistics preprocessing uses: the first ones, so that a resumed run finds the same."""
MAX_VOCABULARY = 1_000
MAX_CLASSES = 10_000
LONG_PASS_ROWS = 1_000_000
WHOLE = "whole"
"""The order of an input that is not trained on."""


def open_input(item: JobInput, state: TrainState | None) -> Source:
    """Opens an input, at the snapshot that a resumed run began with.

    Raises:
        DataError: The data are not what they were, or not the snapshot that the recipe asks for.
    """
    position = state.positions.get(item.name) if state else None
    wanted = None
    if position is not None:
        # Of rows that are only read whole the order does not matter.
        wanted = position.snapshot.content if position.order == WHOLE else position.snapshot.id
    source = item.open(wanted)
    snapshot = source.snapshot
    if wanted is not None and position is not None and not snapshot.answers(wanted):
        raise DataError(
            "the data changed since the run began",
            where=item.address,
            got=f"{snapshot.rows} rows, {snapshot.bytes} bytes",
            wanted=f"{position.snapshot.rows} rows, {position.snapshot.bytes} bytes, as in its checkpoint",
            todo="train.resume=never starts anew on the data as they are",
        )
    if item.snapshot is not None and not snapshot.answers(item.snapshot):
        raise DataError(
            "the input is no longer the snapshot asked for",
            where=item.address,
            got=f"{snapshot.id}, {snapshot.rows} rows, {snapshot.bytes} bytes",
            wanted=item.snapshot,
            todo=f"leave inputs.{item.name}.snapshot out to read it as it is",
        )
    return source


def describe_rows(
    item: JobInput, source: Source, check: Callable[[], None], bad_rows: BadRows | None = None
) -> dict[str, Any]:
    """Returns the label and the features of the training input as JSON types, which `described` reads.

    Raises:
        DataError: As `learn_label` does.
    """
    label = learn_label(item, source, check, bad_rows)
    columns = describe_features(item, source, check, bad_rows)
    return {"label": label.to_json(), "columns": [column.to_json() for column in columns]}


def described(told: Mapping[str, Any]) -> tuple[LabelSpec, list[ColumnSpec]]:
    """Returns the label and the features that `describe_rows` told of."""
    return LabelSpec.from_json(told["label"]), [ColumnSpec.from_json(column) for column in told["columns"]]


def check_ids(item: JobInput, state: TrainState | None) -> None:
    """Refuses to go on with weights that were learned of other ids.

    Raises:
        DataError: A vocabulary is not what it was.
    """
    if state is None:
        return
    for name, ids in item.ids.items():
        if state.ids.get(name, ids.identity) != ids.identity:
            raise DataError(
                f"the vocabulary of column {name!r} changed since the run began",
                where=item.address,
                got=f"{len(ids.vocabulary)} values, others or in another order",
                wanted="the values whose ids the weights were learned of",
                todo="put them back, or start anew with train.resume=never",
            )


def learn_label(
    item: JobInput, source: Source, check: Callable[[], None], bad_rows: BadRows | None = None
) -> LabelSpec:
    """Returns what is learned; classes that the recipe does not name are collected from all rows.

    Args:
        item: The training input.
        source: Its rows.
        check: Called between batches; may raise to stop.
        bad_rows: Takes rows that cannot be read.

    Raises:
        DataError: There are no classes, one class, too many, or rows without one.
    """
    label = item.label
    if label is None:
        raise DataError("the training input has no label", where="inputs.train.label")
    if label.task == "regression":
        return LabelSpec(label.column, "regression")
    classes = label.classes
    if classes is None:
        if source.snapshot.rows is None or source.snapshot.rows > LONG_PASS_ROWS:
            logger.info("reading the classes of %s; label.classes in the recipe saves this pass", label.column)
        with _read(item, source, [label.column], None, check, bad_rows) as batches:
            classes = collect_classes(batches, label.column, None, MAX_CLASSES)
        if not classes:
            raise DataError(f"no row has a readable label {label.column!r}", where=item.address)
        if len(classes) < 2:
            raise DataError(
                f"all rows have one class of the label {label.column!r}",
                where=item.address,
                got=repr(classes[0]),
                wanted="two classes or more",
                todo="name another label, or read more rows",
            )
        if "" in classes:
            raise DataError(
                f"the label {label.column!r} is empty in some rows",
                where=item.address,
                wanted="a class in every row",
                todo="leave these rows out, or give the label a value in record_defaults",
            )
    return LabelSpec(label.column, "classification", tuple(classes))


def count_classes(
    item: JobInput, source: Source, label: LabelSpec, check: Callable[[], None], bad_rows: BadRows | None = None
) -> list[int]:
    """Returns how many training rows each class has, in the order of the classes; reads the label of all rows."""
    from pai_train.models.statistics import count_values

    with _read(item, source, [label.column], split_of(item, "train"), check, bad_rows) as batches:
        return count_values(batches, label.column, label.classes)


def describe_features(
    item: JobInput, source: Source, check: Callable[[], None], bad_rows: BadRows | None = None
) -> list[ColumnSpec]:
    """Returns the statistics of the first training rows that preprocessing inside the model uses.

    Of images nothing but their shape is used, of ids nothing but how many there are; neither is read.
    """
    shapes = {name: kind.shape for name in item.features if isinstance(kind := item.columns[name], ImageType)}
    found = {name: ColumnSpec(name, "image", shape=shape) for name, shape in shapes.items()}
    found |= {name: ColumnSpec(name, "id", size=ids.size) for name, ids in item.ids.items()}
    names = [name for name in item.features if name not in found]
    if names:
        with _read(item, source, names, split_of(item, "train"), check, bad_rows) as batches:
            found |= {column.name: column for column in describe(batches, names, DESCRIBED_ROWS, MAX_VOCABULARY)}
    return [found[name] for name in item.features]


def split_of(item: JobInput, part: Literal["train", "test"]) -> Split | None:
    """Returns one side of an input's split; None where it has none."""
    return Split(item.split[0], item.split[1], part) if item.split else None


@contextmanager
def _read(
    item: JobInput,
    source: Source,
    columns: Sequence[str],
    split: Split | None,
    check: Callable[[], None],
    bad_rows: BadRows | None,
) -> Iterator[Iterator[pa.RecordBatch]]:
    """Opens rows as training sees them, in source order."""

    def until_stopped() -> Iterator[pa.RecordBatch]:
        for delivery in deliveries:
            check()
            yield delivery.data

    plan = FeedPlan(tuple(columns), 4096, item.defaults, lanes=1, split=split, bad_rows=bad_rows)
    with arrow_superbatches(source, plan) as deliveries:
        yield until_stopped()
