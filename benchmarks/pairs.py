"""Two ways of doing the same, measured in turns; what is judged is the median of the ratios."""

from __future__ import annotations

import json
import statistics
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path


@dataclass(frozen=True)
class Way:
    """One way of doing it.

    Attributes:
        run: Does it, and returns how many rows came.
        rows: How many have to come. Two ways of other lengths are compared by rows per second.
    """

    run: Callable[[], int]
    rows: int

    def rate(self) -> float:
        """Runs it and returns rows per second.

        Raises:
            RuntimeError: Other rows came than there are.
        """
        begin = time.perf_counter()
        got = self.run()
        seconds = time.perf_counter() - begin
        if got != self.rows:
            raise RuntimeError(f"{got} rows came instead of {self.rows}")
        return self.rows / seconds


@dataclass(frozen=True)
class Result:
    """A case as measured.

    Attributes:
        case: What is compared.
        ratio: Median of the repetitions' ratios.
        required: What it has to be; None where nothing was promised.
        most: Whether `required` is the most that it may be, and not the least.
        min: Smallest ratio.
        max: Largest ratio.
        repetitions: How many there were.
        part: Which part of a benchmark it belongs to, such as `csv-narrow`; "" where there are none.
        batch: Rows of a batch; 0 where that is not what differs.
        against: What stands below the ratio, where a picture shows it.
    """

    case: str
    ratio: float
    required: float | None
    min: float
    max: float
    repetitions: int
    most: bool = False
    part: str = ""
    batch: int = 0
    against: str = ""

    @property
    def kept(self) -> bool:
        """Whether the promise was kept."""
        if self.required is None:
            return True
        return self.ratio <= self.required if self.most else self.ratio >= self.required

    def __str__(self) -> str:
        spread = f"{self.ratio:8.3g} ({self.min:.3g} to {self.max:.3g}, {self.repetitions} times)"
        if self.required is None:
            return f"{self.case:<66} {spread}"
        bound = "at most" if self.most else "at least"
        return f"{self.case:<66} {spread}, {bound} {self.required:g}: {'kept' if self.kept else 'MISSED'}"


def judged(case: str, ratios: Iterable[float], required: float | None, *, most: bool = False) -> Result:
    """Makes a result of the ratios of all repetitions."""
    found = list(ratios)
    return Result(case, statistics.median(found), required, min(found), max(found), len(found), most)


def in_turns(
    ways: dict[str, Way], repetitions: int, told: Callable[[str], None] = lambda _: None
) -> dict[str, list[float]]:
    """Runs all ways one after the other, again and again; the first turn is not counted.

    Args:
        ways: By name.
        repetitions: How many turns are counted.
        told: Takes a line about each turn that is done.

    Returns:
        Rows per second of each, by repetition.
    """
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(repetitions + 1):
        for name, way in ways.items():
            rates[name].append(way.rate())
        seconds = (f"{name} {way.rows / rates[name][-1]:.1f} s" for name, way in ways.items())
        told(f"turn {turn} of {repetitions}: {', '.join(seconds)}")
    return {name: found[1:] for name, found in rates.items()}


def over(rates: dict[str, list[float]], ours: str, other: str) -> list[float]:
    """Returns by how much one way is faster than another, in each repetition."""
    return [mine / theirs for mine, theirs in zip(rates[ours], rates[other], strict=True)]


def save(results: Iterable[Result], path: Path) -> None:
    """Writes results as JSON, a row per case."""
    path.write_text(json.dumps([{**asdict(one), "kept": one.kept} for one in results], indent=2) + "\n")


def load(path: Path) -> list[Result]:
    """Reads what `save` wrote."""
    rows = json.loads(path.read_text())
    return [Result(**{name: value for name, value in row.items() if name != "kept"}) for row in rows]
