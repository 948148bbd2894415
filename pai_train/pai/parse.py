"""PAI statements from a text, or from the words of a command line; knows their form, not their keys."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pai_train.errors import Fault, did_you_mean
from pai_train.pai.scan import NotRead, Scanner
from pai_train.pai.statement import Argument, Parsed, Statement

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMAND_LINE = "command line"

_QUOTE_IT = "put the whole value in quotes"
_FORM = "-name algorithm, -project project, or -Dkey=value"
_ARGUMENT = re.compile(r"-(?P<name>name|project)(?:[ \t]*=|(?=\s))|-D[ \t]*(?P<key>[\w.]+)[ \t]*=", re.IGNORECASE)
_PAI = re.compile(r"pai(?=[\s;]|\Z)", re.IGNORECASE)
_WORDS_OF_TEXT = re.compile(r"\s*(?:(?:pai|set|use)\s|--|#|/\*)", re.IGNORECASE)
_FLAG = re.compile(r"--[A-Za-z]")
_ELSEWHERE = {
    "create": "give the statement to -DcreateTableSql; it runs where the table is absent",
    "drop": "leave it out: opening an output replaces what the table held",
    "truncate": "leave it out: opening an output replaces what the table held",
    "insert": "fill tables by a script, or by mode=stage of pai-train",
    "select": "look at tables with paiio.TableReader",
}
# Their values may end in a `;` of their own.
_ENDING = ("createtablesql", "userdefinedparameters")


@dataclass
class _Context:
    used: Argument | None = None
    settings: tuple[str, ...] = ()
    statements: list[Statement] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)

    def add(self, where: str, given: Sequence[Argument]) -> None:
        """Adds a statement; each name may be given once, in whatever case."""
        named: dict[str, Argument] = {}
        for argument in given:
            first = named.setdefault(argument.written.lower(), argument)
            if first is not argument:
                what = f"{argument.written} is given twice"
                self.faults.append(Fault(what, where=argument.place, todo="leave one out"))
        self.statements.append(
            Statement(
                where,
                named.get("-name"),
                named.get("-project"),
                tuple(argument for name, argument in named.items() if name.startswith("-d")),
                self.used,
                self.settings,
            )
        )

    def parsed(self) -> Parsed:
        return Parsed(tuple(self.statements), tuple(self.faults))


def parse_text(text: str, source: str) -> Parsed:
    """Reads the statements of a text: PAI, set and use, each ended by `;`, with comments.

    `/* … */` is a comment wherever a blank may be, and `--` or `#` to the end of its line where a line begins or behind
    a `;`; behind an argument, `-- ` is one too. Inside quotes nothing is.

    Args:
        text: The text.
        source: What it is called in faults.
    """
    scan, context = Scanner(text.removeprefix("\ufeff"), source), _Context()
    while True:
        begin = scan.at
        try:
            scan.skip_blanks()
            if scan.ended:
                return context.parsed()
            if scan.accept_end():
                continue
            begin = scan.at
            _statement(scan, context)
        except NotRead as error:
            context.faults.append(scan.fault(error))
            scan.skip_statement(max(error.at, begin))


def _statement(scan: Scanner, context: _Context) -> None:
    begin, word = scan.at, scan.word()
    kind = word.lower()
    if kind == "pai":
        given = _arguments(scan)
        context.add(scan.place(begin, "PAI"), given)
    elif kind == "set":
        context.settings = (*context.settings, scan.rest())
    elif kind == "use":
        scan.skip_blanks()
        at = scan.at
        project = scan.rest()
        if not re.fullmatch(r"\S+", project):
            raise NotRead(at, "use names one project", wanted="use project;")
        context.used = Argument("use", project, scan.place(at))
    else:
        todo = _ELSEWHERE.get(kind) or did_you_mean(kind, ["PAI", "set", "use"])
        raise NotRead(begin, f"{word[:40]!r} begins no statement that is run here", wanted="PAI, set or use", todo=todo)


def _arguments(scan: Scanner) -> list[Argument]:
    given: list[Argument] = []
    bare: str | None = None
    while True:
        begin = scan.at
        comments = scan.skip_blanks()
        if bare is not None and any(map(_FLAG.match, comments)):
            raise NotRead(begin, f"a line of flags follows the value of {bare}, and would be a comment", todo=_QUOTE_IT)
        if scan.accept_end() or (given and scan.fresh and _PAI.match(scan.text, scan.at)):
            return given
        at = scan.at
        found = scan.match(_ARGUMENT)
        if found is None:
            raise _not_an_argument(scan, at, given)
        written = _written(found)
        start = scan.text[scan.at : scan.at + 1]
        value = scan.value() if found["key"] or found[0].endswith("=") else _separate(scan)
        given.append(Argument(written, value, scan.place(at)))
        bare = written if found["key"] and start not in ("'", '"') and value.startswith("--") else None


def _separate(scan: Scanner) -> str:
    scan.skip_blanks()
    return scan.value()


def _not_an_argument(scan: Scanner, at: int, given: Sequence[Argument]) -> NotRead:
    word = scan.word()[:40]
    todo = None
    if given and not word.startswith("-"):
        todo = f"if it belongs to the value of {given[-1].written}, {_QUOTE_IT}"
    elif word.startswith("--"):
        todo = f"flags of the script belong into -DuserDefinedParameters; {_QUOTE_IT}"
    elif re.match(r"-D[\w.]+$", word, re.IGNORECASE):
        todo = f"{word}=value"
    return NotRead(at, f"{word!r} is no argument of PAI", wanted=_FORM, todo=todo)


def parse_words(words: Sequence[str]) -> Parsed:
    """Reads the statements of a command line, whose shell has taken the outer quotes off already.

    Args:
        words: `-name`, `tensorflow`, `-Dkey=value` and so on, several statements separated by `;`; or whole texts.
    """
    context = _Context()
    if words and _WORDS_OF_TEXT.match(words[0]):
        return parse_text("\n".join(words), COMMAND_LINE)
    statement: list[str] = []
    for word in [*words, ";"]:
        ends = word.endswith(";") and not _keeps_end(word)
        rest = word.removesuffix(";") if ends else word
        if rest:
            statement.append(rest)
        if ends and statement:
            _of_words(statement, context)
            statement = []
    return context.parsed()


def _of_words(words: Sequence[str], context: _Context) -> None:
    faults: list[Fault] = []
    given: list[Argument] = []
    rest = list(words[1:] if words[0].lower() == "pai" else words)
    while rest:
        word = rest.pop(0)
        found = _ARGUMENT.match(f"{word}\n")
        if found is None:
            error = _not_an_argument(Scanner(word, COMMAND_LINE), 0, given)
            faults.append(Fault(error.what, COMMAND_LINE, wanted=error.wanted, todo=error.todo))
            continue
        value = word[found.end() :]
        if not value and rest and not rest[0].startswith("-"):
            value = rest.pop(0)
        given.append(Argument(_written(found), _unquoted(value), COMMAND_LINE))
    if faults:
        context.faults += faults
    else:
        context.add(COMMAND_LINE, given)


def _unquoted(value: str) -> str:
    """Takes off quotes that are still there, as where no shell stood in between."""
    if value[:1] not in ("'", '"'):
        return value
    scan = Scanner(value, COMMAND_LINE)
    try:
        inner = scan.value()
    except NotRead:
        return value
    return inner if scan.ended else value


def _keeps_end(word: str) -> bool:
    found = _ARGUMENT.match(word)
    return found is not None and (found["key"] or "").lower() in _ENDING


def _written(found: re.Match[str]) -> str:
    return f"-{found['name'].lower()}" if found["name"] else f"-D{found['key']}"
