"""Rows and pyodps's own tunnel, unmodified, as the tests of the MaxCompute server use them."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
from odps.tunnel import TableTunnel


def rows(start: int, count: int, mark: str = "") -> pa.Table:
    """Returns rows that tell their numbers."""
    numbers = pa.array(range(start, start + count), pa.int64())
    return pa.table({"a": numbers, "b": [f"{mark}{number}" for number in range(start, start + count)]})


def write(tunnel: TableTunnel, name: str, data: pa.Table, **more: Any) -> None:
    """Adds rows, in a session and a block of their own."""
    session = tunnel.create_upload_session(name, **more)
    with session.open_arrow_writer(0) as writer:
        writer.write(data)
    session.commit([0])


def read(session: Any, start: int = 0, count: int | None = None, **more: Any) -> pa.Table:
    """Returns the rows of a download session, or of a range of it."""
    count = session.count - start if count is None else count
    if not count:
        # pyodps asks for nothing then, and fails to read what it did not ask for.
        return pa.table({"a": pa.array([], pa.int64()), "b": pa.array([], pa.string())})
    with session.open_arrow_reader(start, count, **more) as reader:
        return reader.read()


def all_of(tunnel: TableTunnel, name: str, **more: Any) -> list[int]:
    """Returns the numbers of all rows that are there now."""
    return list(read(tunnel.create_download_session(name, **more))["a"].to_pylist())
