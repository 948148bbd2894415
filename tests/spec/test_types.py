"""The type grammar: texts and values are each other's inverse, and a fault says where and what."""

import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pai_train.spec.types import (
    PRIMITIVES,
    Array,
    Decimal,
    Map,
    MaxComputeType,
    Primitive,
    Struct,
    SyntaxFault,
    Text,
    Vector,
    parse_type,
)

DOUBLE, STRING, BIGINT = Primitive("DOUBLE"), Primitive("STRING"), Primitive("BIGINT")

decimals = st.integers(1, 38).flatmap(lambda p: st.builds(Decimal, st.just(p), st.integers(0, min(18, p))))
scalars: st.SearchStrategy[MaxComputeType] = st.one_of(
    st.sampled_from(PRIMITIVES).map(Primitive),
    decimals,
    st.builds(Text, st.just("VARCHAR"), st.integers(1, 65535)),
    st.builds(Text, st.just("CHAR"), st.integers(1, 255)),
    st.builds(Vector, st.sampled_from(["FLOAT", "INT"]).map(Primitive), st.integers(1, 4096)),
)
keys = scalars.filter(lambda type_: not isinstance(type_, Vector))
field_names = st.one_of(
    st.sampled_from(["Age", "array", "from", "名称", "Größe", "two words", "a:b>,", "1st", "it's", 'q"', "İ"]),
    st.text(min_size=1, max_size=20).filter(lambda name: not {*"`\n"} & {*name}),
)


def structs(children: st.SearchStrategy[MaxComputeType]) -> st.SearchStrategy[Struct]:
    fields = st.tuples(field_names, children)
    return st.lists(fields, min_size=1, max_size=4, unique_by=lambda f: f[0].lower()).map(lambda f: Struct(tuple(f)))


types = st.recursive(
    scalars,
    lambda children: st.one_of(st.builds(Array, children), st.builds(Map, keys, children), structs(children)),
    max_leaves=8,
)


@given(types)
@settings(deadline=None)
def test_text_and_value_are_inverse(type_):
    assert parse_type(str(type_)) == type_


@given(types, st.sampled_from(["\n", " /* <,> */ ", "-- )\n"]))
@settings(deadline=None, max_examples=50)
def test_blanks_around_a_type_change_nothing(type_, blank):
    assert parse_type(f"{blank}{type_}{blank}") == type_


@pytest.mark.parametrize("name", PRIMITIVES)
def test_primitive_in_any_case(name):
    assert parse_type(name.lower()) == parse_type(name.title()) == Primitive(name)
    assert str(Primitive(name)) == name


@pytest.mark.parametrize(
    ("text", "type_"),
    [
        ("decimal", Decimal(38, 18)),
        ("decimal(10)", Decimal(10, 0)),
        ("Decimal ( 10 , 2 )", Decimal(10, 2)),
        ("varchar(65535)", Text("VARCHAR", 65535)),
        ("char(255)", Text("CHAR", 255)),
        ("vector(float,128)", Vector(Primitive("FLOAT"), 128)),
        ("array<array<double>>", Array(Array(DOUBLE))),
        ("map<string,array<bigint>>", Map(STRING, Array(BIGINT))),
        ("struct<A:bigint, `b c`:map<bigint,double>>", Struct((("A", BIGINT), ("b c", Map(BIGINT, DOUBLE))))),
        ("struct<array:array<string>>", Struct((("array", Array(STRING)),))),
    ],
)
def test_reads(text, type_):
    assert parse_type(text) == type_


def test_canonical_text():
    assert str(parse_type("struct< Price : decimal(10) , `给 你`:array<string> >")) == (
        "STRUCT<Price:DECIMAL(10,0),`给 你`:ARRAY<STRING>>"
    )


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "line 1, column 1: expected a type, got the end of the text"),
        ("DUBLE", "line 1, column 1: unknown type 'DUBLE', did you mean 'DOUBLE'?"),
        ("INTEGER", "line 1, column 1: unknown type 'INTEGER', did you mean 'INT'?"),
        ("array<\n  strin>", "line 2, column 3: unknown type 'strin', did you mean 'STRING'?"),
        ("`BIGINT`", "line 1, column 1: expected a type, got '`BIGINT`'"),
        ("bigint unsigned", "line 1, column 8: expected the end of the type, got 'unsigned'"),
        ("array", "line 1, column 6: expected '<', got the end of the text"),
        ("array<int", "line 1, column 10: expected '>', got the end of the text"),
        ("array<int>>", "line 1, column 11: expected the end of the type, got '>'"),
        ("map<string>", "line 1, column 11: expected ',', got '>'"),
        ("map<array<int>,int>", "line 1, column 1: the key of a MAP is not a nested type, got ARRAY<INT>"),
        ("struct<>", "line 1, column 8: expected a field name, got '>'"),
        ("struct<a int>", "line 1, column 10: expected ':', got 'int'"),
        ("struct<a:int,A:int>", "line 1, column 1: the field 'a' is there twice; names are compared without case"),
        ("varchar", "line 1, column 8: expected '(', got the end of the text"),
        ("varchar(0)", "line 1, column 1: the length of VARCHAR is 1 to 65535, got 0"),
        ("varchar(65536)", "line 1, column 1: the length of VARCHAR is 1 to 65535, got 65536"),
        ("char(256)", "line 1, column 1: the length of CHAR is 1 to 255, got 256"),
        ("decimal(0)", "line 1, column 1: the precision of DECIMAL is 1 to 38, got 0"),
        ("decimal(39,2)", "line 1, column 1: the precision of DECIMAL is 1 to 38, got 39"),
        ("decimal(38,19)", "line 1, column 1: the scale of DECIMAL is 0 to 18 and at most its precision, got 19"),
        ("decimal(5,6)", "line 1, column 1: the scale of DECIMAL is 0 to 18 and at most its precision, got 6"),
        ("decimal(-1)", "line 1, column 9: expected the precision, a number from 1 to 38, got '-'"),
        ("decimal(2.5)", "line 1, column 9: expected the precision, a number from 1 to 38, got '2.5'"),
        (
            "vector(string,3)",
            "line 1, column 1: the elements of a VECTOR are TINYINT, SMALLINT, INT, BIGINT, FLOAT, DOUBLE, got STRING",
        ),
        ("vector(float,0)", "line 1, column 1: the size of a VECTOR is at least 1, got 0"),
    ],
)
def test_fault_says_where_and_what(text, fault):
    with pytest.raises(SyntaxFault) as caught:
        parse_type(text)
    assert str(caught.value) == fault


def test_a_keyword_of_another_script_is_none():
    with pytest.raises(SyntaxFault, match=r"unknown type 'bıgınt'"):
        parse_type("bıgınt")


def test_unknown_type_without_a_near_one_lists_all():
    with pytest.raises(SyntaxFault, match=r"unknown type 'qqq', known: ARRAY, BIGINT, .*, …"):
        parse_type("qqq")


@pytest.mark.parametrize("nest", ["array<{}>", "struct<a:{}>", "map<int,{}>"])
def test_twenty_levels_and_no_more(nest):
    text = "int"
    for _ in range(20):
        text = nest.format(text)
    assert parse_type(str(parse_type(text))) == parse_type(text)
    with pytest.raises(SyntaxFault, match="at most 20 deep"):
        parse_type(nest.format(text))


@pytest.mark.parametrize("opening", ["array<", "vector(", "struct<a:", "map<int,"])
def test_endless_nesting_is_a_fault_not_a_crash(opening):
    with pytest.raises(SyntaxFault, match="at most 20 deep"):
        parse_type(opening * 10_000)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Primitive("bigint"),
        lambda: Decimal(39, 0),
        lambda: Text("CHAR", 256),
        lambda: Map(Array(BIGINT), BIGINT),
        lambda: Struct(()),
        lambda: Struct((("a`b", BIGINT),)),
        lambda: Struct((("语" * 43, BIGINT),)),
        lambda: Vector(STRING, 3),
    ],
)
def test_a_value_that_no_text_means_cannot_be_made(make):
    with pytest.raises(ValueError, match=r"got|at least|unknown|not a field name"):
        make()


def test_fault_carries_its_position_through_a_pickle():
    with pytest.raises(SyntaxFault) as caught:
        parse_type("array<\n\n x>")
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (copy.line, copy.column) == (3, 2)
    assert str(copy) == str(caught.value)
    assert copy.message.startswith("unknown type 'x'")


@given(st.one_of(st.text(), st.text("<>(),:`'\"-/*; \n1.eE\\aint")))
@settings(deadline=None, max_examples=300)
def test_any_text_is_a_type_or_a_fault(text):
    try:
        type_ = parse_type(text)
    except SyntaxFault as fault:
        place = (fault.line, fault.column)
    else:
        place = (1, 1)
        assert parse_type(str(type_)) == type_
    assert (1, 1) <= place <= (text.count("\n") + 1, len(text) + 1)
