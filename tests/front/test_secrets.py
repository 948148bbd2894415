"""Secrets in plain text: refused wherever they are written, told by name and shape, and what only looks like one."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest

import pai_train
from pai_train.errors import Refused
from pai_train.front.composed import of_config
from pai_train.redact import redact
from pai_train.spec.secrets import is_secret_key, literals

if TYPE_CHECKING:
    from tests.front.conftest import Desk

PLANTED = "Qv7Zk2Lw9Xr4"
AWS_ID = "AKIA" + "Q7ZK2LW9XR4T5Y6U"
OSS_ID = "LTAI5t" + PLANTED
JWT = f"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIx{PLANTED}.{PLANTED}"
PEM = f"-----BEGIN PRIVATE KEY-----\n{PLANTED}\n-----END PRIVATE KEY-----"

# An override, and what the fault's place says.
OVERRIDES = {
    "password": (f"+storage.password={PLANTED}", "command line +storage.password=…"),
    "key-of-a-store": (f"+storage.key={PLANTED}", "command line +storage.key=…"),
    "camel-case": (f"+storage.accessKeySecret={PLANTED}", "command line +storage.accessKeySecret=…"),
    "access-key-id": (f"+storage.access_key_id={PLANTED}", "command line +storage.access_key_id=…"),
    "any-tree": (f"+my.own.api_key={PLANTED}", "command line +my.own.api_key=…"),
    "around": (f"+credentials.second={PLANTED}", "command line +credentials.second=…"),
    "params": (f"model.params.api_key={PLANTED}", "command line model.params.api_key=…"),
    "default": (
        f"'model.params.api_key=${{oc.env:NOT_SET,{PLANTED}}}'".strip("'"),
        "command line model.params.api_key=…",
    ),
    "dict": (f"+storage={{password: {PLANTED}}}", "command line +storage=… storage.password"),
    "nested": (f"+a={{b: [{{token: '{PLANTED}'}}]}}", "command line +a=… a.b[0].token"),
    "list": (f"+secrets=[1,{PLANTED}]", "command line +secrets=… secrets[1]"),
    "sweep": (f"+storage.password=a,{PLANTED}", "command line +storage.password=…"),
    "sweep-of-dicts": (f"+storage={{password: null}},{{password: {PLANTED}}}", "command line +storage=… storage.pass"),
    "unread": (f"+storage.password=({PLANTED}", "command line +storage.password=…"),
    "unread-quote": (f"+storage.password='{PLANTED}", "command line +storage.password=…"),
    "unread-dict": (f"+storage={{password: {PLANTED}", "command line +storage=… storage.password"),
    "unread-id": (f"+x=({AWS_ID}", "command line +x=…"),
    "bare-word": (AWS_ID, "command line …"),
    "delete": (f"~storage.password={PLANTED}", "command line ~storage.password=…"),
    "hydra": (f"hydra.job.env_set={{AWS_SECRET_ACCESS_KEY: {PLANTED}}}", "command line hydra.job.env_set=…"),
    "hydra-added": (f"+hydra.job.env_set.OSS_SESSION_TOKEN={PLANTED}", "command line +hydra.job.env_set.OSS_SESSION"),
    "run-dir": (f"hydra.run.dir=runs/{AWS_ID}", "command line hydra.run.dir=…"),
    "group": (f"+secret={PLANTED}", "command line +secret=…"),
    "userinfo": (f"storage.root=s3://me:{PLANTED}@bucket/x", "command line storage.root=…"),
    "userinfo-slash": (f"checkpointDir=s3://me:a/b+{PLANTED}@bucket/x", "command line checkpointDir=…"),
    "camel-query": (f"storage.root=oss://b/x/?AccessKeySecret={PLANTED}", "storage.root=…"),
    "short-query": (f"storage.root=oss://b/x/?key={PLANTED}", "storage.root=…"),
    "query": (f"inputs.train.oss=oss://b?access_key_id=me&access_key_secret={PLANTED}&host=h", "inputs.train.oss=…"),
    "signature": (f"inputs.train.oss=https://h/k?X-Amz-Signature={PLANTED}", "command line inputs.train.oss=…"),
    "sas": (f"outputs={{a: {{oss: 'az://c/x?sv=2020&sig={PLANTED}%3D'}}}}", "command line outputs=… outputs.a.oss"),
    "control": (f"storage.root=oss://b\x01id=me\x02key={PLANTED}\x02host=h/x", "command line storage.root=…"),
    "control-spelt": (f"storage.root=oss://b\\x01id=me\\x02key={PLANTED}\\x02host=h/x", "command line storage.root=…"),
    "hashes": (f"storage.root=oss://b/#/id=me/##/key={PLANTED}/##/host=h/x", "command line storage.root=…"),
    "account-key": (f"model.params.where='AccountName=a;AccountKey={PLANTED};'", "command line model.params.where=…"),
    "shared": (f"model.params.where='BlobEndpoint=h;SharedAccessSignature=sv=1&sig={PLANTED}'", "model.params.where=…"),
    "aws-id": (f"storage.profile={AWS_ID}", "command line storage.profile=…"),
    "oss-id": (f"model.params.who={OSS_ID}", "command line model.params.who=…"),
    "jwt": (f"model.params.who={JWT}", "command line model.params.who=…"),
    "pem": (f"model.params.who='{PEM}'", "command line model.params.who=…"),
    "service-account": (f'model.params.who=\'{{"private_key": "{PLANTED}"}}\'', "command line model.params.who=…"),
    "a-key's-name": (f"model.params={{x: {{{AWS_ID}: 1}}}}", "command line model.params=…"),
}


@pytest.mark.parametrize(("override", "where"), OVERRIDES.values(), ids=OVERRIDES)
def test_an_override_with_a_secret_is_refused(desk: Desk, override: str, where: str) -> None:
    report = desk.refused("+recipe=iris", override, "gpus=-1")
    assert report.startswith("2 faults, nothing was touched:\n"), report
    first = report.splitlines()[1]
    assert where in first
    assert "holds" in first
    assert "to do: " in report.splitlines()[2]
    assert "command line gpus=-1: not a choice" in report
    for secret in (PLANTED, AWS_ID, OSS_ID):
        assert secret not in report


def test_the_remedy_fits_the_place(desk: Desk) -> None:
    def said(override: str) -> str:
        return desk.refused("+recipe=iris", override)

    assert "model.params.api_key=${oc.env:NAME}" in said(f"model.params.api_key={PLANTED}")
    assert "AWS_SECRET_ACCESS_KEY in the environment" in said(f"storage.root=s3a://me:{PLANTED}@bucket")
    assert "OSS_ACCESS_KEY_SECRET in the environment" in said(f"storage.root=oss://b?access_key_secret={PLANTED}")
    assert "AZURE_STORAGE_CONNECTION_STRING" in said(f"storage.root=abfs://c/x?sig={PLANTED}")
    assert "storage.profile" in said(f"+storage.password={PLANTED}")


LOOK_LIKE_IT = {
    "max-tokens": "model.params.max_tokens=100",
    "a-number": "model.params.token=7",
    "a-boolean": "model.params.secret=true",
    "null": "model.params.password=null",
    "empty": "model.params.password=''",
    "a-vocabulary": "model.params.pad_token='<pad>'",
    "a-tokenizer": "model.params.tokenizer=words",
    "about-one": "model.params.token_column=user",
    "a-file-of": "model.params.password_file=/run/secrets/x",
    "column": "inputs.train.columns={f1: DOUBLE, token: STRING, password: STRING, f5: STRING}",
    "default-of-a-column": "inputs.train={columns: {f1: DOUBLE, password: STRING, f5: STRING}, "
    "record_defaults: {password: none}}",
    "feature": "inputs.train={columns: {f1: DOUBLE, token: STRING, f5: STRING}, features: [token]}",
    "label": "inputs.train={columns: {f1: DOUBLE, secret: STRING}, label: secret}",
    "class": "inputs.train.label={column: f5, classes: [secret, password]}",
    "name-of-an-input": "+inputs.secret={table: iris, columns: {f1: DOUBLE}}",
    "name-of-an-output": "outputs={token: {table: other}}",
    "output-column": "outputs={a: {table: t, columns: {token: $prediction}}}",
    "glob": "+inputs.more={oss: 'data/part-?.csv', columns: {a: DOUBLE}}",
    "hash": "+inputs.more={oss: 'data/#/id=3/##.csv', columns: {a: DOUBLE}}",
    "port": "checkpointDir=s3://bucket:9000/a@b",
    "partition": "+inputs.more={table: 'odps://p/tables/t/ds=1', columns: {a: DOUBLE}}",
    "environment": "model.params.api_key=${oc.env:MY_KEY}",
    "environment-or-null": "model.params.api_key=${oc.env:NOT_SET,null}",
    "environment-inside": "model.params.where='AccountName=a;AccountKey=${oc.env:MY_KEY}'",
    "other-key": "model.params.token=${train.seed}",
}


@pytest.mark.parametrize("override", LOOK_LIKE_IT.values(), ids=LOOK_LIKE_IT)
def test_what_only_looks_like_a_secret_passes(desk: Desk, override: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "from-the-environment")
    outcome = desk.command("+recipe=iris", override)
    assert outcome.code == 0, outcome.err


def test_the_environment_stays_a_name_in_what_is_written(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORDINARY", "value-of-ordinary")
    assert desk.command("+recipe=iris", "model.params.api_key=${oc.env:ORDINARY}").code == 0
    run = desk.runs[0]
    assert run.config.model.params["api_key"] == "value-of-ordinary"
    assert run.tree["model"]["params"]["api_key"] == "${oc.env:ORDINARY}"
    assert "api_key: ${oc.env:ORDINARY}" in run.yaml
    assert "value-of-ordinary" not in run.yaml
    # A key named as a secret has made one of it, wherever it turns up from now on.
    assert redact("it was value-of-ordinary") == "it was ***"


def test_another_key_is_not_another_run(monkeypatch: pytest.MonkeyPatch) -> None:
    hashes = set()
    for value in ("first-key", "second-key"):
        monkeypatch.setenv("ORDINARY", value)
        hashes.add(pai_train.compose("iris", ["model.params.api_key=${oc.env:ORDINARY}"]).config_hash)
    assert len(hashes) == 1


MINE = """# Mine
inputs:
  train:
    oss: rows.csv
    columns: {a: BIGINT, b: STRING}
    label: b
checkpointDir: checkpoints/mine
model:
  params:
    width: 3
train:
  epochs: 3
"""


@pytest.mark.parametrize(
    ("old", "new", "where"),
    [
        ("    width: 3", f"    api_key: {PLANTED}", "recipes/mine.yaml:10 model.params.api_key"),
        ("    oss: rows.csv", f"    oss: [a, 's3://me:{PLANTED}@b/x']", "recipes/mine.yaml:4 inputs.train.oss[1]"),
        ("  epochs: 3", f"  epochs: 3\nown: {{password: {PLANTED}}}", "recipes/mine.yaml:13 own.password"),
        ("  epochs: 3", f"  password: {PLANTED}", "recipes/mine.yaml:12 train.password"),
        ("  epochs: 3", f"  epochs: 3\nhydra: {{job: {{env_set: {{MY_SECRET: {PLANTED}}}}}}}", "recipes/mine.yaml:13"),
        ("  epochs: 3", f"  epochs: 3\nhydra: {{run: {{dir: 'runs/{AWS_ID}'}}}}", "recipes/mine.yaml:13 hydra.run.dir"),
        ("    width: 3", "    token: ${model.params.other}\n    other: " + PLANTED, "recipes/mine.yaml:10 model"),
    ],
    ids=["params", "list", "unknown-key", "unknown-below", "hydra", "run-dir", "referred-to"],
)
def test_a_recipe_with_a_secret_is_refused(desk: Desk, old: str, new: str, where: str) -> None:
    desk.recipe("mine", MINE.replace(old, new))
    # Hydra's own app takes a process of its own, so one of the places does for it.
    shown = [("--cfg", "job", "+recipe=mine")] if "params.api_key" in where else []
    for command in (("+recipe=mine",), *shown):
        report = desk.refused(*command)
        assert report.splitlines()[1].strip().startswith(where), report
        assert "in plain text" in report
        assert PLANTED not in report
        assert AWS_ID not in report


@pytest.mark.parametrize(
    "line",
    [f"password: !{PLANTED}", f"password: *{PLANTED}", f"password: %{PLANTED}", f"password: '{PLANTED}",
     f"password: ${{{PLANTED}", f"password: {PLANTED}: x", f"x: [{AWS_ID}"],
)  # fmt: skip
def test_a_broken_recipe_does_not_show_its_secret(desk: Desk, line: str) -> None:
    desk.recipe("mine", f"{MINE}{line}\n")
    for command in ((), ("--cfg", "job")) if "!" in line else ((),):
        report = desk.refused(*command, "+recipe=mine")
        assert "recipes/mine.yaml" in report
        assert PLANTED not in report
        assert AWS_ID not in report


def test_a_group_file_with_a_secret_is_refused(desk: Desk) -> None:
    (desk.folder / "mine/storage").mkdir(parents=True)
    file = desk.folder / "mine/storage/far.yaml"
    file.write_text(f"name: s3\nroot: s3://bucket\nsecret_key: {PLANTED}\n")
    for command in ((), ("--cfg", "all", "--resolve"), ("--info", "config")):
        report = desk.refused("--config-dir", "mine", "+recipe=iris", "storage=far", *command)
        assert "mine/storage/far.yaml:3 storage.secret_key: holds a secret in plain text" in report
        assert PLANTED not in report
    file.write_text(f"root: !{PLANTED}\npassword: !{PLANTED}\n")
    report = desk.refused("--config-dir", "mine", "+recipe=iris", "storage=far")
    assert "mine/storage/far.yaml:" in report
    assert PLANTED not in report


@pytest.mark.parametrize(
    "words",
    [
        ("--cfg", "job"),
        ("--cfg", "all", "--resolve"),
        ("--info", "all"),
        ("-i",),
        ("-sc", "query=bash"),
        ("-m",),
        ("--help",),
        ("-p", "model"),
    ],
    ids=" ".join,
)
def test_every_flag_refuses_an_override_with_a_secret(desk: Desk, words: tuple[str, ...]) -> None:
    report = desk.refused(*words, f"+storage.password={PLANTED}", "+recipe=iris")
    assert PLANTED not in report


@pytest.mark.parametrize(
    "words",
    [(f"--password={PLANTED}",), ("--storage.password", PLANTED), (f"-x={AWS_ID}",), ("--info", f"+a.token={PLANTED}")],
    ids=["value", "two-words", "shape", "taken-for-a-choice"],
)
def test_flags_with_a_secret_are_refused(desk: Desk, words: tuple[str, ...]) -> None:
    report = desk.refused("+recipe=iris", *words)
    assert "holds" in report
    assert "in plain text" in report
    assert PLANTED not in report
    assert AWS_ID not in report


def test_what_hydra_shows_is_masked(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_SECRET", f"{PLANTED}-one")
    monkeypatch.setenv("ORDINARY", f"{PLANTED}-two")
    monkeypatch.setenv("SHOWN", "anybody may see it")
    keys = "+model.params={a: '${oc.env:MY_SECRET}', token: '${oc.env:ORDINARY}', c: '${oc.env:SHOWN}'}"
    shown = desk.command("--cfg", "job", "--resolve", "+recipe=iris", keys)
    assert shown.code == 0, shown.err
    assert "    a: ***\n    token: ***\n    c: anybody may see it\n" in shown.out
    shown = desk.command("--cfg", "job", "+recipe=iris", keys)
    assert "    a: ${oc.env:MY_SECRET}\n    token: ${oc.env:ORDINARY}\n" in shown.out
    # A line that is being completed.
    monkeypatch.setenv("COMP_LINE", f"pai-train storage.password={PLANTED} +recipe=")
    monkeypatch.setenv("COMP_POINT", "60")
    shown = desk.command("-sc", "query=bash")
    assert (shown.code, shown.out, shown.err) == (0, "", "")


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("checkpointDir=ck/${oc.env:MY_SECRET}", "command line checkpointDir=…: would hold the value of MY_SECRET"),
        ("hydra.run.dir=runs/${oc.env:MY_SECRET}", "{oc.env:MY_SECRET}: the run folder's name would hold the value"),
        ("hydra.run.dir=runs/${oc.env:ORDINARY}", "the run folder's name would hold an AWS access key id"),
        ("storage.root=${oc.env:ADDRESS}", "command line storage.root=${oc.env:ADDRESS}: holds a key in front of @"),
        (f"model.params.a={PLANTED}-one", "command line model.params.a=…: holds the value of MY_SECRET in plain text"),
        (f"model.params.a=x-{PLANTED}{PLANTED}-x", "holds the value of MY_LONG_SECRET in plain text"),
    ],
    ids=["place", "run-dir", "run-dir-shape", "address", "typed", "typed-inside"],
)
def test_the_environments_secrets_go_into_no_name(
    desk: Desk, override: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_SECRET", f"{PLANTED}-one")
    monkeypatch.setenv("MY_LONG_SECRET", PLANTED + PLANTED)
    monkeypatch.setenv("ORDINARY", AWS_ID)
    monkeypatch.setenv("ADDRESS", f"s3://me:{PLANTED}@bucket/x")
    report = desk.refused("+recipe=iris", override)
    assert said in report
    assert PLANTED not in report
    assert AWS_ID not in report


def test_a_configuration_made_in_python_is_looked_through_too() -> None:
    config = pai_train.compose("iris").config
    model = dataclasses.replace(config.model, params={"api_key": PLANTED})
    with pytest.raises(Refused) as caught:
        of_config(dataclasses.replace(config, model=model))
    assert [fault.where for fault in caught.value.faults] == ["model.params.api_key"]
    assert PLANTED not in repr(caught.value) + str(caught.value)


RULES = {
    "root": (["storage=oss", "storage.root=s3://b/x"], "storage.root=s3://b/x: storage.name is oss", "storage=s3"),
    "root-a-folder": (["storage=s3", "storage.root=data"], "the root is on another store", "storage=local"),
    "role": (["storage=s3", "storage.root=s3://b", "storage.role_arn=acs:ram::1:role/x"], "'s3' has no role_arn", ""),
    "profile": (["storage=gcs", "storage.root=gs://b", "+storage.profile=x"], "'gcs' has no profile", "storage=oss"),
    "local": (["+storage.profile=x"], "storage 'local' has no profile", "or storage=s3"),
    "role-shape": (["storage=oss", "storage.root=oss://b", "storage.role_arn=acs:ram::1:x"], "not a RAM role", ""),
    "endpoint-path": (["storage=s3", "storage.root=s3://b", "storage.endpoint=http://h:1/x"], "not an endpoint", ""),
    "endpoint-query": (["storage=oss", "storage.root=oss://b", "storage.endpoint='h?a'"], "not an endpoint", ""),
    "endpoint-scheme": (["storage=oss", "storage.root=oss://b", "storage.endpoint=ftp://h"], "not an endpoint", ""),
}


@pytest.mark.parametrize(("overrides", "said", "todo"), RULES.values(), ids=RULES)
def test_what_is_said_of_a_store_is_about_that_store(desk: Desk, overrides: list[str], said: str, todo: str) -> None:
    report = desk.refused("+recipe=iris", *overrides)
    assert report.startswith("1 fault, "), report
    assert said in report
    assert todo in report


@pytest.mark.parametrize(
    "overrides",
    [
        ["storage=oss", "storage.root=oss://b.oss-cn-beijing.aliyuncs.com/x", "storage.role_arn=acs:ram::1:role/a-b"],
        ["storage=oss", "storage.root='oss://b/x/?role_arn=acs:ram::1:role/a&host=h.com'", "storage.profile=me"],
        ["storage=s3", "storage.root=s3a://b/x", "storage.endpoint=http://127.0.0.1:9000", "storage.addressing=path"],
        ["storage=s3", "storage.root=S3://b/x", "storage.endpoint='http://[::1]:9000/'"],
        ["storage=gcs", "storage.root=gcs://b/x", "storage.endpoint=http://127.0.0.1:4443"],
        ["storage=azure", "storage.root=abfss://c/x", "storage.endpoint=http://127.0.0.1:10000/devstoreaccount1"],
        ["storage=memory", "storage.root=memory://x"],
    ],
    ids=lambda overrides: overrides[1],
)
def test_stores_as_they_are_meant(desk: Desk, overrides: list[str]) -> None:
    outcome = desk.command("+recipe=iris", *(text if "=" in text else f"+{text}" for text in _added(overrides)))
    assert outcome.code == 0, outcome.err


def _added(overrides: list[str]) -> list[str]:
    # A key that the option of the group does not name is added.
    return [f"++{text}" if text.startswith("storage.") else text for text in overrides]


@pytest.mark.parametrize(
    ("key", "secret"),
    [
        ("storage.password", True), ("+storage.key", True), ("train.seed", False), ("inputs.token.oss", False),
        ("inputs.train.columns.token", False), ("inputs.train.record_defaults.password", False),
        ("inputs.train.password", True), ("outputs.a.columns.secret", False), ("model.params.max_tokens", False),
        ("model.params.hf_token", True), ("hydra.job.env_set.AWS_SECRET_ACCESS_KEY", True), ("storage.profile", False),
    ],
)  # fmt: skip
def test_names_of_keys(key: str, secret: bool) -> None:
    assert is_secret_key(key) is secret


def test_a_literal_is_never_in_its_own_text() -> None:
    found = list(literals({"storage": {"password": PLANTED}}))
    assert [one.key for one in found] == ["storage.password"]
    assert PLANTED not in repr(found)
