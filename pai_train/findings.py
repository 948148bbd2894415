"""What a check found, one line each, and the table that shows it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal, TextIO

from pai_train.errors import Fault, Refused
from pai_train.experiment.progress import is_terminal

State = Literal["ok", "warn", "fail", "skip"]

PLAIN_WIDTH = 80
_SHOWN = {"ok": "ok", "warn": "WARN", "fail": "FAIL", "skip": "-"}
_CHECK_WIDTH, _STATE_WIDTH = 12, 4
_STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red", "skip": "dim"}


@dataclass(frozen=True)
class Finding:
    """The outcome of one check.

    Attributes:
        place: What it is about: a key of the recipe, or several.
        check: What was tried, in one word.
        state: skip is what could not be tried, because another check failed.
        found: What came out.
        todo: What to do about it.
        fatal: Whether nothing else on that store can work.
    """

    place: str
    check: str
    state: State
    found: str
    todo: str | None = None
    fatal: bool = False


@dataclass(frozen=True)
class Report:
    """All that a check found, in order."""

    title: str
    findings: tuple[Finding, ...]

    def count(self, state: State) -> int:
        """Returns how many findings are in a state."""
        return sum(finding.state == state for finding in self.findings)

    def __str__(self) -> str:
        words = [f"{self.count('ok')} passed"]
        words += [f"{count} warned" for count in [self.count("warn")] if count]
        words += [f"{count} failed" for count in [self.count("fail")] if count]
        words += [f"{count} not tried" for count in [self.count("skip")] if count]
        return f"{self.title}: {', '.join(words)}"


class CheckFailed(Refused):
    """A check found what the run would fail by; the table has been printed."""

    def __init__(self, report: Report) -> None:
        failed = [finding for finding in report.findings if finding.state == "fail"]
        super().__init__([Fault(f"{one.check}: {one.found}", one.place, todo=one.todo) for one in failed])
        self.report = report

    def __str__(self) -> str:
        return "nothing was changed"


def failed(place: str, check: str, fault: Fault, *, todo: str | None = None, fatal: bool = False) -> Finding:
    """Returns the finding that a fault is."""
    words = fault.what if fault.got is None else f"{fault.what}: {fault.got}"
    words = words if fault.wanted is None else f"{words}, wanted is {fault.wanted}"
    return Finding(place, check, "fail", words, todo or fault.todo, fatal)


def show(report: Report, stream: TextIO) -> None:
    """Prints the findings under the places they are about; without colours, 80 columns wide, where no terminal is."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    terminal = is_terminal(stream, os.environ)
    console = Console(
        file=stream, width=None if terminal else PLAIN_WIDTH, force_terminal=terminal, force_jupyter=False
    )
    lines: list[Text | Table] = []
    for place in dict.fromkeys(finding.place for finding in report.findings):
        lines.append(Text(place, style="bold"))
        rows = Table.grid(padding=(0, 2, 0, 0))
        for width in (_CHECK_WIDTH, _STATE_WIDTH, None):
            rows.add_column(width=width, overflow="fold")
        for finding in report.findings:
            if finding.place == place:
                state = Text(_SHOWN[finding.state], style=_STYLES[finding.state])
                rows.add_row(f"  {finding.check}", state, Text(_words(finding)))
        lines.append(rows)
    with console.capture() as shown:
        console.print(*lines, Text(str(report)), sep="\n")
    # Columns are filled up with spaces, which whoever reads a file would stumble over.
    text = shown.get()
    stream.write(text if terminal else "".join(f"{line.rstrip()}\n" for line in text.splitlines()))
    stream.flush()


def _words(finding: Finding) -> str:
    return finding.found if finding.todo is None else f"{finding.found}\nto do: {finding.todo}"
