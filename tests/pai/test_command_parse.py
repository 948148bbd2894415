"""Statements as people write them, in every form that PAI takes, and what a fault of one says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pai_train.pai.parse import parse_text, parse_words
from pai_train.pai.scan import quote


def values(text: str) -> dict[str, str]:
    parsed = parse_text(text, "job.sql")
    assert parsed.faults == ()
    [statement] = parsed.statements
    return {argument.written: argument.value for argument in statement.arguments}


FORMS = {
    "double": ('PAI -name t -Dscript="oss://b/x.py";', "oss://b/x.py"),
    "single": ("pai -name t -Dscript='oss://b/x.py'", "oss://b/x.py"),
    "bare": ("Pai -name t -Dscript=oss://b/x.py;", "oss://b/x.py"),
    "bare-end": ("PAI -name t -Dscript=oss://b/x.py", "oss://b/x.py"),
    "space": ("PAI -name t -Dscript= 'oss://b/x.py';", "oss://b/x.py"),
    "space-before": ("PAI -name t -Dscript = 'oss://b/x.py';", "oss://b/x.py"),
    "space-bare": ("PAI -name t -Dscript= oss://b/x.py -Dx=1;", "oss://b/x.py"),
    "next-line": ("PAI -name t -Dscript=\n  'oss://b/x.py';", "oss://b/x.py"),
    "continued": ("PAI -name t \\\n  -Dscript=oss://b/x.py \\\n;", "oss://b/x.py"),
    "equals": ("PAI -name=t -project=algo_public -Dscript=a.py;", "a.py"),
    "escaped": ('PAI -name t -Dscript="a\\"b\\\\c\\x01";', 'a"b\\c\\x01'),
    "other-quote": ("PAI -name t -Dscript=\"'a','b'\";", "'a','b'"),
    "list": ("PAI -name t -Dscript='a', \"b\";", "a,b"),
    "semicolon": ('PAI -name t -Dscript="create table a(b string);";', "create table a(b string);"),
    "comment-inside": ('PAI -name t -Dscript="a\n-- not a comment\n# nor this";', "a\n-- not a comment\n# nor this"),
    "json": ('PAI -name t -Dscript={"ps": {"count": 1}};', '{"ps": {"count": 1}}'),
    "quotes-in-bare": ("PAI -name t -Dscript=--a='x y';", "--a='x y'"),
    "empty": ("PAI -name t -Dscript= -Dx=1;", ""),
    "block": ("/* a; 'b */PAI /* c */ -name /**/ t -Dscript= /* d */ 'a.py' /* e\n; */;", "a.py"),
    "block-behind-quote": ("PAI -name t -Dscript='a.py'/* 'e */;", "a.py"),
    "block-like": ("PAI -name t -Dscript=oss://b/*.py;", "oss://b/*.py"),
    "block-inside": ("PAI -name t -Dscript='/* a */' ;", "/* a */"),
    "trailing": ("PAI -name t -- it's t;\n -Dscript='a.py' -- the script\n;", "a.py"),
    "trailing-behind-quote": ("PAI -name t -Dscript='a.py'--脚本\n;", "a.py"),
    "trailing-number-sign": ("PAI -name t -Dscript=a.py # it's the script\n;", "a.py"),
    "trailing-end": ("PAI -name t -Dscript=a.py --", "a.py"),
    "rule": ("--****--\n-- ---- it's\nPAI -name t -Dscript=a.py ------\n;", "a.py"),
    "before-a-value": ("PAI -name t -Dscript= -- here\n 'a.py';", "a.py"),
    "in-a-list": ("PAI -name t -Dscript='a', -- it's the first\n  -- none\n 'b' /* last */;", "a,b"),
    "in-json": ('PAI -name t -Dscript={"ps": {}, -- it\'s 1 }\n "a": "/*"};', '{"ps": {}, \n "a": "/*"}'),
    "behind-flags": ("PAI -name t -Dscript=--a=1 -- more\n;", "--a=1"),
    "lower": ("pai -NAME t -dscript=a.py;", "a.py"),
}


@pytest.mark.parametrize(("text", "value"), FORMS.values(), ids=FORMS.keys())
def test_forms_of_a_value(text: str, value: str) -> None:
    assert value in values(text).values()


def test_a_file_as_schedulers_keep_it() -> None:
    parsed = parse_text(
        "-- nightly\n# 'both kinds; of comment\nuse lab;\nset odps.x=1;set odps.y='a;b';\n"
        "PAI -name tensorflow180_ext -project algo_public\n  -Dscript='a.py'\n  -- -Dcluster=\"{\n  -Dtables=t\n;\n"
        "  pai -name=tensorflow\n-Dscript=b.py\nPAI -name tensorflow -Dscript=c.py;;",
        "job.sql",
    )
    assert parsed.faults == ()
    assert [one.where for one in parsed.statements] == ["job.sql:5:1 PAI", "job.sql:10:3 PAI", "job.sql:12:1 PAI"]
    assert [[argument.value for argument in one.arguments] for one in parsed.statements] == [
        ["a.py", "t"],
        ["b.py"],
        ["c.py"],
    ]
    first = parsed.statements[0]
    assert first.used is not None
    assert first.used.value == "lab"
    assert first.settings == ("odps.x=1", "odps.y='a;b'")
    assert first.name is not None
    assert first.name.where == "job.sql:5:5 -name"
    assert [argument.where for argument in first.arguments] == ["job.sql:6:3 -Dscript", "job.sql:8:3 -Dtables"]


FAULTS = {
    "unclosed": ("PAI -name t\n  -Dscript='a.py;", "job.sql:2:12", "a quote is not closed"),
    "json": ("PAI -Dcluster={ps;", "job.sql:1:15", "{ is not closed"),
    "joined": ('PAI -Dscript="a"b;', "job.sql:1:17", "a quoted value is followed by 'b;'"),
    "comment": ("PAI -name t; /* PAI -name u;", "job.sql:1:14", "a comment is not closed"),
    "comment-in-statement": ("PAI -name t\n /* -Dx='a;", "job.sql:2:2", "a comment is not closed"),
    "flag-behind-quote": (
        "PAI -DuserDefinedParameters='--a=1' --b=2;",
        "job.sql:1:37",
        "'--b=2' is no argument of PAI",
    ),
    "curly": ("PAI -Dscript=“a”;", "job.sql:1:14", "“ is not a quote here"),
    "word": ("PAI -name t foo;", "job.sql:1:13", "'foo' is no argument of PAI"),
    "flags": ("PAI -DuserDefinedParameters=--a=1 --b=2;", "job.sql:1:35", "'--b=2' is no argument of PAI"),
    "flags-below": ("PAI -DuserDefinedParameters=--a=1\n  --b=2\n;", "job.sql:1:34", "would be a comment"),
    "no-value": ("PAI -Dscript;", "job.sql:1:5", "'-Dscript' is no argument of PAI"),
    "drop": ("drop table a;", "job.sql:1:1", "begins no statement that is run here"),
    "use": ("use a b;", "job.sql:1:5", "use names one project"),
    "twice": ("PAI -Dscript=a -DSCRIPT=b;", "job.sql:1:16", "-DSCRIPT is given twice"),
}


@pytest.mark.parametrize(("text", "where", "what"), FAULTS.values(), ids=FAULTS.keys())
def test_a_fault_says_where(text: str, where: str, what: str) -> None:
    [fault] = parse_text(text, "job.sql").faults
    assert fault.where == where
    assert what in fault.what


def test_faults_are_told_together() -> None:
    text = "drop table a;\nPAI -name t -Dscript=“a”; PAI -name t -Dscript=b.py;\nPAI -Dx='a' 'b;';\nPAI -Dy='c;"
    parsed = parse_text(text, "job.sql")
    assert [fault.where for fault in parsed.faults] == ["job.sql:1:1", "job.sql:2:22", "job.sql:3:13", "job.sql:4:9"]
    assert [one.arguments[0].value for one in parsed.statements] == ["b.py"]


_KEYS = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,10}", fullmatch=True)


@given(st.dictionaries(_KEYS, st.text(st.characters(exclude_categories=["Cs"])), max_size=5), st.sampled_from("\n \t"))
def test_a_quoted_value_comes_back(given: dict[str, str], blank: str) -> None:
    lower = {name.lower(): value for name, value in given.items()}
    text = "PAI -name t" + "".join(f"{blank}-D{name}={quote(value)}" for name, value in lower.items())
    assert values(text + ";") == {f"-D{name}": value for name, value in lower.items()}


_COMMENTS = st.one_of(
    st.text(st.sampled_from("a '\";{}-#/*\\"), max_size=8)
    .filter(lambda text: "*/" not in f"{text}*/"[:-2])
    .map(lambda text: f" /*{text} */ "),
    st.text(st.sampled_from("a '\";{}-#/*\\"), max_size=8).map(lambda text: f" -- {text}\n"),
    st.text(st.sampled_from("a '\";{}-#/*"), max_size=8).map(lambda text: f"\n#{text}\n"),
    st.just(" "),
)


@given(
    st.dictionaries(_KEYS.map(str.lower), st.text(st.sampled_from("a -#/*\n;'\"\\"), max_size=12), max_size=4),
    st.lists(_COMMENTS, min_size=7, max_size=7),
)
def test_comments_change_nothing_and_quotes_keep_them(given: dict[str, str], comments: list[str]) -> None:
    gaps = iter(comments)
    text = f"{next(gaps)}PAI{next(gaps)}-name t"
    text += "".join(f"{next(gaps)}-D{name}={quote(value)}" for name, value in given.items())
    assert values(f"{text}{next(gaps)};") == {f"-D{name}": value for name, value in given.items()}


@given(st.text(st.sampled_from("PAI -Dx='\";{}#\n\\,“ut/*"), max_size=40))
def test_any_text_ends(text: str) -> None:
    parsed = parse_text(text, "job.sql")
    assert all(fault.where for fault in parsed.faults)


WORDS = {
    "plain": (["-name", "t", "-project", "algo_public", "-Dscript=a b.py"], {"-Dscript": "a b.py"}),
    "pai": (["PAI", "-name=t", "-Dscript=a.py", ";"], {"-Dscript": "a.py"}),
    "next": (["-name", "t", "-Dscript=", "a.py"], {"-Dscript": "a.py"}),
    "still-quoted": (["-name", "t", '-Dscript="a\\"b"'], {"-Dscript": 'a"b'}),
    "list": (["-name", "t", "-Dtables='a','b'"], {"-Dtables": "a,b"}),
    "words": (["-name", "t", "-Dx='a' 'b'"], {"-Dx": "'a' 'b'"}),
    "end": (["-name", "t", "-Dscript=a.py;"], {"-Dscript": "a.py"}),
    "sql": (["-name", "t", "-DcreateTableSql=create table a;"], {"-DcreateTableSql": "create table a;"}),
    "text": (["PAI -name t -Dscript='a b.py';"], {"-Dscript": "a b.py"}),
}  # fmt: skip


@pytest.mark.parametrize(("words", "wanted"), WORDS.values(), ids=WORDS.keys())
def test_words_of_a_shell(words: list[str], wanted: dict[str, str]) -> None:
    parsed = parse_words(words)
    assert parsed.faults == ()
    [statement] = parsed.statements
    assert statement.name is not None
    assert statement.name.value == "t"
    assert {argument.written: argument.value for argument in statement.arguments} == wanted


def test_several_statements_of_a_shell() -> None:
    parsed = parse_words(["-name", "t", "-Dscript=a.py;", "pai", "-name", "u", "-Dscript=b.py"])
    assert [one.name.value for one in parsed.statements if one.name] == ["t", "u"]
    assert [one.arguments[0].value for one in parsed.statements] == ["a.py", "b.py"]


def test_words_that_are_no_argument() -> None:
    parsed = parse_words(["-name", "t", "-DuserDefinedParameters=--a", "1", "-Dscript=a.py", "-Dscript"])
    assert [fault.what for fault in parsed.faults] == [
        "'1' is no argument of PAI",
        "'-Dscript' is no argument of PAI",
    ]
    assert "put the whole value in quotes" in str(parsed.faults[0].todo)
