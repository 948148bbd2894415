"""Which rows an address and a slice mean, out of all that a snapshot holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pai_train.errors import TableError

if TYPE_CHECKING:
    from pai_train.spec.address import TableRef


def named_rows(ref: TableRef, total: int) -> range:
    """Returns the rows that an address names, of the table or of its partitions.

    Args:
        ref: The address; `?start=a&end=b` counts from 0.
        total: How many rows there are without the range.

    Raises:
        TableError: The range does not lie within the rows.
    """
    if ref.rows is None:
        return range(total)
    start, end = ref.rows
    stop = total if end is None else end
    if not start <= stop <= total:
        raise TableError(
            "the range of rows goes beyond the table's rows",
            where=str(ref),
            got=f"start={start}" + ("" if end is None else f"&end={end}"),
            wanted=f"within the {total} rows that are there, end at most {total}",
            todo="leave `end` out for all rows from `start` on" if start <= total else None,
        )
    return range(start, stop)


def chosen_rows(ref: TableRef, rows: range | None, total: int) -> range:
    """Returns the rows of a slice, counted over all rows there are.

    Args:
        ref: The address.
        rows: The slice, counted over what the address names; None for all of it.
        total: How many rows there are without the address's range.

    Raises:
        TableError: The address's range, or the slice, does not lie within the rows.
    """
    named = named_rows(ref, total)
    if rows is None:
        return named
    if rows.step != 1 or not 0 <= rows.start <= rows.stop <= len(named):
        raise TableError(
            "the range of rows is not within the table",
            where=str(ref),
            got=str(rows),
            wanted=f"within 0 to {len(named)}",
        )
    return named[rows.start : rows.stop]
