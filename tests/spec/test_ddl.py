"""The statement grammar: every kind of CREATE TABLE is understood, or refused by its name and its place."""

import pytest

from pai_train.spec.ddl import Clustering, Column, Ddl, SyntaxFault, parse_ddl
from pai_train.spec.types import Array, Decimal, Map, Primitive, Struct, Text, Vector

BIGINT, DOUBLE, STRING, TIMESTAMP = (Primitive(name) for name in ("BIGINT", "DOUBLE", "STRING", "TIMESTAMP"))
A, B, C, PT = Column("a", BIGINT), Column("b", STRING), Column("c", DOUBLE), Column("pt", STRING)

UNDERSTOOD = {
    "iris": (
        "create table iris_output(f1 DOUBLE,f2 DOUBLE,f3 DOUBLE,f4 DOUBLE,f5 STRING);",
        Ddl("iris_output", (*(Column(f"f{i}", DOUBLE) for i in range(1, 5)), Column("f5", STRING))),
    ),
    "if_not_exists": ("CREATE TABLE IF NOT EXISTS t (a BIGINT)", Ddl("t", (A,), if_not_exists=True)),
    "project": ("create table Sales.Orders (A bigint)", Ddl("orders", (A,), project="sales")),
    "column_attributes": (
        "create table t (a bigint not null default -1 comment 'key', b string default 'x' null, c double not null)",
        Ddl(
            "t", (Column("a", BIGINT, False, "-1", "key"), Column("b", STRING, True, "'x'"), Column("c", DOUBLE, False))
        ),
    ),
    "comment_before_partitions": (
        "create table t (a bigint) comment 'rows' partitioned by (pt string)",
        Ddl("t", (A,), partitions=(PT,), comment="rows"),
    ),
    "comment_after_partitions": (
        "create table t (a bigint) partitioned by (pt string comment 'day') comment 'rows'",
        Ddl("t", (A,), partitions=(Column("pt", STRING, comment="day"),), comment="rows"),
    ),
    "six_levels": (
        "create table t (a bigint) partitioned by (p1 string, p2 bigint, p3 varchar(8), p4 char(2), p5 date, p6 int)",
        Ddl(
            "t",
            (A,),
            partitions=(
                Column("p1", STRING),
                Column("p2", BIGINT),
                Column("p3", Text("VARCHAR", 8)),
                Column("p4", Text("CHAR", 2)),
                Column("p5", Primitive("DATE")),
                Column("p6", Primitive("INT")),
            ),
        ),
    ),
    "nested": (
        "create table t (a array<map<string,struct<X:bigint,`y z`:array<double>>>>, b decimal(10,2), c decimal)",
        Ddl(
            "t",
            (
                Column("a", Array(Map(STRING, Struct((("X", BIGINT), ("y z", Array(DOUBLE))))))),
                Column("b", Decimal(10, 2)),
                Column("c", Decimal(38, 18)),
            ),
        ),
    ),
    "vector": ("create table t (v VECTOR(FLOAT,128))", Ddl("t", (Column("v", Vector(Primitive("FLOAT"), 128)),))),
    "interval": (
        "create table t (d interval_day_time, m interval_year_month)",
        Ddl("t", (Column("d", Primitive("INTERVAL_DAY_TIME")), Column("m", Primitive("INTERVAL_YEAR_MONTH")))),
    ),
    "hash_clustered": (
        "create table t (a bigint, b string) clustered by (a, b) sorted by (a desc, b asc) into 8 buckets",
        Ddl("t", (A, B), clustered=Clustering(("a", "b"), False, (("a", True), ("b", False)), 8)),
    ),
    "range_clustered": (
        "create table t (a bigint) RANGE CLUSTERED BY (a) SORTED BY (a) INTO 1024 BUCKETS",
        Ddl("t", (A,), clustered=Clustering(("a",), True, (("a", False),), 1024)),
    ),
    "range_clustered_without_buckets": (
        "create table t (a bigint) range clustered by (A)",
        Ddl("t", (A,), clustered=Clustering(("a",), True)),
    ),
    "transactional_primary_key": (
        "create table t (a bigint not null, b string, primary key (A)) "
        "tblproperties ('transactional'='true', \"k\"=\"\")",
        Ddl(
            "t",
            (Column("a", BIGINT, False), B),
            properties=(("transactional", "true"), ("k", "")),
            primary_key=("a",),
        ),
    ),
    "lifecycle": ("create table t (a bigint) lifecycle 30;", Ddl("t", (A,), lifecycle=30)),
    "everything": (
        "create table if not exists p.t (a bigint, b string) comment 'c' partitioned by (pt string) clustered by (a) "
        "into 2 buckets tblproperties ('k'='v') lifecycle 7",
        Ddl("t", (A, B), "p", (PT,), "c", True, 7, (("k", "v"),), Clustering(("a",), buckets=2)),
    ),
    "backquoted_reserved": (
        "create table `Table` (`select` bigint, `1st` string, `From` double)",
        Ddl("table", (Column("select", BIGINT), Column("1st", STRING), Column("from", DOUBLE))),
    ),
    "keywords_as_columns": (
        "create table comment (comment STRING comment 'it', lifecycle BIGINT, primary DOUBLE, like DATE, pt INT)",
        Ddl(
            "comment",
            (
                Column("comment", STRING, comment="it"),
                Column("lifecycle", BIGINT),
                Column("primary", DOUBLE),
                Column("like", Primitive("DATE")),
                Column("pt", Primitive("INT")),
            ),
        ),
    ),
    "comments": (
        "-- iris's \"rows\nCREATE /* ' */ TABLE t -- `\n(a /* ) */ bigint, -- last\r\nb string\n) /**/ ; -- done",
        Ddl("t", (A, B)),
    ),
    "strings": (
        r"""create table t (a bigint comment 'it\'s "x"\\', b string comment "it's \"x\"\t\u4f60\101\q")
            comment 'a;--b'""",
        Ddl(
            "t",
            (Column("a", BIGINT, comment='it\'s "x"\\'), Column("b", STRING, comment='it\'s "x"\t你Aq')),
            comment="a;--b",
        ),
    ),
    "string_over_lines": ("create table t (a bigint comment 'x\ny')", Ddl("t", (Column("a", BIGINT, comment="x\ny"),))),
    "other_scripts": (
        "create table 订单 (名称 string comment '客户', größe double)",
        Ddl("订单", (Column("名称", STRING, comment="客户"), Column("größe", DOUBLE))),
    ),
}


@pytest.mark.parametrize(("text", "ddl"), UNDERSTOOD.values(), ids=UNDERSTOOD)
def test_understands(text, ddl):
    assert parse_ddl(text) == ddl
    assert parse_ddl(ddl.sql()) == ddl


REFUSED = {
    "or_replace": ("create or replace table t (a bigint)", 1, 8, "OR REPLACE is not supported: it would drop"),
    "external": ("create external table t (a bigint) location 'oss://b/'", 1, 8, "EXTERNAL is not supported: external"),
    "stored_by": ("create table t (a bigint)\nstored by 'x'", 2, 1, "STORED is not supported"),
    "stored_as": ("create table t (a bigint) stored as orc", 1, 27, "STORED is not supported"),
    "location": ("create table t (a bigint) location 'oss://b/'", 1, 27, "LOCATION is not supported"),
    "serde": ("create table t (a bigint) with serdeproperties ('a'='b')", 1, 27, "WITH SERDEPROPERTIES is not supp"),
    "row_format": ("create table t (a bigint) row format delimited", 1, 27, "ROW FORMAT is not supported"),
    "like": ("create table t like o lifecycle 7", 1, 16, "LIKE is not supported: the columns must be written out"),
    "as_select": ("create table t as select * from o where a <> '%'", 1, 16, "AS SELECT is not supported: no query"),
    "lifecycle_as_select": ("create table t lifecycle 7 as select 1", 1, 28, "AS SELECT is not supported"),
    "columns_as_select": ("create table t (a bigint) as select 1", 1, 27, "AS SELECT is not supported"),
    "auto_partitioned": (
        "create table t (ts timestamp) AUTO PARTITIONED BY (TRUNC_TIME(ts,'day') AS d)",
        1,
        31,
        "AUTO PARTITIONED BY is not supported: such partitions are filled by SQL only",
    ),
    "drop": ("drop table x", 1, 1, "only CREATE TABLE is run, got 'drop'"),
    "empty": ("  -- nothing\n", 2, 1, "only CREATE TABLE is run, got the end of the text"),
    "view": ("create view v as select 1", 1, 8, "only CREATE TABLE is run, got 'view'"),
    "two_statements": (
        "create table t (a bigint);\ndrop table t;",
        2,
        1,
        "only one statement is run, got another that begins with 'drop'",
    ),
    "schema": ("create table p.s.t (a bigint)", 1, 18, "schemas inside a project are not supported"),
    "no_columns": ("create table t", 1, 15, "expected columns with their types in '(' and ')', got the end"),
    "no_columns_but_clauses": (
        "create table t lifecycle 7",
        1,
        16,
        "expected columns with their types in '(' and ')', got 'lifecycle'",
    ),
    "empty_columns": ("create table t ()", 1, 17, "expected a column name, got ')'"),
    "trailing_comma": ("create table t (a bigint,)", 1, 26, "expected a column name, got ')'"),
    "only_a_key": ("create table t (primary key (a))", 1, 16, "expected columns with their types"),
    "unknown_type": ("create table iris_output(f1 DUBLE)", 1, 29, "unknown type 'DUBLE', did you mean 'DOUBLE'?"),
    "no_type": ("create table t (\n  a bigint,\n  b lifecycle)", 3, 5, "expected a type, got 'lifecycle'"),
    "no_comma": ("create table t (a bigint b string)", 1, 26, "expected ',' or ')', got 'b'"),
    "not_closed": ("create table t (a bigint", 1, 25, "expected ',' or ')', got the end of the text"),
    "column_twice": ("create table t (a bigint, `A` string)", 1, 27, "the column '`A`' is there twice"),
    "partition_twice": ("create table t (a bigint) partitioned by (A string)", 1, 43, "the column 'A' is there twice"),
    "attribute_twice": ("create table t (a bigint not null null)", 1, 35, "NULL is there twice for the column 'a'"),
    "clause_twice": ("create table t (a bigint) lifecycle 1 lifecycle 2", 1, 39, "LIFECYCLE is there twice"),
    "both_clusterings": (
        "create table t (a bigint) range clustered by (a) clustered by (a) into 2 buckets",
        1,
        50,
        "CLUSTERED is there twice",
    ),
    "key_twice": ("create table t (a bigint, primary key(a), primary key(a))", 1, 43, "PRIMARY KEY is there twice"),
    "property_twice": (
        "create table t (a bigint) tblproperties ('a'='1','a'='2')",
        1,
        50,
        "the property \"'a'\" is there",
    ),
    "clause_misspelt": (
        "create table t (a bigint) lifecyle 7",
        1,
        27,
        "expected a clause or the end of the statement, got 'lifecyle', did you mean 'LIFECYCLE'?",
    ),
    "seven_levels": (
        f"create table t (a bigint) partitioned by ({', '.join(f'p{i} string' for i in range(7))})",
        1,
        109,
        "a table has at most 6 levels of partitions",
    ),
    "partition_type": (
        "create table t (a bigint) partitioned by (p double)",
        1,
        45,
        "a partition column cannot be DOUBLE",
    ),
    "partition_nested": ("create table t (a bigint) partitioned by (p array<int>)", 1, 45, "cannot be ARRAY<INT>"),
    "partition_default": (
        "create table t (a bigint) partitioned by (p int default 1)",
        1,
        43,
        "a type and a comment only",
    ),
    "key_unknown": (
        "create table t (price bigint, primary key (prize))",
        1,
        44,
        "no data column 'prize', did you mean 'price'?",
    ),
    "clustered_by_partition": (
        "create table t (a bigint) partitioned by (p int) clustered by (p) into 2 buckets",
        1,
        64,
        "no data column 'p'",
    ),
    "clustered_twice": (
        "create table t (a bigint) clustered by (a,A) into 2 buckets",
        1,
        43,
        "the column 'A' is there twice",
    ),
    "hash_without_buckets": (
        "create table t (a bigint) clustered by (a)",
        1,
        43,
        "expected INTO, got the end of the text",
    ),
    "no_buckets": (
        "create table t (a bigint) clustered by (a) into 0 buckets",
        1,
        49,
        "expected the number of buckets, from 1",
    ),
    "lifecycle_zero": (
        "create table t (a bigint) lifecycle 0",
        1,
        37,
        "expected the days of LIFECYCLE, a number from 1, got '0'",
    ),
    "lifecycle_negative": ("create table t (a bigint) lifecycle -1", 1, 37, "expected the days of LIFECYCLE"),
    "lifecycle_huge": (f"create table t (a bigint) lifecycle {'9' * 5000}", 1, 37, "expected the days of LIFECYCLE"),
    "default_expression": ("create table t (a bigint default now())", 1, 34, "expected a literal such as 0, 'x', TRUE"),
    "default_sign": ("create table t (a bigint default -'x')", 1, 35, "expected a number, got"),
    "comment_word": ("create table t (a bigint comment x)", 1, 34, "expected the comment, a string, got 'x'"),
    "quote_doubled": (
        "create table t (a bigint comment 'it''s')",
        1,
        37,
        "a quote inside a string is written \\', not ''",
    ),
    "string_open": ("create table t (a bigint comment 'it)", 1, 34, "a string that begins with ' does not end"),
    "string_open_escape": ("create table t (a bigint comment 'it\\", 1, 34, "a string that begins with ' does not end"),
    "half_surrogate": ("create table t (a bigint comment '\\ud83d')", 1, 34, "half of a surrogate pair"),
    "comment_open": ("create table t\n /* (a bigint)", 2, 2, "a comment that begins with /* does not end"),
    "backquote_open": ("create table `t (a bigint)\n`", 1, 14, "a name in backquotes does not end in its line"),
    "backquote_empty": ("create table `` (a bigint)", 1, 14, "a name in backquotes is empty"),
    "digit_first": ("create table t (1st bigint)", 1, 17, "'1st' begins with a digit; write such a name in backquotes"),
    "table_digit_first": ("create table `1st` (a bigint)", 1, 14, "not a table name: '`1st`'; wanted letters"),
    "column_blank": ("create table t (`a b` bigint)", 1, 17, "not a column name: '`a b`'; wanted letters"),
    "name_long": (f"create table t (\n{'语' * 43} bigint)", 2, 1, "not a column name"),
    "string_as_name": ("create table 't' (a bigint)", 1, 14, "expected a table name, got"),
}


@pytest.mark.parametrize(("text", "line", "column", "message"), REFUSED.values(), ids=REFUSED)
def test_refuses_with_place_and_reason(text, line, column, message):
    with pytest.raises(SyntaxFault) as caught:
        parse_ddl(text)
    assert message in caught.value.message
    assert (caught.value.line, caught.value.column) == (line, column)
    assert str(caught.value) == f"line {line}, column {column}: {caught.value.message}"


@pytest.mark.parametrize(
    ("written", "default"),
    [
        ("0", "0"),
        ("+1", "1"),
        ("- 1.5e-3", "-1.5E-3"),
        ("10l", "10L"),
        ("1.5bd", "1.5BD"),
        ("true", "TRUE"),
        ("Null", "NULL"),
        ('"it\'s"', "'it\\'s'"),
        ("date '2000-01-01'", "DATE '2000-01-01'"),
        ("datetime \"2000-01-01 00:00:00\"", "DATETIME '2000-01-01 00:00:00'"),
    ],
)  # fmt: skip
def test_default_is_kept_as_one_text(written, default):
    ddl = parse_ddl(f"create table t (a string default {written} comment 'c')")
    assert ddl.columns == (Column("a", STRING, True, default, "c"),)
    assert parse_ddl(ddl.sql()) == ddl


def test_sql_as_a_person_reads_it():
    ddl = parse_ddl("create table p.T (A bigint not null comment 'it\\'s\\n', primary key (a)) lifecycle 7 comment ''")
    assert ddl.sql() == (
        "CREATE TABLE `p`.`t` (\n  `a` BIGINT NOT NULL COMMENT 'it\\'s\\n',\n  PRIMARY KEY (`a`)\n)\n"
        "COMMENT ''\nLIFECYCLE 7"
    )


def test_names_are_compared_without_case():
    assert Column("F1", BIGINT) == Column("f1", BIGINT)
    assert Ddl("T", (A,), project="P") == Ddl("t", (A,), project="p")
