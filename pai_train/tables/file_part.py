"""One staged file of a folder: Arrow batches in, CSV or Parquet out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa
import pyarrow.csv

from pai_train.spec.contracts import Part
from pai_train.tables.conform import conform
from pai_train.tables.rowgroups import RowGroupWriter

if TYPE_CHECKING:
    from pai_train.storage import Store

Format = Literal["csv", "parquet"]


class FilePart:
    """Writes one part of a folder; implements `PartWriter`."""

    def __init__(
        self,
        store: Store,
        url: str,
        schema: pa.Schema,
        file_format: Format,
        *,
        slice_id: int,
        attempt: int,
    ) -> None:
        self._store = store
        self._url = url
        self._slice_id, self._attempt = slice_id, attempt
        self._schema = schema
        self._rows = 0
        self._stream: Any = store.open_output(url)
        self._writer: Any = (
            RowGroupWriter(self._stream, schema, store_schema=True)
            if file_format == "parquet"
            else pyarrow.csv.CSVWriter(self._stream, schema)
        )

    def write(self, batch: pa.RecordBatch) -> None:
        batch = conform(batch, self._schema, where=self._url, first_row=self._rows)
        self._writer.write(batch)
        self._rows += batch.num_rows

    def finish(self) -> Part:
        self._writer.close()
        size = self._stream.tell()
        self._stream.close()
        return Part(self._slice_id, self._attempt, self._url, self._rows, size)

    def abort(self) -> None:
        if self._stream.closed:
            self._store.delete(self._url)
            return
        self._writer.close()
        self._stream.discard()
