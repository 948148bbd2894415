"""Python 2 sources converted in a copy, by fissix; which lines changed is said."""

from __future__ import annotations

import difflib
import os
import re
import shutil
import tokenize
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pai_train.errors import LaunchError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TextIO

_FIXERS = "fissix.fixes"
_DIVISION = "pai_train.pai.py2_fixer"
_FUTURE_DIVISION = re.compile(r"^from\s+__future__\s+import\s*(?:\([^)]*|[^\n(]*)\bdivision\b", re.MULTILINE)


def converted(folder: Path, copy: Path, report: TextIO, entry: Path | None = None) -> Path:
    """Copies a folder with its Python files converted; other files are links to the old ones.

    Args:
        folder: What is copied; nothing in it is changed.
        copy: Where to; what is there is replaced.
        report: Gets a line for each file that was changed, with the numbers of its lines.
        entry: The file that runs: imports of files beside it, and of those in the folder, need no package.

    Returns:
        The copy.

    Raises:
        LaunchError: The extra is not installed, or a file is neither Python 2 nor Python 3.
    """
    tops = {folder, folder if entry is None else entry.parent}
    shutil.rmtree(copy, ignore_errors=True)
    for path in _files(folder, copy):
        target = copy / path.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix != ".py":
            target.symlink_to(path)
            continue
        before = _read(path)
        after = _convert(before, path, packaged=path.parent not in tops)
        target.write_text(after, encoding="utf-8")
        if lines := _changed(before, after):
            report.write(f"converted from Python 2: {path.relative_to(folder)}: {lines}\n")
    return copy


@cache
def _tool(print_function: bool, fractions: bool, packaged: bool = False) -> Any:
    """Returns what converts files.

    Args:
        print_function: Whether print is a function there.
        fractions: Whether `/` gives fractions there.
        packaged: Whether files beside it are imported through its package, and not by their plain names.
    """
    try:
        from fissix.refactor import RefactoringTool, get_fixers_from_package
    except ImportError:
        raise LaunchError(
            "Python 2 sources are converted by fissix, which is not installed", todo="pip install 'pai_train[tf1]'"
        ) from None
    without = {*((".fix_print",) if print_function else ()), *(() if packaged else (".fix_import",))}
    fixers = [one for one in get_fixers_from_package(_FIXERS) if not one.endswith(tuple(without))]
    return RefactoringTool([*fixers, *([] if fractions else [_DIVISION])], {"print_function": print_function})


def _files(folder: Path, copy: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(folder):
        here = Path(place)
        folders[:] = [name for name in folders if name[0] != "." and not copy.is_relative_to(here / name)]
        yield from (here / name for name in names)


def _read(path: Path) -> str:
    raw = path.read_bytes()
    try:
        with path.open("rb") as file:
            encoding, _ = tokenize.detect_encoding(file.readline)
        text = raw.decode(encoding)
    except (SyntaxError, UnicodeDecodeError):
        text = raw.decode("latin-1")
    text = text.replace("\r\n", "\n")
    return text if text.endswith("\n") or not text else text + "\n"


def _convert(text: str, path: Path, packaged: bool = False) -> str:
    tool = _tool(_is_python3(text, path), _FUTURE_DIVISION.search(text) is not None, packaged)
    try:
        done = str(tool.refactor_string(text, str(path)))
    except Exception as error:
        # Its parser raises several kinds, all of which mean that the file cannot be read.
        raise LaunchError(
            "the file is neither Python 2 nor Python 3", where=str(path), got=f"{type(error).__name__}: {error}"
        ) from error
    try:
        compile(done, str(path), "exec", dont_inherit=True)
    except TabError:
        return _of_spaces(done)
    except (SyntaxError, ValueError):
        # What is wrong is said when the file runs, by its line.
        return done
    return done


def _of_spaces(text: str) -> str:
    """Returns a source whose lines are indented by spaces: a tab went up to the next multiple of eight there."""
    from fissix.pgen2 import token
    from fissix.pgen2.tokenize import generate_tokens

    lines = text.splitlines(keepends=True)
    within: set[int] = set()
    for kind, _, (first, _), (last, _), _ in generate_tokens(iter([*lines, ""]).__next__):
        if kind == token.STRING:
            within.update(range(first + 1, last + 1))
    return "".join(line if number in within else _indented(line) for number, line in enumerate(lines, 1))


def _indented(line: str) -> str:
    rest = line.lstrip(" \t")
    return line[: len(line) - len(rest)].expandtabs(8) + rest


def _is_python3(text: str, path: Path) -> bool:
    try:
        compile(text, str(path), "exec", dont_inherit=True)
    except (SyntaxError, ValueError):
        return False
    return True


def _changed(before: str, after: str) -> str:
    """Returns the numbers of the lines that differ, such as `lines 3, 7-9`, counted in the old file."""
    matcher = difflib.SequenceMatcher(None, before.splitlines(), after.splitlines(), autojunk=False)
    spans = [(lo + 1, max(lo + 1, hi)) for tag, lo, hi, _, _ in matcher.get_opcodes() if tag != "equal"]
    return "lines " + ", ".join(str(lo) if lo == hi else f"{lo}-{hi}" for lo, hi in spans) if spans else ""
