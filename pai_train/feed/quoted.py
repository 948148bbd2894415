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
    newlines = np.flatnonzero(data == 0x0A)
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
                if not final and not text[end:].strip(b"\r"):
                    return None
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
