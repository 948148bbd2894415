"""Which data files hold a snapshot's rows: manifests only, no data file is opened."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyiceberg.manifest import DataFile as ManifestFile
from pyiceberg.manifest import FileFormat

from pai_train.errors import TableError
from pai_train.tables.parquet import DataFile
from pai_train.tables.partitions import Stored, arrow_value, check_keys, selects, unknown_partition

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyiceberg.table import FileScanTask, Table

    from pai_train.spec.address import TableRef
    from pai_train.spec.ddl import Column


def plan(ref: TableRef, table: Table, snapshot_id: int, partitions: Sequence[Column]) -> list[DataFile]:
    """Lists the data files of a snapshot, or of the partitions of it that `ref` names, sorted by URL.

    Raises:
        TableError: An unknown partition, or a file whose rows cannot be numbered: deleted rows, no Parquet.
    """
    check_keys(ref, partitions)
    tasks = list(table.scan(snapshot_id=snapshot_id).plan_files())
    for task in tasks:
        _check(ref, task, partitions)
    held = sorted({stored(task.file) for task in tasks}, key=str)
    for pairs in ref.partitions:
        if not any(selects(partition, partitions, [pairs]) for partition in held):
            raise unknown_partition(ref, pairs, partitions, held)
    chosen = [task for task in tasks if selects(stored(task.file), partitions, ref.partitions)]
    ids = [table.metadata.schema().find_field(c.name, case_sensitive=False).field_id for c in partitions]
    return sorted((_data_file(task, partitions, ids) for task in chosen), key=lambda file: file.url)


def stored(file: ManifestFile) -> Stored:
    """Returns the partition of a data file as the manifest holds it."""
    return tuple(file.partition[index] for index in range(len(file.partition)))


def _check(ref: TableRef, task: FileScanTask, partitions: Sequence[Column]) -> None:
    if task.delete_files:
        raise TableError(
            "rows of the table were deleted in place, which is not served",
            where=str(ref),
            got=f"{len(task.delete_files)} delete files for {task.file.file_path}",
            todo="compact the table with the engine that deleted the rows",
        )
    if task.file.file_format != FileFormat.PARQUET:
        raise TableError("a data file is not Parquet", where=task.file.file_path, got=str(task.file.file_format))
    if len(task.file.partition) != len(partitions):
        raise TableError(
            "the table was partitioned differently when a data file was written, which is not served",
            where=str(ref),
            got=task.file.file_path,
            todo="rewrite the table with the engine that changed its partitions",
        )


def _data_file(task: FileScanTask, partitions: Sequence[Column], ids: Sequence[int]) -> DataFile:
    constants = {
        field_id: arrow_value(column, value)
        for field_id, column, value in zip(ids, partitions, stored(task.file), strict=True)
    }
    return DataFile(task.file.file_path, task.file.record_count, task.file.file_size_in_bytes, constants)
