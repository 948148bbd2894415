"""Redacting: known values, shapes and hidden values are in no text, and ordinary texts stay as they are."""

from __future__ import annotations

import copy
import json
import logging
import os
import pickle
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pai_train import redact as room
from pai_train.errors import DataError, Fault, Refused
from pai_train.redact import hide, is_secret_name, redact, redacted, secret_shape
from tests.front.conftest import ROOT

if TYPE_CHECKING:
    from pathlib import Path

PLANTED = "Qv7Zk2Lw9Xr4"
AWS_ID = "AKIA" + "Q7ZK2LW9XR4T5Y6U"
OSS_ID = "LTAI5t" + PLANTED
JWT = f"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIx{PLANTED}.{PLANTED}"
PEM = f"-----BEGIN PRIVATE KEY-----\n{PLANTED}\n-----END PRIVATE KEY-----"

SHAPES = {
    f"s3://me:{PLANTED}@bucket/x": "s3://***@bucket/x",
    f"at https://h/b/k?X-Amz-Credential={PLANTED}&X-Amz-Date=1&X-Amz-Signature={PLANTED}": (
        "at https://h/b/k?X-Amz-Credential=***&X-Amz-Date=1&X-Amz-Signature=***"
    ),
    f"DefaultEndpointsProtocol=https;AccountName=a;AccountKey={PLANTED}==;EndpointSuffix=core.windows.net": (
        "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=***;EndpointSuffix=core.windows.net"
    ),
    f"oss://b\x01id={PLANTED}\x02key={PLANTED}\x02host=h/p": "oss://b\x01id=***\x02key=***\x02host=h/p",
    f"oss://b/#/id={PLANTED}/##/key={PLANTED}/##/host=h/p": "oss://b/#/id=***/##/key=***/##/host=h/p",
    f"'oss://b?access_key_id={PLANTED}&access_key_secret={PLANTED}&host=h'": (
        "'oss://b?access_key_id=***&access_key_secret=***&host=h'"
    ),
    f"{AWS_ID}, {OSS_ID}; {JWT}.": "***, ***; ***.",
    f"a {PEM} b": "a *** b",
    f"-----BEGIN RSA PRIVATE KEY-----\n{PLANTED}": "***",
    f'{{"private_key": "{PLANTED}", "a": 1}}': '{"private_key": "***", "a": 1}',
    f"Authorization: Bearer {PLANTED}{PLANTED}": "Authorization: Bearer ***",
}


@pytest.mark.parametrize(("text", "wanted"), SHAPES.items())
def test_shapes_are_masked(text: str, wanted: str) -> None:
    assert redact(text) == wanted
    assert redact(wanted) == wanted
    assert secret_shape(text) is not None
    assert secret_shape(wanted) is None


ORDINARY = [
    "http://127.0.0.1:9000/a@b", "file:///a:b@c", "az://c@account.dfs.core.windows.net/p", "ssh://git@host/x",
    "s3://bucket: access refused for me@example.com", "command line inputs.train.columns.token=STRING",
    "oss://b/part-?.csv", "create table t(a BIGINT)", "AccountKey=${oc.env:KEY}", "3f" * 32, "x" * 100,
    "acs:ram::123:role/AliyunODPSPAIDefaultRole", "data/#/id=3/x.csv", "[2001:db8::1]:80 a@b", "http://[::1]:9000/x@y",
    "a Bearer of bad news", "eyJ is not a token",
]  # fmt: skip


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_texts_stay(text: str) -> None:
    assert redact(text) == text
    assert secret_shape(text) is None


SECRET_VARIABLES = [
    "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "OSS_ACCESS_KEY_SECRET", "OSS_SESSION_TOKEN", "ODPS_STS_TOKEN",
    "ALIBABA_CLOUD_ACCESS_KEY_SECRET", "ALIBABA_CLOUD_SECURITY_TOKEN", "AZURE_STORAGE_CONNECTION_STRING",
    "AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_SAS_TOKEN", "AZURE_CLIENT_SECRET", "ODPS_BEARER_TOKEN",
    "ODPS_STS_ACCESS_KEY_SECRET", "DB_PASSWORD", "MYSQL_PWD", "HF_TOKEN", "OPENAI_API_KEY", "FSSPEC_S3_SECRET",
]  # fmt: skip
OTHER_VARIABLES = [
    "PWD", "OLDPWD", "GOOGLE_APPLICATION_CREDENTIALS", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_SHARED_CREDENTIALS_FILE",
    "ODPS_BEARER_TOKEN_FILE", "ALIBABA_CLOUD_CREDENTIALS_URI", "AZURE_STORAGE_ACCOUNT_NAME", "AWS_PROFILE", "PATH",
    "TOKENIZERS_PARALLELISM", "SSH_AUTH_SOCK", "HOME", "OSS_ENDPOINT", "STORAGE_EMULATOR_HOST",
]  # fmt: skip


def test_variables_are_told_by_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    for at, name in enumerate(SECRET_VARIABLES):
        monkeypatch.setenv(name, f"/{PLANTED}+{at:02}")
    for name in OTHER_VARIABLES:
        assert not is_secret_name(name), name
    for at, name in enumerate(SECRET_VARIABLES):
        value = f"/{PLANTED}+{at:02}"
        assert redact(f"<{value}> <%2F{PLANTED}%2B{at:02}>") == "<***> <***>", name
        monkeypatch.delenv(name)
        assert redact(value) == value, name
    monkeypatch.setenv("SHORT_SECRET", "data")
    assert redact("data") == "data"


def test_a_connection_strings_key_is_masked_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", f"AccountName=me;AccountKey={PLANTED}==;X=1")
    assert redact(f"signed with {PLANTED}== by me") == "signed with *** by me"


@given(value=st.text(min_size=8, max_size=40).filter(lambda text: "\0" not in text), around=st.text(max_size=20))
@settings(deadline=None, max_examples=200)
def test_a_hidden_value_is_in_no_text(value: str, around: str) -> None:
    before = set(room._hidden)
    try:
        hide(value)
        for text in (value, repr(value), json.dumps(value), f"{around}{value}{around}"):
            shown = redact(text)
            assert value not in shown or value in "***"
        shown = redacted({"a": [value, 1, None, {value: around + value}]})
        assert value not in json.dumps(shown, ensure_ascii=False)
    finally:
        room._hidden.clear()
        room._hidden.update(before)


def test_faults_and_errors_say_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_SECRET", PLANTED)
    fault = Fault(f"a {PLANTED}", f"b {PLANTED}", f"c {PLANTED}", f"d {PLANTED}", f"e {PLANTED}")
    error = DataError(f"a {PLANTED}", where=f"s3://me:x{PLANTED}@b", got=AWS_ID)
    texts = [str(fault), repr(fault), str(error), repr(error), str(Refused([fault])), repr(Refused([fault, fault]))]
    texts.append(repr(copy.copy(error)))
    for text in texts:
        assert PLANTED not in text
        assert AWS_ID not in text
        assert "***" in text
    assert PLANTED.encode() not in pickle.dumps(error.args)


def test_log_lines_say_no_secret(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys) -> None:
    from pai_train.experiment.logs import logs

    monkeypatch.setenv("MY_SECRET", PLANTED)
    log = logging.getLogger("pai_train.tests")
    with logs(tmp_path):
        log.warning("it is %s", PLANTED)
        logging.getLogger("botocore").warning("signed %s", f"https://h/?X-Amz-Signature={PLANTED}")
        try:
            try:
                raise ValueError(PLANTED)
            except ValueError as error:
                raise KeyError(f"s3://me:{PLANTED}@b") from error
        except KeyError:
            log.exception("because of")
    written = (tmp_path / "log").read_text()
    assert "ValueError: ***" in written
    assert "KeyError: 's3://***@b'" in written
    for text in (written, capsys.readouterr().err):
        assert "it is ***" in text
        assert PLANTED not in text


def test_a_traceback_says_no_secret(tmp_path: Path) -> None:
    code = """
import os, sys, threading, logging, warnings
from pai_train.redact import guard
guard()
def fail():
    raise ValueError(os.environ["MY_SECRET"])
class Ends:
    def __del__(self):
        fail()
thread = threading.Thread(target=fail, name="worker")
thread.start(); thread.join()
ends = Ends(); del ends
logging.getLogger("nobody").warning(os.environ["MY_SECRET"])
warnings.warn("told " + os.environ["MY_SECRET"])
fail()
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "MY_SECRET": PLANTED},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.count("ValueError: ***") == 3, done.stderr
    assert "Exception in thread worker" in done.stderr
    assert "UserWarning: told ***" in done.stderr
    assert PLANTED not in done.stderr


@pytest.mark.parametrize("text", ["a" * 10**6, "s3://" + "x:" * 10**5, "?sig" * 10**5, "eyJ" * 10**5, "://a:" * 10**4])
def test_long_texts_are_looked_through(text: str) -> None:
    # What grew with the square of the length would not end.
    assert redact(text) == text
