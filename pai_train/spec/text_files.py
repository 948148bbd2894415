"""What a recipe says about files of lines, and about rows of any input that cannot be read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pai_train.errors import Fault
from pai_train.spec.config import InputConfig

if TYPE_CHECKING:
    from collections.abc import Iterator

# Which formats have what a key of an input says about its files.
_FORMATS = {
    "compression": ("csv", "text", "jsonl", "tfrecord"),
    "encoding": ("csv", "text", "jsonl"),
    "quoted_newlines": ("csv",),
}


def text_faults(key: str, rows: InputConfig) -> Iterator[Fault]:
    """Checks what is said about files of lines."""
    try:
        "".encode(rows.encoding)
    except (LookupError, ValueError):
        wanted = "a name such as utf-8, gbk, gb18030, latin-1 or utf-16"
        yield Fault("there is no such encoding", where=f"{key}.encoding", got=rows.encoding, wanted=wanted)
    defaults = InputConfig()
    for name, formats in _FORMATS.items():
        given = getattr(rows, name)
        if given != getattr(defaults, name) and (rows.format not in formats or rows.table is not None):
            what = f"{'a table' if rows.table is not None else f'format {rows.format}'} has no {name}"
            yield Fault(what, where=f"{key}.{name}", got=repr(given), todo="leave it out")
    if rows.max_bad_rows is not None and rows.on_bad_row == "fail":
        what, todo = "no bad row is left out", "set on_bad_row to skip or quarantine, or leave max_bad_rows out"
        yield Fault(what, where=f"{key}.max_bad_rows", got=f"{rows.max_bad_rows:g}", todo=todo)
