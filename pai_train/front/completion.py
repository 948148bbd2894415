"""What may follow on an unfinished command line: flags, recipes, groups and their options, keys and their values."""

from __future__ import annotations

import dataclasses
import os
import re
import shlex
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

from typing_extensions import Doc

from pai_train.front import recipes, shells
from pai_train.redact import redact
from pai_train.spec.check import keys
from pai_train.spec.config import JobConfig

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from hydra.core.config_loader import ConfigLoader

_VALUES_OF_FLAGS = {
    "--cfg": ("job", "hydra", "all"),
    "--info": ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath"),
    "--shell-completion": tuple(
        f"{command}={shell}" for command in ("install", "uninstall") for shell in shells.SHELLS
    ),
    "--config-dir": (),
    "--package": (),
}
_SHORT = {"-c": "--cfg", "-i": "--info", "-sc": "--shell-completion", "-cd": "--config-dir", "-p": "--package"}
_FLAGS = ("--cfg", "--config-dir", "--help", "--hydra-help", "--info", "--package", "--resolve", "--version")
# Whatever a shell or Hydra would want quoted is left to be typed.
_PLAIN = re.compile(r"[\w+~./:@%,=\[-]+")
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")


@dataclass(frozen=True)
class Candidate:
    """One way on.

    Attributes:
        text: The whole word.
        note: What it means, in a few words.
    """

    text: str
    note: str = ""

    @property
    def is_whole(self) -> bool:
        """Whether the word is finished by it."""
        return not self.text.endswith(("=", ".", "/")) and "[" not in self.text


def serve(request: Sequence[str], environment: Mapping[str, str] = os.environ, program: str | None = None) -> str:
    """Returns what `-sc install=bash`, `-sc uninstall=…` or `-sc query=…` prints.

    Args:
        request: The words behind `-sc`.
        environment: For a query, holds COMP_LINE, and from bash COMP_POINT and COMP_WORDBREAKS.
        program: How we were called; None for this process's name.

    Raises:
        Refused: The request is none.
    """
    command, shell = shells.asked(list(request))
    if command != "query":
        return shells.script(command, shell, Path(program or sys.argv[0]).name)
    line = environment.get("COMP_LINE", "")
    line = line[: int(environment.get("COMP_POINT") or len(line))]
    found = candidates(line)
    if shell != "bash":
        return "".join(f"{one.text}\t{one.note}".rstrip("\t") + "\n" for one in found)
    # Bash cuts a word at its own marks, such as `=`, and replaces the last piece alone.
    word = line.split(" ")[-1]
    cut = max((word.rfind(mark) + 1 for mark in environment.get("COMP_WORDBREAKS", "")), default=0)
    return "".join(f"{one.text[cut:]}{' ' if one.is_whole else ''}\n" for one in found)


def candidates(line: str) -> list[Candidate]:
    """Lists the ways to go on with a command line that ends where the cursor is; nothing for a quoted word."""
    from pai_train.front.overrides import clean

    try:
        words = shlex.split(line)
    except ValueError:
        return []
    words += [""] if line[-1:].isspace() else []
    while words and _ASSIGNMENT.match(words[0]):
        del words[0]
    *given, word = words[1:] or [""]
    if len(words) < 2 or not line.endswith(word) or clean([*given, word], "").faults:
        return []
    found = {one.text: one for one in _found(given, word) if one.text.startswith(word) and _PLAIN.fullmatch(one.text)}
    shown = set(clean(list(found), "").texts)
    return [found[text] for text in sorted(found) if text in shown and redact(text) == text]


def _found(given: list[str], word: str) -> Iterator[Candidate]:
    before = _SHORT.get(given[-1], given[-1]) if given else ""
    if before in _VALUES_OF_FLAGS and not word.startswith("-"):
        yield from map(Candidate, _VALUES_OF_FLAGS[before])
    if word.startswith("-"):
        yield from map(Candidate, _FLAGS)
    elif before not in _VALUES_OF_FLAGS or before == "--info":
        with _read(given) as read:
            sign = word[:1] if word[:1] in ("+", "~") else ""
            key, equals, value = word.removeprefix(sign).partition("=")
            if equals:
                yield from (Candidate(f"{sign}{key}={text}", note) for text, note in read.values(key, value))
            else:
                yield from read.names(key, sign)


@contextmanager
def _read(given: list[str]) -> Iterator[_Line]:
    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    recipes.install()
    with initialize_config_dir(str(recipes.folder("conf")), job_name="pai_train", version_base="1.3"):
        yield _Line(_overrides(given), GlobalHydra.instance().config_loader())


@dataclass
class _Line:
    """The finished words of a line, as Hydra and the recipe's keys see them."""

    words: list[str]
    loader: ConfigLoader

    @cached_property
    def groups(self) -> list[str]:
        return [group for group in self.loader.list_groups("") if group != "hydra"]

    @cached_property
    def tree(self) -> Any:
        """The composed keys and values, unresolved; without the choices of the line where they cannot be composed."""
        from hydra.errors import HydraException
        from hydra.types import RunMode
        from omegaconf import OmegaConf
        from omegaconf.errors import OmegaConfBaseException

        from pai_train.front import overrides

        asked = overrides.sort(self.words, self.loader, "")
        try:
            config = self.loader.load_configuration("config", asked.hydra, RunMode.RUN, from_shell=False)
        except (HydraException, OmegaConfBaseException, ValueError, RecursionError):
            config = self.loader.load_configuration("config", [], RunMode.RUN, from_shell=False)
        OmegaConf.set_struct(config, False)
        for one in asked.values:
            overrides.apply(one, config, "")
        return OmegaConf.to_container(config, resolve=False)

    def values(self, key: str, begun: str) -> Iterator[tuple[str, str]]:
        """Yields (value, note) for a group or a key."""
        if key in self.groups:
            from hydra.core.object_type import ObjectType

            search = [word for word in self.words if word.startswith("hydra.searchpath=")]
            options = self.loader.get_group_options(key, ObjectType.CONFIG, overrides=search)
            notes = {name: note for name, note, _ in recipes.listing()} if key == recipes.GROUP else {}
            # Recipes are stacked as +recipe=[first,second].
            head = begun[: max(begun.rfind("["), begun.rfind(",")) + 1] if begun.startswith("[") else ""
            new = [option for option in options if option not in re.split(r"[\[,]", head)]
            yield from ((f"{head}{option}", notes.get(option, "")) for option in new)
            return
        hint, value = self._at(key.split("."))
        for branch in _branches(hint):
            if get_origin(branch) is Literal:
                yield from ((str(text), "") for text in get_args(branch))
            elif branch is bool:
                yield from (("true", ""), ("false", ""))
            elif branch is NoneType:
                yield "null", ""
        if isinstance(value, bool | int | float | str) and value not in ("", "???"):
            yield str(value).lower() if isinstance(value, bool) else str(value), "the value so far"

    def names(self, begun: str, sign: str) -> Iterator[Candidate]:
        """Yields the groups and keys that begin so; a section ends in a dot, a key in an equals sign."""
        around, dot, _ = begun.rpartition(".")
        if not dot and sign != "~":
            own = keys(JobConfig)
            for group in self.groups:
                # A recipe is added, so that its group is written with a plus; without one it is understood too.
                plus = "+" if sign or (not begun and group not in own) else ""
                yield Candidate(f"{plus}{group}=", _note(own[group]) if group in own else "an option by name")
        if sign == "+":
            return
        hint, value = self._at(around.split(".") if dot else [])
        for name, (inner, node) in _children(hint, value).items():
            key, note = f"{sign}{around}{dot}{name}", _note(inner)
            if _is_section(inner, node):
                yield Candidate(f"{key}.", note)
            if _is_value(inner, node):
                yield Candidate(key if sign == "~" else f"{key}=", note)
            elif sign == "~":
                yield Candidate(key, note)

    def _at(self, path: list[str]) -> tuple[Any, Any]:
        """Returns type and value of a key; Any and None where nothing is known."""
        hint: Any = JobConfig
        value = self.tree
        for name in path:
            unknown = (_named(hint), None)
            hint, value = _children(hint, value).get(name, unknown)
        return hint, value


def _overrides(given: list[str]) -> list[str]:
    """Returns the overrides among the words, with the folder of --config-dir as one of them."""
    found, flag = [], ""
    for word in given:
        if flag in ("--config-dir", "-cd") and Path(word).is_dir():
            found.append(f"hydra.searchpath=['file://{Path(word).absolute()}']")
        elif not word.startswith("-") and "=" in word:
            found.append(word)
        flag = word
    return found


def _children(hint: Any, value: Any) -> dict[str, tuple[Any, Any]]:
    """Returns what lies in a section: its declared keys, or the names that are there."""
    there = value if isinstance(value, dict) else {}
    found: dict[str, tuple[Any, Any]] = {}
    for branch in _branches(hint):
        if dataclasses.is_dataclass(branch):
            found |= {name: (inner, there.get(name)) for name, inner in keys(branch).items()}
        elif get_origin(branch) is dict:
            found |= {str(name): (get_args(branch)[1], inner) for name, inner in there.items()}
        elif branch is Any:
            found |= {str(name): (Any, inner) for name, inner in there.items()}
    if hint is JobConfig and "hydra" in there:
        found["hydra"] = (Any, there["hydra"])
    return found


def _named(hint: Any) -> Any:
    """Returns the type of what has a name of the user's choice in a section; Any where it has no such names."""
    return next((get_args(branch)[1] for branch in _branches(hint) if get_origin(branch) is dict), Any)


def _is_section(hint: Any, value: Any) -> bool:
    declared = any(dataclasses.is_dataclass(branch) for branch in [*_branches(hint), *_branches(_named(hint))])
    return declared or (isinstance(value, dict) and bool(value))


def _is_value(hint: Any, value: Any) -> bool:
    if hint is Any:
        return not isinstance(value, dict)
    return any(
        branch is not NoneType and not dataclasses.is_dataclass(branch) and get_origin(branch) is not dict
        for branch in _branches(hint)
    )


def _note(hint: Any) -> str:
    """Returns the first sentence that describes a key."""
    for branch in (hint, *_branches(hint)):
        text = next((note.documentation for note in getattr(branch, "__metadata__", ()) if isinstance(note, Doc)), None)
        text = text or (branch.__doc__ if dataclasses.is_dataclass(branch) else None)
        if text:
            return re.split(r"(?<=[.;:])\s", " ".join(text.split()))[0].rstrip(".;:")
    return ""


def _branches(hint: Any) -> list[Any]:
    bare = get_args(hint)[0] if get_origin(hint) is Annotated else hint
    if get_origin(bare) in (Union, UnionType):
        return [inner for branch in get_args(bare) for inner in _branches(branch)]
    return [bare]
