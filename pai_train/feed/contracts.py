"""The feed's plain values: what to deliver, from where on, to whom, and what comes out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

from pai_train.errors import DataError
from pai_train.spec.contracts import Snapshot, Source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager

    from pai_train.feed.bad_rows import BadRows

Shuffle = Literal["none", "block", "window"]

WINDOW = 8
"""Chunks of a lane whose rows `shuffle: window` permutes together."""


Measure: TypeAlias = "Callable[[], AbstractContextManager[None]]"
"""Makes a context that measures what the reading and decoding of a block takes."""


@dataclass(frozen=True)
class Split:
    """Divides rows into two sets, as a pure function of (seed, chunk, row).

    Attributes:
        fraction: Share of the rows in the test set, 0 to 1.
        seed: Chooses another division.
        part: Which of the two sets is delivered.
    """

    fraction: float
    seed: int
    part: Literal["train", "test"]


@dataclass(frozen=True)
class FeedPlan:
    """What to deliver, the same for every engine.

    Attributes:
        columns: The columns, in the order of delivery.
        defaults: Value that stands for null, by column; a null elsewhere is a DataError. None leaves nulls as they
            are, for readers of Arrow.
        batch_size: Rows of a global batch, over all workers and replicas.
        epochs: How often the rows are delivered; None for endlessly.
        shuffle: 'none' keeps the order inside a lane; 'block' permutes chunks in a lane and rows in a chunk; 'window'
            permutes chunks in a lane, and the rows of each `window` consecutive ones together.
        window: Chunks of a window, for shuffle 'window' alone.
        seed: Seed of the order.
        lanes: Upper bound on the number of lanes a batch is drawn from. 1 with shuffle 'none' is source order.
        split: Deliver only one set of the rows.
        steps: Most batches in one superbatch; a superbatch never crosses an epoch.
        drop_remainder: Leave out batches of fewer than `batch_size` rows.
        bad_rows: Takes the rows that cannot be read, which are then left out; None for the first to be a DataError.
        required: With `bad_rows`: columns where a null makes a row bad; None for all without a default.
    """

    columns: tuple[str, ...]
    batch_size: int
    defaults: Mapping[str, Any] | None
    epochs: int | None = 1
    shuffle: Shuffle = "none"
    window: int = WINDOW
    seed: int = 0
    lanes: int = 4
    split: Split | None = None
    steps: int = 1
    drop_remainder: bool = False
    bad_rows: BadRows | None = None
    required: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Position:
    """Where a reading stands: a few dozen bytes of JSON, valid for any number of workers.

    Attributes:
        snapshot: What is read.
        order: Fingerprint of the plan's part that fixes the order (shuffle, lanes, split, batch size).
        seed: Seed of the order.
        epoch: The epoch of the next batch, from 0.
        batch: The number in its epoch of the next batch, from 0.
        lanes: Per lane the ordinal of the block, a chunk or a window of them, and the number of its rows consumed,
            before filtering.
    """

    snapshot: Snapshot
    order: str
    seed: int
    epoch: int
    batch: int
    lanes: tuple[tuple[int, int], ...]

    def to_json(self) -> dict[str, Any]:
        """Returns a dict of JSON types."""
        return {
            "snapshot": self.snapshot.to_json(),
            "order": self.order,
            "seed": self.seed,
            "epoch": self.epoch,
            "batch": self.batch,
            "lanes": [list(lane) for lane in self.lanes],
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Position:
        """Reads what `to_json` gave.

        Raises:
            DataError: It is no position.
        """
        try:
            return cls(
                snapshot=Snapshot(**value["snapshot"]),
                order=value["order"],
                seed=value["seed"],
                epoch=int(value["epoch"]),
                batch=int(value["batch"]),
                lanes=tuple((int(ordinal), int(row)) for ordinal, row in value["lanes"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            text = repr(value)
            got = text if len(text) <= 80 else f"{text[:80]}…"
            wanted = "what the feed's position was, as JSON gives it back"
            raise DataError("not a position of a feed", got=got, wanted=wanted) from error

    def next_epoch(self) -> Position:
        """Returns the start of the following epoch."""
        return replace(self, epoch=self.epoch + 1, batch=0, lanes=((0, 0),) * len(self.lanes))


@dataclass(frozen=True)
class Shard:
    """Which worker reads: worker `index` of `count` owns the lanes that leave `index` when divided by `count`."""

    index: int = 0
    count: int = 1


@dataclass(frozen=True)
class Superbatch:
    """Several batches for one call into TensorFlow.

    Attributes:
        columns: Per column one vector over all batches, batch after batch: TensorFlow tensors or numpy arrays.
        rows: True row count of each batch on this worker, 0 where it has none; their sum is the vectors' length.
        after: The position behind the last batch. Its epoch is one higher when these batches end an epoch.
    """

    columns: Mapping[str, Any]
    rows: tuple[int, ...]
    after: Position


class Engine(Protocol):
    """Turns a source into superbatches; every engine delivers the same rows in the same order."""

    def open(
        self, source: Source, plan: FeedPlan, at: Position | None = None, shard: Shard = Shard()
    ) -> AbstractContextManager[Iterator[Superbatch]]:
        """Starts reading at a position, or at the beginning.

        Raises:
            DataError: The position belongs to another snapshot or another order.
        """
        ...
