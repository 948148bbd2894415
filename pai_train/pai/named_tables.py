"""The tables that a command names, and the CREATE TABLE statements of its outputs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pai_train.errors import Fault, TableError, did_you_mean
from pai_train.pai.addresses import split_list
from pai_train.spec.address import parse_table, parse_target
from pai_train.spec.ddl import parse_ddl
from pai_train.spec.tokens import SyntaxFault

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pai_train.pai.statement import Argument


def read_tables(given: Argument | None, project: str, faults: list[Fault], *, writes: bool) -> tuple[str, ...]:
    """Reads a list of tables' addresses; what is wrong with one is added to the faults.

    Returns:
        The addresses as they are written.
    """
    if given is None:
        return ()
    found = []
    for text in split_list(given.value):
        try:
            (parse_target if writes else parse_table)(text, project)
        except TableError as error:
            fault = error.fault
            faults.append(Fault(fault.what, given.where, fault.got or text, fault.wanted, fault.todo))
        found.append(text)
    return tuple(found)


def read_statements(
    given: Argument | None, outputs: Sequence[str], project: str, faults: list[Fault]
) -> tuple[str, ...]:
    """Reads the statements of -DcreateTableSql.

    Returns:
        One for each output, in the outputs' order; nothing without the key, or where something is wrong.
    """
    if given is None:
        return ()
    before = len(faults)
    created: dict[tuple[str, str], str] = {}
    for text in split_statements(given.value):
        try:
            ddl = parse_ddl(text)
        except SyntaxFault as error:
            what = f"not a CREATE TABLE statement that is run here: {error}"
            faults.append(Fault(what, given.where, text))
            continue
        # A statement without a project is of the output's.
        table = (ddl.project or "").lower(), ddl.name.lower()
        if table in created:
            faults.append(Fault(f"two statements create {ddl.name!r}", given.where, todo="leave one out"))
        created[table] = text
    if len(faults) > before:
        return ()
    wanted = []
    for output in outputs:
        try:
            ref = parse_target(output, project)
        except TableError:
            return ()  # told with -Doutputs
        wanted.append((ref.project, ref.name))
    found = [created.get((owner, name)) or created.get(("", name)) for owner, name in wanted]
    _one_each(created, wanted, given, faults)
    return tuple(text for text in found if text is not None) if len(faults) == before else ()


def _one_each(
    created: dict[tuple[str, str], str], wanted: Sequence[tuple[str, str]], given: Argument, faults: list[Fault]
) -> None:
    names = [name for _, name in wanted]
    for owner, name in created:
        if (owner, name) not in wanted and (owner or name not in names):
            shown = f"{owner}.{name}" if owner else name
            todo = did_you_mean(shown, names) if names else "name the table in -Doutputs"
            faults.append(Fault(f"a statement creates {shown}, which is no output", given.where, todo=todo))
    for owner, name in dict.fromkeys(wanted):
        if (owner, name) not in created and ("", name) not in created:
            what = f"no statement creates the output {owner}.{name}"
            faults.append(Fault(what, given.where, wanted="one statement per output, separated by ';'"))


def split_statements(text: str) -> list[str]:
    """Splits statements at each `;` that is in no string, name or comment."""
    found, begin, at = [], 0, 0
    while at < len(text):
        end = _skipped(text, at)
        if end == at and text[at] == ";":
            found.append(text[begin:at])
            begin = at + 1
        at = max(end, at + 1)
    return [one.strip() for one in [*found, text[begin:]] if one.strip()]


def _skipped(text: str, at: int) -> int:
    """Returns the position behind the string, name or comment that begins at `at`; `at` where none does."""
    if text.startswith("--", at):
        end = text.find("\n", at)
        return len(text) if end < 0 else end
    if text.startswith("/*", at):
        end = text.find("*/", at + 2)
        return len(text) if end < 0 else end + 2
    quote = text[at]
    if quote not in "'\"`":
        return at
    end = at + 1
    while end < len(text) and text[end] != quote:
        end += 2 if text[end] == "\\" and quote != "`" else 1
    return min(end + 1, len(text))
