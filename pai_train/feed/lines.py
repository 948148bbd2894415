"""Lines of CSV text: where rows start, what is blank, and whether quotes are well placed. Knows no types."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Iterator

Int64s = npt.NDArray[np.int64]

_NEWLINE, _RETURN, _QUOTE = 0x0A, 0x0D, 0x22
_ZERO, _LETTER_X = 0x30, 0x78
_WINDOW = 2**17
_RETURNS_AT_END = re.compile(rb"(?<!\r)\r++(?=\n|\Z)")
_QUOTED = re.compile(rb'"((?:[^"]++|"")*+)"')


@dataclass(frozen=True)
class Field:
    """One field of a line.

    Attributes:
        start: Byte in the line where it starts, its quote included.
        value: Its content, without quotes.
    """

    start: int
    value: bytes


class LineError(ValueError):
    """A line whose quotes cannot be read.

    Attributes:
        start: Byte in the line where the field with the fault starts.
        column: Number of that field, from 0.
    """

    def __init__(self, start: int, column: int, what: str) -> None:
        self.start = start
        self.column = column
        super().__init__(what)


def split(line: bytes, delimiter: bytes) -> Iterator[Field]:
    """Yields the fields of one line, given without its line end.

    Raises:
        LineError: A quote is not closed, or text follows a closing quote.
    """
    start = column = 0
    while True:
        if line.startswith(b'"', start):
            quoted = _QUOTED.match(line, start)
            if quoted is None:
                raise LineError(start, column, "the quote is not closed on its line")
            end = quoted.end()
            if end < len(line) and line[end : end + 1] != delimiter:
                raise LineError(start, column, "text follows the closing quote")
            yield Field(start, quoted[1].replace(b'""', b'"'))
        else:
            found = line.find(delimiter, start)
            end = len(line) if found < 0 else found
            yield Field(start, line[start:end])
        if end == len(line):
            return
        start, column = end + 1, column + 1


def returns_end_lines(text: bytes) -> bool:
    """Tells whether each carriage return stands directly before a newline, as a file's only other line end."""
    if b"\r" not in text:
        return True
    data = np.frombuffer(text, np.uint8)
    behind = np.flatnonzero(data == _RETURN) + 1
    return bool(behind[-1] < len(data) and (data[behind] == _NEWLINE).all())


def drop_returns(text: bytes) -> bytes:
    r"""Drops the carriage returns that stand at the end of a line or of the text; others stay.

    All returns of a run are dropped, so that dropping twice is dropping once.
    """
    if b"\r" not in text:
        return text
    text = text.replace(b"\r\n", b"\n")
    if b"\r\n" in text or text.endswith(b"\r"):
        text = _RETURNS_AT_END.sub(b"", text)
    return text


def normalise(text: bytes) -> bytes:
    """Returns the lines that are not blank, without carriage returns at their ends, each ended by one newline."""
    plain = drop_returns(text)
    if b"\n\n" in plain:
        plain = re.sub(rb"\n{2,}", b"\n", plain)
    if plain.startswith(b"\n"):
        plain = plain[1:]
    return plain if not plain or plain.endswith(b"\n") else plain + b"\n"


def row_offsets(text: bytes) -> Int64s:
    """Returns where each row starts, int64 of shape [rows]. Blank lines, empty or of returns alone, are no rows."""
    data = np.frombuffer(text, np.uint8)
    newlines = np.flatnonzero(data == _NEWLINE)
    starts = np.concatenate(([0], newlines + 1))
    ends = np.concatenate((newlines, [len(text)]))
    kept = ends > starts
    starts, ends = starts[kept], ends[kept]
    filled = data[starts] != _RETURN
    for index in np.flatnonzero(~filled):
        filled[index] = bool(text[starts[index] : ends[index]].strip(b"\r"))
    offsets: Int64s = starts[filled]
    return offsets


def count_newlines(text: bytes) -> int:
    """Returns the number of newlines; unlike `bytes.count` it lets other threads run."""
    data = np.frombuffer(text, np.uint8)
    # By windows, so that what is compared stays in the processor's cache.
    return sum(int(np.count_nonzero(data[at : at + _WINDOW] == _NEWLINE)) for at in range(0, len(data), _WINDOW))


def holds_hex(text: bytes) -> bool:
    """Tells whether `0x` or `0X` stands in a text; among zeros `in` takes as long for it as Arrow for all fields."""
    if b"x" not in text and b"X" not in text:
        return False
    data = np.frombuffer(text, np.uint8)
    windows = (data[at : at + _WINDOW + 1] for at in range(0, len(data), _WINDOW))
    return any((((window[1:] | 0x20) == _LETTER_X) & (window[:-1] == _ZERO)).any() for window in windows)


def count_rows(text: bytes) -> int:
    """Returns the number of lines that are not blank."""
    return len(row_offsets(text))


def line_at(text: bytes, offset: int) -> bytes:
    """Returns the line that starts at a byte, without its line end."""
    end = text.find(b"\n", offset)
    return text[offset : len(text) if end < 0 else end].rstrip(b"\r")


def quotes_fit(text: bytes, delimiter: bytes) -> bool:
    """Tells whether every line's quotes are well formed. Takes text from `drop_returns`, or with orderly returns.

    Where all quotes of a text delimit or escape, counted from 0, those with even numbers open: they follow a
    delimiter, a line's start, or directly the quote before them; those with odd numbers close: a delimiter, a line's
    end or directly the next quote follows; and each line has an even number. A text where that holds needs no closer
    look.
    """
    data = np.frombuffer(text, np.uint8)
    quotes = np.flatnonzero(data == _QUOTE)
    newlines = np.flatnonzero(data == _NEWLINE)
    padded = np.frombuffer(b"\n" + text + b"\n", np.uint8)
    before, after = padded[quotes], padded[quotes + 2]
    border = np.zeros(256, bool)
    border[[_NEWLINE, _QUOTE, delimiter[0]]] = True
    border[_RETURN] = returns_end_lines(text)
    even = len(quotes) % 2 == 0 and not (np.searchsorted(quotes, newlines) & 1).any()
    if even and border[before[::2]].all() and border[after[1::2]].all():
        return True
    starts = np.concatenate(([0], newlines + 1))
    line = np.searchsorted(newlines, quotes)
    found, misfits, opens = _judge(line, before, after, border, delimiter)
    return all(_splits(line_at(text, int(starts[index])), delimiter) for index in found[misfits & opens])


def field_counts(text: bytes, delimiter: bytes) -> Int64s:
    """Returns the number of fields of each line, int64 of shape [lines]; -1 where its quotes cannot be read.

    Args:
        text: Lines from `normalise`.
        delimiter: The byte between fields.
    """
    data = np.frombuffer(text, np.uint8)
    newlines = np.flatnonzero(data == _NEWLINE)
    marks = np.flatnonzero(data == delimiter[0])
    line_of_mark = np.searchsorted(newlines, marks)
    quotes = np.flatnonzero(data == _QUOTE)
    if not len(quotes):
        return np.bincount(line_of_mark, minlength=len(newlines)) + 1
    padded = np.frombuffer(b"\n" + text + b"\n", np.uint8)
    border = np.zeros(256, bool)
    border[[_NEWLINE, _QUOTE, delimiter[0]]] = True
    line = np.searchsorted(newlines, quotes)
    quoted, misfits, opens = _judge(line, padded[quotes], padded[quotes + 2], border, delimiter)
    # In a line that follows the rule of `quotes_fit`, what stands behind an odd number of quotes is inside a field.
    orderly = np.zeros(len(newlines), bool)
    orderly[quoted] = ~misfits & opens
    before = np.searchsorted(quotes, marks) - np.searchsorted(line, line_of_mark)
    counted = ~(orderly[line_of_mark] & (before & 1 == 1))
    counts = np.bincount(line_of_mark[counted], minlength=len(newlines)) + 1
    starts = np.concatenate(([0], newlines + 1))
    for index in quoted[misfits & opens]:
        counts[index] = _count(line_at(text, int(starts[index])), delimiter)
    return counts


def doubtful_starts(text: bytes, delimiter: bytes) -> list[int]:
    """Returns where the lines start whose quotes need a closer look, see `quotes_fit`; of any text."""
    data = np.frombuffer(text, np.uint8)
    quotes = np.flatnonzero(data == _QUOTE)
    newlines = np.flatnonzero(data == _NEWLINE)
    padded = np.frombuffer(b"\n" + text + b"\n", np.uint8)
    border = np.zeros(256, bool)
    border[[_NEWLINE, _QUOTE, delimiter[0]]] = True
    border[_RETURN] = returns_end_lines(text)
    line = np.searchsorted(newlines, quotes)
    found, misfits, opens = _judge(line, padded[quotes], padded[quotes + 2], border, delimiter)
    starts = np.concatenate(([0], newlines + 1))
    return [int(start) for start in starts[found[misfits & opens]]]


def _judge(
    line: Int64s,
    before: npt.NDArray[np.uint8],
    after: npt.NDArray[np.uint8],
    border: npt.NDArray[np.bool_],
    delimiter: bytes,
) -> tuple[Int64s, npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Returns the lines with quotes, whether each breaks the rule of `quotes_fit`, and whether a quote starts a field.

    It is given each quote's line and the bytes beside it. Where no quote starts a field all quotes are data; a line
    that breaks the rule and has such a quote is to be split.
    """
    first = np.flatnonzero(np.diff(line, prepend=-1))
    counts = np.diff(first, append=len(line))
    odd = (np.arange(len(line)) - np.repeat(first, counts)) & 1 == 1
    misplaced = ~border[np.where(odd, after, before)]
    opens = (before == _NEWLINE) | (before == delimiter[0])
    misfits = np.logical_or.reduceat(misplaced, first) | (counts & 1 == 1)
    return line[first], misfits, np.logical_or.reduceat(opens, first)


def _count(line: bytes, delimiter: bytes) -> int:
    try:
        return sum(1 for _ in split(line, delimiter))
    except LineError:
        return -1


def _splits(line: bytes, delimiter: bytes) -> bool:
    return _count(line, delimiter) >= 0
