"""Newlines inside quotes: where rows of CSV text end when a quoted field may go over several lines.

A row whose quotes cannot be read ends at its first newline, so that one stray quote costs one line and not the rest.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from pai_train.feed import lines

if TYPE_CHECKING:
    from pai_train.feed.lines import Int64s

STAND_IN = b"\xfe"
"""Stands for a newline inside quotes; no valid UTF-8 holds this byte."""

_NEWLINE, _RETURN, _QUOTE = 0x0A, 0x0D, 0x22
_OTHER = b"\xfd"
LONGEST = 2**20
"""Bytes a quoted field may have."""

_QUOTED = re.compile(rb'"(?:[^"]++|"")*+"')
_BEHIND = re.compile(rb"\r*\n")


def inner_newlines(text: bytes, delimiter: bytes, *, final: bool) -> tuple[Int64s, int]:
    """Finds the newlines that end no row.

    Args:
        text: Begins where a row does.
        delimiter: The byte between fields.
        final: Whether nothing follows.

    Returns:
        Their places, int64 of shape [found], and the byte up to which the rows are known: behind a row's end.
    """
    known = len(text) if final else text.rfind(b"\n") + 1
    if b'"' not in text:
        return np.zeros(0, np.int64), known
    data = np.frombuffer(text, np.uint8)
    newlines = np.flatnonzero(data == _NEWLINE)
    counts = _quotes_before(text, newlines, delimiter, final=final)
    if counts is not None:
        inner = counts & 1 == 1
        ends = newlines[~inner]
        return newlines[inner], known if final else (int(ends[-1]) + 1 if len(ends) else 0)
    return _one_by_one(text, newlines, known, delimiter, final=final)


def _quotes_before(text: bytes, newlines: Int64s, delimiter: bytes, *, final: bool) -> Int64s | None:
    """Counts the quotes before each newline, where all quotes delimit or escape; else None.

    They do where those with even numbers, from 0, follow a delimiter, a newline or directly the quote before them, and
    those with odd numbers have one of these behind them. The last field may go on behind a text that is not final.
    """
    padded = np.frombuffer(b"\n" + text + b"\n\n", np.uint8)
    quotes = np.flatnonzero(padded == _QUOTE)
    if final and len(quotes) & 1:
        return None
    opening, closing = quotes[::2], quotes[1::2]
    border = np.zeros(256, bool)
    border[[_NEWLINE, _QUOTE, delimiter[0]]] = True
    behind = padded[closing + 1]
    returned = (behind == _RETURN) & (padded[closing + 2] == _NEWLINE)
    if not (border[padded[opening - 1]].all() and (border[behind] | returned).all()):
        return None
    starts = opening[padded[opening - 1] != _QUOTE]
    stops = closing[behind != _QUOTE]
    # An open field, or one that may be, ends with the text.
    stops = np.append(stops, [len(text)] * (len(starts) - len(stops)))
    if len(starts) != len(stops) or (len(starts) and int((stops - starts).max()) >= LONGEST):
        return None
    return np.searchsorted(quotes, newlines + 1)


def _one_by_one(text: bytes, newlines: Int64s, known: int, delimiter: bytes, *, final: bool) -> tuple[Int64s, int]:
    """Does what `inner_newlines` does, row by row where a row's quotes need a closer look."""
    found = []
    at = 0
    for start in lines.doubtful_starts(text, delimiter):
        if start < at or start >= known:
            continue
        end = _row_end(text, start, delimiter, final=final)
        if end is None:
            known = start
            break
        inner = newlines[np.searchsorted(newlines, start) : np.searchsorted(newlines, end)]
        if len(inner):
            found.append(inner)
        at = end + 1
    known = max(known, min(at, len(text)))
    return (np.concatenate(found) if found else np.zeros(0, np.int64)), known


def one_line_rows(text: bytes, delimiter: bytes) -> bytes:
    """Returns whole rows with the newlines inside quotes replaced by `STAND_IN`, so that each row is a line."""
    text = text.replace(STAND_IN, _OTHER)
    inner, _ = inner_newlines(text, delimiter, final=True)
    if not len(inner):
        return text
    data = np.frombuffer(text, np.uint8).copy()
    data[inner] = STAND_IN[0]
    return data.tobytes()


def _row_end(text: bytes, start: int, delimiter: bytes, *, final: bool) -> int | None:
    """Returns the place of the newline that ends a row, or the text's length; None where the text ends too early."""
    at = start
    while True:
        if text.startswith(b'"', at):
            match = _QUOTED.match(text, at, at + LONGEST)
            if match is None:
                return None if not final and len(text) - at < LONGEST else _line_end(text, start)
            end = match.end()
            if end == len(text):
                return end if final else None
            behind = _BEHIND.match(text, end)
            if behind is not None:
                return behind.end() - 1
            if text[end : end + 1] != delimiter:
                if text.startswith(b"\r", end) and not text[end:].strip(b"\r"):
                    return len(text) if final else None
                return _line_end(text, start)
            at = end + 1
            continue
        stop, newline = text.find(delimiter, at), text.find(b"\n", at)
        if stop >= 0 and (stop < newline or newline < 0):
            at = stop + 1
        elif newline >= 0:
            return newline
        else:
            return len(text) if final else None


def _line_end(text: bytes, start: int) -> int:
    newline = text.find(b"\n", start)
    return len(text) if newline < 0 else newline
