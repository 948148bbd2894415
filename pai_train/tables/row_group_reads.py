"""Row groups of a Parquet file decoded whole, and what they take."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from collections.abc import Sequence

_ROWS_PER_DICTIONARY_BYTE = 2


def decoded(
    stream: Any, footer: pq.FileMetaData, groups: Sequence[int], columns: Sequence[str], *, encoded: bool
) -> pa.Table:
    """Returns row groups end to end. Pages with a checksum are checked.

    Args:
        stream: The file, opened.
        footer: What it says of itself.
        groups: Numbers of the row groups.
        columns: The columns, in order.
        encoded: Whether strings that have few values in all these groups come dictionary encoded.
    """
    kept = list(columns) if encoded else []
    for group in groups:
        kept = repeating(footer.row_group(group), kept)
    with pq.ParquetFile(
        stream, metadata=footer, read_dictionary=kept, pre_buffer=True, page_checksum_verification=True
    ) as file:
        return file.read_row_groups(list(groups), columns=list(columns), use_threads=False)


def stored_bytes(group: pq.RowGroupMetaData, columns: Sequence[str]) -> int:
    """Returns how many bytes some columns of a row group, by the names of their outermost fields, take in the file."""
    found = map(group.column, range(group.num_columns))
    return sum(column.total_compressed_size for column in found if column.path_in_schema.partition(".")[0] in columns)


def repeating(group: pq.RowGroupMetaData, columns: Sequence[str]) -> list[str]:
    """Returns those columns of strings of which a row group holds few values: its dictionary is small beside its rows.

    Larger ones are read as they are: to make a tensor of a large dictionary costs more than it saves.
    """
    found = []
    for column in map(group.column, range(group.num_columns)):
        if column.path_in_schema in columns and column.physical_type == "BYTE_ARRAY" and column.has_dictionary_page:
            dictionary_bytes = column.data_page_offset - column.dictionary_page_offset
            if dictionary_bytes * _ROWS_PER_DICTIONARY_BYTE <= group.num_rows:
                found.append(column.path_in_schema)
    return found
