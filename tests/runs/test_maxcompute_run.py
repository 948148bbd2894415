"""iris from a MaxCompute table to a MaxCompute table, by its command: staged, checked, trained, killed, resumed."""

from __future__ import annotations

import os
import signal

import pytest

from pai_train.__main__ import main
from pai_train.errors import Refused
from tests.suites.jobs import Jobs
from tests.suites.modes import checked, put, section, staged

SMALL = ["train.epochs=4", "train.batch_size=16", "train.steps_per_call=2", "train.checkpoint.every_steps=4"]
TABLES = ["tables=maxcompute"]


@pytest.fixture(scope="module")
def iceberg(tmp_path_factory):
    """What the recipe comes to with tables on this machine, never interrupted."""
    folder = tmp_path_factory.mktemp("iceberg") / "work"
    folder.mkdir()
    return Jobs(folder).done("+recipe=iris", *SMALL)


@pytest.fixture
def env(maxcompute_server, maxcompute_door, monkeypatch):
    """The environment of a project of the test's own."""
    env = {**maxcompute_server.env, "ODPS_PROJECT_NAME": maxcompute_door.project()}
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    return env


@pytest.fixture
def desk(env, jobs, monkeypatch):
    """Jobs in a folder that this process works in too."""
    monkeypatch.chdir(jobs.cwd)
    return jobs


def stage(*words):
    return staged("+recipe=iris", *TABLES, *words)


def started(desk, env, *words, stand_behind=None):
    """Starts a training and waits for its first checkpoint."""

    def checkpoints():
        return set(desk.cwd.rglob("step-*/MANIFEST.json"))

    before = checkpoints()
    running = desk.start("+recipe=iris", *TABLES, *SMALL, *words, env=env, stand_behind=stand_behind)
    running.wait_for(lambda: checkpoints() - before)
    return running


@pytest.mark.parametrize("engine", ["tf_data", "queue_runner"])
def test_killed_and_resumed_it_ends_like_the_straight_run_on_iceberg(engine, env, desk, iceberg, maxcompute_server):
    assert stage().files == 1
    running = started(desk, env, f"engine={engine}", stand_behind=4)
    os.kill(running.pid, signal.SIGKILL)
    assert running.wait().code == -signal.SIGKILL
    finished = desk.run("+recipe=iris", *TABLES, *SMALL, f"engine={engine}", env=env)
    assert finished.code == 0, finished
    assert "going on behind step" in finished.text
    record = desk.last()
    assert record["metrics"] == iceberg["metrics"]
    assert record["weights_sha256"] == iceberg["weights_sha256"]
    assert {name: one["rows"] for name, one in record["outputs"].items()} == {"predictions": 150}
    with maxcompute_server.odps(project=env["ODPS_PROJECT_NAME"]).get_table("iris_output").open_reader() as reader:
        assert len([record.values for record in reader]) == 150
    said = "".join(path.read_text(errors="replace") for path in desk.cwd.rglob("*") if path.suffix in (".json", ".log"))
    assert env["ALIBABA_CLOUD_ACCESS_KEY_SECRET"] not in said + finished.text


def test_an_order_of_the_session_is_gone_on_with_until_it_ends(env, desk, maxcompute_door):
    with maxcompute_door.own_orders():
        assert stage().files == 1
        # The same rows in another order are the same rows.
        assert stage().skipped == 1
        for is_over in (False, True):
            running = started(desk, env, "train.resume=never")
            os.kill(running.pid, signal.SIGTERM)
            assert running.wait().code == 75
            snapshot = desk.last()["inputs"]["train"]["snapshot"]["id"]
            if is_over:
                maxcompute_door.expire(snapshot.partition("@")[2])
            finished = desk.run("+recipe=iris", *TABLES, *SMALL, env=env)
            if not is_over:
                assert finished.code == 0, finished
                assert desk.last()["inputs"]["train"]["snapshot"]["id"] == snapshot
    assert finished.code == 1, finished
    assert "the session that gave the rows their order has ended" in finished.text
    assert "train.resume=never" in finished.text
    assert f"snapshot={snapshot.partition('@')[0]}" in finished.text


def test_files_into_partitions_appended_once(env, here, maxcompute_server, maxcompute_door):
    project = env["ODPS_PROJECT_NAME"]
    ddl = "stage.ddl=create table s(a BIGINT, b STRING) partitioned by (dt STRING) lifecycle 3"

    def fill(name, day, *words):
        return staged(*TABLES, f"stage.from={name}", f"stage.to=odps://{project}/tables/s/dt={day}", ddl, *words)

    def held(day):
        with maxcompute_server.odps(project=project).get_table("s").open_reader(partition=f"dt='{day}'") as reader:
            return sorted((record["a"], record["b"]) for record in reader)

    put(here, {"one.csv": "1,a\n2,b\n", "two.csv": '3,"b,""c"\n'})
    with maxcompute_door.own_orders():
        assert fill("one.csv", "d1").files == 1
        assert fill("one.csv", "d1").skipped == 1
        with pytest.raises(Refused, match="the table holds other rows"):
            fill("two.csv", "d1")
        assert fill("two.csv", "d1", "stage.write=append").files == 1
        assert fill("two.csv", "d1", "stage.write=append").skipped == 1
        assert held("d1") == [(1, "a"), (2, "b"), (3, 'b,"c')]
        assert fill("two.csv", "d2").files == 1
        assert fill("two.csv", "d1", "stage.write=overwrite").files == 1
    assert held("d1") == held("d2") == [(3, 'b,"c')]
    assert maxcompute_server.odps(project=project).get_table("s").lifecycle == 3


def test_a_check_tries_the_service(env, here, capsys, maxcompute_door):
    code, out, _ = checked(capsys, "+recipe=iris", *TABLES)
    assert code == 2
    place = f"tables  odps://{env['ODPS_PROJECT_NAME']}"
    assert {name: row[0] for name, row in section(out, place).items()} == dict.fromkeys(
        ["project", "create", "write", "read", "drop"], "ok"
    )
    assert "mode=stage puts the sample iris.csv there" in section(out, "inputs.train")["data"][1]
    stage()
    message = "ODPS-0420095: Access Denied - You have NO privilege 'odps:CreateTable'"
    maxcompute_door.fault("CreateInstance", "error", status=403, code="NoPermission", message=message)
    code, out, _ = checked(capsys, "+recipe=iris", *TABLES)
    rows = section(out, place)
    assert code == 2
    assert rows["create"][0] == "FAIL"
    assert "odps:CreateTable" in rows["create"][1]
    assert [rows[name][0] for name in ("write", "read", "drop")] == ["-", "-", "ok"]
    code, out, _ = checked(capsys, "+recipe=iris", *TABLES)
    assert code == 0, out


def test_a_check_of_a_service_with_a_wrong_key(env, here, capsys, monkeypatch):
    monkeypatch.setenv("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "another-secret")
    code, out, err = checked(capsys, "+recipe=iris", *TABLES)
    rows = section(out, f"tables  odps://{env['ODPS_PROJECT_NAME']}")
    assert (code, rows["project"][0]) == (2, "FAIL")
    assert "its secret is wrong" in rows["project"][1]
    assert "another-secret" not in out + err


def test_every_fault_of_the_keys_is_told_at_once(env, here, capsys, monkeypatch):
    assert main(["+recipe=iris", "tables.endpoint=http://x/api", "tables.role_arn=me"]) == 2
    text = capsys.readouterr().err
    assert "tables 'iceberg' has no endpoint" in text
    assert "not a RAM role" in text
    assert main(["+recipe=iris", *TABLES]) == 2
    assert "the same command with mode=stage puts the sample iris.csv there" in capsys.readouterr().err
    monkeypatch.setenv("ODPS_ENDPOINT", "")
    assert main(["+recipe=iris", *TABLES]) == 2
    assert "tables.endpoint: no address of MaxCompute" in capsys.readouterr().err
    assert not list(here.iterdir())
