"""Recipes whose tables are listed by a database: what a run, a check and a fault say."""

from __future__ import annotations

import pytest

from pai_train.__main__ import main
from pai_train.tables.iceberg import IcebergTables
from tests.suites.modes import checked, section, tree
from tests.suites.table_rows import ref


def test_a_run_on_a_catalog(jobs):
    record = jobs.done("+recipe=iris", "tables.catalog=sqlite:///data/catalog.db", "train.epochs=1")
    assert record["outputs"]["predictions"]["rows"] == 150
    tables = IcebergTables(str(jobs.cwd / "data/tables"), "pai_train", catalog=f"sqlite:///{jobs.cwd}/data/catalog.db")
    assert tables.names("pai_train") == ["iris", "iris_output"]
    assert tables.source(ref("odps://pai_train/tables/iris_output")).snapshot.rows == 150
    assert IcebergTables(str(jobs.cwd / "data/tables"), "pai_train").names("pai_train") == []


def test_a_check_asks_the_catalog_and_changes_nothing(here, capsys, postgres_server, monkeypatch):
    monkeypatch.setenv("PGPASSWORD", postgres_server.password)
    database = postgres_server.database()
    words = ["+recipe=iris", f"tables.catalog={postgres_server.address(database)}"]
    code, out, err = checked(capsys, *words)
    assert code == 0, out + err
    assert section(out, "tables.catalog")["catalog"] == ("ok", "answers; a table can be created")
    assert "create" not in section(out, "tables.root "), "only checkpoints need to know who was first"
    assert postgres_server.run(database, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [(0,)]
    assert tree(here) == {}


def test_a_check_tells_of_a_catalog_that_does_not_answer(here, capsys):
    code, out, _ = checked(capsys, "+recipe=iris", "tables.catalog=postgresql://pai@127.0.0.1:1/x")
    assert code == 2
    state, words = section(out, "tables.catalog")["catalog"]
    assert state == "FAIL"
    assert "does not answer" in words


def test_a_run_is_refused_where_the_catalog_does_not_answer(here, capsys):
    assert main(["+recipe=iris", "tables.catalog=postgresql://pai@127.0.0.1:1/x"]) == 2
    told = capsys.readouterr().err
    assert "command line tables.catalog=" in told
    assert "does not answer" in told
    assert tree(here) == {}


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("postgresql://pai:hunter2secret@db/x", "PGPASSWORD in the environment, or ~/.pgpass"),
        ("https://pai:hunter2secret@catalog/", "PAI_TRAIN_CATALOG_TOKEN"),
        ("postgresql://pai@db/x?password=hunter2secret", "PGPASSWORD in the environment, or ~/.pgpass"),
        ("${oc.env:CATALOG_PASSWORD}", "goes into names and logs"),
        ("${oc.env:CATALOG}", "PGPASSWORD in the environment, or ~/.pgpass"),
        ("postgre://pai@db/x", "did you mean postgresql://user@host:5432/database?"),
        ("sqlite://x.db", "three slashes"),
    ],
)
def test_what_is_no_catalog_is_refused(here, capsys, monkeypatch, address, words):
    monkeypatch.setenv("CATALOG_PASSWORD", "hunter2secret")
    monkeypatch.setenv("CATALOG", "postgresql://pai:hunter2secret@db/x")
    assert main(["+recipe=iris", f"tables.catalog='{address}'"]) == 2
    captured = capsys.readouterr()
    assert words in captured.err
    assert "hunter2secret" not in captured.err + captured.out
    assert tree(here) == {}
