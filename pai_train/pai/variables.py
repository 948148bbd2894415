"""What a scheduler writes into a command: ${bizdate}, ${yyyymmdd-1}, $[yyyymmdd-1/24], and names of one's own.

As in DataWorks, ${…} are of the business date, the day whose data are processed, and $[…] of the scheduled time, which
is the midnight after that day unless `cyctime` says otherwise.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from fractions import Fraction
from typing import TYPE_CHECKING

from pai_train.errors import Fault

if TYPE_CHECKING:
    from collections.abc import Mapping

_PLACES = re.compile(
    r"\$\{(?P<of_day>[^{}]*)\}|\$\[(?P<of_time>[^\[\]]*)\]|\$(?P<plain>bizdate|cyctime|gmtdate|bizmonth)\b"
)
_SHIFTED = re.compile(r"(?P<format>.*?)(?P<shift>[+-]\d+(?:[*/]\d+)*)?", re.DOTALL)
_MONTHS = re.compile(r"add_months\(\s*(?P<format>[^,()]+),\s*(?P<months>[+-]?\d+(?:\*\d+)?)\s*\)(?P<rest>.*)", re.I)
_FIELDS = re.compile(r"yyyy|mm|dd|hh24|mi|ss", re.IGNORECASE)
_FORMAT = re.compile(r"(?:yyyy|mm|dd|hh24|mi|ss|[-/:_. ])+", re.IGNORECASE)
_WRITTEN = {"yyyy": "%Y", "mm": "%m", "dd": "%d", "hh24": "%H", "mi": "%M", "ss": "%S"}
_DATES = ("%Y%m%d", "%Y-%m-%d", "%Y/%m/%d")
_TIMES = ("%Y%m%d%H%M%S", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y%m%d%H%M", "%Y-%m-%d %H:%M", *_DATES)


@dataclass(frozen=True)
class Variables:
    """The values of a scheduler's variables.

    Attributes:
        day: The business date; None where none is known.
        time: The scheduled time; None for the midnight after `day`.
        names: Values of names; they may be expressions of dates themselves.
        today: The date of the day, for $gmtdate.
    """

    day: date | None = None
    time: datetime | None = None
    names: Mapping[str, str] = field(default_factory=dict)
    today: date | None = None

    def fill(self, text: str) -> tuple[str, list[str]]:
        """Returns a text with its variables filled, and those that are left open, as they are written."""
        left: list[str] = []

        def value(found: re.Match[str]) -> str:
            name = found["of_day"] if found["of_day"] is not None else found["plain"]
            if name is not None and name.strip() in self.names:
                inner, still = self._dates_only().fill(self.names[name.strip()])
                left.extend(still)
                return inner
            told = self._told(found)
            if told is None and found[0] not in left:
                left.append(found[0])
            return found[0] if told is None else told

        return _PLACES.sub(value, text), left

    def _dates_only(self) -> Variables:
        return Variables(self.day, self.time, {}, self.today)

    @property
    def scheduled(self) -> datetime | None:
        """The scheduled time."""
        if self.time is not None or self.day is None:
            return self.time
        return datetime.combine(self.day, datetime.min.time()) + timedelta(days=1)

    @property
    def business(self) -> datetime | None:
        """The midnight at which the business date begins."""
        if self.day is not None:
            return datetime.combine(self.day, datetime.min.time())
        if self.time is None:
            return None
        return datetime.combine(self.time.date(), datetime.min.time()) - timedelta(days=1)

    def _told(self, found: re.Match[str]) -> str | None:
        if found["of_time"] is not None:
            return _expression(found["of_time"].strip(), self.scheduled)
        name = (found["of_day"] if found["of_day"] is not None else found["plain"]).strip()
        return self._named(name.lower()) or _expression(name, self.business)

    def _named(self, name: str) -> str | None:
        day, time = self.business, self.scheduled
        if name == "gmtdate":
            return None if self.today is None else f"{self.today:%Y%m%d}"
        if day is None or time is None:
            return None
        if name == "bizdate":
            return f"{day:%Y%m%d}"
        if name == "cyctime":
            return f"{time:%Y%m%d%H%M%S}"
        if name == "bizmonth":
            same = self.today is not None and (day.year, day.month) == (self.today.year, self.today.month)
            return f"{_by_months(day, -1) if same else day:%Y%m}"
        return None


def read_variables(day: str | None, pairs: list[str], today: date) -> tuple[Variables, list[Fault]]:
    """Reads --date and --set.

    Args:
        day: The business date, yyyymmdd or yyyy-mm-dd.
        pairs: `name=value` each; `bizdate` and `cyctime` are the business date and the scheduled time.
        today: The date of the day.
    """
    faults: list[Fault] = []
    names: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        name = name.strip().removeprefix("${").removesuffix("}")
        if not equals or not name:
            faults.append(Fault("not a variable and its value", "command line --set", pair, "name=value"))
        elif names.setdefault(name, value) != value:
            faults.append(Fault(f"variable {name!r} is set twice", "command line --set", todo="leave one out"))
    where = "command line --date"
    if "bizdate" in names:
        if day is not None and day != names["bizdate"]:
            faults.append(Fault("the business date is given twice", where, todo="leave --set bizdate=… out"))
        day, where = names.pop("bizdate"), "command line --set bizdate"
    read = None if day is None else _read(day, _DATES)
    if day is not None and read is None:
        faults.append(Fault("not a date", where, day, "yyyymmdd or yyyy-mm-dd, the day whose data are processed"))
    time = None
    if "cyctime" in names:
        written = names.pop("cyctime")
        time = _read(written, _TIMES)
        if time is None:
            faults.append(Fault("not a time", "command line --set cyctime", written, "yyyymmddhh24miss"))
    return Variables(None if read is None else read.date(), time, names, today), faults


def _read(text: str, formats: tuple[str, ...]) -> datetime | None:
    for known in formats:
        try:
            return datetime.strptime(text.strip(), known)
        except ValueError:
            continue
    return None


def _expression(text: str, base: datetime | None) -> str | None:
    """Returns the value of `format[±shift]` or `add_months(format, months)`; None where it is none or has no base."""
    if base is None:
        return None
    months = _MONTHS.fullmatch(text)
    if months is not None:
        base = _by_months(base, int(_factor(months["months"])))
        text = months["format"].strip() + months["rest"].strip()
    found = _SHIFTED.fullmatch(text)
    if found is None or _FORMAT.fullmatch(found["format"]) is None or _FIELDS.search(found["format"]) is None:
        return None
    try:
        moved = _moved(base, found["shift"], found["format"].lower())
    except (OverflowError, ValueError, ZeroDivisionError):
        return None
    return None if moved is None else _FIELDS.sub(lambda one: moved.strftime(_WRITTEN[one[0].lower()]), found["format"])


def _moved(base: datetime, shift: str | None, form: str) -> datetime | None:
    """Moves a time by days, or by months or years where the format has nothing finer."""
    if not shift:
        return base
    factor = _factor(shift)
    if any(part in form for part in ("dd", "hh24", "mi", "ss")):
        return base + timedelta(seconds=round(factor * 86400))
    if factor.denominator != 1:
        return None
    return _by_months(base, int(factor) * (1 if "mm" in form else 12))


def _factor(text: str) -> Fraction:
    """Returns the value of `-7*2` or `-15/24/60`."""
    value = Fraction(1)
    for operator, number in re.findall(r"([*/]?)([+-]?\d+)", text):
        value = value / int(number) if operator == "/" else value * int(number)
    return value


def _by_months(base: datetime, months: int) -> datetime:
    """Moves a time by months; a day that the month lacks is its last."""
    month = base.month - 1 + months
    first = base.replace(year=base.year + month // 12, month=month % 12 + 1, day=1)
    last = (first + timedelta(days=31)).replace(day=1) - timedelta(days=1)
    return first.replace(day=min(base.day, last.day))
