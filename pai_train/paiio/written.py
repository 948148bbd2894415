"""Rows written as lines of text, as decode_csv reads them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from pai_train.feed.assemble import plain
from pai_train.paiio.arrays import absent

if TYPE_CHECKING:
    from typing import Any

_FIRST_PRINTABLE = " "
_NEWLINE = b"\n"


@dataclass(frozen=True)
class Lines:
    """Rows as text.

    Attributes:
        data: All lines, a separator behind each.
        edges: Where each line begins, and where the last one ends, int of shape [rows + 1].
        separator: Bytes that no line holds.
    """

    data: memoryview
    edges: np.ndarray[Any, Any]
    separator: bytes

    def part(self, at: int, count: int) -> tuple[bytes, bytes]:
        """Returns some of the lines as one text, and what stands between them."""
        return bytes(self.data[self.edges[at] : self.edges[at + count] - len(self.separator)]), self.separator


def written(batch: pa.RecordBatch, delimiter: str) -> Lines:
    """Writes rows as lines.

    Args:
        batch: The rows; strings may be dictionary encoded.
        delimiter: Stands between the values of a line.
    """
    rows = pa.RecordBatch.from_arrays([plain(column) for column in batch.columns], batch.schema.names)
    return _by_arrow(rows, delimiter) or _joined(rows, delimiter)


def _by_arrow(rows: pa.RecordBatch, delimiter: str) -> Lines | None:
    """Makes lines by Arrow's own writer, in one pass; None where a text needs quotes, or bars the writer."""
    if not delimiter.isascii():
        return None
    sink = pa.BufferOutputStream()
    form = csv.WriteOptions(include_header=False, delimiter=delimiter, quoting_style="none", batch_size=rows.num_rows)
    try:
        csv.write_csv(rows, sink, form)
    except pa.ArrowInvalid:
        return None
    data = memoryview(sink.getvalue())
    ends = np.flatnonzero(np.frombuffer(data, np.uint8) == _NEWLINE[0]) + 1
    return Lines(data, np.append(0, ends), _NEWLINE) if len(ends) == rows.num_rows else None


def _joined(rows: pa.RecordBatch, delimiter: str) -> Lines:
    """Makes lines of any text."""
    texts = [_text(column, delimiter) for column in rows.columns]
    lines = pc.binary_join_element_wise(*texts, pa.scalar(delimiter.encode(), pa.binary()))
    separator = absent(lines)
    ended = pc.binary_join_element_wise(lines, pa.scalar(b"", pa.binary()), pa.scalar(separator, pa.binary()))
    edges = np.frombuffer(ended.buffers()[1], np.int32)[: len(ended) + 1]
    return Lines(memoryview(ended.buffers()[2]), edges, separator)


def _text(column: pa.Array, delimiter: str) -> pa.Array:
    is_text = pa.types.is_string(column.type) or pa.types.is_binary(column.type)
    text = column if is_text else column.cast(pa.string())
    text = text.cast(pa.binary()).fill_null(b"")
    if not is_text or delimiter < _FIRST_PRINTABLE:
        return text
    special = [pc.match_substring(text, mark) for mark in (delimiter, '"', "\n", "\r")]
    for marks in special[1:]:
        special[0] = pc.or_(special[0], marks)
    if not pc.any(special[0]).as_py():
        return text
    quoted = pc.binary_join_element_wise(b"", pc.replace_substring(text, '"', '""'), b"", b'"')
    return pc.if_else(special[0], quoted, text)
