"""What is written to the MaxCompute server: it lands in a file as it comes, and is kept when it is whole and right."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from pai_train.spec.table import Ddl
from tests.servers import maxcompute_faults as faults
from tests.servers.maxcompute_answers import Refused, corrupted
from tests.servers.maxcompute_call import Call
from tests.servers.maxcompute_rows import RowFile, write_rows
from tests.servers.maxcompute_types import stored_schema

MOST_FIELD_BYTES = 8 * 2**20

Read = Callable[[Path], Iterable[pa.RecordBatch]]


async def received(call: Call, body: AsyncIterator[bytes], read: Read, start: bytes = b"") -> RowFile:
    """Takes in a block.

    Args:
        call: Whose it is.
        body: Its bytes.
        read: Gives the rows that a file holds.
        start: What the file begins with, before the body.

    Raises:
        Refused: It is not whole, or not what the table takes.
    """
    table = call.table
    folder = call.service.tables.folder(table)
    landing = folder / f"{uuid.uuid4().hex}.landing"
    try:
        with landing.open("wb") as file:
            file.write(start)
            async for piece in body:
                file.write(piece)
        if call.has(faults.CORRUPT):
            raise corrupted("the CRC of the body")
        return await asyncio.to_thread(write_rows, folder, stored_schema(table.ddl), _checked(table.ddl, read(landing)))
    finally:
        landing.unlink(missing_ok=True)


def streamed(path: Path) -> Iterator[pa.RecordBatch]:
    """Yields the batches of a file that holds an Arrow stream, whose end may be missing."""
    try:
        with pa.memory_map(str(path)) as source:
            yield from pa.ipc.open_stream(source)
    except (pa.ArrowException, OSError) as error:
        raise corrupted(str(error)) from error


def _checked(ddl: Ddl, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    schema = stored_schema(ddl)
    for batch in batches:
        if batch.schema.names != schema.names or batch.schema.types != schema.types:
            raise Refused(400, "SchemaNotMatch", f"The schema is not the table's. {batch.schema.to_string()}")
        try:
            batch.validate(full=True)
        except pa.ArrowInvalid as error:
            raise corrupted(str(error)) from error
        for column, values in zip(ddl.columns, batch.columns, strict=True):
            if not column.nullable and values.null_count:
                raise Refused(400, "InvalidArgument", f"Invalid argument: the column {column.name} is NOT NULL")
            if pa.types.is_string(values.type) or pa.types.is_binary(values.type):
                longest = pc.max(pc.binary_length(values)).as_py() or 0
                if longest > MOST_FIELD_BYTES:
                    raise Refused(400, "InvalidArgument", f"Invalid argument: {longest} bytes in {column.name}")
        yield batch
