"""One Parquet data file of a table, read by field id and by range of rows, with what was decoded last kept."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.io.pyarrow import UnsupportedPyArrowTypeException, pyarrow_to_schema

from pai_train.errors import DataError
from pai_train.storage import ObjectMissing
from pai_train.storage.meter import current
from pai_train.tables.group_streams import LARGE_GROUP_BYTES, GroupStreams
from pai_train.tables.project import Wanted, project
from pai_train.tables.recent import Recent
from pai_train.tables.row_group_reads import decoded, stored_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from pyiceberg.table.name_mapping import NameMapping
    from pyiceberg.types import NestedField

    from pai_train.storage import Store
    from pai_train.tables.data_file import DataFile

_FOOTERS = 64
CACHED_BYTES = 128 * 2**20
_RESTORE = "restore this file, or read a snapshot that does not hold it; the table's other files are untouched"


@dataclass(frozen=True)
class Footer:
    """What a file says of itself.

    Attributes:
        parquet: Its row groups.
        fields: Its columns, by field id.
    """

    parquet: pq.FileMetaData
    fields: Mapping[int, NestedField]


class ParquetReader:
    """Reads ranges of rows of a table's data files. May be used by several threads.

    Args:
        store: Where the files lie.
        names: Field ids by name, for files that were written without ids.
    """

    def __init__(self, store: Store, names: NameMapping | None = None) -> None:
        self._store = store
        self._names = names
        self._footers = Recent(_FOOTERS, lambda _: 1)
        self._streams = GroupStreams()
        self._groups = Recent(CACHED_BYTES, lambda table: max(1, int(table.nbytes)))

    def read(
        self,
        file: DataFile,
        lo: int,
        hi: int,
        wanted: Sequence[Wanted],
        skips: Callable[[Footer, int], bool] | None = None,
        *,
        encoded: bool = False,
        keeps: bool = False,
    ) -> Iterator[pa.Table]:
        """Yields the rows from place `lo` to `hi`, not including `hi`, of a file, without the deleted ones.

        Args:
            file: The data file.
            lo: First row.
            hi: Row after the last.
            wanted: The columns, in order.
            skips: Tells by its number whether nothing of a row group is wanted.
            encoded: Whether strings of few values come dictionary encoded.
            keeps: Whether row groups that are read whole are kept for the next time, as far as there is room.

        Raises:
            DataError: The file is not what the manifest says, is damaged, or a value does not fit its declared type.
        """
        with reading(file.url):
            footer = self.footer(file)
            for at, table in self._tables(file, footer, tuple(wanted), lo, hi, skips, encoded=encoded, keeps=keeps):
                alive = file.alive(at, at + table.num_rows)
                yield table if alive is None else table.filter(alive)

    def footer(self, file: DataFile) -> Footer:
        """Returns what a file says of itself.

        Raises:
            DataError: It is not the file that the manifest describes.
        """
        with reading(file.url):
            footer: Footer = self._footers.get(file.url, lambda: self._footer(file))
        return footer

    def _footer(self, file: DataFile) -> Footer:
        with self._store.open_arrow(file.url) as stream:
            size = stream.seek(0, 2)
            try:
                parquet = pq.read_metadata(stream)
            except (pa.ArrowException, OSError) as fault:
                raise DataError(
                    "a data file cannot be read: it is cut short or damaged",
                    where=file.url,
                    got=f"{size} bytes: {_one_line(fault)}",
                    wanted=f"a Parquet file of {file.bytes} bytes",
                    todo=_RESTORE,
                ) from fault
        if (parquet.num_rows, size) != (file.stored, file.bytes):
            raise DataError(
                "a data file has changed since it was published",
                where=file.url,
                got=f"{parquet.num_rows} rows, {size} bytes",
                wanted=f"{file.stored} rows, {file.bytes} bytes",
                todo=_RESTORE,
            )
        return Footer(parquet, self._fields(file, parquet.schema.to_arrow_schema()))

    def _fields(self, file: DataFile, schema: pa.Schema) -> Mapping[int, NestedField]:
        try:
            found = pyarrow_to_schema(schema, self._names, downcast_ns_timestamp_to_us=True)
        except (ValueError, TypeError, UnsupportedPyArrowTypeException) as fault:
            raise DataError(
                "a data file does not say which of the table's columns it holds",
                where=file.url,
                got=_one_line(fault),
                wanted="field ids in the file, or names mapped to them in the table's schema.name-mapping.default",
            ) from fault
        return {field.field_id: field for field in found.fields}

    def _tables(
        self,
        file: DataFile,
        footer: Footer,
        wanted: tuple[Wanted, ...],
        lo: int,
        hi: int,
        skips: Callable[[Footer, int], bool] | None,
        *,
        encoded: bool,
        keeps: bool,
    ) -> Iterator[tuple[int, pa.Table]]:
        """Yields pieces of the range, each with its place in the file."""
        names = tuple(
            footer.fields[one.id].name for one in wanted if one.id in footer.fields and one.id not in file.constants
        )
        first = 0
        for group in range(footer.parquet.num_row_groups):
            size = footer.parquet.row_group(group).num_rows
            start, stop = max(lo - first, 0), min(hi - first, size)
            at = first + start
            first += size
            if start >= stop or (skips is not None and skips(footer, group)):
                continue
            if footer.parquet.row_group(group).total_byte_size > LARGE_GROUP_BYTES:
                opened = partial(self._store.open_arrow, file.url)
                rows = range(start, stop)
                for table in self._streams.read(file.url, opened, footer.parquet, group, names, rows):
                    yield at, project(table, wanted, footer.fields, file.constants)
                    at += table.num_rows
                continue
            decode = partial(self._decoded, file.url, footer.parquet, group, names, encoded=encoded)
            key, is_whole = (file.url, group, names, encoded), stop - start == size
            # Of what is read whole nothing is left to be read: its memory is better used again at once than kept.
            table = decode() if is_whole and not keeps else self._groups.get(key, decode, displaces=not is_whole)
            yield at, project(table.slice(start, stop - start), wanted, footer.fields, file.constants)

    def _decoded(
        self, url: str, footer: pq.FileMetaData, group: int, columns: tuple[str, ...], *, encoded: bool
    ) -> pa.Table:
        meter = current()
        if meter is not None and self._store.scheme == "file":
            meter.count(stored_bytes(footer.row_group(group), columns))
        with self._store.open_arrow(url) as stream:
            return decoded(stream, footer, [group], columns, encoded=encoded)


@contextmanager
def reading(url: str) -> Iterator[None]:
    """Says of what goes wrong with a data file which one it is, and what to do.

    Raises:
        DataError: The file is gone or damaged.
    """
    try:
        yield
    except ObjectMissing as fault:
        raise DataError("a data file of the table is gone", where=url, todo=_RESTORE) from fault
    except (pa.ArrowException, OSError) as fault:
        raise DataError(
            "a data file cannot be read as the table declares it, or is damaged",
            where=url,
            got=_one_line(fault),
            todo=_RESTORE,
        ) from fault


def _one_line(fault: Exception) -> str:
    return " ".join(str(fault).split())
