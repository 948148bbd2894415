"""What the processes of the exactly-once suite do: copy a table slice by slice, or append to one again and again."""

from __future__ import annotations

import importlib
import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pai_train.spec.contracts import Part
from pai_train.spec.slices import slice_rows
from tests.suites.table_rows import ref, rows

if TYPE_CHECKING:
    from pai_train.tables.contracts import Tables, WriteMode

INPUT, OUTPUT = "source", "target"
RETRIES = 5


def reached(reach: list[Any]) -> Tables:
    """Opens tables as another process can: a function `module:name` and its arguments."""
    module, _, name = reach[0].partition(":")
    tables: Tables = getattr(importlib.import_module(module), name)(*reach[1:])
    return tables


def iceberg(root: str, scheme: str | None = None, endpoint: str | None = None) -> Tables:
    """Iceberg tables below a root, behind an endpoint where there is one."""
    from pai_train.storage import Access, StorageOptions, Stores
    from pai_train.tables.iceberg import IcebergTables
    from tests.suites.table_rows import PROJECT

    options = StorageOptions(access={scheme: Access(endpoint=endpoint)}) if scheme else None
    return IcebergTables(root, PROJECT, Stores(options))


def maxcompute(root: str) -> Tables:
    """Tables of the project that the environment names the service of, with the records of writes below a root."""
    from pai_train.tables.maxcompute import open_tables
    from tests.suites.table_rows import PROJECT

    return open_tables(root, PROJECT, None)


def coordinate(
    reach: list[Any], mode: WriteMode, token: str, slices: int, life: int, journal: str, goes_on: bool
) -> None:
    """Copies INPUT to OUTPUT by one process for each slice, starts again the ones that die, and commits.

    Args:
        reach: How the tables are opened.
        mode: What becomes of the rows that are there.
        token: Names the write.
        slices: How many workers.
        life: How often this was begun before.
        journal: A folder of finished parts, which outlives this process.
        goes_on: Whether parts that are in the journal already are used, not made again.
    """
    workers = {}
    attempts = dict.fromkeys(range(slices), life * RETRIES)
    for slice_id in range(slices):
        kept = goes_on and _entry(journal, slice_id).exists()
        if not kept:
            workers[_work(reach, mode, token, slice_id, slices, attempts[slice_id], journal)] = slice_id
    while workers:
        pid, status = os.wait()
        slice_id = workers.pop(pid)
        if status:
            attempts[slice_id] += 1
            assert attempts[slice_id] < (life + 1) * RETRIES, "a worker dies again and again"
            workers[_work(reach, mode, token, slice_id, slices, attempts[slice_id], journal)] = slice_id
    session = reached(reach).write(ref(OUTPUT), mode, token)
    session.commit(finished(journal, slices))


def finished(journal: str, slices: int) -> list[Part]:
    """Lists the parts of a journal."""
    return [Part(**json.loads(_entry(journal, n).read_text())) for n in range(slices)]


def _work(reach: list[Any], mode: WriteMode, token: str, slice_id: int, slices: int, attempt: int, journal: str) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        tables = reached(reach)
        total = tables.source(ref(INPUT)).snapshot.rows
        source = tables.source(ref(INPUT), rows=slice_rows(total, slice_id, slices))
        writer = tables.write(ref(OUTPUT), mode, token).part(slice_id, attempt)
        for chunk in source.chunks():
            for batch in source.read(chunk, source.schema.names):
                writer.write(batch)
        part = writer.finish()
        entry = _entry(journal, slice_id)
        waiting = entry.with_suffix(f".{os.getpid()}")
        waiting.write_text(json.dumps(part.to_json()))
        waiting.rename(entry)
        code = 0
    finally:
        os._exit(code)


def hold_slice(reach: list[Any], token: str, begun: str) -> None:
    """Opens the writer of slice 0 and never ends."""
    writer = reached(reach).write(ref(OUTPUT), "append", token).part(0, 0)
    writer.write(rows(0, 5))
    Path(begun).touch()
    time.sleep(600)


def _entry(journal: str, slice_id: int) -> Path:
    return Path(journal) / f"{slice_id}.json"


def append_often(reach: list[Any], worker: int, commits: int, each: int, begin: str) -> None:
    """Appends `commits` times `each` rows, and repeats the last commit; begins when a file is there."""
    tables = reached(reach)
    while not Path(begin).exists():
        time.sleep(0.002)
    for number in range(commits):
        first = (worker * commits + number) * each
        session = tables.write(ref(OUTPUT), "append", f"w{worker}-{number}")
        writer = session.part(0, 0)
        writer.write(rows(first, first + each))
        parts = [writer.finish()]
        answer = session.commit(parts)
    assert session.commit(parts) == answer
    again = tables.write(ref(OUTPUT), "append", f"w{worker}-{commits - 1}")
    writer = again.part(0, 1)
    writer.write(pa.RecordBatch.from_pylist(rows(first, first + each).to_pylist()))
    assert again.commit([writer.finish()]) == answer
