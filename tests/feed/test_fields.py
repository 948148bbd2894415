"""The field grammar, field by field, and Arrow's typed reading against the strict one."""

import datetime
import math
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pai_train.errors import DataError
from pai_train.feed import fields, lines
from pai_train.feed.fields import FieldError, decode
from pai_train.feed.nulls import fill

INT, FLOAT, TEXT, BOOL = pa.int64(), pa.float64(), pa.string(), pa.bool_()
NAN = object()


def one(field: bytes, kind: pa.DataType) -> object:
    """Reads one field, between two others, by both ways."""
    columns = {"before": TEXT, "x": kind, "after": TEXT}
    text = b"p," + field + b",q\n"
    batch = decode(text, columns, ",", ["x"])
    strict = fields._strict(text, lines.drop_returns(text), columns, ",", {"x": kind})
    assert str(batch.to_pydict()) == str(strict.to_pydict())
    value = batch.column("x")[0].as_py()
    return NAN if isinstance(value, float) and math.isnan(value) else value


@pytest.mark.parametrize(
    ("field", "kind", "value"),
    [
        *[(field, INT, 1) for field in (b"1", b"+1", b" 1 ", b"\t1", b'"1"', b'" 1"', b'"+1"', b"0001", b"+0001 ")],
        (b"-0", INT, 0),
        (b"9223372036854775807", INT, 2**63 - 1),
        (b"-9223372036854775808", INT, -(2**63)),
        (b"0" * 40 + b"7", INT, 7),
        *[
            (field, kind, None)
            for field in (b"", b'""')
            for kind in (INT, FLOAT, BOOL, pa.date32(), pa.decimal128(5, 2))
        ],
        (b"", TEXT, ""),
        (b'""', TEXT, ""),
        *[(field, FLOAT, 1.5) for field in (b"1.5", b"+1.5", b" 1.5", b"15e-1", b".15E+1", b'"1.5"')],
        (b"1.", FLOAT, 1.0),
        (b".5", FLOAT, 0.5),
        (b"1e5", FLOAT, 1e5),
        (b"0.1", FLOAT, 0.1),
        (b"2.2250738585072011e-308", FLOAT, 2.2250738585072011e-308),
        *[(field, FLOAT, NAN) for field in (b"nan", b"NaN", b"-NAN", b"+nan", b" nan ")],
        *[(field, FLOAT, math.inf) for field in (b"inf", b"+INF", b"Infinity", b"infINITY", b"1e400")],
        (b"-inf", FLOAT, -math.inf),
        *[(field, BOOL, True) for field in (b"true", b"TRUE", b"tRuE", b"1", b" true ")],
        *[(field, BOOL, False) for field in (b"false", b"FaLSe", b"0")],
        (b"12.5", pa.decimal128(5, 2), Decimal("12.50")),
        (b" +1e2 ", pa.decimal128(5, 2), Decimal("100.00")),
        (b"2024-02-29", pa.date32(), datetime.date(2024, 2, 29)),
        (b" 2024-02-29 ", pa.date32(), datetime.date(2024, 2, 29)),
        (b"2024-02-29", pa.timestamp("ms"), datetime.datetime(2024, 2, 29)),
        (b" 2024-02-29T01:02:03.004", pa.timestamp("ms"), datetime.datetime(2024, 2, 29, 1, 2, 3, 4000)),
        *[(word.encode(), TEXT, word) for word in ("NA", "NULL", "nan", "null", "#N/A", "0x10", "+1", " x ", "é", "٣")],
        (b' "x"', TEXT, ' "x"'),
        (b'a"b', TEXT, 'a"b'),
        (b'a""b', TEXT, 'a""b'),
        (b'5"', TEXT, '5"'),
        (b'"a,b"', TEXT, "a,b"),
        (b'"a""b"', TEXT, 'a"b'),
        (b'""""', TEXT, '"'),
        (b'","', TEXT, ","),
        (b"a\rb", TEXT, "a\rb"),
        (b'"a\rb"', TEXT, "a\rb"),
        (b"\r", TEXT, "\r"),
        (b"a\0b", TEXT, "a\0b"),
        (b"\xef\xbb\xbfx", TEXT, "\ufeffx"),
        (b"long" * 40_000, TEXT, "long" * 40_000),
    ],
)
def test_a_field_means(field: bytes, kind: pa.DataType, value: object) -> None:
    assert one(field, kind) == value


@pytest.mark.parametrize(
    ("field", "kind"),
    [
        *[
            (field, INT)
            for field in (
                *(
                    b"0x10",
                    b"0X10",
                    b"-0x10",
                    b"1_0",
                    b"1.",
                    b"1.0",
                    b"1e5",
                    b"NA",
                    b"NULL",
                    b"nan",
                    b" ",
                    b'" "',
                    b"-",
                ),
                *(
                    "٣".encode(),
                    b"1\0",
                    b"1\r2",
                    b"\r1",
                    b"--1",
                    b"+-1",
                    b"1 2",
                    b"9223372036854775808",
                    b"1\x0b",
                    b'1"',
                ),
            )
        ],
        *[(field, pa.int8()) for field in (b"128", b"-129")],
        *[
            (field, FLOAT)
            for field in (
                b"0x10",
                b"0x1p3",
                b"1_0",
                b"nan(1)",
                b"NaN()",
                b"infi",
                b".",
                b"1e",
                b"e5",
                b"NA",
                b" ",
                b"1\r",
                b"1f",
            )
        ],
        *[(field, BOOL) for field in (b"yes", b"t", b"2", b"+1", b" ")],
        *[(field, pa.decimal128(5, 2)) for field in (b"1.005", b"1000", b"nan", b"0x1", b" ")],
        *[
            (field, pa.date32())
            for field in (b"2024-2-29", b"20240229", b"2023-02-29", b"2024-02-29 00:00:00", b"29.02.2024")
        ],
        *[
            (field, pa.timestamp("ms"))
            for field in (b"2024-02-29T00:00Z", b"2024-02-29 24:00:00", b"2024-02-29 00:00:00.0001", b"1709164800")
        ],
        *[(field, TEXT) for field in (b"\xff", b"caf\xe9", b"\xed\xa0\x80")],
        *[(field, TEXT) for field in (b'"a', b'"a"b', b'"a" ', b'"a""', b'"a"b"', b'"')],
    ],
)
def test_a_field_is_refused(field: bytes, kind: pa.DataType) -> None:
    # No newline behind it, so that a quote left open is not closed by what follows.
    columns = {"before": TEXT, "x": kind}
    good = {INT: b"1", FLOAT: b"1.5", BOOL: b"true", TEXT: b"x"}.get(kind, b"")
    text = b"\r\np," + good + b"\n\np," + field
    if field.endswith(b"\r"):
        text += b"x"
    with pytest.raises(FieldError) as caught:
        decode(text, columns, ",", ["x"])
    error = caught.value
    assert (error.row, error.column) == (1, "x")
    assert text[error.offset :].startswith(field)
    assert error.expectation
    assert error.fault.todo


def test_a_bad_field_is_refused_alone_where_it_is_not_wanted() -> None:
    columns = {"a": INT, "b": TEXT}
    assert decode(b"x,y\n", columns, ",", ["b"]).to_pydict() == {"b": ["y"]}
    assert decode(b"x,\xff\r.\n1,z\n", columns, ",", []).num_rows == 2


@pytest.mark.parametrize("delimiter", [",", "\t", ";", "|", "\x01", "\x02", " "])
def test_any_ascii_character_separates(delimiter: str) -> None:
    text = delimiter.join(["1", f'"a{delimiter}b"', "2.5"]).encode() + b"\n"
    batch = decode(text, {"a": INT, "b": TEXT, "c": FLOAT}, delimiter, ["c", "b", "a"])
    assert batch.to_pydict() == {"c": [2.5], "b": [f"a{delimiter}b"], "a": [1]}


@pytest.mark.parametrize("delimiter", ["", ",,", '"', "\n", "\r", "\0", "é"])
def test_other_delimiters_are_refused(delimiter: str) -> None:
    with pytest.raises(DataError, match="delimiter"):
        decode(b"1\n", {"a": INT}, delimiter, ["a"])


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        (b"", 0),
        (b"\n\r\n\r\r\n\r", 0),
        (b"a\n\nb\n\r\n\nc", 3),
        (b"a\r\nb\r\r\nc\r", 3),
        (b'""\n\n""', 2),
        (b"\xef\xbb\xbf", 1),
    ],
)
def test_blank_lines_are_no_rows(text: bytes, rows: int) -> None:
    assert decode(text, {"a": TEXT}, ",", ["a"]).num_rows == rows
    assert lines.count_rows(text) == rows
    assert lines.normalise(text).count(b"\n") == rows
    assert lines.normalise(lines.normalise(text)) == lines.normalise(text)


@pytest.mark.parametrize(
    ("text", "row", "offset", "column"),
    [
        (b"1,a\n2\n3,c\n", 1, 4, None),
        (b"1,a\n2,b,\n", 1, 4, None),
        (b'1,a\n\n2,"b\nc"\n', 1, 7, "b"),
        (b'x,a\n2,"b\n', 0, 0, "a"),
        (b"1,a\n2,\xff\nx,b\n", 1, 6, "b"),
        (b"1,a\n2,\xff\nx\n", 1, 6, "b"),
        (b'+1,"a"\r\n\r\n+x,a\r\n', 1, 10, "a"),
        (b"1,a\rb\n0x1,\n", 1, 6, "a"),
        (b"x,\xff\n", 0, 0, "a"),
        (b'1,a\n"1"\r,b\n', 1, 4, "a"),
    ],
)
def test_the_first_bad_row_is_named(text: bytes, row: int, offset: int, column: str | None) -> None:
    with pytest.raises(FieldError) as caught:
        decode(text, {"a": INT, "b": TEXT}, ",", ["b", "a"] if column == "b" else ["a", "b"])
    assert (caught.value.row, caught.value.offset, caught.value.column) == (row, offset, column)


def test_bytes_that_are_no_text_are_refused() -> None:
    with pytest.raises(DataError):
        decode(bytes(range(128, 256)) + b"\rx\n", {"a": TEXT}, ",", ["a"])


FIELDS = st.one_of(
    st.sampled_from(
        [
            *(
                "",
                "1",
                "+1",
                "-1",
                " 1",
                "0x10",
                "nan",
                "NA",
                "NULL",
                "inf",
                "nan(1)",
                ' "x"',
                'a"b',
                '"a,b"',
                '"a""b"',
                '""',
            ),
            *(
                "1e5",
                "1.",
                ".5",
                "٣",
                "1_0",
                "9" * 30,
                "a\0",
                "a\rb",
                "\r",
                "é",
                "true",
                "FaLSE",
                '"',
                '"a',
                '"1"',
                '"1" ',
            ),
        ]
    ).map(str.encode),
    st.text(alphabet='",\r1x +.-', max_size=6).map(str.encode),
    st.binary(max_size=3).map(lambda data: data.replace(b"\n", b"")),
)


@settings(deadline=None, max_examples=400)
@given(
    rows=st.lists(st.lists(FIELDS, min_size=2, max_size=2).map(b",".join), max_size=5),
    end=st.sampled_from([b"\n", b"\r\n", b"\n\n"]),
    last=st.booleans(),
    kinds=st.tuples(*[st.sampled_from([INT, pa.int16(), FLOAT, pa.float32(), BOOL, TEXT, TEXT])] * 2),
)
def test_both_ways_of_reading_agree(rows: list[bytes], end: bytes, last: bool, kinds: tuple[pa.DataType, ...]) -> None:
    text = end.join(rows) + (end if last else b"")
    columns = dict(zip("ab", kinds, strict=True))
    plain = lines.drop_returns(text)

    def outcome(strictly: bool) -> object:
        try:
            if not strictly:
                return str(decode(text, columns, ",", ["b", "a"]).to_pydict())
            if not all(lines._splits(line, b",") for line in plain.split(b"\n")):
                raise fields._shape_error(text, columns, ",", {"b": kinds[1], "a": kinds[0]})
            return str(fields._strict(text, plain, columns, ",", {"b": kinds[1], "a": kinds[0]}).to_pydict())
        except FieldError as error:
            return error.row, error.offset, error.column, error.value

    assert outcome(False) == outcome(True)


@settings(deadline=None, max_examples=300)
@given(text=st.text(alphabet='",\n\rab', max_size=24).map(str.encode))
def test_quotes_are_judged_as_by_splitting(text: bytes) -> None:
    plain = text if lines.returns_end_lines(text) else lines.drop_returns(text)
    split = (line.rstrip(b"\r") for line in plain.split(b"\n"))
    assert lines.quotes_fit(plain, b",") == all(lines._splits(line, b",") for line in split)


def test_defaults_stand_for_empty_fields() -> None:
    columns = {"a": INT, "b": TEXT, "c": FLOAT, "d": pa.date32(), "e": BOOL}
    batch = decode(b',,,,\n1,x,2.5,2024-01-02,1\n,"",nan,,0\n', columns, ",", list(columns))
    filled = fill(batch, {"a": -1, "b": "none", "c": 0, "d": "1970-01-01", "e": False, "unknown": 3})
    assert filled.schema == batch.schema
    assert str(filled.to_pydict()) == str(
        {
            "a": [-1, 1, -1],
            "b": ["none", "x", "none"],
            "c": [0.0, 2.5, math.nan],
            "d": [datetime.date(1970, 1, 1), datetime.date(2024, 1, 2), datetime.date(1970, 1, 1)],
            "e": [False, True, False],
        }
    )


def test_an_empty_string_without_default_stays() -> None:
    batch = decode(b"1,\n", {"a": INT, "b": TEXT}, ",", ["b"])
    assert fill(batch, {}).to_pydict() == {"b": [""]}
    assert fill(batch, {"b": ""}).to_pydict() == {"b": [""]}


def test_a_null_without_default_is_refused_by_name() -> None:
    batch = decode(b"1,2\n3,\n", {"a": INT, "price": FLOAT}, ",", ["a", "price"])
    with pytest.raises(DataError, match="'price'") as caught:
        fill(batch, {"a": 0})
    assert "row 1" in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "value"), [(INT, 0.5), (INT, "x"), (INT, ""), (INT, True), (TEXT, 0), (pa.int8(), 300)]
)
def test_a_default_of_another_type_is_refused(kind: pa.DataType, value: object) -> None:
    batch = decode(b",\n", {"a": kind, "b": TEXT}, ",", ["a"])
    with pytest.raises(DataError, match="default of column 'a'"):
        fill(batch, {"a": value})


@settings(deadline=None, max_examples=200)
@given(
    st.binary(max_size=6), st.sampled_from([b"", b"0x", b"0X", b"x0", b"00X"]), st.integers(0, 3), st.binary(max_size=6)
)
def test_hex_is_seen_wherever_it_stands(before, middle, shift, behind):
    # Also where a window of the search ends.
    text = b"7" * (lines._WINDOW - shift - len(before)) + before + middle + behind
    for one in (text, before + middle + behind):
        assert lines.holds_hex(one) == (b"0x" in one or b"0X" in one)
