"""A scheduler's variables: those of the business date, of the scheduled time, and names of one's own."""

from __future__ import annotations

from datetime import date

import pytest

from pai_train.pai.variables import Variables, read_variables

TODAY = date(2026, 3, 2)

VALUES = {
    "${bizdate}": "20260228",
    "$bizdate": "20260228",
    "${yyyymmdd}": "20260228",
    "${yyyy-mm-dd}": "2026-02-28",
    "${yyyy/mm/dd}": "2026/02/28",
    "${YYYYMMDD-1}": "20260227",
    "${yyyymmdd+1}": "20260301",
    "${yyyy-mm-dd-7*2}": "2026-02-14",
    "${yyyymm-1}": "202601",
    "${yyyymm-2}": "202512",
    "${yyyy-1}": "2025",
    "${bizmonth}": "202602",
    "${cyctime}": "20260301000000",
    "${gmtdate}": "20260302",
    "$[yyyymmdd]": "20260301",
    "$[yyyymmdd-1]": "20260228",
    "$[yyyymmdd-1/24]": "20260228",
    "$[yyyy-mm-dd hh24:mi:ss-15/24/60]": "2026-02-28 23:45:00",
    "$[hh24-2/24]": "22",
    "$[yyyymmdd-1/24*48]": "20260227",
    "$[add_months(yyyymmdd,-1)]": "20260201",
    "$[add_months(yyyymm,-12*1)]": "202503",
    "$[ add_months(yyyymmdd, -1)-1 ]": "20260131",
}


@pytest.mark.parametrize(("text", "value"), VALUES.items(), ids=VALUES.keys())
def test_dates(text: str, value: str) -> None:
    assert Variables(day=date(2026, 2, 28), today=TODAY).fill(f"a/{text}/b") == (f"a/{value}/b", [])


def test_the_last_day_of_a_month_without_it() -> None:
    assert Variables(day=date(2026, 3, 30)).fill("$[add_months(yyyymmdd,-1)]")[0] == "20260228"


def test_a_scheduled_time_says_the_business_date() -> None:
    variables, faults = read_variables(None, ["cyctime=20261125023000"], TODAY)
    assert faults == []
    assert variables.fill("${bizdate} $[yyyymmddhh24mi-1/24]") == ("20261124 202611250130", [])


def test_names() -> None:
    pairs = ["dt=$[yyyymmdd-1]", "p=lab", "${quoted}=x=y", "yyyymmdd=other"]
    variables, faults = read_variables("2026-02-28", pairs, TODAY)
    assert faults == []
    assert variables.fill("${dt} ${p} ${ p } ${quoted} ${yyyymmdd}") == ("20260228 lab lab x=y other", [])


def test_what_is_open_is_named_once_as_it_is_written() -> None:
    variables = Variables(day=date(2026, 2, 28))
    text = "${dt} $[foo] ${dt} ${yyyymmddx} $[yyyymmdd-1/0] ${} ${yyyymm-1/2} $x {y}"
    assert variables.fill(text) == (
        text,
        ["${dt}", "$[foo]", "${yyyymmddx}", "$[yyyymmdd-1/0]", "${}", "${yyyymm-1/2}"],
    )
    assert Variables().fill("${bizdate} $[yyyymmdd] ${cyctime}")[1] == ["${bizdate}", "$[yyyymmdd]", "${cyctime}"]


@pytest.mark.parametrize(
    ("day", "pairs", "what"),
    [
        ("26-1-1", [], "not a date"),
        ("20260230", [], "not a date"),
        (None, ["bizdate"], "not a variable and its value"),
        ("20260101", ["bizdate=20260102"], "the business date is given twice"),
        (None, ["cyctime=noon"], "not a time"),
        (None, ["a=1", "a=2"], "variable 'a' is set twice"),
    ],
)
def test_faults(day: str | None, pairs: list[str], what: str) -> None:
    assert [fault.what for fault in read_variables(day, pairs, TODAY)[1]] == [what]
