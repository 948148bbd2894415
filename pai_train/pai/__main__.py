"""The command line of PAI commands: statements in, scripts run; TensorFlow is imported by the scripts alone."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from pai_train.errors import EXIT_DONE, EXIT_FAILED, Fault, Refused, did_you_mean
from pai_train.exits import ended, refusing
from pai_train.redact import guard, redact

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pai_train.pai.command import Command
    from pai_train.pai.statement import Parsed

_LARGEST_TEXT = 16 * 2**20

_DESCRIPTION = """\
Runs PAI commands as they are:

  pai -name tensorflow180_ext -project algo_public -Dscript="oss://bucket/train.py" -Dtables="odps://lab/tables/iris"
  pai --file nightly.sql --date 20261124
  pai < nightly.sql

Statements are PAI, set and use, each ended by ';'. Scripts, tables and buckets may be on any store: oss://, s3://,
gs://, az://, file:///, or a path.
"""
_EPILOG = """\
exit codes: 0 done, 1 failed, 2 refused before anything was run, 75 stopped and to be started again
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command line, `sys.argv` when none is given, and returns its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if argv is None:
        guard()
    return ended(lambda: _dispatch(arguments))


def parser() -> argparse.ArgumentParser:
    """Returns the parser of the options; statements are told apart from them before."""
    made = argparse.ArgumentParser(
        prog="pai",
        usage="pai [options] -name tensorflow -Dscript=… -Dkey=value …  |  pai [options] --file FILE",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = made.add_argument
    add("-f", "--file", metavar="FILE", help="read the statements from a file; - is standard input")
    add("-e", "--execute", metavar="TEXT", help="read the statements from this text")
    add("--plan", action="store_true", help="print what would run, and run nothing")
    add("--to-recipe", metavar="FILE", help="write a recipe for the statement's inputs and outputs, and run nothing")
    add("--force", action="store_true", help="let --to-recipe replace a file")
    add("--date", metavar="YYYYMMDD", help="the business date: ${bizdate}, ${yyyymmdd-1}; $[…] is of the next midnight")
    add("--set", metavar="NAME=VALUE", action="append", default=[], help="the value of ${NAME}; may be given again")
    add("--py2", action="store_true", help="convert Python 2 sources before they run")
    add("--tables", choices=("iceberg", "maxcompute"), help="the table store, where not PAI_TRAIN_TABLES")
    add("--tables-root", metavar="URL", help="where its tables are, where not PAI_TRAIN_TABLES_ROOT")
    add("--no-role", action="store_true", help="use OSS with the environment's own keys, whatever role is named")
    return made


def _dispatch(arguments: Sequence[str]) -> int:
    options, words = _split(arguments)
    made = parser()
    made.error = _refuse  # type: ignore[method-assign]
    asked = made.parse_args(options)
    parsed = _parsed(asked, words)
    commands = _commands(asked, parsed)
    for command in commands:
        for line in () if asked.plan else (*command.notes, *(f"warning: {one}" for one in command.warnings)):
            sys.stderr.write(f"{redact(line)}\n")
    if asked.to_recipe is not None:
        return _to_recipe(asked, commands)
    if asked.plan:
        from pai_train.pai.plan import plan

        sys.stdout.write("\n".join(plan(command) for command in commands))
        return EXIT_DONE
    return _run(asked, commands)


def _split(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Tells our options from the words of statements."""
    takes = {flag: action.nargs != 0 for action in parser()._actions for flag in action.option_strings}
    options: list[str] = []
    words: list[str] = []
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        if word in takes or word.startswith("--"):
            options.append(word)
            if takes.get(word) and rest:
                options.append(rest.pop(0))
        else:
            words.append(word)
    return options, words


def _refuse(message: str) -> NoReturn:
    todo = "pai --help lists the options"
    if message.startswith("unrecognized arguments: "):
        given = message.rpartition(": ")[2].split()[0].partition("=")[0]
        known = [flag for action in parser()._actions for flag in action.option_strings]
        todo = did_you_mean(given, known) or todo
        todo += "; flags of the script belong into -DuserDefinedParameters, the whole value in quotes"
    raise Refused([Fault(message, "command line", todo=todo)])


def _parsed(asked: argparse.Namespace, words: Sequence[str]) -> Parsed:
    from pai_train.pai.parse import parse_text, parse_words

    given = [name for name, there in (("--file", asked.file), ("--execute", asked.execute), ("-D…", words)) if there]
    if len(given) > 1:
        raise Refused(
            [Fault("statements come from several places", "command line", " and ".join(given), "one of them")]
        )
    if asked.execute:
        return parse_text(asked.execute, "command line")
    if asked.file not in (None, "-"):
        return parse_text(_read(asked.file), asked.file)
    if words:
        return parse_words(words)
    if asked.file is None and sys.stdin.isatty():
        raise Refused([Fault("there is no statement", "command line", wanted="-name tensorflow -Dscript=…, or --file")])
    text = sys.stdin.read(_LARGEST_TEXT)
    return parse_text(text, "standard input")


def _read(name: str) -> str:
    path = Path(name)
    try:
        if path.stat().st_size > _LARGEST_TEXT:
            raise Refused([Fault("too large for a file of statements", name)])
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        what = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise Refused([Fault(f"the file cannot be read: {what}", f"command line --file {name}")]) from None


def _commands(asked: argparse.Namespace, parsed: Parsed) -> list[Command]:
    from pai_train.pai.command import Options, read_command
    from pai_train.pai.variables import read_variables

    variables, faults = read_variables(asked.date, asked.set, date.today())
    options = Options(
        variables=variables,
        environ=os.environ,
        tables=asked.tables,
        tables_root=asked.tables_root,
        take_role=not asked.no_role,
    )
    faults += parsed.faults
    commands = []
    warnings: list[str] = []
    for statement in parsed.statements:
        command, found = read_command(statement, options, warnings)
        faults += found
        commands += [command] if command is not None else []
    if not parsed.statements and not faults:
        faults.append(Fault("there is no PAI statement", wanted="PAI -name tensorflow -Dscript=…;"))
    if faults:
        sys.stderr.writelines(f"warning: {redact(one)}\n" for one in warnings)
        raise Refused(faults)
    return commands


def _to_recipe(asked: argparse.Namespace, commands: Sequence[Command]) -> int:
    from pai_train.pai.to_recipe import recipe_of

    where = f"command line --to-recipe {asked.to_recipe}"
    if len(commands) > 1:
        raise Refused([Fault("one recipe is of one statement", where, f"{len(commands)} statements")])
    path = Path(asked.to_recipe)
    if path.exists() and not asked.force:
        raise Refused([Fault("the file is there already", where, todo="name another one, or add --force")])
    text = recipe_of(commands[0])
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise Refused([Fault(f"the recipe cannot be written: {error.strerror}", where)]) from None
    sys.stdout.write(f"wrote {path}; look through its comments, then: python -m pai_train +recipe={path.stem}\n")
    return EXIT_DONE


def _run(asked: argparse.Namespace, commands: Sequence[Command]) -> int:
    """Runs the statements, up to the first that is not done."""
    for at, command in enumerate(commands):
        try:
            code = _one(command, py2=asked.py2)
        except Refused as refused:
            if at == 0:
                raise
            sys.stderr.write(f"{redact(str(refused))}\n")
            code = EXIT_FAILED
        if code != EXIT_DONE:
            return code
    return EXIT_DONE


def _one(command: Command, *, py2: bool) -> int:
    from pai_train.pai.prepare import prepare
    from pai_train.pai.run import run

    with refusing():
        job = prepare(command, py2=py2)
    try:
        return run(job)
    except Refused:
        shutil.rmtree(job.run_dir, ignore_errors=True)
        raise


if __name__ == "__main__":
    sys.exit(main())
