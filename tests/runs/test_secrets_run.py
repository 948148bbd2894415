"""A key planted by every route: no file, no line of any output and no folder's name holds it afterwards."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

KEY = "Zq8Wv3Kx7Lm2Rt5"
AWS_ID = "AKIA" + "Z8WV3KX7LM2RT5QY"
QUICK = ["+recipe=iris", "train.epochs=1"]
BUILDER = """
import os, logging, sys, warnings
import keras
from pai_train.models.preprocess import features

log = logging.getLogger("mine")

def build(columns, label, api_key="", fail=False):
    secret = os.environ["MY_SECRET"]
    log.warning("with %s and %s", secret, api_key)
    sys.stderr.flush()
    if fail:
        try:
            raise KeyError(secret)
        except KeyError as error:
            raise ConnectionError(f"403 for s3://me:{secret}@bucket, signed with {api_key}") from error
    inputs, x = features(columns)
    return keras.Model(inputs, keras.layers.Dense(label.width)(x))
"""


def planted(jobs, *secrets: str) -> list[str]:
    """Lists where a secret is found: in names and contents below the working folder and in what was printed."""
    found = []
    for path in [*jobs.cwd.rglob("*"), *jobs.cwd.parent.glob(f"{jobs.cwd.name}-*.out")]:
        # What the test itself wrote may say it.
        if path.is_file() and not path.is_relative_to(jobs.cwd / "mine"):
            content = path.read_bytes()
            found += [str(path) for secret in secrets if secret.encode() in content]
        found += [str(path) for secret in secrets if secret in path.name]
    return found


def kept(jobs) -> list[Path]:
    """Lists what is in the working folder but for what the test put there."""
    return [path for path in jobs.cwd.rglob("*") if not path.is_relative_to(jobs.cwd / "mine")]


ROUTES = {
    "value": [f"+storage.secret_key={KEY}"],
    "params": [f"model.params.api_key={KEY}"],
    "quoted, not parsed": [f"+storage.password='{KEY}"],
    "bracket, not parsed": [f"+storage.password=({KEY}", "model.name=(b"],
    "unknown key": [f"+my.token={KEY}"],
    "dict": [f"+mine={{password: {KEY}}}"],
    "sweep": [f"+storage.password=a,{KEY}"],
    "multirun": ["-m", f"model.params.api_key={KEY},b"],
    "default": [f"model.params.api_key=${{oc.env:NOT_SET,{KEY}}}"],
    "query": [f"inputs.train.oss=oss://b?access_key_id=me&access_key_secret={KEY}&host=h"],
    "signature": [f"storage.root=s3://b/x?X-Amz-Signature={KEY}"],
    "userinfo": [f"storage.root=s3://me:{KEY}@bucket"],
    "control": [f"checkpointDir=oss://b\x01id=me\x02key={KEY}\x02host=h/ck"],
    "hashes": [f"checkpointDir=oss://b/#/id=me/##/key={KEY}/##/host=h/ck"],
    "connection": [f"+storage.connection_string=AccountName=a;AccountKey={KEY}"],
    "run-dir": [f"hydra.run.dir=runs/s3://me:{KEY}@b"],
    "run-dir-environment": ["hydra.run.dir=runs/${oc.env:MY_SECRET}"],
    "place-environment": ["checkpointDir=ck-${oc.env:MY_SECRET}"],
    "env-set": [f"hydra.job.env_set={{AWS_SECRET_ACCESS_KEY: {KEY}}}"],
    "flag": [f"--password={KEY}"],
    "flag-and-word": ["--secret", KEY],
    "cfg": ["--cfg", "all", "--resolve", f"+storage.password={KEY}"],
    "info": ["--info", "all", f"+storage.password={KEY}"],
    "mode": ["mode=check", f"+storage.password={KEY}"],
    "stage": ["mode=stage", f"stage={{from: x.csv, to: 's3://me:{KEY}@b/x'}}"],
    "recipe": ["+recipe=[iris,leaky]"],
    "broken recipe": ["+recipe=[iris,broken]"],
    "group": ["--config-dir", "mine", "storage=leaky"],
    "broken group": ["--config-dir", "mine", "storage=broken"],
}


@pytest.mark.parametrize("words", ROUTES.values(), ids=ROUTES)
def test_a_planted_key_is_refused_and_nowhere(jobs, words, monkeypatch):
    monkeypatch.setenv("PAI_TRAIN_RECIPES", str(jobs.cwd / "mine/recipes"))
    for name, text in {
        "recipes/leaky": f"model: {{params: {{api_key: {KEY}}}}}\n",
        "recipes/broken": f"model: {{params: {{api_key: !{KEY} }}}}\n",
        "storage/leaky": f"root: data\nsecret_key: {KEY}\n",
        "storage/broken": f"root: data\nsecret_key: !{KEY}\n",
    }.items():
        path = jobs.cwd / "mine" / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    given = [] if any(word.startswith("+recipe") for word in words) else QUICK[:1]
    environment = {"MY_SECRET": KEY, "PAI_TRAIN_RECIPES": str(jobs.cwd / "mine/recipes")}
    finished = jobs.run(*given, *words, env=environment)
    assert finished.code == 2, finished
    assert "nothing was touched" in finished.text
    assert "Traceback" not in finished.text
    assert planted(jobs, KEY) == []
    assert kept(jobs) == []


def test_a_run_with_secrets_in_its_environment_writes_none(jobs):
    (jobs.cwd / "mine").mkdir()
    (jobs.cwd / "builders.py").write_text(BUILDER)
    record = jobs.done(
        *QUICK,
        "model={name: builders.build, params: {hidden: null, api_key: '${oc.env:ORDINARY}'}}",
        "~model.params.hidden",
        env={"MY_SECRET": f"{KEY}-a", "ORDINARY": f"{KEY}-b", "AWS_ACCESS_KEY_ID": AWS_ID},
    )
    assert planted(jobs, KEY, AWS_ID) == []
    folder = Path(record["folder"])
    assert "api_key: ${oc.env:ORDINARY}" in (folder / "config.yaml").read_text()
    assert "with *** and ***" in (folder / "log").read_text()
    assert "${oc.env:ORDINARY}" in record["reproduce"]
    assert "${oc.env:ORDINARY}" in " ".join(record["overrides"])


@pytest.mark.parametrize("cold", [False, True], ids=["warm", "cold"])
def test_a_builder_that_raises_with_a_secret_says_it_nowhere(jobs, cold):
    (jobs.cwd / "mine").mkdir()
    (jobs.cwd / "builders.py").write_text(BUILDER)
    finished = jobs.run(
        *QUICK,
        "model={name: builders.build, params: {hidden: null, fail: true, api_key: '${oc.env:ORDINARY}'}}",
        "~model.params.hidden",
        cold=cold,
        env={"MY_SECRET": f"{KEY}-a", "ORDINARY": f"{KEY}-b"},
    )
    assert finished.code == 1, finished
    assert "ConnectionError: 403 for s3://***@bucket, signed with ***" in finished.text
    assert planted(jobs, KEY) == []
    record = jobs.last()
    assert (record["status"], "s3://***@bucket" in record["error"]) == ("failed", True)
    log = (Path(record["folder"]) / "log").read_text()
    assert "KeyError: '***'" in log
    assert log.count("Traceback") >= 2


def test_what_nobody_catches_says_no_secret(jobs):
    (jobs.cwd / "mine").mkdir()
    (jobs.cwd / "sitecustomize.py").write_text(
        "import os, pai_train.front.overrides as overrides\n"
        "def fail(*given, **named):\n"
        "    raise ZeroDivisionError('with ' + os.environ['MY_SECRET'])\n"
        "overrides.sort = fail\n"
    )
    finished = jobs.run(*QUICK, cold=True, env={"MY_SECRET": KEY, "PYTHONPATH": f"{jobs.cwd}:{Path.cwd()}"})
    assert finished.code == 1, finished
    assert "ZeroDivisionError: with ***" in finished.text
    (jobs.cwd / "sitecustomize.py").unlink()
    assert planted(jobs, KEY) == []


def test_a_failing_store_says_no_secret(jobs):
    environment = {
        "OSS_ACCESS_KEY_ID": "LTAI5tPlantedPlanted1",
        "OSS_ACCESS_KEY_SECRET": KEY,
        "OSS_SESSION_TOKEN": f"{KEY}-token",
    }
    finished = jobs.run(
        *QUICK,
        "storage=oss",
        "storage.root=oss://bucket/x",
        "storage.region=cn-hangzhou",
        "storage.endpoint=http://127.0.0.1:9",
        "++storage.deadline_s=1",
        "++storage.timeout_s=1",
        env=environment,
    )
    assert finished.code == 2, finished
    assert "oss://bucket" in finished.text
    assert planted(jobs, KEY, "LTAI5tPlanted") == []


def test_run_json_is_whole(jobs):
    (jobs.cwd / "mine").mkdir()
    jobs.done(*QUICK, env={"MY_SECRET": KEY})
    record = json.loads(jobs.records()[-1].read_text())
    assert "***" not in json.dumps(record)
