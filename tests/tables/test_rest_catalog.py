"""The table suite with a REST service as catalog, and what only a service does: tokens, lost answers, silence."""

from __future__ import annotations

import socket
import threading
import time
import uuid
from contextlib import contextmanager

import pytest

from pai_train.errors import TableError
from pai_train.spec.ddl import parse_ddl
from pai_train.tables.expire import Expiry, Policy
from pai_train.tables.iceberg import IcebergTables
from pai_train.tables.pins import Pin
from tests.suites.table_rows import IRIS, PROJECT, ids, ref, rows, write
from tests.suites.table_suite import TableSuite
from tests.tables.test_sql_catalog import together


@pytest.fixture
def tables(tmp_path, rest_catalog, monkeypatch):
    monkeypatch.setenv("PAI_TRAIN_CATALOG_TOKEN", rest_catalog.token)
    return IcebergTables(str(tmp_path / "my tables"), PROJECT, catalog=rest_catalog.address)


class TestRest(TableSuite):
    @pytest.fixture
    def tables(self, tables):
        return tables


@pytest.fixture
def iris(tables):
    tables.ensure(ref("iris"), parse_ddl(IRIS))
    return tables


def test_four_processes_lose_nothing(iris, rest_catalog):
    wanted = together(iris.root, rest_catalog.address)
    assert sorted(ids(iris.source(ref("iris")))) == wanted


def test_a_commit_whose_answer_was_lost_counts_once(iris, rest_catalog):
    rest_catalog.lose(1)
    assert write(iris, "iris", "once", rows(0, 5), mode="append").rows == 5
    assert len(iris._catalog.load_table((PROJECT, "iris")).snapshots()) == 1
    assert ids(iris.source(ref("iris"))) == list(range(5))


def test_a_table_lies_below_the_root(iris, tmp_path):
    assert iris._catalog.load_table((PROJECT, "iris")).location() == f"file://{tmp_path}/my tables/{PROJECT}/iris"


def test_the_probe_creates_nothing(tables):
    assert "would be made" in tables._catalog.probe(PROJECT)
    tables.ensure(ref("iris"), parse_ddl(IRIS))
    assert tables._catalog.probe(PROJECT) == "answers; a table can be created"
    assert tables.names(PROJECT) == ["iris"]


def test_snapshots_expire_and_their_files_are_collected(iris, tmp_path):
    old = [write(iris, "iris", f"t{n}", rows(n, n + 5)).id for n in range(3)]
    iris.pin(ref("iris"), Pin("run", time.time() + 30 * 86400, (old[0],)))
    expiry = Expiry(iris._catalog, ref("iris"), Policy(0, 1, 86400), lambda: time.time() + 2 * 86400)
    done = expiry.run(lambda: None)
    assert [str(one) for one in done.snapshots] == [old[1]]
    assert {path.parent.name for path in tmp_path.rglob("data/*/*.parquet")} == {"t0", "t2"}
    assert ids(iris.source(ref("iris"), old[0])) == list(range(5))
    assert ids(iris.source(ref("iris"))) == list(range(2, 7))


def test_a_credential_is_exchanged_for_a_token(tmp_path, rest_catalog, monkeypatch):
    monkeypatch.setenv("PAI_TRAIN_CATALOG_CREDENTIAL", rest_catalog.credential)
    tables = IcebergTables(str(tmp_path), PROJECT, catalog=f"{rest_catalog.address}/?warehouse=mine")
    assert tables.names(PROJECT) == []
    assert rest_catalog.credential.partition(":")[2] not in f"{tables!r} {tables._catalog!r}"


@pytest.mark.parametrize("variable", ["PAI_TRAIN_CATALOG_TOKEN", "PAI_TRAIN_CATALOG_CREDENTIAL", None])
def test_nobody_is_let_in_without_a_valid_token(tmp_path, rest_catalog, monkeypatch, variable):
    wrong = uuid.uuid4().hex
    if variable is not None:
        monkeypatch.setenv(variable, f"pai:{wrong}")
    with pytest.raises(TableError, match=r"refuses(.|\n)*PAI_TRAIN_CATALOG_TOKEN") as caught:
        IcebergTables(str(tmp_path), PROJECT, catalog=rest_catalog.address)
    assert wrong not in str(caught.value)


@contextmanager
def answering(text):
    """Answers every connection with a text; None says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve():
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                if text is not None:
                    with connection:
                        connection.recv(65536)
                        connection.sendall(text.encode())

        threading.Thread(target=serve, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}"
        finally:
            server.shutdown(socket.SHUT_RDWR)


def test_no_server_is_an_error_within_seconds(tmp_path):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        begin = time.monotonic()
        with pytest.raises(TableError, match=r"does not answer(.|\n)*refused"):
            IcebergTables(str(tmp_path), PROJECT, catalog=f"http://127.0.0.1:{nobody.getsockname()[1]}")
    assert time.monotonic() - begin < 5


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, r"does not answer(.|\n)*timed out"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello", "no Iceberg REST catalog"),
    ],
)
def test_silence_and_nonsense(tmp_path, monkeypatch, text, words):
    monkeypatch.setattr("pai_train.tables.rest_catalog._ANSWER_S", 0.2)
    with answering(text) as address, pytest.raises(TableError, match=words):
        IcebergTables(str(tmp_path), PROJECT, catalog=address)
