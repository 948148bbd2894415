"""Files by format: how the rows of an input's objects are opened, and how they are looked at before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pyarrow as pa

    from pai_train.errors import Fault
    from pai_train.feed.text_source import TextFileSource
    from pai_train.spec.contracts import Source
    from pai_train.storage.store import ObjectInfo, Store

Format = Literal["csv", "text", "jsonl", "parquet", "arrow", "tfrecord", "image"]


@runtime_checkable
class LookedAt(Protocol):
    """A source that looks at its files itself."""

    def faults(self) -> list[Fault]:
        """Reads a little of every file and lists what does not fit the declaration; writes nothing."""
        ...


@dataclass(frozen=True)
class FileFormat:
    """How files are written; the keys of an input that are about its files.

    Attributes:
        name: The format.
        header: CSV: whether each file's first line names its columns.
        delimiter: CSV: the one ASCII character between fields.
        quoted_newlines: CSV: whether newlines inside quotes are data.
        compression: Of lines and records: auto, none, gzip or zstd.
        encoding: Of lines: how the text is written.
        height: Of images: rows of pixels.
        width: Of images: columns of pixels.
        channels: Of images: 1, 3 or 4.
        labels: Of images: the CSV file of path and label; None for the names of the folders.
    """

    name: Format = "csv"
    header: bool = False
    delimiter: str = ","
    quoted_newlines: bool = False
    compression: str = "auto"
    encoding: str = "utf-8"
    height: int = 0
    width: int = 0
    channels: int = 3
    labels: ObjectInfo | None = None


def open_files(
    objects: Sequence[ObjectInfo], columns: Mapping[str, pa.DataType], store: Store, written: FileFormat
) -> Source:
    """Returns the rows of objects, in the objects' order.

    Args:
        objects: The files.
        columns: The columns to read, with their types; for formats that name their columns, none for all.
        store: Where the objects are.
        written: How they are written.

    Raises:
        DataError: The format or the columns cannot be read so.
    """
    if written.name == "parquet":
        from pai_train.feed.parquet import parquet_source

        return parquet_source(objects, columns, store)
    if written.name == "arrow":
        from pai_train.feed.ipc import ipc_source

        return ipc_source(objects, columns, store)
    if written.name == "tfrecord":
        from pai_train.feed.tfrecord_source import TfRecordSource

        return TfRecordSource(objects, columns, store=store, compression=written.compression)
    if written.name == "image":
        from pai_train.feed.images import ImageSource

        return ImageSource(
            objects,
            store=store,
            height=written.height,
            width=written.width,
            channels=written.channels,
            labels=written.labels,
        )
    return _open_lines(objects, columns, store, written)


def look(
    store: Store,
    objects: Sequence[ObjectInfo],
    columns: Mapping[str, pa.DataType],
    written: FileFormat,
    *,
    lenient: bool = False,
    source: Source | None = None,
) -> list[Fault]:
    """Reads a little of every file and lists what does not fit the declaration; writes nothing.

    With `lenient` rows may be bad, and only files as a whole are looked at.

    Args:
        store: Where the objects are.
        objects: The files.
        columns: The declared columns.
        written: How they are written.
        lenient: Whether rows may be bad.
        source: What `open_files` makes of the others, if it is there already: it keeps what is learned of the files.
    """
    source = source or open_files(objects, columns, store, written)
    if isinstance(source, LookedAt):
        return source.faults()
    from pai_train.feed.csv import look_at
    from pai_train.feed.line_files import LOOK

    def open_one(info: ObjectInfo) -> TextFileSource:
        return _open_lines([info], columns, store, written, LOOK)

    return look_at(store, objects, open_one, lenient=lenient)


def _open_lines(
    objects: Sequence[ObjectInfo],
    columns: Mapping[str, pa.DataType],
    store: Store,
    written: FileFormat,
    chunk_bytes: int | None = None,
) -> TextFileSource:
    from pai_train.feed.csv import CsvSource
    from pai_train.feed.jsonl import JsonLines
    from pai_train.feed.text import TextLines

    if written.name != "csv":
        lines = JsonLines if written.name == "jsonl" else TextLines
        return lines(
            objects,
            columns,
            store=store,
            compression=written.compression,
            encoding=written.encoding,
            chunk_bytes=chunk_bytes,
        )
    return CsvSource(
        objects,
        columns,
        store=store,
        header=written.header,
        delimiter=written.delimiter,
        quoted_newlines=written.quoted_newlines,
        compression=written.compression,
        encoding=written.encoding,
        chunk_bytes=chunk_bytes,
    )
