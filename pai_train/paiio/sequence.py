"""Which rows come in which order, without reading any: units of rows, repeated, taken, skipped and sharded."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

FOREVER = -1


@dataclass(frozen=True)
class Unit:
    """Rows that are read at once.

    Attributes:
        table: The table's number with its reader.
        rows: Row numbers in that table; its step is above 1 where rows between are left out.
    """

    table: int
    rows: range


@dataclass(frozen=True)
class Run:
    """Units, one after another; none is empty."""

    units: tuple[Unit, ...]


@dataclass(frozen=True)
class Loop:
    """Parts that are repeated together.

    Attributes:
        parts: What is repeated, without an endless loop in it.
        times: How often; `FOREVER` for endlessly.
    """

    parts: Rows
    times: int


Rows = tuple[Run | Loop, ...]


def cut(edges: Sequence[int], rows: range, most: int) -> list[range]:
    """Cuts rows into ranges of at most `most`, at edges of chunks where these are closer together.

    Args:
        edges: First row of each chunk, ascending, and the row behind the last.
        rows: What is cut.
        most: Rows of a range.
    """
    inner = [rows.start, *(edge for edge in edges if rows.start < edge < rows.stop), rows.stop]
    ranges, begin = [], rows.start
    for lo, hi in pairwise(inner):
        if hi - begin > most and lo > begin:
            ranges.append(range(begin, lo))
            begin = lo
        while hi - begin > most:
            ranges.append(range(begin, begin + most))
            begin += most
    if begin < rows.stop:
        ranges.append(range(begin, rows.stop))
    return ranges


def run(units: Iterable[Unit]) -> Rows:
    """Returns the rows of some units, in order."""
    kept = tuple(unit for unit in units if unit.rows)
    return (Run(kept),) if kept else ()


def count(rows: Rows) -> int:
    """Returns how many rows there are, or `FOREVER`."""
    total = 0
    for part in rows:
        if isinstance(part, Run):
            total += sum(len(unit.rows) for unit in part.units)
        elif part.times == FOREVER:
            return FOREVER
        else:
            total += part.times * count(part.parts)
    return total


def repeat(rows: Rows, times: int | None) -> Rows:
    """Repeats rows as `tf.data.Dataset.repeat` does: None or a negative number is for endlessly."""
    if not rows or times == 0:
        return ()
    if times == 1 or count(rows) == FOREVER:
        return rows
    return (Loop(rows, FOREVER if times is None or times < 0 else times),)


def take(rows: Rows, wanted: int) -> Rows:
    """Returns the first rows; all of them where `wanted` is negative, as tf.data does."""
    if wanted < 0:
        return rows
    kept: list[Run | Loop] = []
    for part in rows:
        if wanted <= 0:
            break
        size = count((part,))
        if size != FOREVER and size <= wanted:
            kept.append(part)
            wanted -= size
            continue
        kept += _first(part, wanted)
        break
    return tuple(kept)


def skip(rows: Rows, unwanted: int) -> Rows:
    """Returns what follows the first rows; nothing where `unwanted` is negative, as tf.data does."""
    if unwanted < 0:
        return ()
    for index, part in enumerate(rows):
        size = count((part,))
        if size != FOREVER and size <= unwanted:
            unwanted -= size
            continue
        return (*_rest(part, unwanted), *rows[index + 1 :])
    return ()


def shard(rows: Rows, shards: int, index: int) -> Rows | None:
    """Returns every `shards`-th row from row `index` on; None where rows are repeated, whose shards differ."""
    units, at = [], 0
    for part in rows:
        if isinstance(part, Loop):
            return None
        for unit in part.units:
            units.append(Unit(unit.table, unit.rows[(index - at) % shards :: shards]))
            at += len(unit.rows)
    return run(units)


def _first(part: Run | Loop, wanted: int) -> Rows:
    if isinstance(part, Loop):
        times, rest = divmod(wanted, count(part.parts))
        return (*repeat(part.parts, times), *take(part.parts, rest))
    units = []
    for unit in part.units:
        units.append(Unit(unit.table, unit.rows[: max(wanted, 0)]))
        wanted -= len(unit.rows)
    return run(units)


def _rest(part: Run | Loop, unwanted: int) -> Rows:
    if isinstance(part, Loop):
        passed, rest = divmod(unwanted, count(part.parts))
        left = FOREVER if part.times == FOREVER else part.times - passed - 1
        return (*skip(part.parts, rest), *repeat(part.parts, left))
    units = []
    for unit in part.units:
        units.append(Unit(unit.table, unit.rows[max(unwanted, 0) :]))
        unwanted -= len(unit.rows)
    return run(units)
