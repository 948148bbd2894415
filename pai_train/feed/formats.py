"""Files by format: how the rows of an input's objects are opened, and how they are looked at before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pyarrow as pa

    from pai_train.errors import Fault
    from pai_train.spec.contracts import Source
    from pai_train.storage.store import ObjectInfo, Store

Format = Literal["csv"]


@dataclass(frozen=True)
class FileFormat:
    """How files are written.

    Attributes:
        name: The format.
        header: CSV: whether each file's first line names its columns.
        delimiter: CSV: the one ASCII character between fields.
    """

    name: Format = "csv"
    header: bool = False
    delimiter: str = ","


def open_files(
    objects: Sequence[ObjectInfo], columns: Mapping[str, pa.DataType], store: Store, written: FileFormat
) -> Source:
    """Returns the rows of objects, in the objects' order.

    Args:
        objects: The files.
        columns: The columns to read, with their types.
        store: Where the objects are.
        written: How they are written.

    Raises:
        DataError: The format or the columns cannot be read so.
    """
    from pai_train.feed.csv import CsvSource

    return CsvSource(objects, columns, store=store, header=written.header, delimiter=written.delimiter)


def look(
    store: Store,
    objects: Sequence[ObjectInfo],
    columns: Mapping[str, pa.DataType],
    written: FileFormat,
    *,
    lenient: bool = False,
) -> list[Fault]:
    """Reads a little of every file and lists what does not fit the declaration; writes nothing.

    With `lenient` rows may be bad, and only files as a whole are looked at.
    """
    from pai_train.feed import csv

    return csv.look(store, objects, columns, written.header, written.delimiter, lenient=lenient)
