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

    A finished part may have been handed on, and another process may be publishing it: `abort` then leaves it to the
    session, which knows whether it may go.

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
        self._is_finished = False
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
        self._is_finished = True
        return Part(self._slice_id, self._attempt, self._url, self._writer.rows, size)

    def abort(self) -> None:
        if self._is_finished:
            return
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


def slice_ids(parts: Sequence[Part]) -> str:
    """Returns the slices of parts as text: `0-3,5`."""
    runs: list[list[int]] = []
    for slice_id in sorted(part.slice_id for part in parts):
        if runs and slice_id == runs[-1][-1] + 1:
            runs[-1][1:] = [slice_id]
        else:
            runs.append([slice_id])
    return ",".join("-".join(map(str, run)) for run in runs)


def check_same(where: str, parts: Sequence[Part], rows: int, slices: str | None) -> None:
    """Refuses to take a published write for the commit of these parts when it has other rows.

    The same work done again may be cut into other slices, but has as many rows. Two workers that share a token by
    mistake, each with a slice of its own, have no slice in common.

    Args:
        where: The output, for messages.
        parts: What was to be committed.
        rows: How many rows were published.
        slices: Which slices, as `slice_ids` says; None where that is not known.

    Raises:
        TableError: Other rows were published under this token.
    """
    mine = sum(part.rows for part in parts)
    apart = slices is not None and bool(slices) and bool(parts) and not _common(slices, parts)
    if mine != rows or apart:
        raise TableError(
            "this write is already published, with other rows",
            where=where,
            got=f"{mine} rows in slices {slice_ids(parts) or 'none'}",
            wanted=f"{rows} rows" + ("" if slices is None else f" in slices {slices or 'none'}"),
            todo="give every write a token of its own, and commit the parts of all its slices at once",
        )


def _common(slices: str, parts: Sequence[Part]) -> bool:
    mine = {part.slice_id for part in parts}
    ends = [run.split("-") for run in slices.split(",")]
    return any(int(run[0]) <= slice_id <= int(run[-1]) for run in ends for slice_id in mine)
