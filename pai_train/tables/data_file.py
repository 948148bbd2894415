"""A data file as manifests describe it: where it lies, and which of its rows are there."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from pai_train.tables.deletes import NONE, Positions

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pyarrow as pa
    from pyiceberg.manifest import DataFile as ManifestFile


@dataclass(frozen=True)
class DataFile:
    """A data file.

    Attributes:
        url: Where it lies.
        stored: Its record count, deleted rows and all.
        bytes: Its size.
        constants: Values of partition columns, by field id: all rows of the file have them.
        deleted: Places of its deleted rows, ascending.
        entry: What the manifest says of it.
    """

    url: str
    stored: int
    bytes: int
    constants: Mapping[int, pa.Scalar] = field(default_factory=dict, compare=False)
    deleted: Positions = field(default_factory=lambda: NONE, compare=False)
    entry: ManifestFile | None = field(default=None, compare=False)

    @property
    def rows(self) -> int:
        """How many rows it gives."""
        return self.stored - len(self.deleted)

    def place(self, row: int) -> int:
        """Returns where in the file a row stands that is counted without the deleted ones."""
        if not len(self.deleted):
            return row
        before = self.deleted - np.arange(len(self.deleted))
        return row + int(np.searchsorted(before, row, side="right"))

    def span(self, start: int, stop: int) -> tuple[int, int]:
        """Returns the places from the first to behind the last of some rows, at least one."""
        return self.place(start), self.place(stop - 1) + 1

    def counted(self, place: int) -> int:
        """Returns how many rows it gives before a place."""
        return place - int(np.searchsorted(self.deleted, place))

    def alive(self, lo: int, hi: int) -> pa.BooleanArray | None:
        """Returns which rows from `lo` to `hi` are not deleted, or None where all are there."""
        import pyarrow as pa

        first, last = np.searchsorted(self.deleted, (lo, hi))
        if first == last:
            return None
        mask = np.ones(hi - lo, np.bool_)
        mask[self.deleted[first:last] - lo] = False
        return pa.array(mask)
