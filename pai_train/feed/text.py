"""Lines of text as a source: one column of strings, a row per line that is not blank."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pai_train.errors import DataError
from pai_train.feed import lines, values
from pai_train.feed.fields import FieldError, field_fault, shown
from pai_train.feed.header import NoHeads
from pai_train.feed.text_source import TextFileSource
from pai_train.spec.contracts import BadRow, Marked

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pai_train.storage.store import ObjectInfo, Store


class TextLines(TextFileSource):
    """Lines of files, without their line ends, as one column; blank lines are left out.

    Args:
        objects: The files, in row order.
        columns: The one column, of type pa.string().
        store: Where the objects are.
        compression: How the files are compressed: auto, none, gzip or zstd; see `TextFileSource`.
        encoding: How the text is written, by a name that Python knows.
        chunk_bytes: Size of a chunk; left out, a 64th of the files' total size within 1 KiB and 4 MiB.

    Raises:
        DataError: There are other columns, or there is no such encoding.
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
        if [kind for kind in columns.values() if pa.types.is_string(kind)] != list(columns.values()) or len(
            columns
        ) != 1:
            raise DataError(
                "lines of text are one column of strings",
                got=", ".join(f"{name} {kind}" for name, kind in columns.items()) or "no column",
                wanted="one column of type STRING",
            )
        super().__init__(
            objects,
            columns,
            LineDecoder(next(iter(columns))),
            NoHeads(),
            store=store,
            compression=compression,
            encoding=encoding,
            chunk_bytes=chunk_bytes,
        )


class LineDecoder:
    """Each line is a value.

    Args:
        name: The column.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def decode(self, text: bytes, columns: Sequence[str]) -> pa.RecordBatch:
        found = _lines(text)
        bad = values.first_bad(found, pa.string())
        if bad is not None and columns:
            value = found[bad].as_py()
            what, wanted = field_fault(self._name, pa.string(), value)
            offset = int(lines.row_offsets(text)[bad])
            raise FieldError(what, row=bad, offset=offset, column=self._name, value=value, expectation=wanted)
        return self._batch(found, columns)

    def mark(self, text: bytes, columns: Sequence[str]) -> Marked:
        found = _lines(text)
        bad = values.bad_ones(found, pa.string()) if columns else np.zeros(len(found), bool)
        rows = []
        for row in np.flatnonzero(bad).tolist():
            value = found[row].as_py()
            what, wanted = field_fault(self._name, pa.string(), value)
            rows.append(BadRow(row, what, self._name, shown(value), wanted))
        good = found.filter(pa.array(~bad)) if rows else found
        return Marked([self._batch(good, columns)], len(found), rows)

    def _batch(self, found: pa.Array, columns: Sequence[str]) -> pa.RecordBatch:
        if columns:
            return pa.RecordBatch.from_arrays([found.cast(pa.string())], names=[self._name])
        return pa.RecordBatch.from_arrays([found], names=[self._name]).select([])


def _lines(text: bytes) -> pa.Array:
    """Returns the lines that are not blank, as bytes."""
    plain = lines.normalise(text)
    if not plain:
        return pa.array([], pa.binary())
    found = pc.split_pattern(pa.array([plain[:-1]], pa.binary()), pattern="\n")
    return found.flatten()
