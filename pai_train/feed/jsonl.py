"""JSON lines as a source: one object per line, read with the declared types."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.json as pjson

from pai_train.errors import DataError
from pai_train.feed import lines, values
from pai_train.feed.fields import FieldError, shown
from pai_train.feed.header import NoHeads
from pai_train.feed.text_source import TextFileSource
from pai_train.spec.contracts import BadRow, Marked
from pai_train.tables.arrow import maxcompute_type

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pai_train.storage.store import ObjectInfo, Store

_WANTED = "one JSON object, with values of the declared types"
_NO_FIELD = "\0pai_train"
_CHANGED = re.compile(r"Column\(/.*\) changed from (\w+) to (\w+)")
_ROW = re.compile(r" in row \d+$")


class JsonLines(TextFileSource):
    """Objects of JSON, one per line; fields that are not declared are passed over.

    A field that is missing, or null, is null. Numbers are for numbers, true and false for BOOLEAN, and text for STRING,
    DATE, DATETIME and TIMESTAMP, by the grammar of CSV fields; DECIMAL takes both.

    Args:
        objects: The files, in row order.
        columns: The columns, by the names of fields.
        store: Where the objects are.
        compression: How the files are compressed: auto, none, gzip or zstd; see `TextFileSource`.
        encoding: How the text is written, by a name that Python knows.
        chunk_bytes: Size of a chunk; left out, a 64th of the files' total size within 1 KiB and 4 MiB.

    Raises:
        DataError: A column's type cannot be read from JSON, no column is declared, or there is no such encoding.
    """

    def __init__(
        self,
        objects: Sequence[ObjectInfo],
        columns: Mapping[str, pa.DataType],
        *,
        store: Store,
        compression: str = "auto",
        encoding: str = "utf-8",
        chunk_bytes: int | None = None,
    ) -> None:
        for name, kind in columns.items():
            values.expectation(name, kind)
            if pa.types.is_binary(kind):
                raise DataError(f"column {name!r}: JSON holds no bytes", todo="declare the column as STRING")
        super().__init__(
            objects,
            columns,
            JsonDecoder(dict(columns)),
            NoHeads(),
            store=store,
            compression=compression,
            encoding=encoding,
            chunk_bytes=chunk_bytes,
        )


class _BadLine(Exception):
    """A line that Arrow refuses; its words are the reason."""


class JsonDecoder:
    """Objects by Arrow's reader, with the declared types.

    Args:
        columns: All columns.
    """

    def __init__(self, columns: Mapping[str, pa.DataType]) -> None:
        self._columns = columns

    def decode(self, text: bytes, columns: Sequence[str]) -> pa.RecordBatch:
        try:
            return self._batch(lines.normalise(text), columns)
        except _BadLine:
            bad = self.mark(text, columns).bad[0]
        offset = int(lines.row_offsets(text)[bad.row])
        line = lines.line_at(text, offset)
        raise FieldError(bad.what, row=bad.row, offset=offset, column=bad.column, value=line, expectation=bad.wanted)

    def mark(self, text: bytes, columns: Sequence[str]) -> Marked:
        plain = lines.normalise(text)
        rows = plain.split(b"\n")[:-1]
        good: list[pa.RecordBatch] = []
        bad: list[BadRow] = []
        # Lines that cannot be read together are halved until those at fault are alone.
        doubtful = [(0, len(rows))] if rows else []
        while doubtful:
            lo, hi = doubtful.pop()
            try:
                good.append(self._batch(b"".join(row + b"\n" for row in rows[lo:hi]), columns))
            except _BadLine as reason:
                if hi - lo == 1:
                    bad.append(self._bad_row(lo, rows[lo], f"{reason}", columns))
                    continue
                middle = (lo + hi) // 2
                doubtful += [(middle, hi), (lo, middle)]
        table = pa.Table.from_batches(good or [self._batch(b"", columns)]).combine_chunks()
        batches = table.to_batches() or [self._batch(b"", columns)]
        return Marked(batches, len(rows), bad)

    def _bad_row(self, row: int, line: bytes, reason: str, columns: Sequence[str]) -> BadRow:
        for name in ("", *columns):
            try:
                self._batch(line + b"\n", [name] if name else [])
            except _BadLine as error:
                if not name:
                    return BadRow(row, f"{error}", None, shown(line), _WANTED)
                wanted = f"{values.expectation(name, self._columns[name])}, or null"
                return BadRow(row, f"column {name!r} {error}", name, shown(line), wanted)
        return BadRow(row, reason, None, shown(line), _WANTED)

    def _batch(self, plain: bytes, columns: Sequence[str]) -> pa.RecordBatch:
        """Reads lines from `lines.normalise`.

        Raises:
            _BadLine: One of them is no row.
        """
        types = {name: self._columns[name] for name in columns}
        if not plain:
            return pa.RecordBatch.from_arrays([pa.array([], kind) for kind in types.values()], names=list(types))
        if not _one_object_each(plain):
            raise _BadLine("the line is not one JSON object")
        # Dates and times come as text, for one grammar of them in all formats.
        read = {name: pa.string() if _is_time(kind) else kind for name, kind in types.items()}
        if not read:
            read = {_NO_FIELD: pa.null()}
        try:
            table = pjson.read_json(
                pa.BufferReader(plain),
                read_options=pjson.ReadOptions(use_threads=False, block_size=len(plain) + 1),
                parse_options=pjson.ParseOptions(
                    explicit_schema=pa.schema(list(read.items())), unexpected_field_behavior="ignore"
                ),
            )
            table.validate(full=True)
        except (pa.ArrowInvalid, UnicodeDecodeError) as error:
            raise _BadLine(_reason(error)) from None
        if table.num_rows != lines.count_newlines(plain):
            raise _BadLine("the line is not one JSON object")
        arrays = []
        for name, kind in types.items():
            column = table.column(name).combine_chunks()
            arrays.append(_times(column, kind) if _is_time(kind) else column)
        if not types:
            return pa.RecordBatch.from_arrays([pa.nulls(table.num_rows)], names=[""]).select([])
        return pa.RecordBatch.from_arrays(arrays, names=list(types))


def _is_time(kind: pa.DataType) -> bool:
    return bool(pa.types.is_date(kind) or pa.types.is_timestamp(kind))


def _times(column: Any, kind: pa.DataType) -> Any:
    raw = column.cast(pa.binary())
    bad = values.first_bad(raw.fill_null(b""), kind)
    if bad is not None:
        raise _BadLine(f"{shown(raw[bad].as_py())} cannot be read as {maxcompute_type(kind)}")
    return values.convert(raw, kind)


def _one_object_each(plain: bytes) -> bool:
    """Tells whether each line begins as an object and ends as one: Arrow would take one over several lines."""
    data = np.frombuffer(plain, np.uint8)
    newlines = np.flatnonzero(data == 0x0A)
    starts = np.concatenate(([0], newlines[:-1] + 1))
    if (data[starts] == 0x7B).all() and (data[newlines - 1] == 0x7D).all():
        return True
    rows = (line.strip(b" \t\r") for line in plain.split(b"\n")[:-1])
    return all(row.startswith(b"{") and row.endswith(b"}") for row in rows)


def _reason(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "holds text that is not UTF-8"
    text = _ROW.sub("", str(error).partition("\n")[0].removeprefix("JSON parse error: "))
    changed = _CHANGED.fullmatch(text)
    if changed is not None:
        return f"holds {_named(changed[2])}, not {_named(changed[1])}"
    return "holds text that is not UTF-8" if "UTF8" in text else text


def _named(kind: str) -> str:
    return f"an {kind}" if kind[0] in "ao" else f"a {kind}"
