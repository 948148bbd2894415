"""Rows deleted in place by other engines are not read, and every row is still counted without opening data."""

from __future__ import annotations

import pytest

from pai_train.errors import DataError, TableError
from pai_train.spec.ddl import parse_ddl
from pai_train.spec.slices import slice_rows
from pai_train.storage import open_store
from pai_train.tables.catalog import StoreCatalog
from pai_train.tables.iceberg import IcebergTables
from tests.suites.table_rows import IRIS, PROJECT, ids, ref, rows, stage, write
from tests.tables.delete_files import delete_by_value, delete_by_vector, delete_positions
from tests.tables.test_reads import Watched


@pytest.fixture
def tables(tmp_path):
    tables = IcebergTables(str(tmp_path), PROJECT)
    tables.ensure(ref("iris"), parse_ddl(IRIS))
    write(tables, "iris", "t", rows(0, 150), rows(150, 200))
    return tables


def loaded(tables):
    table = tables._catalog.load_table((PROJECT, "iris"))
    return table, sorted(task.file.file_path for task in table.scan().plan_files())


def delete(tables, how, places):
    table, (first, second) = loaded(tables)
    positions = {first: [place for place in places if place < 150]}
    positions[second] = [place - 150 for place in places if place >= 150]
    {"one": delete_positions, "each": lambda *a: delete_positions(*a, one_file=False), "vector": delete_by_vector}[how](
        table, {url: held for url, held in positions.items() if held}
    )


GONE = [0, 1, 2, 3, 4, 9, 70, 149, 150, 199]
LEFT = sorted({*range(200)} - {*GONE})


@pytest.mark.parametrize("how", ["one", "each", "vector"])
def test_deleted_rows_are_not_read(tables, how):
    old = tables.source(ref("iris")).snapshot.id
    delete(tables, how, GONE)
    source = tables.source(ref("iris"))
    assert ids(source) == LEFT
    assert source.snapshot.rows == tables.count(ref("iris")) == sum(chunk.rows for chunk in source.chunks()) == 190
    assert ids(tables.source(ref("iris"), old)) == list(range(200))
    assert sorted(loaded(tables)[0].scan().to_arrow()["id"].to_pylist()) == LEFT, "as pyiceberg reads it"


def test_chunks_hold_the_rows_they_say(tables):
    delete(tables, "one", GONE)
    source = tables.source(ref("iris"))
    at = 0
    for chunk in source.chunks():
        for start in range(chunk.rows + 1):
            got = [i for batch in source.read(chunk, ["id"], start) for i in batch["id"].to_pylist()]
            assert got == LEFT[at + start : at + chunk.rows]
        at += chunk.rows
    assert at == len(LEFT)


def test_ranges_and_slices_count_what_is_left(tables):
    delete(tables, "vector", GONE)
    assert ids(tables.source(ref("iris?start=3&end=8"))) == LEFT[3:8]
    assert ids(tables.source(ref("iris"), rows=range(130, 190))) == LEFT[130:190]
    slices = [tables.source(ref("iris"), rows=slice_rows(190, slice_id, 7)) for slice_id in range(7)]
    assert [i for part in slices for i in ids(part)] == LEFT
    with pytest.raises(TableError, match="190 rows"):
        tables.source(ref("iris?end=191"))


def test_deletes_add_up(tables):
    delete(tables, "one", [5, 6])
    delete(tables, "each", [6, 7, 160])
    delete(tables, "vector", [20])
    assert ids(tables.source(ref("iris"))) == sorted({*range(200)} - {5, 6, 7, 160, 20})


def test_a_file_whose_rows_are_all_deleted(tables):
    delete(tables, "one", list(range(150)))
    assert ids(tables.source(ref("iris"))) == list(range(150, 200))
    delete(tables, "one", list(range(150, 200)))
    source = tables.source(ref("iris"))
    assert (list(source.chunks()), source.snapshot.rows) == ([], 0)


def test_counting_opens_delete_files_and_no_data(tables):
    delete(tables, "each", GONE)
    store = Watched(open_store(tables.root))
    tables._catalog = StoreCatalog(tables.root, store)
    assert tables.count(ref("iris")) == 190
    opened = store.take()
    assert len(opened) == 2
    assert all("/data/deletes-" in url for url in opened)


def test_an_overwrite_ends_the_deletes(tables):
    delete(tables, "one", GONE)
    write(tables, "iris", "again", rows(0, 10))
    assert ids(tables.source(ref("iris"))) == list(range(10))
    write(tables, "iris", "more", rows(10, 12), mode="append")
    assert sorted(ids(tables.source(ref("iris")))) == list(range(12))


def test_rows_deleted_by_value_are_refused(tables):
    delete_by_value(loaded(tables)[0], "id", [3])
    for opened in (tables.source, tables.count):
        with pytest.raises(TableError, match=r"deleted by their values(.|\n)*compact the table"):
            opened(ref("iris"))
    session = tables.write(ref("iris"), "overwrite", "over")
    with pytest.raises(TableError, match="deleted by their values"):
        session.commit([stage(session, 0, rows(0, 3))])


def test_a_damaged_delete_file_is_named(tables):
    delete(tables, "vector", GONE)
    store = open_store(tables.root)
    (url,) = (info.url for info in store.list(tables.root) if info.url.endswith(".puffin"))
    store.put(url, store.read(url)[:-9])
    with pytest.raises(DataError, match=r"vectors-\d+\.puffin: a delete file cannot be read"):
        tables.source(ref("iris"))


def test_a_deleted_row_that_is_not_there_is_an_error(tables):
    table, (first, _) = loaded(tables)
    delete_positions(table, {first: [3, 150]})
    with pytest.raises(DataError, match=r"does not have(.|\n)*rows 3 to 150(.|\n)*0 to 149"):
        tables.count(ref("iris"))
