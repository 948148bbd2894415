"""Which data files hold a snapshot's rows: manifests and delete files only, no data file is opened."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyiceberg.manifest import DataFile as ManifestFile
from pyiceberg.manifest import FileFormat

from pai_train.errors import PaiTrainError, TableError
from pai_train.tables.data_file import DataFile
from pai_train.tables.deletes import NONE, deleted_rows, refused
from pai_train.tables.partitions import Stored, arrow_value, check_keys, selects, unknown_partition
from pai_train.tables.store_io import manifests_of, unreadable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pyiceberg.table import FileScanTask, Table

    from pai_train.spec.address import TableRef
    from pai_train.spec.ddl import Column
    from pai_train.storage import Store
    from pai_train.tables.deletes import Positions


def plan(ref: TableRef, table: Table, store: Store, snapshot_id: int, partitions: Sequence[Column]) -> list[DataFile]:
    """Lists the data files of a snapshot, or of the partitions of it that `ref` names, sorted by URL.

    Raises:
        TableError: An unknown partition, or a file that is not served: rows deleted by value, no Parquet.
        DataError: A manifest or a delete file is damaged.
    """
    check_keys(ref, partitions)
    tasks = scan_tasks(ref, table, snapshot_id)
    for task in tasks:
        _check(ref, task, partitions)
    held = sorted({stored(task.file) for task in tasks}, key=str)
    for pairs in ref.partitions:
        if not any(selects(partition, partitions, [pairs]) for partition in held):
            raise unknown_partition(ref, pairs, partitions, held)
    chosen = [task for task in tasks if selects(stored(task.file), partitions, ref.partitions)]
    ids = [table.metadata.schema().find_field(c.name, case_sensitive=False).field_id for c in partitions]
    deleted = deleted_rows(store, chosen)
    return sorted((_data_file(task, partitions, ids, deleted) for task in chosen), key=lambda file: file.url)


def stored(file: ManifestFile) -> Stored:
    """Returns the partition of a data file as the manifest holds it."""
    return tuple(file.partition[index] for index in range(len(file.partition)))


def scan_tasks(ref: TableRef, table: Table, snapshot_id: int | None = None) -> list[FileScanTask]:
    """Lists the data files of a snapshot, each with its delete files; None for the current one.

    Raises:
        TableError: Rows were deleted by value.
        DataError: A manifest is damaged.
    """
    snapshot = table.current_snapshot() if snapshot_id is None else table.snapshot_by_id(snapshot_id)
    if snapshot is None:
        return []
    manifests_of(table, snapshot)
    try:
        return list(table.scan(snapshot_id=snapshot.snapshot_id).plan_files())
    except PaiTrainError:
        raise
    except Exception as fault:
        # What a damaged manifest raises depends on where it is damaged.
        if "equality deletes" in str(fault):
            raise refused(str(ref), str(fault)) from fault
        raise unreadable(str(ref), f"snapshot {snapshot.snapshot_id}: {fault}") from fault


def _check(ref: TableRef, task: FileScanTask, partitions: Sequence[Column]) -> None:
    if task.file.file_format != FileFormat.PARQUET:
        raise TableError("a data file is not Parquet", where=task.file.file_path, got=str(task.file.file_format))
    if len(task.file.partition) != len(partitions):
        raise TableError(
            "the table was partitioned differently when a data file was written, which is not served",
            where=str(ref),
            got=task.file.file_path,
            todo="rewrite the table with the engine that changed its partitions",
        )


def _data_file(
    task: FileScanTask, partitions: Sequence[Column], ids: Sequence[int], deleted: Mapping[str, Positions]
) -> DataFile:
    file = task.file
    constants = {
        field_id: arrow_value(column, value)
        for field_id, column, value in zip(ids, partitions, stored(file), strict=True)
    }
    gone = deleted.get(file.file_path, NONE)
    return DataFile(file.file_path, file.record_count, file.file_size_in_bytes, constants, gone, file)
