"""Which fields a CSV file has: its first line matched by name with the declared columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from pai_train.errors import DataError, did_you_mean
from pai_train.feed import lines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from pai_train.feed.contents import Contents

BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def file_columns(line: bytes, columns: Mapping[str, pa.DataType], delimiter: str, where: str) -> dict[str, pa.DataType]:
    """Returns all columns of a file in the order of its fields; those that are not declared as bytes.

    Args:
        line: The file's first line without byte order mark and line end.
        columns: The declared columns, in any order.
        delimiter: The character between fields.
        where: The file's address for messages.

    Raises:
        DataError: A declared column is missing or named twice, or the line is no header.
    """
    names = _names(line, delimiter, where)
    for name in columns:
        if names.count(name) != 1:
            found = "names twice" if name in names else "does not name"
            raise DataError(
                f"the header {found} column {name!r}",
                where=where,
                got=", ".join(names),
                wanted=f"each of {', '.join(columns)} once",
                todo=did_you_mean(name, [known for known in names if known not in columns])
                or "correct the columns, or set header: false when the first line is data",
            )
    found_columns: dict[str, pa.DataType] = {}
    for number, name in enumerate(names, start=1):
        unique = name
        while unique in found_columns or (unique in columns and unique != name):
            unique = f"{unique}#{number}"
        found_columns[unique] = columns.get(name, pa.binary())
    return found_columns


class CsvHeads:
    """The first lines of CSV files: the same declared columns at the same places in all of them.

    Args:
        columns: The declared columns.
        delimiter: The character between fields.
        are_lines: Whether each file's first line names its columns.
        contents: The files.
    """

    def __init__(
        self, columns: Mapping[str, pa.DataType], delimiter: str, contents: Contents, *, are_lines: bool
    ) -> None:
        self.are_lines = are_lines
        self._declared = columns
        self._delimiter = delimiter
        self._contents = contents
        self._columns: Mapping[str, pa.DataType] | None = None if are_lines else columns
        self._seen: set[int] = set()
        self._hollow: set[int] = set()
        self.read_first: Callable[[int], None] = lambda _: None

    def check(self, index: int, line: bytes) -> None:
        if index in self._seen:
            return
        if self.are_lines and self._contents.objects[index].size:
            where = f"{self._contents.name(index)}:1"
            found = file_columns(line, self._declared, self._delimiter, where)
            places = self._places(found)
            wanted = places if index == next(self._filled()) else self._places(self.columns())
            if places != wanted:
                raise other_header(where, places, wanted)
            self._columns = self._columns or found
        self._seen.add(index)

    def pass_over(self, index: int) -> None:
        self._hollow.add(index)
        self._seen.add(index)

    def is_checked(self, index: int) -> bool:
        return index in self._seen

    def _filled(self) -> Iterator[int]:
        """Yields the files that are not known to be empty, or to hold nothing."""
        objects = self._contents.objects
        return (index for index, info in enumerate(objects) if info.size and index not in self._hollow)

    def columns(self) -> Mapping[str, pa.DataType]:
        """Returns all columns of the files in the order of the fields, by the first file that is not empty."""
        for index in range(len(self._contents.objects)):
            if self._columns is not None:
                break
            if index in self._filled():
                self.read_first(index)
        return self._columns or self._declared

    def places(self) -> list[str | None]:
        """Returns the declared column at each field, None for a field without."""
        return self._places(self.columns())

    def _places(self, columns: Mapping[str, pa.DataType]) -> list[str | None]:
        return [name if name in self._declared else None for name in columns]


class NoHeads:
    """The first lines of files that are rows like the others."""

    are_lines = False

    def check(self, index: int, line: bytes) -> None:
        """Takes any line."""

    def pass_over(self, index: int) -> None:
        """Passes over any file."""

    def is_checked(self, index: int) -> bool:
        return True


def other_header(where: str, found: Sequence[str | None], wanted: Sequence[str | None]) -> DataError:
    """Says that a file's columns stand at other places than the other files'."""
    return DataError(
        "the header differs from the other files'",
        where=where,
        got=", ".join(name or "any" for name in found),
        wanted=", ".join(name or "any" for name in wanted),
        todo="give all files of an input the same columns at the same places",
    )


def _names(line: bytes, delimiter: str, where: str) -> list[str]:
    try:
        return [field.value.decode().strip() for field in lines.split(line, delimiter.encode())]
    except (lines.LineError, UnicodeDecodeError) as error:
        raise DataError(
            "the header cannot be read",
            where=where,
            got=str(error),
            wanted="UTF-8 names between delimiters, quotes closed",
            todo="correct the file's first line, or set header: false when it is data",
        ) from error
