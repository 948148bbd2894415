"""Predictions as files: staged, copied into place, listed at the end."""

from __future__ import annotations

import json
import uuid

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from pai_train.errors import StorageError, TableError
from pai_train.storage import join, open_store
from pai_train.tables.files import FilesWrite
from tests.suites.table_rows import rows, stage

SCHEMA = pa.schema([pa.field("id", pa.int64(), nullable=False), ("f", pa.float64()), ("kind", pa.string())])


@pytest.fixture(params=["file", "memory"])
def folder(request, tmp_path):
    url = f"file://{tmp_path}/out" if request.param == "file" else f"memory://{uuid.uuid4().hex}/out"
    yield url
    open_store(url).delete_tree(url)


@pytest.fixture
def store(folder):
    return open_store(folder)


def session(folder, token, mode="overwrite", form="csv"):
    return FilesWrite(folder, SCHEMA, form, mode, token)


def put(folder, token, *batches, mode="overwrite", form="csv"):
    opened = session(folder, token, mode, form)
    return opened.commit([stage(opened, index, batch) for index, batch in enumerate(batches)])


def names(store, folder):
    return [info.url.removeprefix(f"{folder}/") for info in store.list(folder)]


def manifest(store, folder):
    return json.loads(store.read(join(folder, "MANIFEST.json")))


def csv_ids(store, folder):
    parts = [name for name in names(store, folder) if name.endswith(".csv") and "/" not in name]
    return [int(line.split(b",")[0]) for name in parts for line in store.read(join(folder, name)).splitlines()[1:]]


def test_csv_has_a_header_and_tells_null_from_empty(folder, store):
    batch = pa.record_batch({"kind": [None, "", 'a"b,\nü'], "ID": [1, 2, 3]})
    snapshot = put(folder, "t", batch)
    text = store.read(join(folder, "part-00000.csv"))
    assert text.decode() == '"id","f","kind"\n1,,\n2,,""\n3,,"a""b,\nü"\n'
    assert (snapshot.id, snapshot.rows, snapshot.bytes) == ("t", 3, len(text))


def test_parquet_is_one_row_group_for_small_batches(folder, store):
    opened = session(folder, "t", form="parquet")
    opened.commit([stage(opened, 0, *(rows(i, i + 1) for i in range(20)))])
    with store.open_input(join(folder, "part-00000.parquet")) as stream:
        file = pq.ParquetFile(stream)
        assert file.num_row_groups == 1
        assert file.read().equals(pa.Table.from_batches([rows(0, 20)]).cast(SCHEMA))


def test_manifest_is_complete_and_nothing_stays_staged(folder, store):
    put(folder, "t", rows(0, 3), rows(3, 5))
    assert names(store, folder) == ["MANIFEST.json", "part-00000.csv", "part-00001.csv"]
    found = manifest(store, folder)
    assert (found["complete"], found["rows"], found["token"]) == (True, 5, "t")
    assert [(f["name"], f["rows"]) for f in found["files"]] == [("part-00000.csv", 3), ("part-00001.csv", 2)]


def test_nothing_is_in_place_before_the_commit_and_abort_removes_it(folder, store):
    opened = session(folder, "t")
    stage(opened, 0, rows(0, 3))
    assert all(name.startswith("_staging-t/") for name in names(store, folder))
    opened.abort()
    assert names(store, folder) == []


def test_overwrite_replaces_what_the_manifest_lists_and_nothing_else(folder, store):
    put(folder, "a", rows(0, 3), rows(3, 5))
    store.put(join(folder, "notes.txt"), b"mine")
    put(folder, "b", rows(7, 9))
    assert names(store, folder) == ["MANIFEST.json", "notes.txt", "part-00000.csv"]
    assert csv_ids(store, folder) == [7, 8]


def test_a_foreign_file_in_the_way_is_not_replaced(folder, store):
    store.put(join(folder, "part-00000.csv"), b"mine")
    opened = session(folder, "t")
    part = stage(opened, 0, rows(0, 3))
    with pytest.raises(TableError, match=r"part-00000.csv: a file that no earlier write made"):
        opened.commit([part])
    assert store.read(join(folder, "part-00000.csv")) == b"mine"


def test_append_adds_under_its_own_names(folder, store):
    put(folder, "a", rows(0, 2))
    put(folder, "b", rows(2, 4), mode="append")
    assert names(store, folder) == ["MANIFEST.json", "part-00000.csv", "part-b-00000.csv"]
    assert csv_ids(store, folder) == [0, 1, 2, 3]


@pytest.mark.parametrize("mode", ["overwrite", "append", "fail"])
def test_one_token_is_published_once(folder, store, mode):
    opened = session(folder, "once", mode)
    parts = [stage(opened, 0, rows(0, 3))]
    snapshot = opened.commit(parts)
    assert opened.commit(parts) == snapshot
    again = session(folder, "once", mode)
    assert again.commit([stage(again, 0, rows(0, 3), attempt=1)]) == snapshot
    put(folder, "later", rows(9, 10))
    assert session(folder, "once", mode).commit(parts) == snapshot
    assert csv_ids(store, folder) == [9]


def test_fail_refuses_a_folder_with_objects(folder, store):
    store.put(join(folder, "deep/notes.txt"), b"mine")
    with pytest.raises(TableError, match=r"holds objects(.|\n)*notes.txt"):
        session(folder, "t", "fail")


@pytest.mark.parametrize("mode", ["overwrite", "append", "fail"])
@pytest.mark.parametrize("finish", ["repeat", "another"])
def test_a_commit_cut_off_anywhere_is_finished_or_undone(folder, store, mode, finish, monkeypatch):
    if mode != "fail":
        put(folder, "old", rows(0, 1), rows(1, 2), rows(2, 3))
    opened = session(folder, "cut", mode)
    parts = [stage(opened, 0, rows(10, 12)), stage(opened, 1, rows(12, 14))]
    copy, copied = FilesWrite._copy, []

    def cut_off(self, source, target):
        copied.append(target)
        if len(copied) == 2:
            raise StorageError("the power went out", where=target)
        copy(self, source, target)

    monkeypatch.setattr(FilesWrite, "_copy", cut_off)
    with pytest.raises(StorageError, match="power"):
        opened.commit(parts)
    monkeypatch.undo()
    assert not manifest(store, folder)["complete"]
    kept = [0, 1, 2] if mode == "append" else []
    if finish == "repeat":
        assert session(folder, "cut", mode).commit(parts).rows == 4
        assert csv_ids(store, folder) == [*kept, 10, 11, 12, 13]
    else:
        put(folder, "next", rows(20, 21), mode="append" if mode == "append" else "overwrite")
        assert csv_ids(store, folder) == [*kept, 20]
        with pytest.raises(TableError, match=r"a staged part is gone"):
            session(folder, "cut", "append").commit(parts)
    assert manifest(store, folder)["complete"]
    assert not [name for name in names(store, folder) if name.startswith("_staging")]


def test_two_attempts_of_a_slice_are_refused(folder):
    opened = session(folder, "t")
    parts = [stage(opened, 0, rows(0, 1)), stage(opened, 0, rows(0, 1), attempt=1)]
    with pytest.raises(TableError, match="slice 0 is committed twice"):
        opened.commit(parts)


def test_a_part_given_up_is_gone(folder, store):
    writer = session(folder, "t").part(0, 0)
    writer.write(rows(0, 3))
    writer.abort()
    finished = session(folder, "t").part(0, 1)
    finished.finish()
    finished.abort()
    assert names(store, folder) == []


def test_rows_are_checked(folder):
    writer = session(folder, "t").part(0, 0)
    with pytest.raises(TableError, match=r"no column 'knd'(.|\n)*did you mean 'kind'"):
        writer.write(pa.record_batch({"id": [1], "knd": ["x"]}))
    writer.abort()


def test_csv_refuses_what_it_cannot_hold(folder):
    with pytest.raises(TableError, match=r"'tags' has a type that CSV cannot hold(.|\n)*format: parquet"):
        FilesWrite(folder, pa.schema([("tags", pa.list_(pa.string()))]), "csv", "overwrite", "t")


def test_another_manifest_is_not_ours(folder, store):
    store.put(join(folder, "MANIFEST.json"), b'{"format": 1}')
    with pytest.raises(TableError, match="not a manifest of written files"):
        session(folder, "t")
