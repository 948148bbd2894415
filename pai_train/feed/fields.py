r"""The one field grammar: what a piece of CSV text means, for every engine.

Text is lines, each ended by a newline; the last newline may be missing.

| in the text | meaning |
|---|---|
| newline | always ends a row, inside quotes too, so that a file can be cut anywhere |
| carriage returns at a line's end | dropped |
| blank line | no row |
| field that starts with `"` | quoted to the next single `"`; `""` inside is one quote; then delimiter or line end |
| quote anywhere else, as in `a"b`, ` "x"` | itself |
| more or fewer fields than columns | error |
| carriage return inside a field, NUL | data in STRING, error elsewhere |
| empty or `""` | empty string in STRING, null in every other type |
| BIGINT, INT, SMALLINT, TINYINT | `[+-]?[0-9]+` in the type's range; no `0x10`, `1_0`, `1.`, `1e5` |
| DOUBLE, FLOAT | decimal or exponent form, `1.`, `.5`, `inf`, `infinity`, `nan`, signed, in any case; no `nan(1)` |
| DECIMAL | decimal or exponent form that the type holds without loss |
| BOOLEAN | `true`, `false`, `1`, `0` in any case |
| DATE | `2024-12-31` |
| DATETIME, TIMESTAMP | ISO 8601 without zone: a date alone, or date, blank or `T`, and `hh[:mm[:ss[.fff]]]` |
| STRING | as it stands, valid UTF-8; `NA`, `NULL`, `nan` are text |
| blanks and tabs around a value | dropped, but in STRING they are data; blanks alone are an error |

Arrow's typed reader does the work where it provably agrees. Where it accepts more (hex integers, `nan(1)`, decimals of
too many digits) or less (`+1`, carriage returns), the fields are read as bytes and checked column by column. Only
columns that are wanted are checked; the shape of a row is checked always.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pcsv

from pai_train.errors import DataError, did_you_mean
from pai_train.feed import lines, values
from pai_train.tables.arrow import maxcompute_type

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_NEVER_UTF8 = tuple(bytes([value]) for value in (0xFF, 0xFE, 0xFD, 0xFC, 0xFB, 0xFA, 0xF9, 0xF8, 0xC0, 0xC1))
_SHOWN = 60


def _spellings(word: str) -> list[str]:
    return ["".join(letters) for letters in itertools.product(*((letter, letter.upper()) for letter in word))]


_TRUE = [*_spellings("true"), "1"]
_FALSE = [*_spellings("false"), "0"]


class FieldError(DataError):
    """A field, or a row's shape, that the grammar does not allow.

    Attributes:
        row: Row in the text, from 0.
        offset: Byte in the text where the field starts.
        column: Its column, or None where the row's shape is at fault.
        value: The field's content.
        expectation: What is accepted.
    """

    def __init__(self, what: str, *, row: int, offset: int, column: str | None, value: bytes, expectation: str) -> None:
        self.row = row
        self.offset = offset
        self.column = column
        self.value = value
        self.expectation = expectation
        super().__init__(
            what,
            where=f"row {row}, byte {offset}",
            got=shown(value),
            wanted=expectation,
            todo="correct the field, or declare the column with the type that it has",
        )


def shown(value: bytes) -> str:
    """Returns a field's content as people read it, shortened."""
    text = value[:_SHOWN].decode("utf-8", "backslashreplace")
    return repr(text) + (f"… ({len(value)} bytes)" if len(value) > _SHOWN else "")


def check_delimiter(delimiter: str) -> bytes:
    r"""Returns the delimiter as a byte.

    Raises:
        DataError: It is not one ASCII character, or a quote, a line end or NUL.
    """
    if len(delimiter) != 1 or not delimiter.isascii() or delimiter in '"\r\n\0':
        raise DataError(
            "the delimiter cannot separate fields",
            got=repr(delimiter),
            wanted="one ASCII character, not a quote or a line end",
            todo=r"use a delimiter such as ',', ';', '|', '\t' or '\x01'",
        )
    return delimiter.encode()


def decode(
    text: bytes,
    columns: Mapping[str, pa.DataType],
    delimiter: str,
    wanted: Sequence[str],
    *,
    newline: bytes | None = None,
) -> pa.RecordBatch:
    """Reads rows.

    Args:
        text: Whole lines. A byte order mark is data here.
        columns: All columns in the order of the fields.
        delimiter: The one ASCII character between fields.
        wanted: The columns to return, in this order.
        newline: The byte, of no valid UTF-8, that stands for a newline inside quotes.

    Returns:
        One row per line that is not blank, with the wanted columns; empty fields are null, but '' in STRING.

    Raises:
        FieldError: The first row that the grammar does not allow.
        DataError: A wanted column is not among the columns, or its type cannot be read from text.
    """
    mark = check_delimiter(delimiter)
    for name in wanted:
        if name not in columns:
            raise DataError(f"there is no column {name!r}", todo=did_you_mean(name, columns))
    types = {name: columns[name] for name in wanted}
    orderly = lines.returns_end_lines(text)
    plain = text if orderly else lines.drop_returns(text)
    if b'"' in plain and not lines.quotes_fit(plain, mark):
        raise _shape_error(text, columns, delimiter, types, newline)
    if (
        (orderly or b"\r" not in plain)
        and (newline is None or newline not in plain)
        and not _arrow_differs(plain, types)
    ):
        try:
            return parse(plain, columns, delimiter, types)
        except pa.ArrowInvalid:
            pass  # Arrow refuses some fields that the grammar allows; the strict reading decides.
    return _strict(text, plain, columns, delimiter, types, newline)


def _arrow_differs(plain: bytes, types: Mapping[str, pa.DataType]) -> bool:
    """Tells whether the text may hold a field that Arrow's typed reader accepts against the grammar."""
    if any(map(pa.types.is_integer, types.values())) and lines.holds_hex(plain):
        return True
    if any(map(pa.types.is_decimal, types.values())):
        return True
    return any(map(pa.types.is_floating, types.values())) and b"(" in plain


def parse(
    plain: bytes, columns: Mapping[str, pa.DataType], delimiter: str, types: Mapping[str, pa.DataType]
) -> pa.RecordBatch:
    """Reads well-quoted text with Arrow.

    Raises:
        pyarrow.ArrowInvalid: A field is refused, or a row has another number of fields than there are columns.
    """
    read = dict(types) or {next(iter(columns)): pa.binary()}
    for name, kind in read.items():
        values.expectation(name, kind)
    if not plain:
        return _batch({name: pa.array([], kind) for name, kind in read.items()}).select(list(types))
    # Arrow drops a byte order mark in front of the text, but no longer behind a blank line.
    guarded = b"\n" + plain if plain.startswith(b"\xef\xbb\xbf") else plain
    table = pcsv.read_csv(
        pa.BufferReader(guarded),
        read_options=pcsv.ReadOptions(column_names=list(columns), use_threads=False, block_size=len(guarded) + 1),
        parse_options=pcsv.ParseOptions(delimiter=delimiter),
        convert_options=pcsv.ConvertOptions(
            column_types=read, include_columns=list(read), null_values=[""], true_values=_TRUE, false_values=_FALSE
        ),
    )
    complete = lines.count_newlines(plain) + (not plain.endswith(b"\n"))
    if table.num_rows != complete and table.num_rows != lines.count_rows(plain):
        raise pa.ArrowInvalid("rows were lost")
    columns_read = {name: _one_chunk(table.column(name)) for name in read}
    return _batch(columns_read).select(list(types))


def _one_chunk(column: Any) -> Any:
    # `combine_chunks` copies even a single chunk.
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _batch(columns: Mapping[str, Any]) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))


def _strict(
    text: bytes,
    plain: bytes,
    columns: Mapping[str, pa.DataType],
    delimiter: str,
    types: Mapping[str, pa.DataType],
    newline: bytes | None = None,
) -> pa.RecordBatch:
    """Reads the fields as bytes and checks each column against the grammar."""
    byte = None
    if not lines.returns_end_lines(plain):
        byte = stand_in(plain)
        if byte is None:
            raise _no_text(text)
        plain = plain.replace(b"\r", byte)
    try:
        raw = parse(plain, columns, delimiter, dict.fromkeys(types, pa.binary()))
    except pa.ArrowInvalid as error:
        raise _shape_error(text, columns, delimiter, types, newline) from error
    converted: dict[str, Any] = {}
    first: tuple[int, str] | None = None
    for name, kind in types.items():
        column = restored(raw.column(name), byte, newline)
        bad = values.first_bad(column, kind)
        if bad is None:
            converted[name] = values.convert(column, kind)
        elif first is None or bad < first[0]:
            first = (bad, name)
    if first is not None:
        raise _field_error(text, columns, delimiter, *first, newline)
    return _batch(converted) if types else raw


def stand_in(plain: bytes) -> bytes | None:
    """Returns a byte that no valid text holds and this one does not: to Arrow a carriage return ends a row."""
    return next((byte for byte in _NEVER_UTF8 if byte not in plain), None)


def restored(column: Any, returned: bytes | None, newline: bytes | None) -> Any:
    """Puts carriage returns and newlines back where bytes stand for them."""
    for byte, meant in ((returned, b"\r"), (newline, b"\n")):
        if byte is not None:
            column = pc.replace_substring(column, byte, meant)
    return column


def _field_error(
    text: bytes,
    columns: Mapping[str, pa.DataType],
    delimiter: str,
    row: int,
    column: str,
    newline: bytes | None,
) -> FieldError:
    start = int(lines.row_offsets(text)[row])
    field = list(lines.split(lines.line_at(text, start), delimiter.encode()))[list(columns).index(column)]
    value = field.value if newline is None else field.value.replace(newline, b"\n")
    what, expectation = field_fault(column, columns[column], value)
    return FieldError(what, row=row, offset=start + field.start, column=column, value=value, expectation=expectation)


def field_fault(column: str, kind: pa.DataType, value: bytes) -> tuple[str, str]:
    """Says in words what is wrong with a field, and what is accepted instead."""
    what = f"column {column!r} cannot be read as {maxcompute_type(kind)}"
    if pa.types.is_string(kind):
        try:
            value.decode()
        except UnicodeDecodeError as error:
            byte = value[error.start]
            what = f"column {column!r} is not UTF-8: byte 0x{byte:02x} after {error.start} bytes of the field"
    return what, values.expectation(column, kind)


@dataclass(frozen=True)
class ShapeFault:
    """What is wrong with a row as a whole: the words, the column and the byte in the line where it begins."""

    what: str
    column: str | None
    start: int
    expectation: str


def shape_fault(line: bytes, names: Sequence[str], delimiter: str) -> ShapeFault | None:
    """Returns what keeps a line from being cut into one field per column, or None."""
    try:
        count = sum(1 for _ in lines.split(line, delimiter.encode()))
    except lines.LineError as error:
        column = names[error.column] if error.column < len(names) else None
        expectation = 'a quoted field such as "a ""word"", quoted", closed on its own line'
        return ShapeFault(f"{error}", column, error.start, expectation)
    if count == len(names):
        return None
    expectation = f"{len(names)} fields separated by {delimiter!r}: {', '.join(names[:8])}"
    expectation += ", …" if len(names) > 8 else ""
    return ShapeFault(f"the row has {count} field{'' if count == 1 else 's'}, not {len(names)}", None, 0, expectation)


def _shape_error(
    text: bytes,
    columns: Mapping[str, pa.DataType],
    delimiter: str,
    types: Mapping[str, pa.DataType],
    newline: bytes | None = None,
) -> FieldError:
    """Finds the first row of a wrong shape; a bad field in a row before it comes first."""
    names = list(columns)
    for row, start in enumerate(lines.row_offsets(text).tolist()):
        line = lines.line_at(text, start)
        fault = shape_fault(line, names, delimiter)
        if fault is not None:
            decode(text[:start], columns, delimiter, list(types), newline=newline)
            offset, value = start + fault.start, line[fault.start :]
            expectation = fault.expectation
            return FieldError(
                fault.what, row=row, offset=offset, column=fault.column, value=value, expectation=expectation
            )
    raise _no_text(text)


def _no_text(text: bytes) -> FieldError:
    try:
        offset = len(text.decode())
    except UnicodeDecodeError as error:
        offset = error.start
    row = max(lines.count_rows(text[: offset + 1]) - 1, 0)
    return FieldError(
        "the rows cannot be told apart",
        row=row,
        offset=offset,
        column=None,
        value=text[offset : offset + _SHOWN],
        expectation="UTF-8 text in lines",
    )
