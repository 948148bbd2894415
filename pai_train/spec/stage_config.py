"""The keys of `mode=stage`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from typing_extensions import Doc


@dataclass(frozen=True, kw_only=True)
class StageConfig:
    """What `mode=stage` puts where; without `from`, the samples of the inputs go where the inputs are looked for."""

    from_: Annotated[
        str | list[str] | None,
        Doc("A file, a folder, a glob or a list of them, relative to the working folder, or full URLs of any store."),
    ] = field(default=None, metadata={"alias": "from"})
    to: Annotated[
        str | None,
        Doc(
            "A folder (or, for one file, its new name) relative to storage.root, or a full URL; or a table:"
            " odps://project/tables/name[/pt=value], or the name of a table that an input or `ddl` describes."
        ),
    ] = None
    ddl: Annotated[
        str | None,
        Doc("CREATE TABLE statement of the table; left out, the columns of the recipe's input, or the table's own."),
    ] = None
    header: Annotated[bool, Doc("Into a table: whether each file's first line names its columns.")] = False
    delimiter: Annotated[str, Doc("Into a table: the one character between fields.")] = ","
    write: Annotated[
        Literal["fail", "overwrite", "append"],
        Doc("Into a table: fail refuses a table with rows; overwrite replaces them; append adds."),
    ] = "fail"
    replace: Annotated[bool, Doc("Whether objects that differ from the files are replaced, and not refused.")] = False
