"""Rows that were deleted in place: positions kept in delete files and deletion vectors beside a data file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyiceberg.manifest import DataFileContent, FileFormat
from pyiceberg.table.deletion_vector import deletion_vectors_from_puffin_file
from pyiceberg.table.puffin import PuffinFile

from pai_train.errors import DataError, PaiTrainError, TableError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pyiceberg.manifest import DataFile as ManifestFile
    from pyiceberg.table import FileScanTask

    from pai_train.storage import Store

Positions = npt.NDArray[np.int64]

NONE: Positions = np.zeros(0, np.int64)


def deleted_rows(store: Store, tasks: Sequence[FileScanTask]) -> dict[str, Positions]:
    """Returns the places of the deleted rows of each data file that has some, ascending, int64 of shape [rows].

    Opens the delete files of these tasks, each once, and no data file.

    Raises:
        TableError: Rows were deleted by value, or in a format that is not served.
        DataError: A delete file is damaged.
    """
    files = {file.file_path: file for task in tasks for file in task.delete_files}
    held = {url: _read(store, file) for url, file in files.items()}
    found = {}
    for task in tasks:
        own = task.file.file_path
        parts = [held[file.file_path](own) for file in task.delete_files]
        if parts:
            positions = np.unique(np.concatenate(parts))
            if len(positions) and not 0 <= positions[0] <= positions[-1] < task.file.record_count:
                raise DataError(
                    "rows were deleted that a data file does not have",
                    where=own,
                    got=f"rows {positions[0]} to {positions[-1]}",
                    wanted=f"0 to {task.file.record_count - 1}",
                )
            found[own] = positions
    return found


def _read(store: Store, file: ManifestFile) -> Callable[[str], Positions]:
    """Returns what gives the deleted rows of one data file."""
    if file.content != DataFileContent.POSITION_DELETES or file.file_format not in (
        FileFormat.PARQUET,
        FileFormat.PUFFIN,
    ):
        raise refused(file.file_path, f"{file.content.name} in {file.file_format}")
    try:
        return _vectors(store, file) if file.file_format == FileFormat.PUFFIN else _positions(store, file)
    except PaiTrainError:
        raise
    except (pa.ArrowException, OSError, ValueError, LookupError) as fault:
        raise DataError("a delete file cannot be read", where=file.file_path, got=str(fault)) from fault


def refused(where: str, got: str) -> TableError:
    """Returns the error for rows whose number cannot be told without reading data."""
    return TableError(
        "rows of the table were deleted by their values, which is not served",
        where=where,
        got=got,
        wanted="deletes by position, or deletion vectors",
        todo="compact the table with the engine that deleted the rows",
    )


def _positions(store: Store, file: ManifestFile) -> Callable[[str], Positions]:
    with store.open_input(file.file_path) as stream:
        table = pq.read_table(stream, columns=["file_path", "pos"], use_threads=False)

    def of(url: str) -> Positions:
        chosen: Any = table.filter(pc.equal(table["file_path"], url))["pos"].to_numpy()
        return chosen.astype(np.int64, copy=False)  # type: ignore[no-any-return]

    return of


def _vectors(store: Store, file: ManifestFile) -> Callable[[str], Positions]:
    vectors = {
        vector.referenced_data_file: vector
        for vector in deletion_vectors_from_puffin_file(PuffinFile(store.read(file.file_path)))
    }

    def of(url: str) -> Positions:
        vector = vectors.get(url)
        return NONE if vector is None else vector.to_vector().to_numpy().astype(np.int64)

    return of
