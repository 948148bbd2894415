"""Damaged, missing and full: each is told with the file and what to do, and nothing is lost."""

from __future__ import annotations

import errno

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pai_train.errors import DataError, StorageError, TableError
from pai_train.spec.ddl import parse_ddl
from pai_train.storage import Store, open_store
from pai_train.tables.catalog import StoreCatalog
from pai_train.tables.expire import SHORTEST_GRACE_S, Policy
from pai_train.tables.iceberg import IcebergTables
from tests.suites.table_rows import EVERY_TYPE, IRIS, PROJECT, ids, read, ref, rows, stage, write


@pytest.fixture
def tables(tmp_path):
    tables = IcebergTables(str(tmp_path), PROJECT)
    tables.ensure(ref("iris"), parse_ddl(IRIS))
    write(tables, "iris", "good", rows(0, 200))
    return tables


@pytest.fixture
def store(tables):
    return open_store(tables.root)


@pytest.fixture
def victim(tables):
    """The URL of a second data file, beside the one of 200 rows."""
    write(tables, "iris", "z-bad", rows(200, 260), mode="append")
    return tables.source(ref("iris"), rows=range(200, 260)).chunks()[0].ref.rpartition("@")[0]


def damaged(store, url, change):
    data = bytearray(store.read(url))
    store.put(url, bytes(change(data)))


def flip(place):
    def change(data):
        data[place] ^= 0xFF
        return data

    return change


def refused(tables, url):
    """Reads all rows: the good file's are there, the other file's are an error that names it; returns its text."""
    assert ids(tables.source(ref("iris"), rows=range(200))) == list(range(200))
    with pytest.raises(DataError) as caught:
        read(tables.source(ref("iris")))
    text = str(caught.value)
    assert text.startswith(f"{url}: "), text
    assert "to do: restore this file" in text
    return text


def test_every_page_we_write_has_a_checksum_that_is_verified(tables, store, victim):
    good = store.read(victim)
    group = pq.read_metadata(pa.BufferReader(good)).row_group(0)
    found = 0
    for index in range(group.num_columns):
        column = group.column(index)
        start = column.dictionary_page_offset or column.data_page_offset
        # The last bytes of a column are those of a page's data, behind every header.
        for place in {start + column.total_compressed_size - 1, start + column.total_compressed_size - 3}:
            damaged(store, victim, flip(place))
            assert "damaged" in refused(tables, victim)
            store.put(victim, good)
            found += 1
    assert found == 6
    assert len(ids(tables.source(ref("iris")))) == 260


@pytest.mark.parametrize("kept", [0, 3, 100, -1, -9])
def test_a_file_cut_short(tables, store, victim, kept):
    size = len(store.read(victim))
    damaged(store, victim, lambda data: data[:kept])
    text = refused(tables, victim)
    assert "cut short or damaged" in text
    assert f"wanted: a Parquet file of {size} bytes" in text


@pytest.mark.parametrize("place", [-1, -6, -8])
def test_a_wrong_footer(tables, store, victim, place):
    damaged(store, victim, flip(place))
    refused(tables, victim)


def test_another_file_in_its_place(tables, store, victim):
    other = tables.write(ref("iris"), "append", "other")
    store.put(victim, store.read(stage(other, 0, rows(0, 60)).url))
    text = refused(tables, victim)
    assert "has changed since it was published" in text
    assert "got: 60 rows" in text


def test_a_file_that_is_gone(tables, store, victim):
    store.delete(victim)
    assert "a data file of the table is gone" in refused(tables, victim)
    assert tables.count(ref("iris")) == 260, "counting needs manifests only"


def test_an_append_goes_on_beside_a_damaged_file(tables, store, victim):
    damaged(store, victim, lambda data: data[:9])
    write(tables, "iris", "a-after", rows(300, 303), mode="append")
    assert sorted(ids(tables.source(ref("iris"), rows=range(203)))) == [*range(200), 300, 301, 302]
    write(tables, "iris", "over", rows(0, 5))
    assert ids(tables.source(ref("iris"))) == list(range(5))


@pytest.mark.parametrize("content", [b"", b"{", b"no json", b"{}", b'{"format-version": 9}', b"\xff\xfe"])
def test_metadata_that_is_none(tables, store, content):
    url = f"{tables.root}/lab/iris/metadata/v2.metadata.json"
    good = store.read(url)
    store.put(url, content)
    for opened in (tables.describe, tables.source, tables.count, lambda one: tables.write(one, "append", "t")):
        with pytest.raises(TableError, match=rf"{url}: the table's newest metadata(.|\n)*restore this file"):
            opened(ref("iris"))
    store.put(url, good)
    assert len(ids(tables.source(ref("iris")))) == 200


def cut(place):
    return lambda data: data[:place]


DAMAGES = {
    "end": flip(-1),
    "all": lambda data: b"no avro" * len(data),
    "empty": cut(0),
    "head": cut(3),
    "schema": cut(200),
    "half": lambda data: data[: len(data) // 2],
    "last": cut(-1),
    "mark": cut(-16),
    "longer": lambda data: data + b"more",
    "zeros": lambda data: data[:-40] + bytes(40),
    "size": lambda data: data.replace(b"avro.codec", b"avro.codec"[:-1] + b"\xff"),
}


@pytest.mark.parametrize("change", DAMAGES.values(), ids=DAMAGES)
@pytest.mark.parametrize("kind", ["snap-", "-m0"])
def test_a_damaged_manifest(tables, store, kind, change):
    (url,) = (info.url for info in store.list(f"{tables.root}/lab/iris/metadata") if kind in info.url)
    damaged(store, url, change)
    for opened in (tables.source, tables.count):
        with pytest.raises(DataError, match=r"manifests of the table cannot be read(.|\n)*metadata folder"):
            opened(ref("iris"))


@pytest.fixture
def blocks(tables, store):
    """The URL of a manifest of three data files, and the places where its blocks end, one for each file."""
    write(tables, "iris", "three", rows(0, 5), rows(5, 9), rows(9, 12))
    manifest = max(
        (info.url for info in store.list(f"{tables.root}/lab/iris/metadata") if "-m" in info.url),
        key=lambda url: len(ends_of(store.read(url))),
    )
    ends = ends_of(store.read(manifest))
    assert len(ends) == 1 + 3, "the header and three blocks"
    return manifest, ends


def ends_of(data):
    return [place + 16 for place in range(len(data)) if data[place : place + 16] == data[-16:]]


def test_a_manifest_cut_where_a_block_ends_is_a_shorter_one_to_avro(tables, store, blocks):
    url, ends = blocks
    good = store.read(url)
    for end in ends[:-1]:
        store.put(url, good[:end])
        for opened in (
            lambda: tables.source(ref("iris")),
            lambda: write(tables, "iris", "on-top", rows(0, 3)),
            lambda: tables.expiry(ref("iris"), Policy(0, 1, SHORTEST_GRACE_S)).look(),
        ):
            with pytest.raises(
                DataError, match=rf"{url}: the manifests(.|\n)*got: {end} bytes\n(.|\n)*{len(good)} bytes"
            ):
                opened()
    store.put(url, good)
    assert ids(tables.source(ref("iris"))) == list(range(12))


def test_a_list_of_manifests_that_lost_them_all_is_not_an_empty_table(tables, store):
    (url,) = (info.url for info in store.list(f"{tables.root}/lab/iris/metadata") if "snap-" in info.url)
    data = store.read(url)
    store.put(url, data[: data.index(data[-16:]) + 16])
    for opened in (
        lambda: tables.source(ref("iris")),
        lambda: write(tables, "iris", "on-top", rows(300, 303), mode="append"),
        lambda: tables.expiry(ref("iris"), Policy(0, 1, SHORTEST_GRACE_S)).look(),
    ):
        with pytest.raises(DataError, match=r"got: no manifest\n(.|\n)*those of 1 data files"):
            opened()
    store.put(url, data)
    assert ids(tables.source(ref("iris"))) == list(range(200))


@pytest.mark.parametrize("kind", ["snap-", "-m0"])
def test_a_manifest_that_is_gone(tables, store, kind):
    (url,) = (info.url for info in store.list(f"{tables.root}/lab/iris/metadata") if kind in info.url)
    store.delete(url)
    with pytest.raises(DataError, match=f"{url}: a manifest of the table is gone(.|\n)*to do: restore"):
        tables.source(ref("iris"))


class Full:
    """A filesystem with room for some more bytes in data files, shared by all that are open."""

    def __init__(self, real, room):
        self._real = real
        self.room = room

    def __getattr__(self, name):
        return getattr(self._real, name)

    def open(self, path, mode, **options):
        opened = self._real.open(path, mode, **options)
        if mode == "wb" and path.endswith(".parquet"):
            write_ = opened.write
            opened.write = lambda data: self._take(len(data)) or write_(data)
        return opened

    def _take(self, size):
        self.room -= size
        if self.room < 0:
            raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("room", [0, 3, 100, 2000])
def test_a_disk_that_fills_up_while_a_part_is_written(tables, store, room):
    before = [info.url for info in store.list(tables.root)]
    full = Full(store.filesystem, room)
    other = IcebergTables(tables.root, PROJECT)
    other._catalog = StoreCatalog(
        tables.root, Store(store.scheme, full, is_local=True, exclusive_create=store.exclusive_create)
    )
    session = other.write(ref("iris"), "overwrite", "full")
    writer = None
    with pytest.raises(StorageError, match=r"\.parquet: (.|\n)*No space left on device(.|\n)*free space there"):
        writer = session.part(0, 0)
        for lo in range(0, 200_000, 20_000):
            writer.write(rows(lo, lo + 20_000))
        writer.finish()
    if writer is not None:
        writer.abort()
    session.abort()
    assert [info.url for info in store.list(tables.root)] == before
    assert ids(tables.source(ref("iris"))) == list(range(200))
    full.room = 10**9
    assert session.commit([stage(session, 0, rows(0, 7), attempt=1)]).rows == 7
    assert ids(tables.source(ref("iris"))) == list(range(7))


def test_no_page_of_any_type_is_read_wrong_unnoticed(tmp_path):
    tables = IcebergTables(str(tmp_path), PROJECT)
    tables.ensure(ref("every"), parse_ddl(EVERY_TYPE))
    write(tables, "every", "t", pa.record_batch({"d": list(range(50)), "h": [str(n) for n in range(50)]}))
    source = tables.source(ref("every"))
    store, url = open_store(tables.root), source.chunks()[0].ref.rpartition("@")[0]
    good = store.read(url)
    whole = list(source.read(source.chunks()[0], ["d", "h"]))
    group = pq.read_metadata(pa.BufferReader(good)).row_group(0)
    column = next(group.column(n) for n in range(group.num_columns) if group.column(n).path_in_schema == "d")
    wrong = 0
    for place in range(column.data_page_offset, column.data_page_offset + column.total_compressed_size):
        damaged(store, url, flip(place))
        try:
            found = list(tables.source(ref("every")).read(source.chunks()[0], ["d", "h"]))
        except DataError:
            wrong += 1
        else:
            assert found == whole, f"byte {place} was flipped, and other rows were read"
        store.put(url, good)
    assert wrong > column.total_compressed_size / 2
