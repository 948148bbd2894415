"""CSV files as a source: the field grammar over files of lines, and what their headers say."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from pai_train.errors import Fault, PaiTrainError
from pai_train.feed import fields, quoted
from pai_train.feed.contents import Contents
from pai_train.feed.header import CsvHeads, other_header
from pai_train.feed.line_files import INDEXED_BYTES, LOOK
from pai_train.feed.marks import mark
from pai_train.feed.text_source import TextFileSource
from pai_train.storage.urls import display

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import pyarrow as pa

    from pai_train.spec.contracts import Marked
    from pai_train.storage.store import ObjectInfo, Store

__all__ = ["INDEXED_BYTES", "CsvSource", "look", "look_at"]


class CsvSource(TextFileSource):
    """Rows of CSV files; a `Source`, a `TextSource` and a `MarkingSource`.

    A row is a line, even inside quotes, so that files can be cut anywhere; unless newlines inside quotes are said to be
    data. A chunk may hold no line. The chunk size depends on the files alone, so that the order of rows does not depend
    on who reads them.

    Args:
        objects: The files, in row order.
        columns: The columns. Without header all of them in the order of the fields; with header by name, in any order.
        store: Where the objects are.
        header: Whether each file's first line names its columns; all files name the declared ones at the same places.
        delimiter: The one ASCII character between fields.
        quoted_newlines: Whether newlines inside quotes are data; such files are read from their beginning once.
        compression: How the files are compressed: auto, none, gzip or zstd; see `TextFileSource`.
        encoding: How the text is written, by a name that Python knows.
        chunk_bytes: Size of a chunk; left out, a 64th of the files' total size within 1 KiB and 4 MiB.

    Raises:
        DataError: The delimiter cannot separate fields, no column is declared, or there is no such encoding.
    """

    def __init__(
        self,
        objects: Sequence[ObjectInfo],
        columns: Mapping[str, pa.DataType],
        *,
        store: Store,
        header: bool,
        delimiter: str = ",",
        quoted_newlines: bool = False,
        compression: str = "auto",
        encoding: str = "utf-8",
        chunk_bytes: int | None = None,
    ) -> None:
        byte = fields.check_delimiter(delimiter)
        heads = CsvHeads(dict(columns), delimiter, Contents(objects, store), are_lines=header)
        super().__init__(
            objects,
            columns,
            CsvDecoder(heads.columns, delimiter, quoted.STAND_IN if quoted_newlines else None),
            heads,
            store=store,
            compression=compression,
            encoding=encoding,
            delimiter=byte if quoted_newlines else None,
            chunk_bytes=chunk_bytes,
        )
        heads.read_first = self._check_head
        self.places = heads.places

    def _check_head(self, index: int) -> None:
        self.files.check_head(index)


class CsvDecoder:
    """The field grammar; see `fields`.

    Args:
        columns: Gives all columns of the files in the order of the fields.
        delimiter: The one ASCII character between fields.
        newline: The byte that stands for a newline inside quotes.
    """

    def __init__(self, columns: Callable[[], Mapping[str, pa.DataType]], delimiter: str, newline: bytes | None) -> None:
        self._columns = columns
        self._delimiter = delimiter
        self._newline = newline

    def decode(self, text: bytes, columns: Sequence[str]) -> pa.RecordBatch:
        return fields.decode(text, self._columns(), self._delimiter, columns, newline=self._newline)

    def mark(self, text: bytes, columns: Sequence[str]) -> Marked:
        return mark(text, self._columns(), self._delimiter, columns, newline=self._newline)


def look(
    store: Store,
    objects: Sequence[ObjectInfo],
    columns: Mapping[str, pa.DataType],
    header: bool,
    delimiter: str = ",",
    *,
    lenient: bool = False,
) -> list[Fault]:
    """Reads the first 32 KiB of every CSV file and lists what does not fit the declaration; writes nothing.

    With `lenient` rows may be bad, and only headers are looked at.
    """

    def open_one(info: ObjectInfo) -> CsvSource:
        return CsvSource([info], columns, store=store, header=header, delimiter=delimiter, chunk_bytes=LOOK)

    return look_at(store, objects, open_one, lenient=lenient)


def look_at(
    store: Store,
    objects: Sequence[ObjectInfo],
    open_one: Callable[[ObjectInfo], TextFileSource],
    *,
    lenient: bool = False,
) -> list[Fault]:
    """Reads the first rows of every file of lines and lists what does not fit the declaration; writes nothing.

    Args:
        store: Where the objects are.
        objects: The files.
        open_one: Opens one of them, in small chunks.
        lenient: Whether rows may be bad, and only headers are looked at.
    """
    filled = [info for info in objects if info.size]

    def head(info: ObjectInfo) -> list[str | None] | Fault:
        try:
            source = open_one(info)
            source.head(lenient=lenient)
            return source.places() if isinstance(source, CsvSource) else []
        except PaiTrainError as error:
            return error.fault

    with ThreadPoolExecutor(store.limits.parallel) as pool:
        heads = list(pool.map(head, filled))
    faults = [found for found in heads if isinstance(found, Fault)]
    wanted = next((found for found in heads if not isinstance(found, Fault)), [])
    for info, found in zip(filled, heads, strict=True):
        if not isinstance(found, Fault) and found != wanted:
            faults.append(other_header(f"{display(info.url)}:1", found, wanted).fault)
    return list(dict.fromkeys(faults))
