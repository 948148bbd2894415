"""The table suite on Iceberg in local files and in memory, and what only Iceberg does."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pai_train.errors import DataError, TableError
from pai_train.spec.contracts import Chunk
from pai_train.spec.ddl import parse_ddl
from pai_train.storage import Store, open_store
from pai_train.tables import group_streams, parquet
from pai_train.tables.catalog import CommitRaced, StoreCatalog
from pai_train.tables.iceberg import IcebergTables
from pai_train.tables.recent import Recent
from tests.suites.table_rows import EVERY_TYPE, IRIS, PROJECT, ids, read, ref, rows, stage, write
from tests.suites.table_suite import TableSuite

COMMIT_AGAIN = """
import json, sys
from pai_train.spec.address import parse_table
from pai_train.spec.contracts import Part
from pai_train.tables.iceberg import IcebergTables
from pai_train.tables.recent import Recent
root, token, parts = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
session = IcebergTables(root, "lab").write(parse_table("iris", "lab"), "append", token)
sys.stdout.write(session.commit([Part(**part) for part in parts]).id)
"""


class TestIcebergInFiles(TableSuite):
    @pytest.fixture
    def tables(self, tmp_path):
        return IcebergTables(str(tmp_path / "my tables"), PROJECT)

    @pytest.mark.parametrize("published", [True, False])
    def test_another_process_commits_the_same_write(self, iris, tmp_path, published):
        session = iris.write(ref("iris"), "append", "once")
        parts = [stage(session, 0, rows(0, 10))]
        own = session.commit(parts).id if published else None
        argv = [str(tmp_path / "my tables"), "once", json.dumps([part.to_json() for part in parts])]
        child = subprocess.run([sys.executable, "-c", COMMIT_AGAIN, *argv], capture_output=True, text=True, check=True)
        assert child.stdout == (own or session.commit(parts).id)
        assert ids(iris.source(ref("iris"))) == list(range(10))


class TestIcebergInMemory(TableSuite):
    @pytest.fixture
    def tables(self):
        root = f"memory://{uuid.uuid4().hex}/tables"
        yield IcebergTables(root, PROJECT)
        open_store(root).delete_tree(root)


@pytest.fixture
def tables(tmp_path):
    tables = IcebergTables(str(tmp_path), PROJECT)
    tables.ensure(ref("iris"), parse_ddl(IRIS))
    return tables


@pytest.fixture
def store(tables):
    return open_store(tables.root)


def objects(store, tables):
    return sorted(info.url.removeprefix(f"{tables.root}/lab/iris/") for info in store.list(tables.root))


def test_layout(tables, store):
    write(tables, "iris", "tok", rows(0, 3))
    names = objects(store, tables)
    assert [n for n in names if n.endswith(".json")] == ["metadata/v1.metadata.json", "metadata/v2.metadata.json"]
    assert [n for n in names if n.startswith("data/tok/part-00000-0-")] == [n for n in names if n.startswith("data/")]


def test_statement_is_kept_in_properties(tables):
    properties = tables.describe(ref("iris")).properties
    assert (properties["comment"], properties["pai_train.lifecycle"]) == ("flowers", "7")
    assert json.loads(properties["pai_train.columns"])[1] == {"name": "f", "type": "DOUBLE", "default": None}


def test_one_commit_is_one_snapshot(tables):
    write(tables, "iris", "a", rows(0, 3))
    write(tables, "iris", "b", rows(3, 5))
    table = tables._catalog.load_table(("lab", "iris"))
    assert [s.summary.operation.value for s in table.snapshots()] == ["append", "overwrite"]


def test_abort_and_commit_leave_no_staged_file(tables, store):
    before = objects(store, tables)
    session = tables.write(ref("iris"), "overwrite", "t")
    stage(session, 0, rows(0, 5))
    session.abort()
    assert objects(store, tables) == before
    stage(session, 0, rows(0, 5))
    session.commit([stage(session, 0, rows(0, 5), attempt=1)])
    assert len([name for name in objects(store, tables) if name.startswith("data/")]) == 1


def test_abort_spares_other_sessions(tables):
    mine, other = (tables.write(ref("iris"), "append", token) for token in ("mine", "other"))
    parts = [stage(other, 0, rows(0, 5))]
    stage(mine, 0, rows(5, 9))
    mine.abort()
    other.commit(parts)
    assert ids(tables.source(ref("iris"))) == list(range(5))


class Answering(Store):
    """A store whose exclusive creates of metadata meet `before`, once."""

    def __init__(self, real, before):
        super().__init__(real.scheme, real.filesystem, is_local=real.is_local, exclusive_create=real.exclusive_create)
        self.before = before

    def create(self, url, data):
        if "/metadata/" in url:
            before, self.before = self.before, None
            if before is not None:
                before(url, data)
        super().create(url, data)


def through(tables, before):
    """Returns the tables, reached by a store that meets something at its next create."""
    other = IcebergTables(tables.root, PROJECT)
    other._catalog = StoreCatalog(tables.root, Answering(open_store(tables.root), before))
    return other


def test_a_commit_whose_answer_was_lost_counts(tables, store):
    # The store creates the object, its answer is lost, and the client repeats the request.
    session = through(tables, store.create).write(ref("iris"), "append", "t")
    session.commit([stage(session, 0, rows(0, 5))])
    assert ids(tables.source(ref("iris"))) == list(range(5))
    assert len(tables._catalog.load_table(("lab", "iris")).snapshots()) == 1


def test_the_same_write_sent_twice_at_once_counts_once(tables):
    twin = tables.write(ref("iris"), "append", "t")
    twin_parts = [stage(twin, 0, rows(0, 5))]
    session = through(tables, lambda *_: twin.commit(twin_parts)).write(ref("iris"), "append", "t")
    session.commit([stage(session, 0, rows(0, 5), attempt=1)])
    assert ids(tables.source(ref("iris"))) == list(range(5))


def test_an_overwrite_that_lost_the_race_replaces_the_winner_too(tables, store):
    write(tables, "iris", "old", rows(0, 5))
    meet = lambda *_: write(tables, "iris", "winner", rows(5, 9), mode="append")
    write(through(tables, meet), "iris", "loser", rows(9, 12))
    assert ids(tables.source(ref("iris"))) == [9, 10, 11]
    lists = [name for name in objects(store, tables) if "/snap-" in name]
    assert len(lists) == 3, "what the lost attempt wrote is gone"


def test_losing_for_ever_is_an_error(tables, monkeypatch):
    def lose(*_):
        raise CommitRaced("v2 was created by another commit")

    monkeypatch.setattr("time.sleep", lambda _: None)
    monkeypatch.setattr(StoreCatalog, "_publish", lose)
    session = tables.write(ref("iris"), "append", "t")
    part = stage(session, 0, rows(0, 5))
    with pytest.raises(TableError, match=r"other writers committed first(.|\n)*commit can be repeated"):
        session.commit([part])
    monkeypatch.undo()
    assert session.commit([part]).rows == 5


def test_a_store_without_exclusive_create_is_refused(tables):
    real = open_store(tables.root)
    store = Store(real.scheme, real.filesystem, is_local=True, exclusive_create=False)
    with pytest.raises(TableError, match="exactly one creates"):
        StoreCatalog(tables.root, store)


def test_the_catalog_never_drops(tables):
    with pytest.raises(TableError, match="cannot drop a table"):
        tables._catalog.drop_table(("lab", "iris"))


def test_an_expired_snapshot_is_named(tables):
    old = write(tables, "iris", "a", rows(0, 5))
    write(tables, "iris", "b", rows(5, 6))
    tables._catalog.load_table(("lab", "iris")).maintenance.expire_snapshots().by_id(int(old.id)).commit()
    with pytest.raises(TableError, match="expired"):
        tables.source(ref("iris"), snapshot=old.id)


def test_chunks_open_no_data_file_and_depend_on_the_snapshot_alone(tables, store):
    write(tables, "iris", "t", rows(0, 150))
    before = tables.source(ref("iris")).chunks()
    for info in store.list(f"{tables.root}/lab/iris/data"):
        store.delete(info.url)
    source = tables.source(ref("iris"))
    assert source.chunks() == before
    assert {chunk.rows for chunk in before[:-1]} == {4}
    with pytest.raises(DataError, match="a data file of the table is gone"):
        list(source.read(before[0], ["id"]))
    parts = tables.source(ref("iris"), rows=range(5, 9)).chunks()
    assert [chunk.ref.rpartition("@")[2] for chunk in parts] == ["5-8", "8-9"]


def test_a_row_group_is_decoded_once_for_all_its_chunks(tables, monkeypatch):
    write(tables, "iris", "t", rows(0, 150))
    source = tables.source(ref("iris"))
    decoded = []
    real = parquet.ParquetReader._decoded
    monkeypatch.setattr(parquet.ParquetReader, "_decoded", lambda *a, **k: decoded.append(a[3:]) or real(*a, **k))
    assert len(source.chunks()) == 38
    assert ids(source) == list(range(150))
    assert decoded == [(0, ("id",))]


def test_large_row_groups_are_streamed(tables, monkeypatch):
    monkeypatch.setattr(parquet, "LARGE_GROUP_BYTES", 0)
    monkeypatch.setattr(group_streams, "_ROWS", 7)
    write(tables, "iris", "t", rows(0, 150))
    source = tables.source(ref("iris"), rows=range(11, 140))
    assert read(source).equals(pa.Table.from_batches([rows(11, 140)]).cast(source.schema))


def test_many_row_groups(tables):
    write(tables, "iris", "t", rows(0, 70_000), rows(70_000, 140_000))
    source = tables.source(ref("iris"))
    footer = pq.read_metadata(source.chunks()[0].ref.removeprefix("file://").rpartition("@")[0])
    assert [footer.row_group(i).num_rows for i in range(footer.num_row_groups)] == [65536, 4464]
    assert ids(source) == list(range(140_000))


def test_columns_are_found_by_field_id(tables):
    write(tables, "iris", "t", rows(0, 10))
    table = tables._catalog.load_table(("lab", "iris"))
    with table.update_schema() as update:
        update.rename_column("f", "width")
        update.add_column("more", table.schema().find_type("id"))
    source = tables.source(ref("iris"))
    assert read(source, ["more", "width"]).to_pylist()[3] == {"more": None, "width": 1.5}
    assert [str(column.type) for column in tables.describe(ref("iris")).columns] == [
        "BIGINT",
        "DOUBLE",
        "STRING",
        "BIGINT",
    ]


def test_a_changed_data_file_is_an_error(tables, store):
    write(tables, "iris", "t", rows(0, 10))
    source = tables.source(ref("iris"))
    url = source.chunks()[0].ref.rpartition("@")[0]
    other = tables.write(ref("iris"), "append", "other")
    store.put(url, store.read(stage(other, 0, rows(0, 9)).url))
    with pytest.raises(DataError, match=r"has changed(.|\n)*9 rows(.|\n)*10 rows"):
        ids(source)
    store.put(url, b"PAR1 no more PAR1")
    with pytest.raises(DataError, match="cannot be read"):
        ids(tables.source(ref("iris")))


def test_a_chunk_of_another_source_is_refused(tables):
    write(tables, "iris", "t", rows(0, 10))
    with pytest.raises(DataError, match="another source"):
        tables.source(ref("iris")).read(Chunk(0, 1, None, "file:///elsewhere@0-1"), ["id"])


def test_threads_read_one_source(tables):
    write(tables, "iris", "t", rows(0, 2000), rows(2000, 3000))
    source = tables.source(ref("iris"))
    with ThreadPoolExecutor(8) as pool:
        parts = list(pool.map(lambda chunk: list(source.read(chunk, source.schema.names)), [*source.chunks()] * 3))
    found = pa.Table.from_batches([batch for part in parts for batch in part])
    once = pa.Table.from_batches([rows(0, 3000)]).cast(source.schema)
    assert found.equals(pa.concat_tables([once] * 3))


def test_recent_forgets_the_oldest_and_every_failure():
    calls = []

    def compute(key):
        calls.append(key)
        return key if key != "bad" else 1 / 0

    recent = Recent(2, lambda _: 1)
    for key in ("a", "b", "a", "c", "a", "b"):
        assert recent.get(key, partial(compute, key)) == key
    assert calls == ["a", "b", "c", "b"]
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            recent.get("bad", partial(compute, "bad"))
    assert calls[4:] == ["bad", "bad"]


def test_recent_keeps_what_may_displace_nothing_where_there_is_room():
    calls = []
    recent = Recent(2, lambda _: 1)
    for key, displaces in (("a", False), ("b", False), ("c", False), ("a", False), ("c", True), ("a", False)):
        recent.get(key, partial(calls.append, key), displaces=displaces)
    assert calls == ["a", "b", "c", "c"]


def test_small_tables_are_decoded_once_for_all_epochs(tables, monkeypatch):
    decoded = []
    plain = parquet.decoded

    def counted(*given, **more):
        decoded.append(given[2])
        return plain(*given, **more)

    monkeypatch.setattr(parquet, "decoded", counted)
    tables.ensure(ref("t"), parse_ddl("create table t (a bigint)"))
    session = tables.write(ref("t"), "overwrite", "t")
    session.commit([stage(session, 0, pa.record_batch({"a": list(range(70000))}))])
    source = tables.source(ref("t"))
    assert [ids_of(source) for _ in range(2)] == [list(range(70000))] * 2
    assert sorted(decoded) == [[0], [1]]


def test_a_write_is_silent(tables, caplog):
    tables.ensure(ref("every"), parse_ddl(EVERY_TYPE))
    session = tables.write(ref("every"), "overwrite", "t")
    session.commit([stage(session, 0, pa.record_batch({"a": [1, None]}))])
    assert ids_of(tables.source(ref("every"))) == [1, None]
    assert caplog.records == []


def ids_of(source):
    return read(source, ["a"])["a"].to_pylist()


def test_importing_the_room_is_light():
    code = "import sys, pai_train.tables; sys.exit('pyarrow' in sys.modules or 'pyiceberg' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
