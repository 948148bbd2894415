"""What the keys of `stage` ask of each other, and of the rest of a recipe."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pai_train.errors import Fault, TableError
from pai_train.spec.address import TableRef, parse_table, parse_tables, parse_target
from pai_train.spec.ddl import SyntaxFault, parse_ddl
from pai_train.spec.names import character
from pai_train.spec.tokens import is_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pai_train.spec.config import JobConfig

_SCHEME = "odps://"
_NOTHING = "name a recipe whose inputs have a sample, such as +recipe=iris, or set stage.from and stage.to"


def stage_faults(config: JobConfig) -> Iterator[Fault]:
    """Checks the keys of `stage` where they are used."""
    stage = config.stage
    if config.mode != "stage":
        return
    if stage.from_ is None:
        if stage.to is not None:
            todo = "name a file, a folder or a glob"
            yield Fault("stage.to says where, and nothing says what", where="stage.from", todo=todo)
        elif not any(rows.sample for rows in config.inputs.values()):
            yield Fault("there is nothing to stage", where="stage.from", todo=_NOTHING)
        return
    if not (stage.from_ and all(stage.from_ if isinstance(stage.from_, list) else [stage.from_])):
        yield Fault("names no file", where="stage.from", got=repr(stage.from_), wanted="a file, a folder or a glob")
    if not stage.to:
        wanted, todo = "a folder, a URL or a table", "for storage.root itself, stage.to=./"
        yield Fault("stage.from says what, and nothing says where", where="stage.to", wanted=wanted, todo=todo)
        return
    if stage.ddl is not None:
        try:
            parse_ddl(stage.ddl)
        except SyntaxFault as fault:
            yield Fault(f"not a CREATE TABLE statement: {fault}", where="stage.ddl", got=stage.ddl)
    if stage.ddl is not None or stage.to.lower().startswith(_SCHEME):
        try:
            parse_target(stage.to, config.tables.project)
        except TableError as error:
            yield replace(error.fault, where="stage.to")
    if stage.ddl is None and not stage.to.lower().startswith(_SCHEME) and target_table(config) is None:
        for key, is_set in (
            ("write", stage.write != "fail"),
            ("header", stage.header),
            ("delimiter", stage.delimiter != ","),
        ):
            if is_set:
                todo = f"stage.to=odps://{config.tables.project}/tables/{stage.to} for a table, else leave it out"
                yield Fault("is for a table, and stage.to names a place for files", where=f"stage.{key}", todo=todo)
    if len(character(stage.delimiter)) != 1 or character(stage.delimiter) in '"\r\n':
        wanted = "one character, no quote and no line end; \\t and \\x01 stand for tab and control characters"
        yield Fault("not a delimiter", where="stage.delimiter", got=repr(stage.delimiter), wanted=wanted)


def target_table(config: JobConfig) -> TableRef | None:
    """Returns the table that `stage.to` means; None where it means objects.

    A bare name means a table only where `stage.ddl` or an input or output of that table makes it one.
    """
    to, project = config.stage.to or "", config.tables.project
    if config.stage.ddl is not None or to.lower().startswith(_SCHEME):
        return parse_table(to, project)
    if to.count(".") > 1 or not all(map(is_name, to.split("."))):
        return None
    ref = parse_table(to, project)
    named = [parse_tables(rows.table, project) for rows in config.inputs.values() if rows.table is not None]
    named += [parse_tables(output.table, project) for output in config.outputs.values() if output.table is not None]
    return ref if any(_same(other, ref) for others in named for other in others) else None


def _same(one: TableRef, other: TableRef) -> bool:
    return (one.project, one.name) == (other.project, other.name)
