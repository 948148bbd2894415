"""Files of lines in every dress: packed, in other encodings, with newlines inside quotes; CSV, text, JSON lines."""

import csv
import gzip
import io
import itertools
import json
import random
import re
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pai_train.errors import DataError
from pai_train.feed import contents, quoted
from pai_train.feed.csv import CsvSource
from pai_train.feed.encodings import Encoding
from pai_train.feed.formats import FileFormat, look, open_files
from pai_train.feed.jsonl import JsonLines
from pai_train.feed.text import TextLines
from pai_train.spec.contracts import MarkingSource, TextSource
from pai_train.storage import open_store
from tests.storage.shaky import ShakyObjects, shaky_store

INT, FLOAT, TEXT = pa.int64(), pa.float64(), pa.string()
COLUMNS = {"a": INT, "b": TEXT, "c": FLOAT}
STORE = open_store("memory://text-files")
NUMBERS = itertools.count()
PACKED = {
    "none": lambda text: text,
    "gzip": gzip.compress,
    "members": lambda text: gzip.compress(text[:50]) + gzip.compress(text[50:]) + b"\0" * 9,
    "zstd": lambda text: pa.Codec("zstd").compress(text, asbytes=True),
    "frames": lambda text: b"".join(
        pa.Codec("zstd").compress(part, asbytes=True) for part in (text[:50], text[50:]) if part
    ),
}


def stored(*contents: bytes):
    folder = f"memory://text-files/{next(NUMBERS)}"
    return [STORE.put(f"{folder}/{number:03}", content) for number, content in enumerate(contents)]


def csv_source(*contents: bytes, **options):
    options = {"columns": COLUMNS, "header": False, **options}
    return CsvSource(stored(*contents), store=STORE, **options)


def rows(source, columns=None):
    columns = columns or source.schema.names
    found = []
    for chunk in source.chunks():
        table = pa.Table.from_batches(list(source.read(chunk, columns)))
        assert chunk.rows is None or chunk.rows == table.num_rows
        found += [tuple(row.values()) for row in table.to_pylist()]
        text = source.lines(chunk)
        assert text.count(b"\n") == table.num_rows
        assert str(source.decode(text, columns).to_pylist()) == str(table.to_pylist())
    return found


def marked(source, columns=None):
    """All good rows, and (line or byte, raw, fault) of the bad ones; counts and places are checked on the way."""
    columns = source.schema.names if columns is None else columns
    good, bad, total = [], [], 0
    for chunk in source.chunks():
        one = source.read_marked(chunk, columns)
        count = sum(batch.num_rows for batch in one.batches)
        assert one.rows == count + len(one.bad)
        assert chunk.rows in (None, one.rows)
        total += one.rows
        good += [tuple(row.values()) for batch in one.batches for row in batch.to_pylist()]
        places = source.locate(chunk, [row.row for row in one.bad])
        bad += [(place.line, place.offset, place.raw, row.column) for place, row in zip(places, one.bad, strict=True)]
        if one.bad:
            with pytest.raises(DataError):
                list(source.read(chunk, columns))
        else:
            assert sum(batch.num_rows for batch in source.read(chunk, columns)) == count
    return str(good), bad, total


def text_of(table, end="\n", quoting=csv.QUOTE_MINIMAL, delimiter=","):
    out = io.StringIO(newline="")
    csv.writer(out, quoting=quoting, lineterminator=end, delimiter=delimiter).writerows(table)
    return out.getvalue()


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
TABLES = st.lists(
    st.tuples(st.integers(-9, 9), TEXTS | st.sampled_from(["a\nb", "\n", '"\n"', "x\r\ny", ',"'])), max_size=12
)


@settings(deadline=None, max_examples=30)
@given(
    table=TABLES,
    end=st.sampled_from(["\n", "\r\n"]),
    packed=st.sampled_from(list(PACKED)),
    encoding=st.sampled_from(["utf-8", "gb18030", "utf-16", "utf-32-be"]),
    header=st.booleans(),
    last=st.booleans(),
    delimiter=st.sampled_from([",", "\x01", "\x02", "\t"]),
    chunk_bytes=st.sampled_from([1, 7, 40, 10_000]),
    step=st.integers(1, 60),
)
def test_newlines_inside_quotes_are_data(table, end, packed, encoding, header, last, delimiter, chunk_bytes, step):
    table = [(number, text) for number, text in table if text.isascii() or encoding != "gb18030" or _survives(text)]
    lead = [("a", "b")] if header else []
    text = text_of([*lead, *table], end, csv.QUOTE_NONNUMERIC, delimiter)
    text = text if last else text.removesuffix(end)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(contents, "_STEP", step)
        source = csv_source(
            PACKED[packed](text.encode(encoding)),
            columns={"a": INT, "b": TEXT},
            header=header,
            delimiter=delimiter,
            quoted_newlines=True,
            encoding=encoding,
            chunk_bytes=chunk_bytes,
        )
        assert rows(source) == table
        assert source.snapshot.rows == len(table)


def _survives(text):
    try:
        return text.encode("gb18030").decode("gb18030") == text
    except UnicodeError:
        return False


@settings(deadline=None, max_examples=80)
@given(text=st.text(alphabet='",\n\ra', max_size=24).map(str.encode), sizes=st.lists(st.integers(1, 9), max_size=9))
def test_where_rows_end_does_not_depend_on_how_they_arrive(text, sizes):
    whole, known = quoted.inner_newlines(text, b",", final=True)
    assert known == len(text)
    at = base = 0
    found, rest = [], b""
    for size in [*sizes, len(text)]:
        rest += text[at : at + size]
        at += size
        inner, known = quoted.inner_newlines(rest, b",", final=at >= len(text))
        found += [base + int(place) for place in inner if place < known]
        base, rest = base + known, rest[known:]
    assert sorted(set(found)) == whole.tolist()
    assert quoted.one_line_rows(text, b",").count(b"\n") == text.count(b"\n") - len(whole)


@settings(deadline=None, max_examples=80)
@given(
    text=st.text(alphabet='",\n\ra', max_size=24).map(str.encode)
    | TABLES.map(lambda table: text_of(table, "\r\n", csv.QUOTE_NONNUMERIC).encode()),
    longest=st.sampled_from([3, 6, 2**20]),
)
def test_rows_end_where_reading_one_after_the_other_says(text, longest):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quoted, "LONGEST", longest)
        inner, at = set(range(len(text))), 0
        while at < len(text):
            end = quoted._row_end(text, at, b",", final=True)
            inner.discard(end)
            at = end + 1
        wanted = [place for place in sorted(inner) if text[place : place + 1] == b"\n"]
        assert quoted.inner_newlines(text, b",", final=True)[0].tolist() == wanted


def test_a_stray_quote_costs_one_line():
    text = b'1,"a\nb",1\n2,"open,1\n3,c,1\n' + b"4,d,1\n" * 300_000
    source = csv_source(text, quoted_newlines=True)
    good, bad, total = marked(source)
    assert total == 300_003
    assert bad == [(3, 10, b'2,"open,1', "b")]
    assert good.startswith("[(1, 'a\\nb', 1.0), (3, 'c', 1.0), (4, 'd', 1.0)")


@pytest.mark.parametrize("packed", list(PACKED))
@pytest.mark.parametrize("header", [False, True])
def test_packed_files_are_read_by_any_chunk(packed, header):
    table = [(i, f"t{i}", i / 2) for i in range(3000)]
    text = (b"a,b,c\n" if header else b"") + text_of(table).encode()
    source = csv_source(PACKED[packed](text), PACKED[packed](b""), PACKED[packed](text), header=header)
    assert rows(source) == [*table, *table]
    chunks = source.chunks()
    assert len(chunks) > 20
    backwards = [next(source.read(chunk, ["a"])).column("a").to_pylist() for chunk in reversed(chunks)]
    assert [value for values in reversed(backwards) for value in values] == [row[0] for row in [*table, *table]]
    assert isinstance(source, TextSource)
    assert isinstance(source, MarkingSource)


def test_files_packed_and_not_are_one_input_where_their_names_say_so(tmp_path):
    store = open_store("file:///")
    (tmp_path / "a.csv").write_bytes(b"1,x,1\n")
    (tmp_path / "b.csv.GZ").write_bytes(gzip.compress(b"2,y,2\n"))
    listed = store.list(f"file://{tmp_path}")
    assert [row[0] for row in rows(CsvSource(listed, COLUMNS, store=store, header=False))] == [1, 2]
    (tmp_path / "c.csv").write_bytes(gzip.compress(b"3,z,3\n"))
    (tmp_path / "b.csv.GZ").unlink()
    listed = store.list(f"file://{tmp_path}")
    with pytest.raises(DataError, match=r"c\.csv: the file is compressed by gzip, and others"):
        CsvSource(listed, COLUMNS, store=store, header=False).chunks()


# Every process of a test run has to find the same content: it is part of the tests' names.
GOOD = gzip.compress(b"1,x,2\n" * 3000, mtime=0)
ZSTD = pa.Codec("zstd").compress(random.Random(1).randbytes(20_000).hex().encode() + b",x,2\n", asbytes=True)


@pytest.mark.parametrize(
    ("content", "options", "match"),
    [
        (GOOD[:-3], {}, "gzip file ends in the middle"),
        (GOOD[: len(GOOD) // 2], {}, rf"got: {len(GOOD) // 2} bytes, which hold"),
        (GOOD[:5], {}, "gzip file ends in the middle"),
        (GOOD + b"garbage", {}, f"what follows the gzip data is none\n.*at byte {len(GOOD)} of"),
        (GOOD[:20] + b"\xff\xff\xff" + GOOD[23:], {}, "gzip file is damaged"),
        (ZSTD[:-3], {}, "zstd file ends in the middle"),
        (ZSTD[:9000], {}, "zstd file ends in the middle"),
        (ZSTD + b"garbage", {}, "zstd file is damaged"),
        (ZSTD[:4] + b"\xff" * 6 + ZSTD[10:], {}, "zstd file is damaged"),
        (b"1,x,2\n", {"compression": "gzip"}, "not compressed by gzip"),
        (ZSTD, {"compression": "gzip"}, "a file compressed by zstd"),
        ("1,é,2\n".encode("utf-16") + b"\0", {"encoding": "utf-16"}, "the text is not utf-16"),
    ],
)
def test_a_broken_file_is_named(content, options, match):
    source = csv_source(content, **options)
    with pytest.raises(DataError, match=r"text-files/\d+/000: ") as caught:
        marked(source)
    assert re.search(match, str(caught.value))


@pytest.mark.parametrize(
    "encoding", ["gbk", "gb18030", "latin-1", "cp1252", "shift_jis", "big5", "euc_kr", "UTF_8", "cp500"]
)
def test_other_encodings_are_read_at_any_chunk_size(encoding):
    words = {"gbk": "中文", "gb18030": "中文€𠀀", "shift_jis": "日本ソ", "big5": "繁體功", "euc_kr": "한국"}.get(
        encoding, "cafe"
    )
    table = [(i, f'{words}{i}"|,', i / 2) for i in range(40)]
    data = text_of(table).encode(encoding)
    for chunk_bytes in (1, 9, 100, 10_000):
        source = csv_source(data, encoding=encoding, chunk_bytes=chunk_bytes)
        assert rows(source) == table


def test_a_byte_that_is_no_text_is_named_by_line_and_byte():
    lead = "1,中文,2\n".encode("gbk") * 5
    data = lead + b"2,\xd6\xd0\x81 ,3\n3,x,\n4,\xff,5\n"
    source = csv_source(data, encoding="gbk", chunk_bytes=20)
    with pytest.raises(DataError, match=rf"000:6, byte {len(lead) + 4}: the text is not gbk\n.*byte 0x81 in '2,中"):
        rows(source)
    _, bad, total = marked(source, ["a"])
    assert total == 8
    assert [entry[:3] for entry in bad] == [
        (6, len(lead), b"2,\xd6\xd0\x81 ,3"),
        (8, len(data) - 6, b"4,\xff,5"),
    ]
    with pytest.raises(DataError, match="no such encoding"):
        csv_source(data, encoding="gbq")


@settings(deadline=None, max_examples=80)
@given(
    data=st.binary(max_size=40) | st.text(alphabet="中é,1\n", max_size=12).map(lambda text: text.encode("gb18030")),
    encoding=st.sampled_from(["gbk", "gb18030", "shift_jis", "big5", "cp949", "johab", "latin-1", "cp1252", "euc_jp"]),
)
def test_decoding_keeps_lines(data, encoding):
    text = Encoding(encoding).to_utf8(data)
    assert text.count(b"\n") == data.count(b"\n")
    assert text.count(b"\r") == data.count(b"\r")
    assert b"".join(Encoding(encoding).stream([data[:3], data[3:]], "x")) == text or b"\x84\x31" in data


def json_source(*contents, columns=None, **options):
    columns = columns or {
        "a": INT,
        "b": TEXT,
        "d": pa.date32(),
        "t": pa.timestamp("ms"),
        "n": pa.decimal128(5, 2),
        "o": pa.bool_(),
    }
    return JsonLines(stored(*contents), columns, store=STORE, **options)


def test_json_lines_are_rows():
    lines = [
        {"a": 1, "b": 'x"\n', "d": "2024-02-29", "t": "2024-02-29T01:02:03", "n": 1.5, "o": True, "z": {"q": [1, 2]}},
        {"b": None, "a": -5},
        {},
        {"n": "2.25", "o": False, "c": "not declared"},
    ]
    data = b"\xef\xbb\xbf" + b"\r\n\n".join(json.dumps(line).encode() for line in lines)
    for chunk_bytes in (1, 50, 1000):
        found = rows(json_source(data, chunk_bytes=chunk_bytes))
        assert [str(value) for value in found[0]] == ["1", 'x"\n', "2024-02-29", "2024-02-29 01:02:03", "1.50", "True"]
        assert found[1:3] == [(-5, None, None, None, None, None), (None,) * 6]
        assert str(found[3]) == "(None, None, None, None, Decimal('2.25'), False)"
    assert rows(json_source(gzip.compress(data)), ["b", "a"])[:2] == [('x"\n', 1), (None, -5)]


@pytest.mark.parametrize(
    ("line", "column"),
    [
        (b'{"a": "1"}', "a"),
        (b'{"a": 1.5}', "a"),
        (b'{"a": 99999999999999999999}', "a"),
        (b'{"b": 1}', "b"),
        (b'{"b": {"x": 1}}', "b"),
        (b'{"b": "\xff"}', "b"),
        (b'{"d": "2024-2-29"}', "d"),
        (b'{"d": 3}', "d"),
        (b'{"t": "yesterday"}', "t"),
        (b'{"n": 12345.5}', "n"),
        (b'{"o": 1}', "o"),
        (b'{"a": 1, "a": 2}', "a"),
        (b"[1]", None),
        (b"1", None),
        (b'{"a": 1', None),
        (b'{"a": 1} x', None),
        (b'{"a": 1}{"a": 2}', None),
        (b"   ", None),
        (b"null", None),
        (b'{"z": 1e}', None),
        (b'{"z": "\x01"}', None),
    ],
)
def test_a_line_that_is_no_such_object_is_bad(line, column):
    data = b'{"a": 1}\n' + line + b'\n\n{"a": 3}\n'
    source = json_source(data)
    good, bad, _ = marked(source)
    assert good == str([(1, *[None] * 5), (3, *[None] * 5)])
    assert bad == [(2, 9, line, column)]
    with pytest.raises(DataError, match=r"000:2: "):
        rows(source)


def test_an_object_over_two_lines_is_two_bad_rows():
    _, bad, total = marked(json_source(b'{"a": 1}{"a":\n2}\n{"a": 3}\n'))
    assert (len(bad), total) == (2, 3)


def test_types_that_json_has_not_are_refused():
    with pytest.raises(DataError, match="JSON holds no bytes"):
        json_source(b"", columns={"a": pa.binary()})


def test_text_is_a_row_per_line():
    data = b'\xef\xbb\xbfone,"two\r\n\n  \n\xe4\xb8\xad\n\x00\nlast'
    for chunk_bytes in (1, 4, 100):
        source = TextLines(stored(data, b"", b"more\n"), {"line": TEXT}, store=STORE, chunk_bytes=chunk_bytes)
        assert [row[0] for row in rows(source)] == ['one,"two', "  ", "中", "\0", "last", "more"]
    source = TextLines(stored(b"a\nb\xff\nc\n"), {"line": TEXT}, store=STORE)
    assert marked(source) == ("[('a',), ('c',)]", [(2, 2, b"b\xff", "line")], 3)
    assert marked(source, [])[1:] == ([], 3)
    for columns in ({"a": INT}, {"a": TEXT, "b": TEXT}):
        with pytest.raises(DataError, match="one column of strings"):
            TextLines(stored(b""), columns, store=STORE)


CSV_GOOD = b'\xef\xbb\xbf1,"a, b",2.5\r\n2,"c ""d""",\n\n-3,\xe4\xb8\xad,1e3\n4,x\x00,nan\n5,e,6'
JSON_GOOD = (
    b'{"a":1,"b":"x","c":2.5}\n{"a":null,"b":"\xe4\xb8\xad"}\r\n\n{"c":1e3,"z":[1,{"y":2}]}\n{"b":"\\u4e2d","a":-7}'
)
OPENERS = {
    "csv": lambda objects, size: CsvSource(objects, COLUMNS, store=STORE, header=False, chunk_bytes=size),
    "quoted": lambda objects, size: CsvSource(
        objects, COLUMNS, store=STORE, header=False, quoted_newlines=True, chunk_bytes=size
    ),
    "gbk": lambda objects, size: CsvSource(
        objects, COLUMNS, store=STORE, header=False, encoding="gbk", chunk_bytes=size
    ),
    "jsonl": lambda objects, size: JsonLines(objects, COLUMNS, store=STORE, chunk_bytes=size),
    "text": lambda objects, size: TextLines(objects, {"b": TEXT}, store=STORE, chunk_bytes=size),
}


@st.composite
def mutated(draw, good):
    data = bytearray(good)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        data[at : at + draw(st.integers(0, 3))] = draw(
            st.sampled_from([b"", b"\n", b'"', b",", b"\xff", b"\0", b"\r", b"}", b"{", b"7"])
        )
    return bytes(data)


@pytest.mark.parametrize("name", OPENERS)
@settings(deadline=None, max_examples=30)
@given(data=st.data())
def test_rows_in_are_rows_out_and_rows_refused(name, data):
    good = JSON_GOOD if name == "jsonl" else CSV_GOOD
    content = data.draw(st.binary(max_size=40) | mutated(good) | mutated(good * 3))
    found = []
    for chunk_bytes in (10_000, data.draw(st.integers(1, 30))):
        try:
            found.append(marked(OPENERS[name](stored(content), chunk_bytes)))
        except DataError as error:
            # What looks like a packed file and is none.
            found.append(error.fault.what)
    assert found[0] == found[1]
    if not isinstance(found[0], str):
        raws = [content[offset:].startswith(raw) for _, offset, raw, _ in found[0][1]]
        assert all(raws)


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
@settings(deadline=None, max_examples=30)
@given(data=st.data())
def test_a_damaged_packed_file_is_refused_or_the_same(kind, data):
    text = b"".join(b"%d,t%d,%d\n" % (i, i * 7919, i) for i in range(60))
    content = bytearray(PACKED[kind](text))
    at = data.draw(st.integers(0, len(content) - 1))
    content[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=2))
    try:
        _, _, total = marked(csv_source(bytes(content)))
    except DataError:
        return
    # gzip checks what it holds, zstd without a checksum does not: a row may then differ, none may be lost in silence.
    assert total > 0 or at < 8


def test_a_local_file_that_changes_while_it_is_unpacked_is_refused(tmp_path: Path):
    store, file = open_store("file:///"), tmp_path / "x.csv.gz"
    file.write_bytes(gzip.compress(b"1,a,2\n" * 100))
    source = CsvSource(store.list(f"file://{tmp_path}"), COLUMNS, store=store, header=False)
    file.write_bytes(gzip.compress(b"2,b,3\n" * 90))
    with pytest.raises(DataError, match="changed while it was read"):
        source.chunks()


def test_formats_are_looked_at_before():
    columns, written = {"a": INT, "b": TEXT}, FileFormat("jsonl")
    packed, broken = gzip.compress(b'{"a":1}\n'), gzip.compress(b'{"a":"x"}\n')
    objects = stored(packed, broken, b"", broken[:-9])

    def found(objects, **options):
        source = open_files(objects, columns, STORE, written)
        return [fault.where for fault in look(STORE, objects, columns, written, source=source, **options)]

    assert found(objects) == [f"{objects[1].url}:1", objects[3].url]
    assert found(objects, lenient=True) == [objects[3].url]
    assert found(objects[:1]) == []
    assert rows(open_files(objects[:1], columns, STORE, written)) == [(1, None)]
    assert rows(open_files(stored(b"x\n"), {"b": TEXT}, STORE, FileFormat("text"))) == [("x",)]


def test_a_packed_remote_object_is_streamed_and_its_version_kept():
    store = shaky_store(ShakyObjects())
    text = b"".join(b"%d,t%d,%d\n" % (i, i * 7919, i) for i in range(3000))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(contents, "_STEP", 1000)
        info = store.put("memory://remote-lines/x.csv.gz", gzip.compress(text))
        source = CsvSource([info], COLUMNS, store=store, header=False)
        assert [row[0] for row in rows(source)] == list(range(3000))
        store.put(info.url, gzip.compress(text[: len(text) // 2]))
        assert len(rows(source)) == 3000
        with pytest.raises(DataError, match="changed while it was read"):
            CsvSource([info], COLUMNS, store=store, header=False).chunks()
