"""Which fields a CSV file has: its first line matched by name with the declared columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from pai_train.errors import DataError, did_you_mean
from pai_train.feed import lines

if TYPE_CHECKING:
    from collections.abc import Mapping

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
