"""The statement grammar under any statement and any text."""

import random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pai_train.spec.ddl import Clustering, Column, Ddl, SyntaxFault, parse_ddl
from pai_train.spec.tokens import Cursor, is_name, is_word, quote_text
from pai_train.spec.types import Primitive, parse_type

BIGINT, STRING = Primitive("BIGINT"), Primitive("STRING")

letters = st.text(st.characters(categories=("L", "Nd"), include_characters="_"), min_size=1, max_size=12)
column_names = st.one_of(
    st.sampled_from(["comment", "lifecycle", "primary", "key", "like", "as", "名称", "größe", "İ", "1st"]), letters
).filter(lambda name: is_word(name.lower()))
table_names = column_names.filter(lambda name: is_name(name.lower()))
texts = st.one_of(st.text(max_size=20), st.text("'\"\\\n\r\t\0u0;-*/` é", max_size=12))
types = st.sampled_from(
    [
        *("BIGINT", "DOUBLE", "STRING", "DATE", "JSON", "DECIMAL(10,2)", "VARCHAR(9)", "VECTOR(FLOAT,128)"),
        *("MAP<STRING,INT>", "INTERVAL_DAY_TIME", "ARRAY<ARRAY<DOUBLE>>", "STRUCT<Age:INT,`a/b`:ARRAY<STRING>>"),
    ]
).map(parse_type)
defaults = st.one_of(
    st.sampled_from(["NULL", "TRUE", "FALSE", "0", "-1.5E-3", "10L", "DATE '2000-01-01'"]), texts.map(quote_text)
)
maybe_text = st.none() | texts


@st.composite
def statements(draw):
    names = draw(st.lists(column_names, min_size=1, max_size=6, unique_by=str.lower))
    levels = draw(st.integers(0, min(3, len(names) - 1)))
    data = tuple(
        Column(n, draw(types), draw(st.booleans()), draw(st.none() | defaults), draw(maybe_text))
        for n in names[levels:]
    )
    known = st.lists(st.sampled_from([column.name for column in data]), min_size=1, max_size=3, unique=True).map(tuple)
    sort_keys = known.flatmap(lambda ks: st.tuples(*(st.tuples(st.just(k), st.booleans()) for k in ks)))
    by_range = st.builds(Clustering, known, st.just(True), st.just(()) | sort_keys, st.none() | st.integers(1, 4096))
    by_hash = st.builds(Clustering, known, st.just(False), st.just(()) | sort_keys, st.integers(1, 4096))
    return Ddl(
        draw(table_names),
        data,
        project=draw(st.none() | table_names),
        partitions=tuple(
            Column(n, draw(st.sampled_from([STRING, BIGINT])), comment=draw(maybe_text)) for n in names[:levels]
        ),
        comment=draw(maybe_text),
        if_not_exists=draw(st.booleans()),
        lifecycle=draw(st.none() | st.integers(1, 40000)),
        properties=tuple(draw(st.dictionaries(texts, texts, max_size=2)).items()),
        clustered=draw(st.none() | by_range | by_hash),
        primary_key=draw(st.just(()) | known),
    )


@given(statements())
@settings(deadline=None)
def test_sql_and_value_are_inverse(ddl):
    assert parse_ddl(ddl.sql()) == ddl
    assert parse_ddl(f"{ddl.sql()};").sql() == ddl.sql()


def noisy(sql: str, chance: random.Random) -> str:
    """Writes a statement's tokens in random case, with random blanks and comments between them."""
    cursor = Cursor(sql)
    blanks = [" ", "\n", "\t\r\n", "\u3000", "/* ' ` \" -- ( */", "-- it's /* (\n", "/***/"]
    text = chance.choice(blanks)
    while (token := cursor.take()).kind != "end":
        # The name of a struct's field keeps its case; all other names are in backquotes.
        free = token.kind in ("word", "number") and not cursor.sees_symbol(":")
        text += chance.choice([token.text.lower(), token.text.upper(), token.text.title()]) if free else token.text
        # Two signs in a row would begin a comment.
        text += " " if token.text == "-" else ""
        text += "".join(chance.choices(blanks, k=chance.randint(1, 2)))
    return text


@given(statements(), st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=60)
def test_case_blanks_and_comments_change_nothing(ddl, chance):
    assert parse_ddl(noisy(ddl.sql(), chance)) == ddl


def outcome(text: str) -> tuple[Ddl | None, SyntaxFault | None]:
    try:
        return parse_ddl(text), None
    except SyntaxFault as fault:
        return None, fault


PIECES = [
    *(
        ")",
        "(",
        ",",
        "<",
        ">",
        "'",
        '"',
        "`",
        "--",
        "/*",
        "*/",
        "\\",
        ";",
        ".",
        "=",
        "-",
        "1",
        "1e",
        "a",
        "bigint",
        "é",
        "İ",
        "٣",
    ),
    *("\n", "\ud800", "\\ud800", "\ufeff", "create table t (a bigint", "if not exists", "comment", "partitioned by"),
    *("primary key", "clustered by", "into 2 buckets", "default", "tblproperties", "lifecycle", "array<", "struct<"),
    *("a:", "decimal("),
]


@given(st.one_of(st.text(), st.lists(st.sampled_from(PIECES), max_size=25).map(" ".join)))
@example("create table t (a bigint comment '\ud800')")
@example("create table \ud800 (a bigint)")
@example("create table t (a struct<`\ud800`:bigint>)")
@settings(deadline=None, max_examples=500)
def test_any_text_is_a_statement_or_a_fault(text):
    ddl, fault = outcome(text)
    if ddl is not None:
        assert parse_ddl(ddl.sql()) == ddl
    if fault is not None:
        assert 1 <= fault.line <= text.count("\n") + 1
        assert 1 <= fault.column <= len(text) + 1


@given(statements(), st.data())
@settings(deadline=None, max_examples=100)
def test_a_damaged_statement_is_a_statement_or_a_fault(ddl, data):
    sql = ddl.sql()
    start = data.draw(st.integers(0, len(sql)))
    end = data.draw(st.integers(start, min(len(sql), start + 8)))
    damaged = sql[:start] + data.draw(st.sampled_from(["", *PIECES])) + sql[end:]
    read, _ = outcome(damaged)
    assert read is None or parse_ddl(read.sql()) == read


@pytest.mark.timeout(10)
def test_a_statement_of_a_wide_table_is_read_in_time():
    names = [f"c{i}" for i in range(20_000)]
    ddl = parse_ddl(f"create table t ({', '.join(f'{name} double' for name in names)})")
    assert [column.name for column in ddl.columns] == names
