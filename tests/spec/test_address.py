"""Table addresses: what each form means, and what is refused."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pai_train.errors import TableError
from pai_train.spec.address import TableRef, parse_table, parse_tables
from pai_train.spec.tokens import is_name

names = st.one_of(
    st.sampled_from(["iris", "名称", "_x", "tables", "größe", "x" * 128]),
    st.text(st.characters(categories=("L", "Nd"), include_characters="_"), min_size=1, max_size=12),
).filter(lambda name: is_name(name.lower()))
values = st.text(min_size=1, max_size=12).filter(lambda value: not {*"/&?,"} & {*value})
partitions = st.lists(st.tuples(names, values), min_size=1, max_size=4, unique_by=lambda pair: pair[0].lower()).map(
    tuple
)
rows = st.one_of(
    st.none(),
    st.tuples(st.integers(0, 2**63 - 1), st.none()),
    st.tuples(st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 1)).map(lambda pair: tuple(sorted(pair))),
)
refs = st.builds(
    TableRef, names, names, st.lists(partitions, max_size=3, unique_by=lambda pairs: pairs[0][1]).map(tuple), rows
)


@given(refs)
@settings(deadline=None)
def test_address_and_value_are_inverse(ref):
    assert parse_table(str(ref), "elsewhere") == ref


@pytest.mark.parametrize(
    ("text", "ref"),
    [
        ("iris", TableRef("home", "iris")),
        ("Sales.Orders", TableRef("sales", "orders")),
        ("tables", TableRef("home", "tables")),
        ("客户.订单", TableRef("客户", "订单")),
        ("odps://p/tables/t", TableRef("p", "t")),
        ("ODPS://P/tables/T/", TableRef("p", "t")),
        ("odps://p/tables/t/ds=20200101", TableRef("p", "t", ((("ds", "20200101"),),))),
        ("odps://p/tables/t/DS=A B/Hh=x=1", TableRef("p", "t", ((("ds", "A B"), ("hh", "x=1")),))),
        (
            "odps://p/tables/t/ds=1/hh=1&ds=1/hh=2&ds=2",
            TableRef("p", "t", ((("ds", "1"), ("hh", "1")), (("ds", "1"), ("hh", "2")), (("ds", "2"),))),
        ),
        ("iris?start=3", TableRef("home", "iris", rows=(3, None))),
        ("odps://p/tables/t?end=5", TableRef("p", "t", rows=(0, 5))),
        ("odps://p/tables/t/ds=1?start=100&end=200", TableRef("p", "t", ((("ds", "1"),),), (100, 200))),
    ],
)
def test_reads(text, ref):
    assert parse_table(text, "home") == ref


@pytest.mark.parametrize(
    ("text", "what", "got"),
    [
        ("odps://p/tables/t?", "not a range of rows", "t?"),
        ("odps://p/tables/t?start=-1", "not a range of rows", "?start=-1"),
        ("odps://p/tables/t?start=1&start=2", "not a range of rows", "start=2"),
        ("odps://p/tables/t/ds=1?from=0", "not a range of rows", "odps://p/tables/t/ds=1?from=0"),
        ("odps://p/tables/t?start=5&end=4", "not a range of rows", "5 to 4"),
        ("odps://p/tables/a,odps://p/tables/b", "several tables", "a,odps://p"),
        ("a,b", "several tables", "a,b"),
        ("odps://p/tables/t/ds=1,hh=2", "several tables", "ds=1,hh=2"),
        ("p.s.t", "schemas inside a project", "p.s.t"),
        ("odps://p/tables/s.t", "schemas inside a project", "s.t"),
        ("odps://p/schemas/s/tables/t", "schemas inside a project", "schemas"),
        ("odps://p/t", "not a table address", "odps://p/t"),
        ("odps://p/tables", "not a table address", "odps://p/tables"),
        ("oss://bucket/x", "not a table address", "oss://bucket/x"),
        ("t/ds=1", "not a table address", "t/ds=1"),
        ("", "not a table name", "''"),
        ("odps:///tables/t", "not a project name", "''"),
        ("odps://p/tables//ds=1", "not a table name", "''"),
        ("1st", "not a table name", "'1st'"),
        ("two words", "not a table name", "'two words'"),
        ("my-project.t", "not a project name", "'my-project'"),
        ("x" * 129, "not a table name", "x" * 129),
        ("语" * 43, "not a table name", "语" * 43),
        ("odps://p/tables/t/part", "not a partition", "'part'"),
        ("odps://p/tables/t/ds=1&", "not a partition", "''"),
        ("odps://p/tables/t/ds=1//hh=2", "not a partition", "ds=1//hh=2"),
        ("odps://p/tables/t/=1", "not a partition", "'=1'"),
        ("odps://p/tables/t/ds=", "not a partition value", "'ds='"),
        ("odps://p/tables/t/ds=1/DS=2", "names a column twice", "ds=1/ds=2"),
        ("odps://p/tables/t/ds=1&DS=1", "read twice", "'ds=1' and 'ds=1'"),
        ("odps://p/tables/t/ds=1/hh=2&ds=2&ds=1", "read twice", "'ds=1' and 'ds=1/hh=2'"),
    ],
)
def test_refuses(text, what, got):
    with pytest.raises(TableError) as caught:
        parse_table(text, "home")
    assert what in caught.value.fault.what
    assert got in f"{caught.value.fault.got} {caught.value.fault.wanted}"
    assert caught.value.fault.wanted


def test_equal_in_any_case_but_not_in_values():
    assert TableRef("P", "T", ((("Ds", "a"),),)) == TableRef("p", "t", ((("dS", "a"),),))
    assert TableRef("p", "t", ((("ds", "A"),),)) != TableRef("p", "t", ((("ds", "a"),),))


@pytest.mark.parametrize(
    ("project", "name", "pairs"),
    [
        ("p", "a/b", ()),
        ("", "t", ()),
        ("p", "t", ((),)),
        ("p", "t", ((("ds", "a/b"),),)),
        ("p", "t", ((("d s", "1"),),)),
    ],
)
def test_a_ref_without_an_address_cannot_be_made(project, name, pairs):
    with pytest.raises(TableError):
        TableRef(project, name, pairs)


@given(st.one_of(st.text(), st.text("odps:/tables=&?,. 1é").map(lambda text: f"odps://p/tables/{text}")))
@settings(deadline=None, max_examples=300)
def test_any_text_is_an_address_or_a_fault(text):
    try:
        ref = parse_table(text, "home")
    except TableError:
        return
    assert parse_table(str(ref), "elsewhere") == ref


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("a,b", ["odps://home/tables/a", "odps://home/tables/b"]),
        ("odps://p/tables/t/ds=1,odps://p/tables/t/ds=2", ["odps://p/tables/t/ds=1", "odps://p/tables/t/ds=2"]),
        ("t?end=5,t?start=5", ["odps://home/tables/t?start=0&end=5", "odps://home/tables/t?start=5"]),
    ],
)
def test_several_tables(text, names):
    assert [str(ref) for ref in parse_tables(text, "home")] == names


@pytest.mark.parametrize(
    "text",
    [
        *("a,a", "a,home.A", "t?end=6,t?start=5", "t,t?end=5", "odps://p/tables/t,odps://p/tables/t/ds=1"),
        *("odps://p/tables/t/ds=1,odps://p/tables/t/hh=1", "odps://p/tables/t/ds=1/hh=2,odps://p/tables/t/ds=1?end=2"),
    ],
)
def test_no_row_is_read_twice(text):
    with pytest.raises(TableError, match="read twice"):
        parse_tables(text, "home")


@given(st.lists(st.tuples(st.integers(0, 9), st.one_of(st.none(), st.integers(0, 9))), min_size=2, max_size=2))
@settings(deadline=None)
def test_ranges_meet_where_a_row_is_in_both(ranges):
    ranges = [(start, end) for start, end in ranges if end is None or start <= end]
    sets = [set(range(start, 20 if end is None else end)) for start, end in ranges]
    text = ",".join(f"t?start={start}" + ("" if end is None else f"&end={end}") for start, end in ranges)
    if len(sets) == 2 and sets[0] & sets[1]:
        with pytest.raises(TableError, match="read twice"):
            parse_tables(text, "home")
    elif ranges:
        assert len(parse_tables(text, "home")) == len(ranges)
