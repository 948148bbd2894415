"""One staged data file of a table: Arrow batches in, a Parquet file with Iceberg's field ids out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyiceberg.io.pyarrow import schema_to_pyarrow

from pai_train.errors import TableError
from pai_train.spec.contracts import Part
from pai_train.spec.types import Text
from pai_train.tables.arrow import arrow_schema
from pai_train.tables.conform import conform
from pai_train.tables.rowgroups import RowGroupWriter

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pyiceberg.schema import Schema

    from pai_train.spec.ddl import Column
    from pai_train.storage import Store


class ParquetPart:
    """Writes one part of a table; implements `PartWriter`.

    Args:
        store: Where the part is staged.
        url: Its name.
        slice_id: Which slice of the output it holds.
        attempt: Which try at that slice.
        schema: The table's Iceberg schema.
        columns: The data columns, as declared.
        constants: Partition columns by name, with the value that all rows have.
    """

    def __init__(
        self,
        store: Store,
        url: str,
        *,
        slice_id: int,
        attempt: int,
        schema: Schema,
        columns: Sequence[Column],
        constants: Mapping[str, pa.Scalar],
    ) -> None:
        self._store = store
        self._url = url
        self._slice_id, self._attempt = slice_id, attempt
        self._declared = arrow_schema(columns)
        self._lengths = {column.name: column.type.length for column in columns if isinstance(column.type, Text)}
        self._stored = schema_to_pyarrow(schema)
        self._constants = constants
        self._stream: Any = store.open_output(url)
        # Arrow's own types stay out of the file: its large strings and lists are a detail of pyiceberg's schema.
        self._writer = RowGroupWriter(self._stream, self._stored, store_schema=False)

    def write(self, batch: pa.RecordBatch) -> None:
        fitting = conform(batch, self._declared, where=self._url, first_row=self._writer.rows, lengths=self._lengths)
        self._writer.write(self._to_stored(fitting))

    def finish(self) -> Part:
        self._writer.close()
        size = self._stream.tell()
        self._stream.close()
        return Part(self._slice_id, self._attempt, self._url, self._writer.rows, size)

    def abort(self) -> None:
        if self._stream.closed:
            self._store.delete(self._url)
            return
        self._writer.discard()
        self._stream.discard()

    def _to_stored(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        columns = []
        for stored in self._stored:
            name = stored.name.lower()
            if name in self._constants:
                columns.append(pa.repeat(self._constants[name], batch.num_rows).cast(stored.type))
            else:
                columns.append(batch.column(name).cast(stored.type))
        return pa.RecordBatch.from_arrays(columns, schema=self._stored)


def check_parts(where: str, parts: Sequence[Part]) -> None:
    """Refuses two parts of one slice.

    Raises:
        TableError: A slice is there twice.
    """
    seen: dict[int, Part] = {}
    for part in parts:
        other = seen.setdefault(part.slice_id, part)
        if other is not part:
            raise TableError(
                f"slice {part.slice_id} is committed twice",
                where=where,
                got=f"attempts {other.attempt} and {part.attempt}",
                wanted="one part for each slice",
            )
