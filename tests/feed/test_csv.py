"""CSV files as a source: chunks of any size hold every row once, errors are found, changes are seen."""

import csv
import io
import itertools
import os
import threading
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pai_train.errors import DataError
from pai_train.feed.csv import CsvSource, look
from pai_train.spec.contracts import Source, TextSource
from pai_train.storage.registry import open_store
from pai_train.storage.store import ObjectInfo

INT, FLOAT, TEXT = pa.int64(), pa.float64(), pa.string()
COLUMNS = {"a": INT, "b": TEXT, "c": FLOAT}
STORE = open_store("memory://csv")
NUMBERS = itertools.count()


def stored(*contents: bytes) -> list[ObjectInfo]:
    """Puts objects into a folder of their own."""
    folder = f"memory://csv/{next(NUMBERS)}"
    return [STORE.put(f"{folder}/{number:03}.csv", content) for number, content in enumerate(contents)]


def source(*contents: bytes, header: bool = False, chunk_bytes: int | None = None, **options: object) -> CsvSource:
    options = {"columns": COLUMNS, "delimiter": ",", **options}
    return CsvSource(stored(*contents), store=STORE, header=header, chunk_bytes=chunk_bytes, **options)


def rows(read: CsvSource, columns: tuple[str, ...] = tuple(COLUMNS)) -> list[tuple[object, ...]]:
    """All rows of all chunks; each chunk's count and its lines are checked on the way."""
    found = []
    for chunk in read.chunks():
        batches = list(read.read(chunk, columns))
        assert [batch.schema.names for batch in batches] == [list(columns)]
        table = pa.Table.from_batches(batches)
        assert chunk.rows is None or table.num_rows == chunk.rows
        text = read.lines(chunk)
        assert text.count(b"\n") == table.num_rows
        assert b"\n\n" not in text
        assert b"\r\n" not in text
        assert str(read.decode(text, columns).to_pydict()) == str(batches[0].to_pydict())
        found += list(zip(*table.to_pydict().values(), strict=True))
    return found


ROW = st.tuples(
    st.none() | st.integers(-(2**63), 2**63 - 1),
    st.text(st.characters(exclude_characters="\n\r", exclude_categories=["Cs"]), max_size=8),
    st.none() | st.floats(allow_nan=False),
)


@settings(deadline=None, max_examples=150)
@given(
    files=st.lists(st.lists(ROW, max_size=8), min_size=1, max_size=3),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
    end=st.sampled_from(["\n", "\r\n", "\n\n", "\r\n\r\n"]),
    delimiter=st.sampled_from(",\t;\x01"),
    header=st.booleans(),
    mark=st.booleans(),
    last=st.booleans(),
    chunk_bytes=st.integers(1, 200),
)
def test_every_row_is_read_once_at_any_chunk_size(
    *,
    files: list[list[tuple[object, ...]]],
    quoting: int,
    end: str,
    delimiter: str,
    header: bool,
    mark: bool,
    last: bool,
    chunk_bytes: int,
) -> None:
    contents = []
    for table in files:
        out = io.StringIO(newline="")
        writer = csv.writer(out, quoting=quoting, lineterminator=end, delimiter=delimiter)
        writer.writerows([[*COLUMNS]] if header else [])
        writer.writerows(table)
        text = out.getvalue() if last else out.getvalue().removesuffix(end)
        contents.append(b"\xef\xbb\xbf" * mark * bool(text) + text.encode())
    read = source(*contents, header=header, chunk_bytes=chunk_bytes, delimiter=delimiter)
    wanted = [row for table in files for row in table]
    assert rows(read) == wanted
    assert read.snapshot.rows == len(wanted)
    assert rows(read, ("c", "a")) == [(c, a) for a, _, c in wanted]


def test_all_chunk_sizes_of_one_file() -> None:
    text = b'\xef\xbb\xbfa,b,c\r\n1,"x, ""y""",1.5\r\n\r\n+2,a"b,\n,,nan\n\n3,last,0'
    whole = str(rows(source(text, header=True, chunk_bytes=len(text))))
    for chunk_bytes in range(1, len(text)):
        assert str(rows(source(text, header=True, chunk_bytes=chunk_bytes))) == whole
    assert whole == str([(1, 'x, "y"', 1.5), (2, 'a"b', None), (None, "", float("nan")), (3, "last", 0.0)])


def test_lines_longer_than_chunk_and_slack() -> None:
    long = "é" * 150_000
    text = f"1,{long},2\n2,b,3\n3,{long},4\n4,b,5".encode()
    for chunk_bytes in (1000, 70_000, 1_000_000):
        assert rows(source(text, chunk_bytes=chunk_bytes)) == [(1, long, 2), (2, "b", 3), (3, long, 4), (4, "b", 5)]


@pytest.mark.parametrize("text", [b"", b"\n", b"\r\n\r\n", b"a,b,c", b"a,b,c\n", b"\xef\xbb\xbfa,b,c\r\n\n\r\n"])
def test_files_without_rows(text: bytes) -> None:
    header = b"a" in text
    read = source(text, b"", header=header, chunk_bytes=3)
    assert rows(read) == []
    assert read.snapshot.rows == 0


def test_reading_starts_at_any_row() -> None:
    read = source(b"1,a,\n\n2,b,\n3,c,\n", chunk_bytes=100)
    chunk = read.chunks()[0]
    for start in range(4):
        assert [batch.column("a").to_pylist() for batch in read.read(chunk, ["a"], start)] == [[1, 2, 3][start:]]


def test_is_a_source_of_text_with_a_schema() -> None:
    read: Source = source(b"1,a,2\n")
    assert isinstance(read, TextSource)
    assert read.schema == pa.schema([("a", INT), ("b", TEXT), ("c", FLOAT)])


def test_chunks_depend_on_the_size_alone() -> None:
    line = b"1,abcdefgh,2.5\n"
    small, middle = source(line * 10), source(line * 20_000)
    assert [chunk.bytes for chunk in small.chunks()] == [150]
    assert len(middle.chunks()) == 64
    assert middle.snapshot.rows == 20_000 == sum(chunk.rows or 0 for chunk in middle.chunks())
    assert middle.chunks()[-1] == middle.chunks()[63] == middle.chunks()[60:][-1]
    with pytest.raises(IndexError):
        middle.chunks()[64]


def test_large_inputs_are_not_counted() -> None:
    read = source(b"1,%s,2\n" % (b"x" * 1000) * 17_000)
    assert read.snapshot.rows is None
    assert {chunk.rows for chunk in read.chunks()} == {None}
    counts = [next(read.read(chunk, ["a"])).num_rows for chunk in read.chunks()]
    assert sum(counts) == 17_000


def test_the_snapshot_changes_with_the_data() -> None:
    objects = stored(b"1,a,2\n", b"2,b,3\n")
    ids = set()
    for listed in (objects, objects[:1], objects[::-1]):
        ids.add(CsvSource(listed, COLUMNS, store=STORE, header=False).snapshot.id)
    again = CsvSource(objects, COLUMNS, store=STORE, header=False)
    assert again.snapshot.bytes == 12
    assert again.snapshot.id in ids
    ids.add(
        CsvSource([STORE.put(objects[0].url, b"1,b,2\n"), objects[1]], COLUMNS, store=STORE, header=False).snapshot.id
    )
    assert len(ids) == 4


def test_header_columns_are_found_by_name() -> None:
    first = b'extra,c,"b",a,extra\nx,1.5,"p,q",1,\xff\n'
    second = b"other,c,b,a,more\ny,2.5,r,2,z\n"
    read = source(first, second, header=True, chunk_bytes=7)
    assert rows(read) == [(1, "p,q", 1.5), (2, "r", 2.5)]


@pytest.mark.parametrize(
    ("header", "match"),
    [
        (b"a,bb,c", "did you mean 'bb'"),
        (b"a,b,c,a", "names twice column 'a'"),
        (b"1,x,2", "does not name column 'a'"),
        (b'a,"b,c', "header cannot be read"),
        (b"a,b,c\xff", "header cannot be read"),
        (b"", "does not name column 'a'"),
    ],
)
def test_a_header_that_does_not_fit_is_refused(header: bytes, match: str) -> None:
    objects = stored(header + b"\n1,a,2\n")
    with pytest.raises(DataError, match=match):
        CsvSource(objects, COLUMNS, store=STORE, header=True).chunks()
    (fault,) = look(STORE, objects, COLUMNS, header=True)
    assert fault.where == f"{objects[0].url}:1"


def test_another_header_in_a_later_file_is_refused_before_its_rows() -> None:
    objects = stored(b"a,b,c\n1,x,2\n", b"c,b,a\n" + b"1,x,2\n" * 40)
    read = CsvSource(objects, COLUMNS, store=STORE, header=True, chunk_bytes=50)
    uncounted = CsvSource(objects, COLUMNS, store=STORE, header=True, chunk_bytes=50).files.cuts
    with pytest.raises(DataError, match="differs from the other files"):
        list(read.read(uncounted[3], ["a"]))
    (fault,) = look(STORE, objects, COLUMNS, header=True)
    assert fault.where == f"{objects[1].url}:1"


@pytest.mark.parametrize("chunk_bytes", [1, 7, 64, 10_000])
def test_errors_name_file_line_and_byte(chunk_bytes: int) -> None:
    lead = b"\xef\xbb\xbfa,b,c\r\n" + b"1,x,2\r\n\r\n" * 30
    read = source(b"a,b,c\n", lead + b"1,x,\r\n0x1,y,\r\nz,,\r\n", header=True, chunk_bytes=chunk_bytes)
    with pytest.raises(DataError) as caught:
        rows(read)
    fault = caught.value.fault
    assert fault.where is not None
    assert fault.where.endswith("/001.csv:63")
    assert "'0x1'" in str(fault.got)
    assert f"byte {len(lead) + 6} of" in str(fault.got)
    assert "column 'a'" in fault.what


def test_an_unknown_column_is_refused() -> None:
    read = source(b"1,a,2\n")
    with pytest.raises(DataError, match="no column 'A'"):
        list(read.read(read.chunks()[0], ["A"]))


@pytest.mark.parametrize("change", ["truncate", "rewrite", "delete"])
@pytest.mark.parametrize("looked", [False, True])
def test_a_change_since_the_listing_is_refused(tmp_path: Path, change: str, looked: bool) -> None:
    store, file = open_store("file:///"), tmp_path / "x.csv"
    file.write_bytes(b"1,a,2\n" * 100)
    listed = store.list(f"file://{tmp_path}")
    read = CsvSource(listed, COLUMNS, store=store, header=False, chunk_bytes=50)
    chunk = read.chunks()[5]
    if looked:
        assert next(read.read(chunk, ["a"])).num_rows == chunk.rows == 8
    if change == "truncate":
        os.truncate(file, 40)
    elif change == "rewrite":
        (tmp_path / "new").write_bytes(b"2,b,3\n" * 100)
        os.replace(tmp_path / "new", file)
    else:
        file.unlink()
    with pytest.raises(DataError, match="changed while it was read"):
        list(read.read(chunk, ["a"]))


def test_threads_read_the_same() -> None:
    text = b"a,b,c\n" + b"".join(b"%d,x,%d.5\n" % (row, row) for row in range(5000))
    read = source(text, header=True, chunk_bytes=997)
    results: list[list[tuple[object, ...]]] = []
    threads = [threading.Thread(target=lambda: results.append(rows(read))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [[(row, "x", row + 0.5) for row in range(5000)]] * 4


def test_look_reads_the_beginning_of_every_file() -> None:
    good, late = b"1,a,2\n", b"1,a,2\n" * 20_000 + b"broken"
    objects = stored(good, b"1,a\n", b"", b"\nx,a,2\n", late, b"1,a,2,3")
    faults = look(STORE, objects, COLUMNS, header=False)
    assert [fault.where for fault in faults] == [f"{objects[1].url}:1", f"{objects[3].url}:2", f"{objects[5].url}:1"]
    assert look(STORE, objects[:1], COLUMNS, header=False) == []
    assert [fault.what for fault in look(STORE, objects, COLUMNS, False, ",,")] == [
        "the delimiter cannot separate fields"
    ]


def test_look_tells_of_a_file_that_is_gone() -> None:
    objects = stored(b"1,a,2\n")
    STORE.delete(objects[0].url)
    (fault,) = look(STORE, objects, COLUMNS, header=False)
    assert fault.where == objects[0].url


def test_no_columns_are_refused() -> None:
    with pytest.raises(DataError, match="no columns"):
        CsvSource([], {}, store=STORE, header=False)
    assert CsvSource([], COLUMNS, store=STORE, header=True).snapshot.rows == 0
