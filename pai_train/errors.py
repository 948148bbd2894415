"""The one family of errors a person can act on: what, where, got, wanted, what to do."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pai_train.redact import redact_each

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

EXIT_DONE = 0
EXIT_FAILED = 1
EXIT_REFUSED = 2
EXIT_INTERRUPTED = 75

_MAX_KNOWN = 8


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong, in texts without the secrets that may have been in them.

    Attributes:
        what: The fault in one sentence, without a full stop.
        where: `file:line key` for configuration, `url:row` for data, or a table's address.
        got: The value found, as the user would write it.
        wanted: What is accepted instead.
        todo: The next step, such as a nearest name or a command.
    """

    what: str
    where: str | None = None
    got: str | None = None
    wanted: str | None = None
    todo: str | None = None

    def __post_init__(self) -> None:
        given = {name: text for name, text in vars(self).items() if text is not None}
        for name, text in zip(given, redact_each(given.values()), strict=True):
            object.__setattr__(self, name, text)

    def __str__(self) -> str:
        lines = [f"{self.where}: {self.what}" if self.where else self.what]
        lines += [
            f"    {title}: {text}"
            for title, text in (("got", self.got), ("wanted", self.wanted), ("to do", self.todo))
            if text is not None
        ]
        return "\n".join(lines)


class PaiTrainError(Exception):
    """A fault of a run, printed without a traceback; the process exits with `exit_code`."""

    exit_code = EXIT_FAILED

    def __init__(
        self,
        what: str,
        *,
        where: str | None = None,
        got: str | None = None,
        wanted: str | None = None,
        todo: str | None = None,
    ) -> None:
        self.fault = Fault(what, where, got, wanted, todo)
        super().__init__(str(self.fault))


def told(error: BaseException) -> str:
    """Returns what an error says, and what was noted of it later, such as a second error that it met on its way."""
    return "\n".join([str(error), *getattr(error, "__notes__", ())])


class StorageError(PaiTrainError):
    """An object, a listing or a store could not be read or written."""


class TableError(PaiTrainError):
    """A table, its schema, its DDL or a commit to it."""


class DataError(PaiTrainError):
    """A row, a field or a file's content that is not what the recipe declares."""


class CheckpointError(PaiTrainError):
    """A checkpoint, its manifest, its lease or the run it belongs to."""


class DeviceError(PaiTrainError):
    """Accelerators that were asked for and are not there."""


class LaunchError(PaiTrainError):
    """A child process that did not start, or failed."""


class Refused(PaiTrainError):
    """All faults found before anything was written; the process exits with 2."""

    exit_code = EXIT_REFUSED

    def __init__(self, faults: Sequence[Fault]) -> None:
        if not faults:
            raise ValueError("Refused needs at least one fault")
        self.faults = tuple(faults)
        first = self.faults[0]
        super().__init__(first.what, where=first.where, got=first.got, wanted=first.wanted, todo=first.todo)

    def __str__(self) -> str:
        count = len(self.faults)
        head = "1 fault, nothing was touched:" if count == 1 else f"{count} faults, nothing was touched:"
        return "\n".join([head, *(f"  {fault}".replace("\n", "\n  ") for fault in self.faults)])


class Interrupted(PaiTrainError):
    """The run was asked to stop, saved its state, and the same command goes on; exits with 75."""

    exit_code = EXIT_INTERRUPTED


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Returns the known name closest to `name`, compared without case, or None when nothing is close."""
    by_lower = {option.lower(): option for option in known}
    match = difflib.get_close_matches(name.lower(), list(by_lower), n=1, cutoff=0.6)
    return by_lower[match[0]] if match else None


def did_you_mean(name: str, known: Iterable[str]) -> str | None:
    """Returns `did you mean 'x'?` for the nearest known name, or the known names, or None."""
    options = sorted(known)
    close = nearest(name, options)
    if close is not None:
        return f"did you mean {close!r}?"
    more = ["…"] if len(options) > _MAX_KNOWN else []
    return f"known: {', '.join([*options[:_MAX_KNOWN], *more])}" if options else None
