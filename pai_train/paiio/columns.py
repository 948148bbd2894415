"""selected_cols and excluded_cols: which columns of a table are read, in which order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pai_train.errors import TableError, did_you_mean
from pai_train.spec.names import given_twice

if TYPE_CHECKING:
    from collections.abc import Sequence


def check_choice(selected_cols: str | None, excluded_cols: str | None) -> None:
    """Refuses both at once.

    Raises:
        TableError: Both name columns.
    """
    if _names(selected_cols) and _names(excluded_cols):
        raise TableError(
            "selected_cols and excluded_cols are mutually exclusive",
            got=f"selected_cols={selected_cols!r}, excluded_cols={excluded_cols!r}",
            wanted="one of them, or none",
        )


def chosen(columns: Sequence[str], selected_cols: str | None, excluded_cols: str | None, where: str) -> list[str]:
    """Returns the columns to read: those selected, in their order, or all but those excluded.

    Args:
        columns: The table's columns, in order and lower case.
        selected_cols: Names separated by commas; None or '' for all.
        excluded_cols: Names separated by commas; None or '' for none.
        where: The table, for messages.

    Raises:
        TableError: Both are given, a name is unknown or given twice, or no column is left.
    """
    check_choice(selected_cols, excluded_cols)
    names = [name.lower() for name in _names(selected_cols) or _names(excluded_cols)]
    for name in names:
        if name not in columns:
            raise TableError(f"the table has no column {name!r}", where=where, todo=did_you_mean(name, columns))
    for name in given_twice(names):
        raise TableError(f"column {name!r} is named twice", where=where, wanted="each column once")
    if _names(selected_cols):
        return names
    left = [column for column in columns if column not in names]
    if not left:
        raise TableError("no column is left to read", where=where, got=f"excluded_cols={excluded_cols!r}")
    return left


def _names(cols: str | None) -> list[str]:
    return [name.strip() for name in (cols or "").split(",") if name.strip()]
