"""Rows that a reading leaves out: each counted once, written down where that is asked for, too many refused."""

from __future__ import annotations

import base64
import json
import logging
from dataclasses import astuple, dataclass, replace
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

from pai_train.errors import DataError, PaiTrainError
from pai_train.spec.contracts import BadRow, LocatingSource, RowPlace, TextSource
from pai_train.storage.urls import display

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pai_train.spec.contracts import Chunk, Source

logger = logging.getLogger(__name__)

MOST_RAW_BYTES = 64 * 2**10
"""Bytes of a row that are written down; what is longer is cut."""

_NAMED = 3
_TRIED_ROWS = 10_000


class TooManyBadRows(DataError):
    """More rows were bad than the limit allows."""


@dataclass(frozen=True)
class Found:
    """The bad rows of a chunk that were met first.

    Attributes:
        chunk: Its id.
        rows: All its rows.
        bad: The numbers of the bad ones in it.
        texts: What to say of the first of these, as far as anybody is told.
        lines: What is written down, one line for each or none.
    """

    chunk: int
    rows: int
    bad: Sequence[int]
    texts: Sequence[str]
    lines: Sequence[str]

    def of(self, bad: Sequence[int]) -> Found:
        """Returns what there is of some of its rows."""
        among = set(bad)
        kept = [at for at, row in enumerate(self.bad) if row in among]
        texts = [self.texts[at] for at in kept if at < len(self.texts)]
        return replace(self, bad=bad, texts=texts, lines=[self.lines[at] for at in kept if at < len(self.lines)])


class BadRows:
    """The bad rows of one input in one run; used by several threads at once.

    A row is counted when it is met first: epochs, splits and repeated reads meet it again. What is kept of it is one
    bit in a map of its chunk.

    Args:
        name: The input, for messages.
        limit: How many rows may be bad: a whole number, or a share of the rows read; None for any.
        total: Rows of the input where that is known: then a share is of these, from the first row on.
        sink: File that gets one line of JSON per bad row; None for none.
    """

    def __init__(
        self, name: str, *, limit: float | None = None, total: int | None = None, sink: Path | None = None
    ) -> None:
        self._name = name
        self._limit = limit
        self._total = total
        self.sink = sink
        self._lock = Lock()
        self._maps: dict[int, np.ndarray[Any, Any]] = {}
        self._counted: set[int] = set()
        self._first: list[str] = []
        self.count = 0
        self.seen = 0

    def note(self, source: Source, chunk: Chunk, rows: int, bad: Sequence[BadRow]) -> None:
        """Counts a chunk's rows and its bad ones; writes those down that are new.

        Args:
            source: Where the rows are.
            chunk: The chunk that was read.
            rows: All its rows, bad ones included.
            bad: The bad ones, each row at most once.

        Raises:
            TooManyBadRows: More rows are bad than the limit allows; names the first of them.
            PaiTrainError: They cannot be written down.
        """
        with self._lock:
            new = set(self._new(chunk.id, rows, [row.row for row in bad]))
            texts, lines = self._described(source, chunk, [row for row in bad if row.row in new])
            self._enter(Found(chunk.id, rows, [int(row.row) for row in bad if row.row in new], texts, lines))

    def take(self, found: Found) -> None:
        """Counts what another process has found, as `note` does.

        Raises:
            TooManyBadRows: More rows are bad than the limit allows; names the first of them.
            PaiTrainError: They cannot be written down.
        """
        with self._lock:
            self._enter(found.of(self._new(found.chunk, found.rows, found.bad)))

    def finish(self) -> None:
        """Compares the count with a limit that is a share of the rows read, now that all are.

        Raises:
            TooManyBadRows: More rows are bad than the limit allows.
        """
        with self._lock:
            self._check(at_end=True)

    def summary(self) -> str:
        """Says how many rows were left out, and where they are written down."""
        rows = f"{self.count:,} of {self.seen:,} rows of input {self._name} {'was' if self.count == 1 else 'were'} bad"
        return f"{rows} and left out" + (f"; see {self.sink}" if self.sink is not None and self.count else "")

    @property
    def _writes(self) -> bool:
        return self.sink is not None

    def _new(self, chunk: int, rows: int, bad: Sequence[int]) -> list[int]:
        """Returns which of these rows were not met before."""
        if not bad:
            return []
        known = self._maps.get(chunk)
        met = np.zeros(rows, bool) if known is None else np.unpackbits(known, count=rows).astype(bool)
        new = [row for row in bad if not met[row]]
        if new:
            met[new] = True
            self._maps[chunk] = np.packbits(met)
        return new

    def _described(self, source: Source, chunk: Chunk, new: Sequence[BadRow]) -> tuple[list[str], list[str]]:
        wanted = max(0, _NAMED - len(self._first))
        located = list(new) if self._writes else list(new[:wanted])
        places = locate(source, chunk, [row.row for row in located])
        pairs = list(zip(located, places, strict=True))
        texts = [said(row, place) for row, place in pairs[:wanted]]
        if not self._writes:
            return texts, []
        return texts, [json.dumps(entry(self._name, row, place), ensure_ascii=False) + "\n" for row, place in pairs]

    def _enter(self, found: Found) -> None:
        if found.chunk not in self._counted:
            self._counted.add(found.chunk)
            self.seen += found.rows
        if found.texts and not self.count:
            first = found.texts[0]
            logger.warning("input %s: leaving out rows that cannot be read, the first: %s", self._name, first)
        self._first += found.texts[: max(0, _NAMED - len(self._first))]
        if found.lines and self._writes:
            self._write("".join(found.lines))
        self.count += len(found.bad)
        self._check(at_end=False)

    def _write(self, text: str) -> None:
        try:
            with self.sink.open("ab") as file:  # type: ignore[union-attr]
                file.write(text.encode("utf-8", "backslashreplace"))
        except OSError as error:
            raise PaiTrainError(
                "bad rows cannot be written down",
                where=str(self.sink),
                got=error.strerror or str(error),
                todo="make room and rights in the run folder, or choose on_bad_row=skip",
            ) from error

    def _check(self, *, at_end: bool) -> None:
        if self._limit is None or not self.count:
            return
        is_share = 0 < self._limit < 1
        rows = self._total or (self.seen if at_end else max(self.seen, _TRIED_ROWS))
        allowed = self._limit * rows if is_share else self._limit
        if self.count > allowed:
            first = "".join(f"\n      {text}" for text in self._first)
            raise TooManyBadRows(
                f"input {self._name} has more bad rows than max_bad_rows allows",
                where=f"inputs.{self._name}.max_bad_rows",
                got=f"{self.count:,} bad among the {self.seen:,} rows read so far; the first:{first}",
                wanted=f"at most {self._limit:g} of the rows" if is_share else f"at most {self._limit:g} rows",
                todo="correct the rows"
                + (f", which stand in {self.sink}," if self.sink is not None else "")
                + " or the declaration, or raise max_bad_rows",
            )


class Reported(BadRows):
    """The bad rows that one of several processes finds, for another one that counts those of all.

    Args:
        name: The input, for messages.
        writes: Whether they will be written down.
    """

    def __init__(self, name: str, *, writes: bool) -> None:
        super().__init__(name)
        self._told = writes
        self._found: list[Found] = []

    def collect(self) -> list[list[Any]]:
        """Returns what was found since the last time, of JSON types; each is a `Found`."""
        with self._lock:
            found, self._found = self._found, []
        return [list(astuple(one)) for one in found]

    @property
    def _writes(self) -> bool:
        return self._told

    def _enter(self, found: Found) -> None:
        if found.chunk not in self._counted or found.bad:
            self._counted.add(found.chunk)
            self._first += found.texts
            self._found.append(found)


def locate(source: Source, chunk: Chunk, rows: Sequence[int]) -> Sequence[RowPlace]:
    """Returns where rows of a chunk stand; of a source that does not say, by its chunk's address."""
    if not rows:
        return []
    if isinstance(source, LocatingSource):
        return source.locate(chunk, rows)
    url, _, span = chunk.ref.rpartition("@")
    lo, hi = (int(text) for text in span.split("-"))
    if chunk.rows is not None and chunk.rows != hi - lo:
        # Deleted rows and rows that a filter leaves out are not counted.
        among = f"the {chunk.rows} that are read of rows {lo} to {hi - 1}"
        return [RowPlace(url, row, among) for row in rows]
    return [RowPlace(url, lo + row) for row in rows]


def place_of(source: Source, chunk: Chunk, row: int) -> str:
    """Says where a row of a chunk stands."""
    return source.place(chunk, row) if isinstance(source, TextSource) else where(locate(source, chunk, [row])[0])


def where(place: RowPlace) -> str:
    """Says where a row stands, as shortly as it can be found again."""
    if place.line is not None:
        return f"{display(place.url)}:{place.line}"
    row = "" if place.row is None else f", row {place.row}"
    if place.offset is not None:
        return f"{display(place.url)}{row} at byte {place.offset}"
    return f"{display(place.url)}{row}" + (f" of {place.among}" if place.among is not None else "")


def said(row: BadRow, place: RowPlace) -> str:
    """Says on one line where a bad row is and what is wrong with it."""
    return f"{where(place)}: {row.what}; got {row.got}, wanted {row.wanted}"


def entry(name: str, row: BadRow, place: RowPlace) -> dict[str, Any]:
    """Returns what is written down of a bad row, in JSON types."""
    known = {
        "input": name,
        "object": display(place.url),
        "line": place.line,
        "row": place.row,
        "among": place.among,
        "offset": place.offset,
        "reason": row.what,
        "column": row.column,
        "value": row.got,
        "wanted": row.wanted,
    }
    if place.raw is not None:
        raw = place.raw[:MOST_RAW_BYTES]
        try:
            known["raw"] = raw.decode()
        except UnicodeDecodeError:
            known["raw_base64"] = base64.b64encode(raw).decode()
        if len(raw) < len(place.raw):
            known["raw_bytes"] = len(place.raw)
    return {key: value for key, value in known.items() if value is not None}
