"""mode=check on every service: buckets, permissions, versioning, regions, clocks, signals and failures."""

from __future__ import annotations

import os
import signal

import pytest

from pai_train.__main__ import main
from pai_train.preflight import Place, permissions
from tests.servers.faults import faulty
from tests.suites.modes import checked, command, section, tree

REMOTE = ["s3", "gcs", "azure", "oss"]


@pytest.mark.parametrize("served", REMOTE, indirect=True)
def test_a_bucket_is_ready_once_the_sample_is_staged(served, here, capsys):
    root = served.root()
    store = served.stores().open(root)
    code, out, err = checked(capsys, *command(served, root, "+recipe=iris"))
    assert code == 2
    assert "mode=stage puts the sample iris.csv there" in section(out, "inputs.train")["data"][1]
    assert "1 failed" in out
    assert store.list(root) == []
    assert main([*command(served, root, "+recipe=iris"), "mode=stage"]) == 0
    before = store.list(root)
    capsys.readouterr()
    code, out, err = checked(capsys, *command(served, root, "+recipe=iris"))
    assert (code, err) == (0, ""), out
    assert section(out, f"{served.scheme}://{served.bucket}")["bucket"][0] == "ok"
    assert section(out, f"{served.scheme}://{served.bucket}")["clock"][0] == "ok"
    assert list(section(out, "checkpointDir ")) == ["list", "get", "put", "create", "delete"]
    assert {row[0] for row in section(out, "tables.root ").values()} == {"ok"}
    assert store.list(root) == before
    assert tree(here) == {}


@pytest.mark.parametrize("served", REMOTE, indirect=True)
def test_no_such_bucket(served, here, capsys):
    code, out, _ = checked(capsys, *command(served, f"{served.scheme}://not-a-bucket-of-ours/x", "+recipe=iris"))
    assert code == 2
    assert section(out, f"{served.scheme}://not-a-bucket-of-ours")["bucket"][0] == "FAIL"
    assert {row[0] for row in section(out, "checkpointDir ").values()} == {"-"}
    assert tree(here) == {}


@pytest.mark.parametrize("served", REMOTE, indirect=True)
def test_a_service_that_is_away_is_told_soon(served, here, capsys):
    with faulty(served) as (proxied, control):
        control.down()
        words = ["+recipe=iris", "storage.deadline_s=1"]
        code, out, _ = checked(capsys, *command(proxied, served.root(), *words))
    assert code == 2
    assert section(out, f"{served.scheme}://{served.bucket}")["clock"][0] == "-"
    assert section(out, f"{served.scheme}://{served.bucket}")["bucket"][0] == "FAIL"
    assert section(out, "this machine")["temporary"][0] == "ok"


@pytest.mark.parametrize("served", REMOTE, indirect=True)
def test_a_signal_in_the_middle_leaves_nothing(served, jobs):
    root = served.root()
    with faulty(served, share=1.0, kinds=["delay"], delay_s=0.3) as (proxied, control):
        running = jobs.start(*command(proxied, root, "+recipe=iris"), "mode=check", env=proxied.env)
        running.wait_for(lambda: any(one["method"] in ("PUT", "POST") for one in control.journal()))
        os.kill(running.pid, signal.SIGTERM)
        finished = running.wait()
    assert finished.code == 75, finished
    assert "left nothing behind" in finished.text
    assert served.stores().open(root).list(root) == []


@pytest.mark.parametrize("served", REMOTE, indirect=True)
def test_probes_through_failures(served):
    root = served.root()
    with faulty(served, share=0.3, seed=7) as (proxied, _):
        found = permissions(proxied.stores().open(root), Place("x", root, creates=True))
    assert {one.state for one in found} == {"ok"}, found
    assert served.stores().open(root).list(root) == []


# What OSS alone can be brought to


def oss_checked(capsys, served, bucket, *more):
    return checked(capsys, *command(served, f"oss://{bucket}/x", *more))


@pytest.mark.parametrize("lacking", ["list", "get", "put", "delete", "bucket"])
def test_each_permission_is_tried(lacking, oss_server, oss_door, here, capsys, monkeypatch):
    bucket = oss_door.bucket()
    allowed = [action for action in ("list", "get", "put", "delete", "bucket") if action != lacking]
    for name, value in {**oss_server.env, **oss_door.user(allowed).env}.items():
        monkeypatch.setenv(name, value)
    code, out, _ = oss_checked(capsys, oss_server, bucket, "+recipe=iris", "inputs.train.sample=null")
    found = section(out, "checkpointDir ")
    states = {check: row[0] for check, row in found.items()}
    assert code == 2
    if lacking == "bucket":
        assert section(out, f"oss://{bucket}")["bucket"][0] == "WARN"
        assert {**states} == dict.fromkeys(["list", "get", "put", "create", "delete"], "ok")
    else:
        assert states[lacking] == "FAIL"
        assert section(out, "storage.root ")[lacking][0] == ("FAIL" if lacking == "list" else "WARN")
        verb = {"list": "ListObjects", "get": "GetObject", "put": "PutObject", "delete": "DeleteObject"}[lacking]
        assert f"oss:{verb} on {bucket}/x/checkpoints/iris/*" in found[lacking][1].replace(" /", "/")
    oss_server.enter(monkeypatch)
    store = oss_server.stores().open(f"oss://{bucket}")
    assert store.list(f"oss://{bucket}") == []


def test_a_wrong_key_is_told_once(oss_server, here, capsys, monkeypatch):
    oss_server.enter(monkeypatch)
    monkeypatch.setenv("OSS_ACCESS_KEY_SECRET", "another-secret")
    code, out, err = oss_checked(capsys, oss_server, oss_server.bucket, "+recipe=iris")
    assert code == 2
    assert "OSS_ACCESS_KEY_SECRET" in section(out, f"oss://{oss_server.bucket}")["bucket"][1]
    assert out.count("FAIL") == 1
    assert "1 failed" in out
    assert "another-secret" not in out + err


@pytest.mark.parametrize(
    ("status", "result"), [(None, "ok"), ("Enabled", "FAIL"), ("Suspended", "FAIL")], ids=["off", "on", "suspended"]
)
def test_versioning(status, result, oss_server, oss_door, here, capsys, monkeypatch):
    oss_server.enter(monkeypatch)
    bucket = oss_door.bucket(versioning=status)
    code, out, _ = oss_checked(capsys, oss_server, bucket)
    assert (code, section(out, f"oss://{bucket}")["versioning"][0]) == (0 if result == "ok" else 2, result)
    assert section(out, "tables.root ")["create"][0] == result
    oss_door.versioning(bucket, None)
    assert oss_server.stores().open(f"oss://{bucket}").list(f"oss://{bucket}") == []


def test_another_region(oss_server, oss_door, here, capsys, monkeypatch):
    oss_server.enter(monkeypatch)
    bucket = oss_door.bucket(region="cn-beijing")
    code, out, _ = oss_checked(capsys, oss_server, bucket)
    rows = section(out, f"oss://{bucket}")
    assert code == 2
    if "region" in rows:
        assert rows["region"][0] == "FAIL"
        assert "storage.region=cn-beijing" in rows["region"][1]
    else:
        assert rows["bucket"][0] == "FAIL"
        assert "storage.region" in rows["bucket"][1]


@pytest.mark.parametrize(("minutes", "result", "code"), [(6, "WARN", 0), (-6, "WARN", 0), (16, "FAIL", 2)])
def test_the_clock_of_the_service(minutes, result, code, oss_server, oss_door, here, capsys, monkeypatch):
    oss_server.enter(monkeypatch)
    bucket = oss_door.bucket()
    with oss_door.clock(60 * minutes):
        ended, out, _ = oss_checked(capsys, oss_server, bucket)
    assert (ended, section(out, f"oss://{bucket}")["clock"][0]) == (code, result)
    assert oss_server.stores().open(f"oss://{bucket}").list(f"oss://{bucket}") == []


# What S3 and its kin can be brought to


@pytest.mark.parametrize(
    ("lacking", "action"),
    [("list", "ListBucket"), ("get", "GetObject"), ("put", "PutObject"), ("delete", "DeleteObject")],
)
def test_each_permission_of_s3_is_tried(lacking, action, s3_server, moto, here, capsys, monkeypatch):
    actions = ["ListBucket", "GetObject", "PutObject", "DeleteObject", "GetBucketLocation", "GetBucketVersioning"]
    for name, value in moto.user([f"s3:{one}" for one in actions if one != action]).items():
        monkeypatch.setenv(name, value)
    root = s3_server.root()
    code, out, _ = checked(capsys, *command(s3_server, root))
    assert code == 2
    rows = section(out, "tables.root ")
    assert rows[lacking][0] == "FAIL"
    assert f"s3:{action} on" in rows[lacking][1]
    s3_server.enter(monkeypatch)
    assert s3_server.stores().open(root).list(root) == []


def test_a_server_that_takes_every_writer_for_the_first(rclone_server, here, capsys, monkeypatch):
    rclone_server.enter(monkeypatch)
    root = rclone_server.root()
    code, out, _ = checked(capsys, *command(rclone_server, root, "+recipe=iris"))
    assert code == 2
    rows = section(out, "checkpointDir ")
    assert rows["create"][0] == "FAIL"
    assert {row[0] for check, row in rows.items() if check != "create"} == {"ok"}
    assert rclone_server.stores().open(root).list(root) == []
