"""Temporary keys on the OSS server of the tests, and the token service that gives them for roles."""

from __future__ import annotations

import json
import time
import uuid
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest
from alibabacloud_credentials.exceptions import CredentialException
from alibabacloud_credentials.provider import RamRoleArnCredentialsProvider, ram_role_arn
from alibabacloud_credentials.utils import parameter_helper

from tests.servers.oss_clients import Bucket, client_of, refusal
from tests.servers.oss_fixture import ROLE, OssDoor, OssUser
from tests.servers.served import Served


@pytest.fixture
def key() -> str:
    return f"{uuid.uuid4().hex}/a b+é?#%41.csv"


def bucket_of(served: Served, user: OssUser | None = None, version: str = "v4", **settings: Any) -> Bucket:
    return Bucket(client_of(served, user, version, **settings), served.bucket)


def test_a_temporary_key(oss_server: Served, oss_door: OssDoor, key: str) -> None:
    user = oss_door.temporary(600, ["put", "get"])
    bucket = bucket_of(oss_server, user)
    bucket.put(key)
    assert bucket.read(key) == b"1"
    assert refusal(bucket.delete_object, key=key).code == "AccessDenied"
    for token, code in {"wrong": "InvalidSecurityToken", None: "InvalidAccessKeyId"}.items():
        refused = refusal(bucket_of(oss_server, OssUser(user.key, user.secret, token)).put, key)
        assert (refused.status_code, refused.code) == (403, code)
    with oss_door.clock(590):
        bucket.put(key)
    with oss_door.clock(610):
        refused = refusal(bucket.put, key)
        assert (refused.status_code, refused.code) == (403, "SecurityTokenExpired")
        assert refusal(bucket.head_object, key=key).code == "SecurityTokenExpired"


def test_a_token_with_a_lasting_key(oss_server: Served, oss_door: OssDoor, key: str) -> None:
    user = oss_door.user()
    refused = refusal(bucket_of(oss_server, OssUser(user.key, user.secret, "token")).put, key)
    assert (refused.status_code, refused.code) == (403, "InvalidAccessKeyId")


def test_a_temporary_key_with_v1(oss_server: Served, oss_door: OssDoor, key: str) -> None:
    user = oss_door.temporary(600)
    token = {"default_request_headers": {"x-oss-security-token": user.token}}
    bucket_of(oss_server, OssUser(user.key, user.secret), "v1", **token).put(key)
    # By itself the client sends the token in a header that V1 does not know.
    assert refusal(bucket_of(oss_server, user, "v1").put, key).code == "InvalidAccessKeyId"


@pytest.fixture
def over_http(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client of the token service insists on https, which the server does not have."""
    send = ram_role_arn.TeaCore.do_action

    def do_action(request: Any, *options: Any) -> Any:
        request.protocol = "http"
        return send(request, *options)

    monkeypatch.setattr(ram_role_arn.TeaCore, "do_action", staticmethod(do_action))


def role_of(served: Served, user: OssUser, role: str = ROLE) -> Any:
    return RamRoleArnCredentialsProvider(
        access_key_id=user.key,
        access_key_secret=user.secret,
        security_token=user.token,
        role_arn=role,
        role_session_name="tests",
        sts_endpoint=urlsplit(served.endpoint).netloc,
    ).get_credentials()


def user_of(given: Any) -> OssUser:
    return OssUser(given.get_access_key_id(), given.get_access_key_secret(), given.get_security_token())


@pytest.mark.usefixtures("over_http")
def test_a_role(oss_server: Served, oss_door: OssDoor, key: str) -> None:
    reader = f"{ROLE}-reads"
    oss_door.role(reader, ["get"])
    lasting = oss_door.user(["assume"])
    assert refusal(bucket_of(oss_server, lasting).put, key).code == "AccessDenied"
    given = role_of(oss_server, lasting)
    bucket_of(oss_server, user_of(given)).put(key, b"1")
    assert bucket_of(oss_server, user_of(role_of(oss_server, user_of(given), reader))).read(key) == b"1"
    assert refusal(bucket_of(oss_server, user_of(role_of(oss_server, lasting, reader))).put, key).code == "AccessDenied"


@pytest.mark.usefixtures("over_http")
def test_roles_that_are_refused(oss_server: Served, oss_door: OssDoor) -> None:
    user = oss_door.user(["assume"])
    cases = [
        (OssUser("nobody", "x"), ROLE, "InvalidAccessKeyId.NotFound"),
        (OssUser(user.key, "x"), ROLE, "SignatureDoesNotMatch"),
        (oss_door.user(["get"]), ROLE, "NoPermission"),
        (user, f"{ROLE}-absent", "EntityNotExist.Role"),
        (user, "no-arn", "InvalidParameter.RoleArn"),
    ]
    for asking, role, code in cases:
        with pytest.raises(CredentialException, match=code) as caught:
            role_of(oss_server, asking, role)
        assert user.secret not in str(caught.value)


def test_the_token_service_itself(oss_server: Served, oss_door: OssDoor, key: str) -> None:
    user, door = oss_door.user(), HTTPConnection(urlsplit(oss_server.endpoint).netloc, timeout=30)

    def ask(method: str = "POST", nonce: str | None = None, **changed: str) -> Any:
        query = {
            **{"Action": "AssumeRole", "Version": "2015-04-01", "RoleArn": ROLE, "RoleSessionName": "tests"},
            **{"SignatureMethod": "HMAC-SHA1", "SignatureNonce": nonce or uuid.uuid4().hex, "DurationSeconds": "900"},
            **{"Timestamp": parameter_helper.get_iso_8061_date(), "AccessKeyId": user.key, **changed},
        }
        text = parameter_helper.compose_string_to_sign(method, query)
        query["Signature"] = parameter_helper.sign_string(text, f"{user.secret}&")
        form = urlencode(query)
        place = f"/?{form}" if method == "GET" else "/sts"
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        door.request(method, place, None if method == "GET" else form, kind)
        return json.load(door.getresponse())

    for method in ("GET", "POST"):
        keys = ask(method)["Credentials"]
        ends = time.mktime(time.strptime(keys["Expiration"], "%Y-%m-%dT%H:%M:%SZ")) - time.timezone
        assert ends - time.time() == pytest.approx(900, abs=30)
    with oss_door.token_life(60):
        given = ask()["Credentials"]
    bucket = bucket_of(oss_server, OssUser(given["AccessKeyId"], given["AccessKeySecret"], given["SecurityToken"]))
    bucket.put(key)
    with oss_door.clock(61):
        assert refusal(bucket.put, key).code == "SecurityTokenExpired"
    ask(nonce="once")
    assert ask(nonce="once")["Code"] == "SignatureNonceUsed"
    assert ask(DurationSeconds="899")["Code"] == "InvalidParameter.DurationSeconds"
    assert ask(Timestamp="2020-01-01T00:00:00Z")["Code"] == "InvalidTimeStamp.Expired"
    assert ask(RoleArn="")["Code"] == "MissingRoleArn"
    door.close()
