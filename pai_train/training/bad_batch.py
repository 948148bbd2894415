"""The batch that a training cannot learn from: which one it is, and which of its columns are at fault."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pai_train.errors import DataError
from pai_train.feed.align import OWN

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True)
class Steps:
    """The steps of one call into TensorFlow.

    Attributes:
        columns: What they learn from: per column one vector over all batches.
        rows: Rows of each batch.
        step: Steps done before.
        epoch: Their epoch, from 0.
        batch: Number of the first one's batch in the epoch, from 0.
    """

    columns: Mapping[str, Any]
    rows: Sequence[int]
    step: int
    epoch: int
    batch: int

    def name(self, index: int) -> str:
        """Returns which batch the step of an index takes, for people."""
        step, batch = self.step + index + 1, self.batch + index + 1
        return f"step {step}, in epoch {self.epoch + 1}, batch {batch} of the epoch"

    def refused(self, error: DataError) -> DataError:
        """Returns an error of the call with the first batch named that holds NaN or infinite values, where one does."""
        found = self._not_finite()
        fault = error.fault
        where = self.name(found[0]) if found else self.name(0)
        if not found and len(self.rows) > 1:
            where = f"steps {self.step + 1} to {self.step + len(self.rows)}, in epoch {self.epoch + 1}"
        got = found[1] if found else fault.got
        return DataError(fault.what, where=fault.where or where, got=got, wanted=fault.wanted, todo=fault.todo)

    def check(self, losses: np.ndarray[Any, np.dtype[np.float64]]) -> None:
        """Ends a training whose loss is no number any more: what follows would be garbage, and would be saved.

        Raises:
            DataError: A step's loss is NaN or infinite.
        """
        bad = np.flatnonzero(~np.isfinite(losses))
        if not len(bad):
            return
        first = int(bad[0])
        found = self._not_finite()
        raise DataError(
            f"the loss is {losses[first]} at {self.name(first)}",
            got=found[1] if found else "finite values in all columns of these steps",
            wanted="a finite loss; nothing of these steps is saved, and the last checkpoint stays as it is",
            todo="lower train.learning_rate; look for values that are far too large in the features or the label",
        )

    def _not_finite(self) -> tuple[int, str] | None:
        """Returns the index of the first batch with values that are not finite, and which columns hold them where."""
        # Of several workers, columns hold the rows of this one.
        rows = [int(count) for count in self.columns.get(OWN, self.rows)]
        ends = np.cumsum(rows)
        odd: dict[str, Any] = {}
        for name, column in self.columns.items():
            values = np.asarray(column)
            if np.issubdtype(values.dtype, np.floating):
                flat = ~np.isfinite(values).reshape(len(values), -1).all(axis=1)
                if flat.any():
                    odd[name] = np.flatnonzero(flat)
        if not odd:
            return None
        index = int(np.searchsorted(ends, min(at[0] for at in odd.values()), side="right"))
        begin, end = int(ends[index]) - rows[index], int(ends[index])
        texts = []
        for name, at in odd.items():
            here = at[(at >= begin) & (at < end)] - begin
            if len(here):
                texts.append(f"{len(here)} in {name!r}, the first in row {here[0] + 1} of {rows[index]}")
        return index, f"{'; '.join(texts)}, of the batch of {self.name(index)}"
