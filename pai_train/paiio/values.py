"""The forms in which TableWriter takes rows, all brought to one list of values per column."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from pai_train.errors import TableError

_FORMS = "one row (tuple, list, 1-D array), or rows (list, 1-D or 2-D array, or iterator of tuples, lists or records)"


def columns_of(values: Any, width: int, where: str) -> list[list[Any]]:
    """Returns the values of each column.

    Args:
        values: One row: a tuple, a list or a 1-D array of scalars. Or rows: a list, an array or an iterator, such as
            zip, of tuples, lists, arrays or structured elements.
        width: How many columns each row has.
        where: The table, for messages.

    Raises:
        TableError: It is none of these, or a row has another number of values.
    """
    if isinstance(values, np.ndarray):
        found = _of_array(values, where)
    elif isinstance(values, np.void):
        found = [[value] for value in values.item()]
    elif isinstance(values, tuple | list):
        rows = values if _holds_rows(values) or not values else [values]
        found = _of_rows(list(rows), width, where)
    elif isinstance(values, Iterable) and not isinstance(values, str | bytes | dict):
        found = _of_rows(list(values), width, where)
    else:
        raise _no_form(values, where)
    if found and len(found) != width:
        raise _width(len(found), width, where)
    return found


def _of_array(values: np.ndarray[Any, Any], where: str) -> list[list[Any]]:
    if values.dtype.names is not None:
        records = values.reshape(-1)
        return [records[name].tolist() for name in values.dtype.names]
    if values.ndim == 2:
        return [values[:, index].tolist() for index in range(values.shape[1])]
    if values.ndim == 1:
        rows = values.tolist()
        return columns_of(rows, len(rows[0]), where) if _holds_rows(rows) else [[value] for value in rows]
    raise _no_form(values, where)


def _of_rows(rows: list[Any], width: int, where: str) -> list[list[Any]]:
    found = [row.tolist() if isinstance(row, np.ndarray | np.void) else row for row in rows]
    for row in found:
        if not isinstance(row, tuple | list):
            raise _no_form(row, where)
        if len(row) != width:
            raise _width(len(row), width, where)
    return [list(column) for column in zip(*found, strict=True)]


def _holds_rows(values: tuple[Any, ...] | list[Any]) -> bool:
    """A tuple is a row, unless all that it holds are tuples: a row may hold lists, for columns of ARRAY."""
    if isinstance(values, tuple):
        return bool(values) and all(isinstance(value, tuple | np.void) for value in values)
    return bool(values) and isinstance(values[0], tuple | list | np.void | np.ndarray)


def _no_form(values: Any, where: str) -> TableError:
    return TableError("not a row and not rows", where=where, got=repr(values)[:200], wanted=_FORMS)


def _width(got: int, width: int, where: str) -> TableError:
    return TableError("a row has another number of values than indices", where=where, got=str(got), wanted=str(width))
