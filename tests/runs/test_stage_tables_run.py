"""mode=stage into tables: columns, partitions, write modes, rows that hash alike, and a kill before the commit."""

from __future__ import annotations

import pyarrow as pa
import pytest

from pai_train.__main__ import main
from pai_train.fill import Fill, RowsDigest, content
from pai_train.spec.address import TableRef
from pai_train.spec.ddl import parse_ddl
from pai_train.storage import open_store
from pai_train.tables.iceberg import IcebergTables
from tests.suites.modes import put, refused, rows, staged, tree

ROWS = "create table t(a BIGINT, b STRING)"


CSV = {"one.csv": "1,a\n2,\n", "two.csv": '3,"b,""c"\n,d\n'}


def test_files_into_a_new_table(here):
    put(here, CSV)
    done = staged("stage.from=*.csv", "stage.to=t", f"stage.ddl={ROWS}")
    assert (done.files, done.place) == (2, "odps://pai_train/tables/t")
    assert rows("t") == [(1, "a"), (2, ""), (3, 'b,"c'), (None, "d")]
    before = tree(here)
    assert staged("stage.from=*.csv", "stage.to=t", f"stage.ddl={ROWS}").skipped == 2
    assert tree(here) == before


def test_the_columns_of_a_table_that_is_there(here):
    put(here, {"data.csv": "b;a\nx;1\n"})
    tables = IcebergTables("data/tables", "pai_train")
    tables.ensure(TableRef("pai_train", "t"), parse_ddl(ROWS))
    staged("stage.from=data.csv", "stage.to=odps://pai_train/tables/t", "stage.header=true", "stage.delimiter=';'")
    assert rows("t") == [(1, "x")]
    put(here, {"data.csv": "b\ta\nx\t2\n"})
    words = ["stage.from=data.csv", "stage.to=odps://pai_train/tables/t", "stage.header=true", "stage.delimiter=\\t"]
    assert "the table holds other rows" in refused(*words)
    assert staged(*words, "stage.write=append").files == 1
    assert sorted(rows("t")) == [(1, "x"), (2, "x")]
    assert staged(*words, "stage.write=append").skipped == 1
    assert sorted(rows("t")) == [(1, "x"), (2, "x")]
    assert staged(*words, "stage.write=overwrite").files == 1
    assert rows("t") == [(2, "x")]
    assert staged(*words, "stage.write=overwrite").skipped == 1
    assert staged(*words).skipped == 1


def test_the_columns_of_a_recipes_input(here):
    put(here, {"mine.csv": "1.5,2,3,4,x\n"})
    assert staged("+recipe=iris", "stage.from=mine.csv", "stage.to=iris").place == "odps://pai_train/tables/iris"
    assert rows("iris") == [(1.5, 2.0, 3.0, 4.0, "x")]
    # Without a recipe that has the table, the same name is an object's.
    assert staged("stage.from=mine.csv", "stage.to=iris").place == "data/iris"


def test_a_partition(here):
    put(here, {"a.csv": "1\n", "b.csv": "2\n"})
    ddl = "stage.ddl=create table s(a BIGINT) partitioned by (dt STRING)"
    for name, day in (("a", "d1"), ("b", "d2")):
        assert staged(f"stage.from={name}.csv", f"stage.to=odps://pai_train/tables/s/dt={day}", ddl).files == 1
    assert sorted(rows("s")) == [(1, "d1"), (2, "d2")]
    assert staged("stage.from=b.csv", "stage.to=odps://pai_train/tables/s/dt=d2", ddl).skipped == 1
    assert "holds other rows" in refused("stage.from=a.csv", "stage.to=odps://pai_train/tables/s/dt=d2", ddl)


def test_tables_that_do_not_fit(here):
    put(here, CSV)
    IcebergTables("data/tables", "pai_train").ensure(TableRef("pai_train", "t"), parse_ddl("create table t(a STRING)"))
    before = tree(here)
    assert "differs from the statement" in refused("stage.from=*.csv", "stage.to=t", f"stage.ddl={ROWS}")
    found = refused("stage.from=*.csv", "stage.to=odps://pai_train/tables/u")
    assert "nothing tells its columns" in found
    assert "stage.ddl='create table u" in found
    assert "2 fields" in refused("stage.from=one.csv", "stage.to=odps://pai_train/tables/t")
    assert tree(here) == before


def test_a_row_that_cannot_be_read_leaves_no_rows(here):
    put(here, {"one.csv": "1,a\n" * 20000 + "x,b\n"})
    code = main(["mode=stage", "stage.from=one.csv", "stage.to=t", f"stage.ddl={ROWS}"])
    assert code == 1
    assert rows("t") == []
    assert not [name for name in tree(here) if name.endswith(".parquet")]
    put(here, {"one.csv": "1,a\n" * 3})
    assert staged("stage.from=one.csv", "stage.to=t", f"stage.ddl={ROWS}").files == 1
    assert len(rows("t")) == 3


def test_rows_hash_alike_however_they_are_cut(here):
    batch = pa.record_batch({"a": [1, None, 3], "b": ["x", "", None]})
    whole, cut, other = RowsDigest(), RowsDigest(), RowsDigest()
    whole.update(batch)
    for at in range(3):
        cut.update(batch.slice(at, 1))
    other.update(pa.record_batch({"a": [1, None, 3], "b": ["x", None, ""]}))
    assert whole.hexdigest() == cut.hexdigest() != other.hexdigest()


def test_chunks_read_by_several_threads_stay_in_order(here):
    put(here, {"big.csv": "".join(f"{number},{'x' * (number % 50)}\n" for number in range(50_000))})
    staged("stage.from=big.csv", "stage.to=t", f"stage.ddl={ROWS}")
    assert [row[0] for row in rows("t")] == list(range(50_000))
    source = IcebergTables("data/tables", "pai_train").source(TableRef("pai_train", "t"))
    hashes = {content(source, ["a", "b"], parallel, lambda: None) for parallel in (1, 3, 8)}
    assert len(hashes) == 1


def test_a_table_write_that_was_killed_leaves_one_copy(here):
    """The rows are staged under a name made from the files, so that the next start sweeps what a kill left."""
    put(here, CSV)
    tables = IcebergTables("data/tables", "pai_train")
    killed = "kill after the part"
    session = None

    class Dies(IcebergTables):
        def write(self, ref, mode, token):
            nonlocal session
            session = super().write(ref, mode, token)
            session.commit = lambda parts: (_ for _ in ()).throw(SystemError(killed))
            session.abort = lambda: None
            return session

    from pai_train.feed.csv import CsvSource

    store = open_store(f"file://{here}")
    infos = [store.info(f"file://{here}/one.csv")]

    def fill(where):
        source = CsvSource(infos, {"a": pa.int64(), "b": pa.string()}, store=store, header=False)
        return Fill(source, 1, where, TableRef("pai_train", "t"), parse_ddl(ROWS), "fail")

    with pytest.raises(SystemError, match=killed):
        fill(Dies("data/tables", "pai_train")).run(lambda _: None, lambda: None)
    assert len([name for name in tree(here) if name.endswith(".parquet")]) == 1
    assert fill(tables).look(lambda: None) is False
    assert fill(tables).run(lambda _: None, lambda: None) == 2
    assert len([name for name in tree(here) if name.endswith(".parquet")]) == 1
    assert fill(tables).look(lambda: None) is True


def test_a_partitioned_table_needs_its_partition_named(here):
    put(here, {"a.csv": "1,x\n"})
    ddl = "create table p(a BIGINT, b STRING) partitioned by (dt STRING)"
    found = refused("stage.from=a.csv", "stage.to=odps://pai_train/tables/p", f"stage.ddl={ddl}")
    assert "a write goes to one whole partition" in str(found)
    assert set(tree(here)) == {"a.csv"}


def test_what_only_tables_have_is_refused_for_files(here):
    put(here, {"a.csv": "1,x\n"})
    found = refused("stage.from=a.csv", "stage.to=k", "stage.write=append", "stage.header=true")
    for key in ("stage.write", "stage.header"):
        assert f"{key}=" in str(found)
    assert "stage.to=odps://pai_train/tables/k" in str(found)
    assert set(tree(here)) == {"a.csv"}
