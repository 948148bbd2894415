"""Starts the s3 servers of the tests: moto, which checks signatures and permissions, and rclone, which keeps files."""

from __future__ import annotations

import json
import sys
import uuid
from http import HTTPStatus
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import boto3
import pytest

from tests.servers.process import HOST, free_port, serving
from tests.servers.served import Served

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_BUCKET = "pai-train"
_REGION = "us-east-1"
_ROLE = "arn:aws:iam::123456789012:role/pai"
_ALONE = {"AWS_DEFAULT_REGION": _REGION, "AWS_EC2_METADATA_DISABLED": "true"}


class Moto:
    """The door of moto by which a test makes users, buckets and temporary keys.

    Args:
        endpoint: Its address.
    """

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self._check_signatures(after=1000)
        self._trusted: dict[str, str] = {}
        self._iam = self._client("iam", "x", "x")
        trust = {"Statement": [{"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}]}
        self._iam.create_role(RoleName="pai", AssumeRolePolicyDocument=json.dumps(trust))
        self._iam.put_role_policy(RoleName="pai", PolicyName="all", PolicyDocument=_policy(["s3:*"]))
        self._trusted = self._user(["s3:*", "sts:*", "iam:*"])
        self._check_signatures(after=0)
        self._iam = self._client("iam", *self._trusted.values())
        self.s3 = self._client("s3", *self._trusted.values())
        self.s3.create_bucket(Bucket=_BUCKET)

    def env(self) -> dict[str, str]:
        """Returns the environment of the user who may do everything."""
        return {**self._trusted, **_ALONE}

    def user(self, actions: Sequence[str]) -> dict[str, str]:
        """Returns the environment of a new user who may do these things only, such as `s3:GetObject`."""
        return {**self._user(actions), **_ALONE}

    def assume_role(self) -> dict[str, str]:
        """Returns the environment of temporary keys."""
        found = self._client("sts", *self._trusted.values()).assume_role(RoleArn=_ROLE, RoleSessionName="test")
        keys = found["Credentials"]
        return {
            "AWS_ACCESS_KEY_ID": keys["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": keys["SecretAccessKey"],
            "AWS_SESSION_TOKEN": keys["SessionToken"],
            **_ALONE,
        }

    def _user(self, actions: Sequence[str]) -> dict[str, str]:
        name = uuid.uuid4().hex
        self._iam.create_user(UserName=name)
        self._iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=_policy(actions))
        key = self._iam.create_access_key(UserName=name)["AccessKey"]
        return {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}

    def _check_signatures(self, after: int) -> None:
        door = HTTPConnection(HOST, urlsplit(self.endpoint).port or 80, timeout=30)
        door.request("POST", "/moto-api/reset-auth", str(after), {"Content-Type": "text/plain"})
        assert door.getresponse().status == HTTPStatus.OK
        door.close()

    def _client(self, service: str, key: str, secret: str) -> Any:
        return boto3.client(
            service,
            endpoint_url=self.endpoint,
            region_name=_REGION,
            aws_access_key_id=key,
            aws_secret_access_key=secret,
        )


def _policy(actions: Sequence[str]) -> str:
    statement = {"Effect": "Allow", "Action": list(actions), "Resource": "*"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


@pytest.fixture(scope="session")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Moto]:
    """moto, checking every request."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", HOST, "-p", str(port)]
    with serving(command, port, tmp_path_factory.mktemp("s3") / "log"):
        yield Moto(f"http://{HOST}:{port}")


@pytest.fixture(scope="session")
def s3_server(moto: Moto) -> Served:
    """A bucket on moto."""
    return Served("s3", "s3", moto.endpoint, _BUCKET, env=moto.env())


@pytest.fixture(scope="session")
def rclone_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A bucket that is a folder on local disk; the server takes every writer for the first."""
    port, folder = free_port(), tmp_path_factory.mktemp("rclone")
    (folder / "objects" / _BUCKET).mkdir(parents=True)
    key, secret = uuid.uuid4().hex, uuid.uuid4().hex
    binary = Path(sys.prefix) / "bin" / "rclone"
    command = [str(binary), "serve", "s3", "--addr", f"{HOST}:{port}", "--auth-key", f"{key},{secret}"]
    command += ["--vfs-cache-mode", "off", "--config", "", str(folder / "objects")]
    env = {"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret, **_ALONE}
    with serving(command, port, folder / "log"):
        yield Served("s3", "s3", f"http://{HOST}:{port}", _BUCKET, env=env, exclusive_create=False)
