"""The table suite with a database as catalog: SQLite and PostgreSQL, also over a store without exclusive create."""

from __future__ import annotations

import os
import socket
import sqlite3
import subprocess
import sys
import time
import uuid

import pytest
from pyiceberg.catalog.sql import SqlCatalog
from sqlalchemy.exc import OperationalError

from pai_train.errors import TableError
from pai_train.spec.ddl import parse_ddl
from pai_train.storage import join
from pai_train.tables.iceberg import IcebergTables
from tests.suites.table_rows import IRIS, PROJECT, ids, ref, rows, stage, write
from tests.suites.table_suite import TableSuite

APPEND = """
import sys
from pai_train.storage import Access, StorageOptions, Stores
from pai_train.tables.iceberg import IcebergTables
from tests.suites.table_rows import ids, ref, rows, write
root, catalog, number, endpoint = sys.argv[1:]
stores = Stores(StorageOptions(access={"s3": Access(endpoint=endpoint)})) if endpoint else None
tables = IcebergTables(root, "lab", stores, catalog or None)
for at in (*range(3), 2):
    lo = int(number) * 100 + at * 10
    write(tables, "iris", f"w{number}-{at}", rows(lo, lo + 10), mode="append")
"""


def together(root, catalog, *, endpoint="", env=None):
    """Runs four processes that each commit three writes, the last one twice."""
    argv = [[sys.executable, "-c", APPEND, root, catalog or "", str(number), endpoint] for number in range(4)]
    children = [subprocess.Popen(words, env={**os.environ, **(env or {})}, stderr=subprocess.PIPE) for words in argv]
    assert [(child.communicate(timeout=120)[1], child.returncode) for child in children] == [(b"", 0)] * 4
    return sorted(lo + at for lo in range(0, 400, 100) for at in range(30))


class TestSqlite(TableSuite):
    @pytest.fixture
    def tables(self, tmp_path):
        return IcebergTables(str(tmp_path / "my tables"), PROJECT, catalog=f"sqlite:///{tmp_path}/team/catalog.db")


class TestPostgres(TableSuite):
    @pytest.fixture
    def tables(self, tmp_path, postgres_server, monkeypatch):
        monkeypatch.setenv("PGPASSWORD", postgres_server.password)
        return IcebergTables(str(tmp_path), PROJECT, catalog=postgres_server.address(postgres_server.database()))


@pytest.fixture(params=["sqlite", "postgresql"])
def address(request, tmp_path, monkeypatch):
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/catalog.db"
    server = request.getfixturevalue("postgres_server")
    monkeypatch.setenv("PGPASSWORD", server.password)
    return server.address(server.database())


@pytest.fixture
def iris(tmp_path, address):
    tables = IcebergTables(str(tmp_path / "t"), PROJECT, catalog=address)
    tables.ensure(ref("iris"), parse_ddl(IRIS))
    return tables


@pytest.mark.parametrize("address", ["postgresql"], indirect=True)
def test_four_processes_lose_nothing(iris, address):
    wanted = together(iris.root, address)
    assert sorted(ids(iris.source(ref("iris")))) == wanted
    assert len(iris._catalog.load_table((PROJECT, "iris")).snapshots()) == 12


def test_a_store_without_exclusive_create_will_do(rclone_server, tmp_path, monkeypatch):
    rclone_server.enter(monkeypatch)
    root, catalog = join(rclone_server.root(), "tables"), f"sqlite:///{tmp_path}/catalog.db"
    with pytest.raises(TableError, match="exactly one creates"):
        IcebergTables(root, PROJECT, rclone_server.stores())
    tables = IcebergTables(root, PROJECT, rclone_server.stores(), catalog)
    tables.ensure(ref("iris"), parse_ddl(IRIS))
    wanted = together(root, catalog, endpoint=rclone_server.endpoint)
    assert sorted(ids(tables.source(ref("iris")))) == wanted


def test_the_database_is_the_only_commit_point(iris, address, tmp_path):
    write(iris, "iris", "a", rows(0, 5))
    location = iris._catalog.load_table((PROJECT, "iris")).location()
    assert location == f"file://{tmp_path}/t/{PROJECT}/iris"
    elsewhere = IcebergTables(str(tmp_path / "other root"), PROJECT, catalog=address)
    assert ids(elsewhere.source(ref("iris"))) == list(range(5)), "the catalog knows where a table lies"


def test_opening_changes_nothing(tmp_path, postgres_server, monkeypatch):
    monkeypatch.setenv("PGPASSWORD", postgres_server.password)
    database = postgres_server.database()
    tables = IcebergTables(str(tmp_path / "t"), PROJECT, catalog=postgres_server.address(database))
    listed = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
    for look in (lambda: tables.names(PROJECT), lambda: tables.describe(ref("iris"))):
        assert not look()
    assert tables._catalog.probe(PROJECT) == "answers; a table can be created"
    assert postgres_server.run(database, listed) == []
    tables.ensure(ref("iris"), parse_ddl(IRIS))
    assert tables._catalog.probe(PROJECT) == "answers; a table can be created"
    assert postgres_server.run(database, "SELECT table_name FROM iceberg_tables") == [("iris",)]


def test_a_file_that_cannot_be_made_is_told_by_the_probe(tmp_path):
    (tmp_path / "file").write_text("in the way")
    tables = IcebergTables(str(tmp_path / "t"), PROJECT, catalog=f"sqlite:///{tmp_path}/file/catalog.db")
    with pytest.raises(TableError, match="cannot be made"):
        tables._catalog.probe(PROJECT)


def test_a_user_who_may_only_read_is_told_by_the_probe(tmp_path, postgres_server, monkeypatch):
    database, user, password = postgres_server.database(), f"u{uuid.uuid4().hex}", uuid.uuid4().hex
    monkeypatch.setenv("PGPASSWORD", postgres_server.password)
    address = postgres_server.address(database)
    write(_iris(tmp_path, address), "iris", "t", rows(0, 3))
    postgres_server.run(database, f"CREATE USER {user} PASSWORD '{password}'")
    postgres_server.run(database, f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {user}")
    monkeypatch.setenv("PGPASSWORD", password)
    tables = IcebergTables(str(tmp_path), PROJECT, catalog=address.replace("pai@", f"{user}@"))
    assert ids(tables.source(ref("iris"))) == [0, 1, 2]
    with pytest.raises(TableError, match="permission denied") as caught:
        tables._catalog.probe(PROJECT)
    assert password not in str(caught.value)
    assert password not in repr(caught.value)


def _iris(tmp_path, address):
    tables = IcebergTables(str(tmp_path), PROJECT, catalog=address)
    tables.ensure(ref("iris"), parse_ddl(IRIS))
    return tables


def test_plain_pyiceberg_reads_the_catalog(tmp_path):
    write(_iris(tmp_path / "t", f"sqlite:///{tmp_path}/c.db"), "iris", "a", rows(0, 5))
    plain = SqlCatalog("pai_train", uri=f"sqlite:///{tmp_path}/c.db", warehouse=f"file://{tmp_path}/t")
    assert plain.load_table((PROJECT, "iris")).scan().to_arrow()["id"].to_pylist() == list(range(5))
    plain.close()


@pytest.mark.parametrize("source", ["PGPASSWORD", "PGPASSFILE"])
def test_a_password_comes_from_the_environment_and_is_never_shown(tmp_path, postgres_server, monkeypatch, source):
    address = postgres_server.address(postgres_server.database())
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("PGPASSWORD", raising=False)
    with pytest.raises(TableError, match=r"no password supplied(.|\n)*PGPASSWORD"):
        IcebergTables(str(tmp_path), PROJECT, catalog=address)
    if source == "PGPASSWORD":
        monkeypatch.setenv("PGPASSWORD", postgres_server.password)
    else:
        (tmp_path / "pgpass").write_text(f"*:*:*:*:{postgres_server.password}\n")
        (tmp_path / "pgpass").chmod(0o600)
        monkeypatch.setenv("PGPASSFILE", str(tmp_path / "pgpass"))
    tables = IcebergTables(str(tmp_path), PROJECT, catalog=address)
    assert tables.names(PROJECT) == []
    shown = f"{tables!r} {tables._catalog!r} {tables._catalog.engine!r} {tables._catalog.properties}"
    assert postgres_server.password not in shown


def test_a_wrong_password_is_refused_without_being_told(tmp_path, postgres_server, monkeypatch):
    wrong = uuid.uuid4().hex
    monkeypatch.setenv("PGPASSWORD", wrong)
    with pytest.raises(TableError, match=r"refuses(.|\n)*authentication failed") as caught:
        IcebergTables(str(tmp_path), PROJECT, catalog=postgres_server.address("postgres"))
    chain = [caught.value, caught.value.__cause__, caught.value.__context__]
    assert all(wrong not in f"{error!s} {error!r}" for error in chain)


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("postgresql://pai:hunter2secret@db/x", "secret in plain text"),
        ("postgresql://pai@db/x?password=hunter2secret", "secret in plain text"),
        ("postgresql://pai@db/x?sslpassword=hunter2secret", "'sslpassword' is not one of"),
        ("postgresql://pai@db", "names no database"),
        ("postgresql:///x", "names no host"),
        ("postgresql://pai@db:port/x", "Port could not be cast"),
        ("postgres://pai@db/x", r"not the address(.|\n)*did you mean postgresql://"),
        ("sqlit:///x.db", r"not the address(.|\n)*did you mean sqlite:///"),
        ("sqlite://x.db", "three slashes"),
        ("sqlite:///:memory:", "names no file"),
        ("https://user@host/", "a user has no place"),
        ("hive", r"null for the store itself"),
    ],
)
def test_addresses_that_are_refused(tmp_path, address, words):
    with pytest.raises(TableError, match=words) as caught:
        IcebergTables(str(tmp_path), PROJECT, catalog=address)
    assert "hunter2secret" not in str(caught.value) or "sslpassword" in address


def test_no_server_is_an_error_within_seconds(tmp_path):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        address = f"postgresql://pai@127.0.0.1:{nobody.getsockname()[1]}/x"
        begin = time.monotonic()
        with pytest.raises(TableError, match=r"does not answer(.|\n)*refused"):
            IcebergTables(str(tmp_path), PROJECT, catalog=address)
    assert time.monotonic() - begin < 5


def test_a_server_that_says_nothing_is_an_error_within_the_deadline(tmp_path, monkeypatch):
    monkeypatch.setattr("pai_train.tables.sql_catalog._CONNECT_S", 2)
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        begin = time.monotonic()
        with pytest.raises(TableError, match=r"does not answer(.|\n)*timeout expired"):
            IcebergTables(str(tmp_path), PROJECT, catalog=f"postgresql://pai@127.0.0.1:{mute.getsockname()[1]}/x")
    assert time.monotonic() - begin < 10


@pytest.mark.parametrize(
    ("library", "address"), [("sqlalchemy", "sqlite:///x.db"), ("psycopg2", "postgresql://pai@127.0.0.1:1/x")]
)
def test_a_missing_library_names_the_extra(tmp_path, library, address):
    code = """
import sys
sys.modules[sys.argv[2]] = None
from pai_train.errors import TableError
from pai_train.tables.iceberg import IcebergTables
IcebergTables(sys.argv[1], "lab")
try:
    IcebergTables(sys.argv[1], "lab", catalog=sys.argv[3])
except TableError as error:
    sys.stdout.write(str(error))
"""
    argv = [sys.executable, "-c", code, str(tmp_path), library, address]
    found = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert "pai_train[sql]" in found.stdout


def test_a_locked_database_is_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr("pai_train.tables.sql_catalog._STATEMENT_S", 0.2)
    tables = _iris(tmp_path, f"sqlite:///{tmp_path}/c.db")
    session = tables.write(ref("iris"), "append", "t")
    part = stage(session, 0, rows(0, 3))
    other = sqlite3.connect(tmp_path / "c.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(TableError, match="locked"):
        tables.names(PROJECT)
    other.rollback()
    other.close()
    assert session.commit([part]).rows == 3


def test_a_commit_whose_answer_was_lost_counts_once(iris, monkeypatch):
    real, lost = SqlCatalog.commit_table, iter([True])

    def commit(self, *asked):
        answer = real(self, *asked)
        if next(lost, False):
            raise OperationalError("UPDATE", {}, Exception("server closed the connection"))
        return answer

    monkeypatch.setattr(SqlCatalog, "commit_table", commit)
    assert write(iris, "iris", "once", rows(0, 5), mode="append").rows == 5
    assert len(iris._catalog.load_table((PROJECT, "iris")).snapshots()) == 1
    assert ids(iris.source(ref("iris"))) == list(range(5))
