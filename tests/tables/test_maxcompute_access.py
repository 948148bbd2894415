"""Who we are on MaxCompute, and each refusal by its own name: keys, files, roles, projects, networks."""

from __future__ import annotations

import logging
import pickle
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from pai_train.errors import PaiTrainError, TableError
from pai_train.redact import redact
from pai_train.spec.ddl import parse_ddl
from pai_train.storage import AccessRefused, Limits, StorageOptions, Stores, StoreUnavailable
from pai_train.tables.maxcompute import open_tables
from pai_train.tables.maxcompute.service import find_service
from tests.servers.maxcompute_fixture import ROLE
from tests.servers.process import free_port
from tests.suites.table_rows import IRIS, ids, ref, rows, write
from tests.tables.maxcompute_tables import reopen, service, tables  # noqa: F401 - fixtures

# ruff: noqa: F811 - fixtures that are imported

KEYS = ("ALIBABA_CLOUD_ACCESS_KEY_ID", "ALIBABA_CLOUD_ACCESS_KEY_SECRET", "ALIBABA_CLOUD_SECURITY_TOKEN")
STS = ("ODPS_STS_ACCESS_KEY_ID", "ODPS_STS_ACCESS_KEY_SECRET", "ODPS_STS_TOKEN", "ODPS_STS_ACCOUNT_FILE")
IMPATIENT = Stores(StorageOptions(limits=Limits(timeout_s=1, deadline_s=0.5)))


@pytest.fixture(autouse=True)
def clean(reopen, monkeypatch, tmp_path):
    """No key is in the environment, and no file of keys and no cloud's own service is near."""
    from alibabacloud_credentials.utils import auth_constant, auth_util

    for name in (*KEYS, *STS, "ODPS_CONFIG_FILE_PATH", "ODPS_TUNNEL_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(auth_util, "environment_ecs_metadata_disabled", "true")
    monkeypatch.setattr(auth_util, "environment_access_key_id", None)
    monkeypatch.setattr(auth_constant, "HOME", str(tmp_path))


def works(tables: Any) -> None:
    tables.ensure(ref("iris"), parse_ddl(IRIS))
    write(tables, "iris", "t", rows(0, 3))
    assert ids(tables.source(ref("iris"))) == [0, 1, 2]


def enter(monkeypatch, values):
    for name, value in values.items():
        monkeypatch.setenv(name, value)


# Keys


def test_the_file_of_pai(reopen, maxcompute_server, monkeypatch, tmp_path):
    user = maxcompute_server.user
    file = tmp_path / "odps.conf"
    file.write_text(
        f"# of PAI\naccess_id={user.key}\naccess_key={user.secret}\nend_point={maxcompute_server.endpoint}\n"
        "unknown=a=b\n"
    )
    monkeypatch.setenv("ODPS_CONFIG_FILE_PATH", str(file))
    monkeypatch.delenv("ODPS_ENDPOINT")
    works(reopen())
    assert user.secret not in redact(f"it is {user.secret}")
    file.write_text(f"access_id={user.key}\nend_point={maxcompute_server.endpoint}\n")
    with pytest.raises(AccessRefused, match=r"half a credential(.|\n)*access_key"):
        reopen().names("lab")
    file.write_text("access_id\n")
    with pytest.raises(TableError, match=r"odps.conf:1: not a line of the form key=value"):
        reopen()
    monkeypatch.setenv("ODPS_CONFIG_FILE_PATH", str(tmp_path / "missing"))
    with pytest.raises(TableError, match="cannot be read"):
        reopen()


def test_the_environment_of_the_cloud_and_of_pyodps(reopen, maxcompute_server, maxcompute_door, monkeypatch):
    enter(monkeypatch, maxcompute_server.user.env)
    works(reopen())
    for name in KEYS:
        monkeypatch.delenv(name, raising=False)
    user = maxcompute_door.temporary(3600)
    enter(monkeypatch, dict(zip(STS, (user.key, user.secret, user.token), strict=False)))
    assert reopen().names("lab") == ["iris"]


def test_a_temporary_key_in_a_file(reopen, maxcompute_door, monkeypatch, tmp_path):
    user = maxcompute_door.temporary(3600)
    file = tmp_path / "sts.json"
    file.write_text(
        f'{{"accessKeyId": "{user.key}", "accessKeySecret": "{user.secret}", "securityToken": "{user.token}"}}'
    )
    monkeypatch.setenv("ODPS_STS_ACCOUNT_FILE", str(file))
    assert reopen().names("lab") == []
    file.write_text("{}")
    with pytest.raises(AccessRefused, match="holds no temporary key"):
        reopen().names("lab")


def test_a_temporary_key_that_ended(reopen, maxcompute_door, monkeypatch):
    user = maxcompute_door.temporary(30)
    enter(monkeypatch, user.env)
    assert reopen().names("lab") == []
    with maxcompute_door.clock(60), pytest.raises(AccessRefused, match=r"token (.|\n)*tables.role_arn"):
        reopen().names("lab")


def test_a_role(maxcompute_server, monkeypatch, tmp_path):
    from Tea.core import TeaCore

    send = TeaCore.do_action

    def plainly(request: Any, options: Any = None) -> Any:
        request.protocol = "http"
        return send(request, options)

    monkeypatch.setattr(TeaCore, "do_action", staticmethod(plainly))
    monkeypatch.setenv("ALIBABA_CLOUD_STS_ENDPOINT", maxcompute_server.token_service)
    enter(monkeypatch, maxcompute_server.user.env)
    works(open_tables(str(tmp_path / "tables"), "lab", role_arn=ROLE))
    unknown = open_tables(str(tmp_path / "tables"), "lab", role_arn=f"{ROLE}-of-nobody")
    with pytest.raises(AccessRefused, match=r"the role cannot be taken on(.|\n)*trust"):
        unknown.names("lab")


def test_no_key(reopen):
    with pytest.raises(AccessRefused, match=r"no credentials for MaxCompute(.|\n)*ALIBABA_CLOUD_ACCESS_KEY_ID"):
        reopen().names("lab")


@pytest.mark.parametrize("where", ["rest", "tunnel"])
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("ALIBABA_CLOUD_ACCESS_KEY_ID", "does not know the access key"),
        ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "refuses the key: its secret is wrong"),
    ],
)
def test_a_wrong_key_is_told_and_not_shown(name, words, where, reopen, maxcompute_server, monkeypatch, caplog):
    caplog.set_level(logging.DEBUG)
    enter(monkeypatch, maxcompute_server.user.env)
    tables = reopen()
    tables.ensure(ref("iris"), parse_ddl(IRIS))
    source = None
    if where == "tunnel":
        write(tables, "iris", "t", rows(0, 3))
        source = tables.source(ref("iris"))
    monkeypatch.setenv(name, "LTAIwrongwrongwrong")
    with pytest.raises(PaiTrainError, match=rf"{words}(.|\n)*access_key in the file") as caught:
        tables.names("lab") if source is None else ids(source)
    said = f"{caught.value} {caught.value.__cause__} {tables!r} {tables._connection!r} {caplog.text}"
    assert maxcompute_server.user.secret not in said
    assert "wrongwrong" not in str(caught.value)


def test_no_key_is_held_in_what_can_be_shown_or_pickled(reopen, maxcompute_server, monkeypatch):
    enter(monkeypatch, maxcompute_server.user.env)
    tables = reopen()
    assert tables.names("lab") == []
    account = tables._connection._account
    assert maxcompute_server.user.secret not in f"{account!r} {vars(account)!r} {account._source.__dict__!r}"
    with pytest.raises(TypeError):
        pickle.dumps(account)


# Places


def test_no_place(monkeypatch, tmp_path):
    monkeypatch.delenv("ODPS_ENDPOINT")
    with pytest.raises(TableError, match=r"^tables.endpoint: no address(.|\n)*ODPS_ENDPOINT"):
        open_tables(str(tmp_path), "lab")
    monkeypatch.delenv("ODPS_PROJECT_NAME")
    with pytest.raises(TableError, match=r"^tables.project: no project(.|\n)*ODPS_PROJECT_NAME(.|\n)*project_name"):
        open_tables(str(tmp_path), "", endpoint="https://service.test/api")
    with pytest.raises(TableError, match=r"not an address"):
        open_tables(str(tmp_path), "lab", endpoint="ftp://service.test/api")


def test_what_is_given_goes_before_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("ODPS_ENDPOINT", "https://environment.test/api")
    monkeypatch.setenv("ODPS_TUNNEL_ENDPOINT", "https://tunnel.test")
    file = tmp_path / "odps.conf"
    file.write_text("end_point=https://file.test/api\ntunnel_endpoint=https://tunnel.file\nproject_name=filed\n")
    monkeypatch.setenv("ODPS_CONFIG_FILE_PATH", str(file))
    found = find_service("given.test/api/", None, "Given")
    assert (found.endpoint, found.tunnel_endpoint, found.project) == (
        "https://given.test/api",
        "https://tunnel.test",
        "given",
    )
    for name in ("ODPS_ENDPOINT", "ODPS_TUNNEL_ENDPOINT", "ODPS_PROJECT_NAME"):
        monkeypatch.delenv(name)
    found = find_service()
    assert (found.endpoint, found.tunnel_endpoint, found.project) == (
        "https://file.test/api",
        "https://tunnel.file",
        "filed",
    )


def test_a_service_that_is_away(maxcompute_server, monkeypatch, tmp_path):
    enter(monkeypatch, maxcompute_server.user.env)
    away = f"http://127.0.0.1:{free_port()}/api"
    with pytest.raises(StoreUnavailable, match=r"cannot be reached, \d+ times(.|\n)*tables.endpoint"):
        open_tables(str(tmp_path), "lab", IMPATIENT, endpoint=away).names("lab")
    tables = open_tables(str(tmp_path), "lab", IMPATIENT, tunnel_endpoint=away)
    tables.ensure(ref("iris"), parse_ddl(IRIS))
    with pytest.raises(StoreUnavailable, match=r"iris: MaxCompute cannot be reached(.|\n)*tables.tunnel_endpoint"):
        tables.source(ref("iris"))


@pytest.mark.parametrize(
    ("status", "words"),
    [(200, r"not MaxCompute\n.*Log in, please(.|\n)*tables.endpoint"), (404, r"not an address(.|\n)*tables.endpoint")],
)
def test_what_answers_is_something_else(status, words, maxcompute_server, monkeypatch, tmp_path):
    class Page(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status)
            self.end_headers()
            self.wfile.write(b"<html><body>Log in, please.</body></html>")

        def log_message(self, *args):
            pass

    enter(monkeypatch, maxcompute_server.user.env)
    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever).start()
        url = f"http://127.0.0.1:{server.server_port}"
        with pytest.raises(TableError, match=words):
            open_tables(str(tmp_path), "lab", IMPATIENT, endpoint=url).describe(ref("iris"))
        server.shutdown()


def test_no_such_project(reopen, maxcompute_server, monkeypatch):
    enter(monkeypatch, maxcompute_server.user.env)
    tables = reopen()
    elsewhere = ref("odps://nowhere/tables/iris")
    for opened in (tables.describe, tables.source, lambda name: tables.ensure(name, parse_ddl(IRIS))):
        with pytest.raises(TableError, match=r"no such project(.|\n)*tables.project"):
            opened(elsewhere)


@pytest.mark.parametrize(
    ("operation", "act"),
    [
        ("GetTable", lambda tables: tables.describe(ref("iris"))),
        ("CreateInstance", lambda tables: tables.ensure(ref("new"), parse_ddl("CREATE TABLE new (a INT)"))),
        ("CreateDownload", lambda tables: tables.source(ref("iris"))),
        ("CreateUpload", lambda tables: write(tables, "iris", "t", rows(0, 3))),
    ],
)
def test_no_permission(operation, act, reopen, maxcompute_server, maxcompute_door, monkeypatch):
    enter(monkeypatch, maxcompute_server.user.env)
    tables = reopen()
    tables.ensure(ref("iris"), parse_ddl(IRIS))
    message = "ODPS-0420095: Access Denied - You have NO privilege 'odps:Something' on {acs:odps:*:projects/lab}"
    maxcompute_door.fault(operation, "error", status=403, code="NoPermission", message=message)
    with pytest.raises(AccessRefused, match=r"no permission for this operation(.|\n)*NO privilege 'odps:Something'"):
        act(tables)


def test_a_statement_that_is_refused(reopen, maxcompute_server, monkeypatch):
    enter(monkeypatch, maxcompute_server.user.env)
    with pytest.raises(TableError, match=r"refuses the statement(.|\n)*ODPS-0130161"):
        reopen()._connection.run("CREATE TABEL t (a INT)", "lab", "t")


def test_pyodps_is_missing(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "odps", None)
    with pytest.raises(TableError, match=r"no module 'odps'(.|\n)*pip install 'pai_train\[maxcompute\]'"):
        open_tables(str(tmp_path), "lab")


def test_a_check_tries_what_a_run_needs_and_leaves_nothing(reopen, maxcompute_server, maxcompute_door, monkeypatch):
    enter(monkeypatch, maxcompute_server.user.env)
    tables = reopen()
    assert [(name, bool(work())) for name, work in tables.checks()] == [
        (name, True) for name in ("project", "create", "write", "read", "drop")
    ]
    checks = tables.checks()
    for name, work in checks:
        work()
        if name == "create":
            assert len(tables.names("lab")) == 1
            break
    checks.close()
    assert tables.names("lab") == []
