"""What a command asks for: flags, processes, settings and tables; and every fault of it at once."""

from __future__ import annotations

import json
import os
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pai_train.pai.addresses import ROLES_VARIABLE
from pai_train.pai.command import Command, Options, read_command
from pai_train.pai.keys import KEYS, as_table
from pai_train.pai.parse import parse_text
from pai_train.pai.prepare import processes
from pai_train.pai.scan import quote
from pai_train.pai.variables import Variables
from pai_train.storage.oss_credentials import ROLES_VARIABLE as READ_VARIABLE
from pai_train.storage.oss_credentials import role_of_environment

if TYPE_CHECKING:
    from pai_train.errors import Fault

ROLE = "acs:ram::1234567890123456:role/pai-train"
OPTIONS = Options(Variables(day=date(2026, 2, 28)))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text("print('trained')\n")
    return tmp_path


def read(options: Options = OPTIONS, **keys: str) -> tuple[Command | None, list[Fault]]:
    given = {"script": "train.py", **keys}
    text = "PAI -name tensorflow180_ext -project algo_public"
    parsed = parse_text(text + "".join(f" -D{key}={quote(value)}" for key, value in given.items()) + ";", "job.sql")
    assert parsed.faults == ()
    return read_command(parsed.statements[0], options)


def sound(options: Options = OPTIONS, **keys: str) -> Command:
    command, faults = read(options, **keys)
    assert faults == []
    assert command is not None
    return command


def test_flags_in_the_order_of_pai() -> None:
    command = sound(
        userDefinedParameters="--model='wide deep' train --tables a,b --json={\"a\":1} -v",
        checkpointDir="oss://bucket/ck/",
        buckets="'oss://bucket/a/',oss://bucket/b/",
        outputs="odps://lab/tables/scores/ds=${bizdate}",
        tables="odps://lab/tables/iris/ds=$[yyyymmdd-1], 'test'",
    )
    [process] = processes(command, ("--lr=0.1",), ())
    assert (process.job_name, process.task_index, dict(process.env)) == ("", 0, {})
    assert process.flags == (
        "--tables=odps://lab/tables/iris/ds=20260228,test",
        "--outputs=odps://lab/tables/scores/ds=20260228",
        "--buckets=oss://bucket/a/,oss://bucket/b/",
        "--checkpointDir=oss://bucket/ck/",
        "--lr=0.1",
        "--model=wide deep",
        "train",
        "--tables",
        "a,b",
        "--json={a:1}",
        "-v",
    )
    assert (command.tables, command.outputs) == (
        ("odps://lab/tables/iris/ds=20260228", "test"),
        ("odps://lab/tables/scores/ds=20260228",),
    )


def test_what_is_not_set_gives_no_flag() -> None:
    assert processes(sound(tables="", buckets=" "), (), ())[0].flags == ()


FORMS = {
    "plain": ("oss://bucket/path/", ROLE),
    "host": ("oss://bucket.oss-cn-beijing-internal.aliyuncs.com/path/", ROLE),
    "query": ("oss://bucket/path/?role_arn=acs:ram::2:role/other&host=oss-cn-beijing.aliyuncs.com", None),
    "turned": ("oss://bucket/path/?host=oss-cn-beijing.aliyuncs.com&role_arn=acs:ram::2:role/other", None),
    "keys": ("oss://bucket/path/?access_key_id=someid&access_key_secret=somesecret&host=oss-x.com", ROLE),
    "control": ("oss://bucket\\x01id=someid\\x02key=somesecret\\x02host=oss-x.com/path/", ROLE),
    "spelt": ("oss://bucket/#/id=someid/##/key=somesecret/##/host=oss-x.com/path/", ROLE),
}


@pytest.mark.parametrize(("form", "role"), FORMS.values(), ids=FORMS.keys())
def test_scripts_can_join_names_to_buckets(form: str, role: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    command = sound(buckets=form, arn=ROLE)
    [flag] = processes(command, (), ())[0].flags
    assert os.path.join(flag.partition("=")[2], "csvtest.csv") == "oss://bucket/path/csvtest.csv"
    assert READ_VARIABLE == ROLES_VARIABLE
    monkeypatch.setenv(ROLES_VARIABLE, command.settings[ROLES_VARIABLE])
    assert role_of_environment("bucket") == role or "acs:ram::2:role/other"
    assert role_of_environment("another") == ROLE
    if "somesecret" in form:
        names = ("OSS_ACCESS_KEY_ID", "OSS_ACCESS_KEY_SECRET", "OSS_ENDPOINT")
        assert [command.settings[name] for name in names] == ["someid", "somesecret", "https://oss-x.com"]
        assert "somesecret" not in f"{command!r} {command.notes}"


def test_where_oss_is_reached() -> None:
    inner, outer = "oss-cn-beijing-internal.aliyuncs.com", "oss-cn-shanghai.aliyuncs.com"
    command = sound(buckets="oss://a/x/", ossHost=inner)
    assert command.settings == {"OSS_ENDPOINT": f"https://{inner}"}
    command = sound(buckets=f"oss://a.{outer}/x/,oss://b/y/", ossHost=inner)
    assert (command.settings["OSS_ENDPOINT"], command.buckets) == (
        f"https://{inner}",
        (f"oss://a.{outer}/x/", "oss://b/y/"),
    )
    options = Options(environ={"OSS_ENDPOINT": "http://127.0.0.1:99"})
    command = sound(options, buckets=f"oss://a.{outer}/x/", ossHost=inner)
    assert (dict(command.settings), command.buckets) == ({}, ("oss://a/x/",))
    assert "OSS is reached at http://127.0.0.1:99" in command.notes[0]


def test_other_stores() -> None:
    places = "file:///data//x/,s3://b/c/,gs://b/,az://c/d/"
    command = sound(buckets=places, arn=ROLE, ossHost="oss-x.com")
    assert command.buckets == ("file:///data/x/", "s3://b/c/", "gs://b/", "az://c/d/")
    assert dict(command.settings) == {}
    assert [note for note in command.notes if "nothing lies on OSS" in note] == list(command.notes)
    assert sound(buckets="data/").buckets == (f"{os.getcwd()}/data/",)


def test_roles_are_left_alone_on_request() -> None:
    command = sound(Options(take_role=False), buckets=f"oss://bucket/?role_arn={ROLE}", arn=ROLE)
    assert ROLES_VARIABLE not in command.settings
    assert "roles are not taken on" in command.notes[0]


def test_tables_are_where_it_is_said() -> None:
    options = Options(tables="maxcompute", tables_root="oss://bucket/tables")
    parsed = parse_text("use lab; PAI -name tensorflow -Dscript=train.py -Darn=acs:ram::1:role/x;", "job.sql")
    command, faults = read_command(parsed.statements[0], options)
    assert faults == []
    assert command is not None
    assert command.settings == {
        "PAI_TRAIN_TABLES": "maxcompute",
        "PAI_TRAIN_TABLES_ROOT": "oss://bucket/tables",
        "PAI_TRAIN_PROJECT": "lab",
        ROLES_VARIABLE: "acs:ram::1:role/x",
    }


def clustered(text: str, **keys: str) -> list[tuple[str, int, tuple[str, ...], dict[str, object]]]:
    command = sound(cluster=text, **keys)
    assert command.cluster is not None
    made = processes(command, (), range(1, command.cluster.size + 1))
    return [(one.job_name, one.task_index, one.flags, json.loads(one.env["TF_CONFIG"])) for one in made]


def test_a_cluster() -> None:
    made = clustered('{"worker": {"count": 2, "cpu": 600, "memory": 4000}, "ps": {"count": 1}}', tables="t")
    hosts = ("--ps_hosts=127.0.0.1:1", "--worker_hosts=127.0.0.1:2,127.0.0.1:3")
    cluster = {"chief": ["127.0.0.1:2"], "worker": ["127.0.0.1:3"], "ps": ["127.0.0.1:1"]}
    tasks = [("ps", 0, "ps", 0), ("chief", 0, "worker", 0), ("worker", 0, "worker", 1)]
    assert made == [
        (
            job,
            index,
            ("--tables=t", f"--job_name={job}", f"--task_index={index}", *hosts),
            {"cluster": cluster, "task": {"type": kind, "index": at}},
        )
        for kind, at, job, index in tasks
    ]


def test_a_chief_and_an_evaluator() -> None:
    made = clustered('{"evaluator": {}, "MASTER": {}, "worker": {"count": 2}}')
    assert [(job, index, *flags[:2]) for job, index, flags, _ in made] == [
        ("chief", 0, "--job_name=worker", "--task_index=0"),
        ("worker", 0, "--job_name=worker", "--task_index=1"),
        ("worker", 1, "--job_name=worker", "--task_index=2"),
        ("evaluator", 0, "--job_name=evaluator", "--task_index=0"),
    ]
    assert {flags[2:] for _, _, flags, _ in made} == {("--worker_hosts=127.0.0.1:1,127.0.0.1:2,127.0.0.1:3",)}
    assert [config["task"] for *_, config in made] == [
        {"type": "chief", "index": 0},
        {"type": "worker", "index": 0},
        {"type": "worker", "index": 1},
        {"type": "evaluator", "index": 0},
    ]


def test_a_sparse_cluster_shows_a_worker_itself_and_ps() -> None:
    made = clustered('{"ps": {"count": 1}, "worker": {"count": 3}}', useSparseClusterSchema="true")
    assert made[3][3]["cluster"] == {"worker": {"1": "127.0.0.1:4"}, "ps": ["127.0.0.1:1"]}


GPUS = {
    "none": ({"gpuRequired": "0"}, [""], ()),
    "one": ({"gpuRequired": "100"}, ["a"], ()),
    "two": ({"gpuRequired": "200"}, ["a,b"], ()),
    "count": ({"gpuRequired": "2"}, ["a,b"], ("2 is taken as 2 GPUs",)),
    "share": ({"gpuRequired": "150"}, ["a,b"], ("150 hundredths are taken as 2 GPUs",)),
    "missing": ({"gpuRequired": "400"}, ["a,b,c"], ("asked for GPUs: 4, on this machine: 3",)),
    "cluster": ({"cluster": '{"ps":{"count":1},"worker":{"count":2,"gpu":100}}'}, ["", "a", "b"], ()),
    "few": ({"cluster": '{"worker":{"count":2,"gpu":200}}'}, ["a,b", "c"], ("asked for GPUs: 4",)),
    "counted": ({"cluster": '{"worker":{"count":2,"gpu":1}}'}, ["a", "b"], ("1 is taken as 1 GPU",)),
}


@pytest.mark.parametrize(("keys", "visible", "warnings"), GPUS.values(), ids=GPUS.keys())
def test_gpus(keys: dict[str, str], visible: list[str], warnings: tuple[str, ...]) -> None:
    command = sound(Options(environ={"CUDA_VISIBLE_DEVICES": "a,b,c"}), **keys)
    ports = range(0 if command.cluster is None else command.cluster.size)
    assert [one.env["CUDA_VISIBLE_DEVICES"] for one in processes(command, (), ports)] == visible
    assert len(command.warnings) == len(warnings)
    assert all(part in warning for part, warning in zip(warnings, command.warnings, strict=True))


def test_statements_follow_their_outputs() -> None:
    command = sound(
        outputs="odps://lab/tables/a,odps://lab/tables/b/ds=1,odps://shop/tables/c",
        createTableSql="create table shop.c(x string comment 'a;b');"
        "create table b(y double) partitioned by (ds string);"
        "create table a(z bigint) -- a; comment\n;",
    )
    assert [text.split("(")[0] for text in command.statements] == [
        "create table a",
        "create table b",
        "create table shop.c",
    ]


FAULTS = {
    "script": ({"script": "trian.py"}, "-Dscript", "there is no such file"),
    "script-kind": ({"script": "oss://bucket/train.sh"}, "-Dscript", "not a script"),
    "archive": ({"script": "oss://bucket/train.tar.gz"}, "-Dscript", "an archive needs -DentryFile"),
    "entry": ({"script": "oss://b/t.zip", "entryFile": "../x.py"}, "-DentryFile", "not a file of the archive"),
    "resource": ({"script": "odps://lab/resources/t.py"}, "-Dscript", "resources are MaxCompute's"),
    "at": ({"script": "file://@@t.py"}, "-Dscript", "resources are MaxCompute's"),
    "table": ({"tables": "odps://lab/iris"}, "-Dtables", "not a table address"),
    "rows": ({"outputs": "odps://lab/tables/a?start=1"}, "-Doutputs", "a write replaces or adds whole rows"),
    "bucket": ({"buckets": "oss//bucket/"}, "-Dbuckets", "not an address"),
    "scheme": ({"checkpointDir": "hdfs://x/"}, "-DcheckpointDir", "hdfs:// is not served here"),
    "arn": ({"arn": "role/x"}, "-Darn", "not a RAM role"),
    "host": ({"ossHost": "https://"}, "-DossHost", "not a host"),
    "number": ({"gpuRequired": "one"}, "-DgpuRequired", "not a value of this key"),
    "truth": ({"allOrNothing": "yes"}, "-DallOrNothing", "not a value of this key"),
    "words": ({"userDefinedParameters": "--a='b"}, "-DuserDefinedParameters", "cannot be split into words"),
    "both": ({"cluster": '{"worker":{}}', "gpuRequired": "100"}, "-DgpuRequired", "should not be set at the same time"),
    "json": ({"cluster": "{ps:{count:1}}"}, "-Dcluster", "not JSON"),
    "ps-alone": ({"cluster": '{"ps":{"count":1}}'}, "-Dcluster", "a cluster needs a worker"),
    "job": ({"cluster": '{"workers":{"count":1}}'}, "-Dcluster", "a cluster has no 'workers'"),
    "count": ({"cluster": '{"worker":{"count":-1}}'}, "-Dcluster", "count of worker is not a number"),
    "chiefs": ({"cluster": '{"chief":{"count":2}}'}, "-Dcluster", "a cluster has one chief"),
    "open": ({"tables": "a/${dt}/$[foo]"}, "-Dtables", "variables are open"),
    "sql": ({"createTableSql": "drop table a"}, "-DcreateTableSql", "not a CREATE TABLE statement"),
    "sql-other": ({"outputs": "a", "createTableSql": "create table b(x string)"}, "-DcreateTableSql", "no output"),
    "two-keys": (
        {"buckets": "oss://a?access_key_id=i1234&access_key_secret=s1234&host=h.com,"
         "oss://b?access_key_id=j1234&access_key_secret=t1234&host=h.com"},
        "", "the addresses hold several keys",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("keys", "where", "what"), FAULTS.values(), ids=FAULTS.keys())
def test_faults(keys: dict[str, str], where: str, what: str) -> None:
    command, faults = read(**keys)
    assert command is None
    assert any(what in fault.what and where in str(fault.where) for fault in faults), faults


def test_faults_come_together_and_hold_no_key() -> None:
    secret = "asecretofsomebody"  # noqa: S105 - of nobody
    _, faults = read(
        script="trian.py",
        gpuRequired="x",
        tables="${dt}",
        buckets=f"oss://b?access_key_id=LTAIabcdefghijklmnop&access_key_secret={secret}&host=//",
        checkpointDir=f"az://c/x?sig={secret}",
    )
    assert {str(fault.where).partition(" ")[2] for fault in faults} == {
        "-Dscript",
        "-DgpuRequired",
        "-Dtables",
        "-Dbuckets",
        "-DcheckpointDir",
    }
    assert secret not in "\n".join(map(str, faults))
    assert "did you mean" in next(str(fault.todo) for fault in faults if "-Dscript" in str(fault.where))


@pytest.mark.parametrize(
    ("name", "todo"), [("tensorflwo", "did you mean 'tensorflow'?"), ("easy_rec_ext", "EasyRec"), ("pytorch180", "")]
)
def test_other_components_are_refused(name: str, todo: str) -> None:
    parsed = parse_text(f"PAI -name {name} -Dscript=train.py;", "job.sql")
    _, [fault] = read_command(parsed.statements[0], OPTIONS)
    assert (fault.where, fault.got) == ("job.sql:1:5 -name", name)
    assert todo in str(fault.todo)


def test_what_has_no_effect_is_told() -> None:
    command = sound(bucket="oss://b/", tags="x", workerCount="2", allOrNothing="true", entryFile="x.py")
    assert [warning.partition(": ")[2] for warning in command.warnings] == [
        "unknown key, without effect; did you mean -Dbuckets?",
        "of PAI's PyTorch component, without effect",
    ]
    assert command.notes == (
        "-Dtags has no effect",
        "-DallOrNothing has no effect: no scheduler stands in between",
        "-DentryFile has no effect: the script is no archive",
    )


def test_every_key_is_in_the_migration_pages_table() -> None:
    page = Path(__file__).parents[2] / "docs" / "migrate-from-pai.md"
    assert as_table() in page.read_text(encoding="utf-8")
    assert len({key.name.lower() for key in KEYS}) == len(KEYS)
