"""Where each of many numbers stands among distinct ones: looked up for whole columns at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

NOWHERE = -1


class Places:
    """A table of numbers that are spread evenly over 64 bits, as hashes are.

    A binary search misses the cache at each of its steps. The leading bits of a hash tell nearly where it stands: one
    look finds most, a second one nearly all others.

    Args:
        hashes: Distinct ones, uint64 of shape [size].
    """

    def __init__(self, hashes: npt.NDArray[np.uint64]) -> None:
        order = np.argsort(hashes)
        bits = len(hashes).bit_length() + 1
        self._shift = np.uint64(64 - bits)
        ordered = hashes[order]
        counts = np.bincount((ordered >> self._shift).astype(np.int64), minlength=1 << bits)
        self._first = (np.cumsum(counts) - counts).astype(np.int32)
        # Whoever looks behind the last one finds a number that is not smaller than any, and stops.
        self._ordered = np.append(ordered, np.uint64(2**64 - 1))
        self._order = np.append(order, NOWHERE).astype(np.int32)

    def of(self, hashes: npt.NDArray[np.uint64]) -> npt.NDArray[np.int32]:
        """Returns the place of each number, int32 of shape [rows]; `NOWHERE` for what is not there."""
        at: npt.NDArray[np.int32] = self._first[hashes >> self._shift]
        found: Any = self._ordered[at]
        behind = np.flatnonzero(found < hashes)
        while len(behind):
            at[behind] += 1
            found[behind] = self._ordered[at[behind]]
            behind = behind[found[behind] < hashes[behind]]
        places: npt.NDArray[np.int32] = self._order[at]
        places[found != hashes] = NOWHERE
        return places
