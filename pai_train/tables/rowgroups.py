"""Small batches in, Parquet row groups of one size out."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

ROW_GROUP_ROWS = 65536
_ROW_GROUP_BYTES = 64 * 2**20


class RowGroupWriter:
    """Writes one Parquet file. Holds one row group at most: 65,536 rows, or 64 MiB and the last batch.

    Args:
        stream: A writable binary stream, which stays open.
        schema: The file's columns; strings are dictionary encoded, pages carry checksums.
        store_schema: Whether Arrow's own types are kept beside Parquet's.

    Attributes:
        rows: How many were given.
    """

    def __init__(self, stream: Any, schema: pa.Schema, *, store_schema: bool) -> None:
        strings = [f.name for f in schema if pa.types.is_string(f.type) or pa.types.is_large_string(f.type)]
        self._writer = pq.ParquetWriter(
            stream,
            schema,
            compression="zstd",
            use_dictionary=strings,
            store_schema=store_schema,
            write_page_checksum=True,
        )
        self._schema = schema
        self._waiting: list[pa.RecordBatch] = []
        self._waiting_rows = self._waiting_bytes = 0
        self.rows = 0

    def write(self, batch: pa.RecordBatch) -> None:
        """Adds rows of the file's schema."""
        self._waiting.append(batch)
        self._waiting_rows += batch.num_rows
        self._waiting_bytes += batch.nbytes
        self.rows += batch.num_rows
        if self._waiting_rows >= ROW_GROUP_ROWS:
            self._flush(self._waiting_rows - self._waiting_rows % ROW_GROUP_ROWS)
        elif self._waiting_bytes >= _ROW_GROUP_BYTES:
            self._flush(self._waiting_rows)

    def close(self) -> None:
        """Writes the rows that wait, and the footer."""
        if self._waiting_rows:
            self._flush(self._waiting_rows)
        self._writer.close()

    def discard(self) -> None:
        """Drops the rows that wait; what the stream got is not a whole file."""
        self._waiting.clear()
        self._writer.close()

    def _flush(self, rows: int) -> None:
        table = pa.Table.from_batches(self._waiting, self._schema)
        self._writer.write_table(table.slice(0, rows), ROW_GROUP_ROWS)
        rest = table.slice(rows)
        self._waiting = rest.to_batches()
        self._waiting_rows, self._waiting_bytes = rest.num_rows, rest.nbytes
