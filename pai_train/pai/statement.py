"""One PAI statement as it was written: its arguments, and where each of them stands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pai_train.errors import Fault


@dataclass(frozen=True)
class Argument:
    """A value that a statement gives.

    Attributes:
        written: How it is called there: `-name`, `-project`, `-Dkey`, `use`.
        value: Its value without quotes.
        place: Where it stands, for people: `file:line:column`, or `command line`.
    """

    written: str
    value: str
    place: str

    @property
    def key(self) -> str:
        """The key without its -D, as it is written."""
        return self.written.removeprefix("-D")

    @property
    def where(self) -> str:
        """Where it stands, and how it is called."""
        return f"{self.place} {self.written}"


@dataclass(frozen=True)
class Statement:
    """A PAI statement.

    Attributes:
        where: Where it begins, for people.
        name: The algorithm, of -name.
        project: Whose algorithm it is, of -project.
        arguments: The -D arguments, in their order.
        used: The project that a `use` in front of it names.
        settings: The `set` lines in front of it, `key=value` each.
    """

    where: str
    name: Argument | None
    project: Argument | None
    arguments: tuple[Argument, ...]
    used: Argument | None = None
    settings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Parsed:
    """What a text says.

    Attributes:
        statements: Its PAI statements; those with a fault are left out.
        faults: What cannot be read.
    """

    statements: tuple[Statement, ...]
    faults: tuple[Fault, ...]
