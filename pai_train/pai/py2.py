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
    from collections.abc import Iterator, Mapping
    from typing import TextIO

_FIXERS = "fissix.fixes"
_NAMES = r"\([^)]*\)|(?:[^\n#\\]|\\\r?\n)*"
_IMPORT = re.compile(rf"^[ \t]*(?:from[ \t]+(?P<package>[\w.]+)[ \t]+)?import[ \t]+(?P<names>{_NAMES})", re.MULTILINE)
_DIVISION, _DECODE = "pai_train.pai.py2_fixer", "pai_train.pai.py2_decode_fixer"
_FUTURE_DIVISION = re.compile(r"^from\s+__future__\s+import\s*(?:\([^)]*|[^\n(]*)\bdivision\b", re.MULTILINE)


def converted(entry: Path, folder: Path, copy: Path, report: TextIO, *, whole: bool) -> Path:
    """Copies a folder with those Python files converted that need it; all else in the copy is links to what is there.

    Args:
        entry: The file that runs.
        folder: What is copied; nothing in it is changed.
        copy: Where to; what is there is replaced.
        report: Gets a line for each file that was changed, with the numbers of its lines.
        whole: Whether all Python files of the folder are the script's, as those of an archive are; else it is the file
            that runs and what it imports from the folder, by whatever way of other files.

    Returns:
        The copy.

    Raises:
        LaunchError: The extra is not installed, or a file is neither Python 2 nor Python 3.
    """
    # Files beside the one that runs, and those in the folder, are imported without a package.
    tops = {folder, entry.parent}
    shutil.rmtree(copy, ignore_errors=True)
    changed: dict[Path, str] = {}
    for path in sorted(_files(folder, copy)) if whole else _imported(entry, folder):
        before = _read(path)
        after = _convert(before, path, packaged=path.parent not in tops)
        if lines := _changed(before, after):
            changed[path] = after
            report.write(f"converted from Python 2: {path.relative_to(folder)}: {lines}\n")
    _link(folder, copy, changed)
    return copy


def _link(folder: Path, copy: Path, changed: Mapping[Path, str]) -> None:
    """Makes a folder of links, and of the changed files; a folder without such is one link."""
    copy.mkdir(parents=True)
    holding = {parent for path in changed for parent in path.parents}
    for path in list(folder.iterdir()):
        target = copy / path.name
        if path in changed:
            target.write_text(changed[path], encoding="utf-8")
        elif path in holding:
            _link(path, target, changed)
        elif not copy.is_relative_to(path):
            target.symlink_to(path)


def _imported(entry: Path, folder: Path) -> list[Path]:
    """Lists a file and those of its folder that it imports, directly or not; what only looks like an import may be."""
    found: list[Path] = []
    waiting = [entry]
    while waiting:
        path = waiting.pop(0)
        if path in found:
            continue
        found.append(path)
        for line in _IMPORT.finditer(_read(path)):
            package, names = line["package"] or "", re.findall(r"[\w.]+", line["names"])
            dots = len(package) - len(package.lstrip("."))
            # Python 2 looks beside the importing file first, without any dot.
            places = [path.parents[dots - 1]] if dots else [path.parent, folder]
            within = package.lstrip(".")
            modules = [f"{within}.{name}".strip(".") for name in names] if line["package"] else names
            waiting += [one for place in places for name in [within, *modules] for one in _modules(place, name)]
    return found


def _modules(place: Path, name: str) -> list[Path]:
    """Lists the files that importing a dotted name runs."""
    parts = name.split(".")
    packages = [place.joinpath(*parts[:end], "__init__.py") for end in range(1, len(parts) + 1)]
    return [path for path in (*packages, place.joinpath(*parts[:-1], f"{parts[-1]}.py")) if path.is_file()]


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
    return RefactoringTool([*fixers, _DECODE, *([] if fractions else [_DIVISION])], {"print_function": print_function})


def _files(folder: Path, copy: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(folder):
        here = Path(place)
        folders[:] = [name for name in folders if name[0] != "." and not copy.is_relative_to(here / name)]
        yield from (here / name for name in names if name.endswith(".py"))


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
