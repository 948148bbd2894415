"""CSV text whose bad rows are left out and named; `fields` reads text in which every row is good."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from pai_train.feed import fields, lines, values
from pai_train.spec.contracts import BadRow, Marked

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

_SHAPE = -1
_RETURNS = -2


def mark(
    text: bytes,
    columns: Mapping[str, pa.DataType],
    delimiter: str,
    wanted: Sequence[str],
    *,
    newline: bytes | None = None,
) -> Marked:
    """Reads rows by the grammar of `fields`, and names those that it does not allow.

    Args:
        text: Whole lines. A byte order mark is data here.
        columns: All columns in the order of the fields.
        delimiter: The one ASCII character between fields.
        wanted: The columns to return, in this order; others are not checked.
        newline: The byte, of no valid UTF-8, that stands for a newline inside quotes.

    Raises:
        DataError: A wanted column is not among the columns, or its type cannot be read from text.
    """
    try:
        batch = fields.decode(text, columns, delimiter, wanted, newline=newline)
        return Marked([batch], batch.num_rows, ())
    except fields.FieldError:
        return _marked(text, columns, delimiter, {name: columns[name] for name in wanted}, newline)


def _marked(
    text: bytes,
    columns: Mapping[str, pa.DataType],
    delimiter: str,
    types: Mapping[str, pa.DataType],
    newline: bytes | None,
) -> Marked:
    plain = lines.normalise(text)
    counts = lines.field_counts(plain, delimiter.encode())
    # Per row what is at fault: a wanted column by its place, or _SHAPE, _RETURNS; behind all columns where nothing is.
    good = len(types)
    fault = np.where(counts == len(columns), good, _SHAPE)
    stand_in = None
    if b"\r" in plain:
        stand_in = fields.stand_in(plain)
        if stand_in is None:
            whole = [b"\r" not in line for line in plain.split(b"\n")[:-1]]
            fault = np.where(np.array(whole) | (fault != good), fault, _RETURNS)
        else:
            plain = plain.replace(b"\r", stand_in)
    kept = np.flatnonzero(fault == good)
    raw = fields.parse(_some(plain, kept), columns, delimiter, dict.fromkeys(types, pa.binary()))
    read: dict[str, Any] = {}
    for place, (name, kind) in enumerate(types.items()):
        column = fields.restored(raw.column(name), stand_in, newline)
        bad = kept[values.bad_ones(column, kind)]
        fault[bad] = np.minimum(fault[bad], place)
        read[name] = column
    mask = pa.array(fault[kept] == good)
    arrays = [values.convert(column.filter(mask), types[name]) for name, column in read.items()]
    batch = pa.RecordBatch.from_arrays(arrays, names=list(read)) if read else raw.filter(mask)
    offsets = lines.row_offsets(text)
    rows = np.flatnonzero(fault != good)
    bad_rows = [
        _bad_row(
            int(row),
            int(fault[row]),
            _restored(lines.line_at(text, int(offsets[row])), newline),
            columns,
            delimiter,
            list(types),
        )
        for row in rows
    ]
    return Marked([batch], len(fault), bad_rows)


def _some(plain: bytes, kept: npt.NDArray[np.int64]) -> bytes:
    """Returns some of the lines."""
    found = plain.split(b"\n")[:-1]
    return plain if len(kept) == len(found) else b"".join(found[row] + b"\n" for row in kept)


def _bad_row(
    row: int,
    fault: int,
    line: bytes,
    columns: Mapping[str, pa.DataType],
    delimiter: str,
    wanted: Sequence[str],
) -> BadRow:
    names = list(columns)
    if fault >= 0:
        name = wanted[fault]
        field = list(lines.split(line, delimiter.encode()))[names.index(name)]
        what, expectation = fields.field_fault(name, columns[name], field.value)
        return BadRow(row, what, name, fields.shown(field.value), expectation)
    if fault == _RETURNS:
        return BadRow(row, "the row cannot be told apart", None, fields.shown(line), "UTF-8 text in lines")
    shape = fields.shape_fault(line, names, delimiter)
    if shape is None:
        raise AssertionError(f"a line of {len(names)} fields was counted otherwise: {line!r}")
    return BadRow(row, shape.what, shape.column, fields.shown(line[shape.start :]), shape.expectation)


def _restored(line: bytes, newline: bytes | None) -> bytes:
    return line if newline is None else line.replace(newline, b"\n")
