"""What a test of exactly-once writes, and what it looks at afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow.parquet as pq

from pai_train.spec.slices import slice_rows
from pai_train.storage import join
from tests.suites.table_rows import PROJECT, ids, ref, rows, stage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pai_train.spec.contracts import Part, Snapshot, WriteSession
    from pai_train.tables.contracts import Tables, WriteMode
    from pai_train.tables.iceberg import IcebergTables

FIRST_KEY = 1000
KEYS = 23


def keys() -> list[int]:
    """Lists the keys that a whole write gives."""
    return list(range(FIRST_KEY, FIRST_KEY + KEYS))


def stage_slice(session: WriteSession, slice_id: int, slices: int, attempt: int = 0) -> Part:
    """Stages one slice of the write."""
    span = slice_rows(KEYS, slice_id, slices)
    return stage(session, slice_id, rows(FIRST_KEY + span.start, FIRST_KEY + span.stop), attempt=attempt)


def whole_write(
    tables: Tables,
    token: str,
    mode: WriteMode,
    slices: int,
    attempt: int = 0,
    done: Mapping[int, Part] | None = None,
    journal: dict[int, Part] | None = None,
) -> Snapshot:
    """Writes all keys and commits.

    Args:
        tables: Where.
        token: Names the write.
        mode: What becomes of the rows that are there.
        slices: How many parts.
        attempt: Which try this is.
        done: Parts that an earlier process finished, which are not made again.
        journal: Gets each part as soon as it is finished.
    """
    session = tables.write(ref("iris"), mode, token)
    parts = []
    for slice_id in range(slices):
        part = (done or {}).get(slice_id) or stage_slice(session, slice_id, slices, attempt)
        if journal is not None:
            journal[slice_id] = part
        parts.append(part)
    return session.commit(parts)


def held(tables: Tables) -> list[int]:
    """Lists the keys of the table, sorted."""
    return sorted(ids(tables.source(ref("iris"))))


def check_whole(tables: IcebergTables, name: str = "iris") -> None:
    """Checks that everything which any snapshot refers to is there and whole."""
    table = tables._catalog.load_table((PROJECT, name))
    store = tables._catalog.store
    for snapshot in table.snapshots():
        for manifest in snapshot.manifests(table.io):
            for entry in manifest.fetch_manifest_entry(table.io, discard_deleted=True):
                file = entry.data_file
                info = store.info(file.file_path)
                assert info is not None, f"{file.file_path} is gone"
                assert info.size == file.file_size_in_bytes
                with store.open_input(file.file_path) as stream:
                    assert pq.read_metadata(stream).num_rows == file.record_count


def unreferenced(tables: IcebergTables, token: str, name: str = "iris") -> list[str]:
    """Lists what lies in a write's folder and is in no snapshot."""
    table = tables._catalog.load_table((PROJECT, name))
    staged = {info.url for info in tables._catalog.store.list(join(table.location(), "data", token))}
    for snapshot in table.snapshots():
        for manifest in snapshot.manifests(table.io):
            staged -= {e.data_file.file_path for e in manifest.fetch_manifest_entry(table.io)}
    return sorted(staged)
