"""Who may ask the MaxCompute server: signatures, temporary keys, roles, bearer tokens."""

from __future__ import annotations

import time
from typing import Any

import odps.errors
import pyarrow as pa
import pytest
from odps import ODPS
from odps.accounts import BearerTokenAccount, CloudAccount, StsAccount
from odps.errors import ODPSError
from odps.tunnel import TableTunnel

from tests.servers.maxcompute_fixture import REGION, ROLE, MaxComputeDoor, MaxComputeServed, MaxComputeUser
from tests.servers.oss_sts import string_to_sign

V4 = {"region_name": REGION}


def use(client: ODPS, name: str) -> list[int]:
    """Asks each of the three services once."""
    client.create_table(name, "a bigint")
    with client.get_table(name).open_writer(arrow=True) as writer:
        writer.write(pa.table({"a": [1, 2]}))
    session = TableTunnel(client).create_download_session(name)
    with session.open_arrow_reader(0, 2) as reader:
        return list(reader.read()["a"].to_pylist())


@pytest.mark.parametrize("more", [{}, V4], ids=["v2", "v4"])
def test_a_right_signature_is_let_in(
    maxcompute_server: MaxComputeServed, maxcompute_door: MaxComputeDoor, more: dict[str, Any]
) -> None:
    client = maxcompute_server.odps(maxcompute_door.user(), **more)
    assert use(client, maxcompute_server.table()) == [1, 2]


@pytest.mark.parametrize("more", [{}, V4], ids=["v2", "v4"])
@pytest.mark.parametrize(
    ("user", "code"),
    [
        (MaxComputeUser("LTAInobody", "x"), "ODPS-0410051"),
        (MaxComputeUser("LTAIpaitrain", "wrong"), "ODPS-0410042"),
    ],
    ids=["key", "secret"],
)
def test_a_wrong_key_or_secret_is_refused(
    maxcompute_server: MaxComputeServed, user: MaxComputeUser, code: str, more: dict[str, Any]
) -> None:
    client = maxcompute_server.odps(user, **more)
    with pytest.raises(ODPSError) as caught:
        client.get_table("t").reload()
    assert (caught.value.code, caught.value.status_code) == (code, 401)
    with pytest.raises(ODPSError) as caught:
        TableTunnel(client, endpoint=maxcompute_server.endpoint.removesuffix("/api")).create_download_session("t")
    assert (caught.value.code, caught.value.status_code) == (code, 401)
    assert user.secret not in str(caught.value)


def test_a_signature_for_another_region_is_refused(maxcompute_server: MaxComputeServed) -> None:
    with pytest.raises(ODPSError, match="region cn-beijing"):
        maxcompute_server.odps(region_name="cn-beijing").get_table("t").reload()


def test_what_was_signed_may_not_be_changed(maxcompute_server: MaxComputeServed) -> None:
    class Changed(CloudAccount):
        def sign_request(self, req: Any, endpoint: str, region_name: str | None = None) -> None:
            super().sign_request(req, endpoint, region_name)
            req.url = req.url.replace("name=a", "name=b")

    user = maxcompute_server.user
    client = maxcompute_server.odps(account=Changed(user.key, user.secret))
    with pytest.raises(ODPSError, match="ODPS-0410042"):
        list(client.list_tables(prefix="a"))
    assert isinstance(list(client.list_tables(prefix="c")), list)


def test_an_old_signature_is_refused(maxcompute_server: MaxComputeServed) -> None:
    class Late(CloudAccount):
        def sign_request(self, req: Any, endpoint: str, region_name: str | None = None) -> None:
            req.headers["Date"] = "Tue, 24 Nov 2020 00:00:00 GMT"
            super().sign_request(req, endpoint, region_name)

    user = maxcompute_server.user
    with pytest.raises(ODPSError, match="skewed"):
        maxcompute_server.odps(account=Late(user.key, user.secret)).get_table("t").reload()


def test_an_unsigned_request_is_refused(maxcompute_server: MaxComputeServed) -> None:
    class Unsigned(CloudAccount):
        def sign_request(self, req: Any, endpoint: str, region_name: str | None = None) -> None:
            pass

    with pytest.raises(odps.errors.Unauthorized, match="invalid or missing"):
        maxcompute_server.odps(account=Unsigned("a", "b")).get_table("t").reload()


@pytest.mark.parametrize("more", [{}, V4], ids=["v2", "v4"])
def test_a_temporary_key_is_let_in_with_its_token(
    maxcompute_server: MaxComputeServed, maxcompute_door: MaxComputeDoor, more: dict[str, Any]
) -> None:
    user = maxcompute_door.temporary(3600)
    assert use(maxcompute_server.odps(user, **more), maxcompute_server.table()) == [1, 2]
    for token in ("", "another"):
        with pytest.raises(ODPSError, match="ODPS-0410051") as caught:
            account = StsAccount(user.key, user.secret, token)
            maxcompute_server.odps(account=account, **more).get_table("t").reload()
        assert caught.value.status_code == 401


def test_a_temporary_key_ends(maxcompute_server: MaxComputeServed, maxcompute_door: MaxComputeDoor) -> None:
    client = maxcompute_server.odps(maxcompute_door.temporary(60))
    assert not client.exist_table("nobody")
    with maxcompute_door.clock(61), pytest.raises(odps.errors.AuthenticationRequestExpired, match="ODPS-0410031"):
        client.exist_table("nobody")
    assert not client.exist_table("nobody")


def test_a_key_that_somebody_else_issued_is_admitted(
    maxcompute_server: MaxComputeServed, maxcompute_door: MaxComputeDoor
) -> None:
    user = MaxComputeUser("STS.elsewhere", "its-secret", "its-token")
    with pytest.raises(ODPSError, match="ODPS-0410051"):
        maxcompute_server.odps(user).exist_table("nobody")
    maxcompute_door.admit(user.key, user.secret, "its-token", 3600)
    assert not maxcompute_server.odps(user).exist_table("nobody")


def test_a_role_is_assumed_at_the_servers_own_token_service(
    maxcompute_server: MaxComputeServed, maxcompute_door: MaxComputeDoor
) -> None:
    given = assume(maxcompute_server)
    user = MaxComputeUser(given["AccessKeyId"], given["AccessKeySecret"], given["SecurityToken"])
    assert use(maxcompute_server.odps(user), maxcompute_server.table()) == [1, 2]
    with maxcompute_door.token_life(1):
        given = assume(maxcompute_server)
    user = MaxComputeUser(given["AccessKeyId"], given["AccessKeySecret"], given["SecurityToken"])
    with maxcompute_door.clock(2), pytest.raises(odps.errors.AuthenticationRequestExpired):
        maxcompute_server.odps(user).exist_table("nobody")


def test_a_bearer_token_is_let_in_until_it_ends(
    maxcompute_server: MaxComputeServed, maxcompute_door: MaxComputeDoor
) -> None:
    token = maxcompute_door.bearer(60)
    client = maxcompute_server.odps(account=BearerTokenAccount(get_bearer_token_fun=lambda: token))
    assert use(client, maxcompute_server.table()) == [1, 2]
    with maxcompute_door.clock(61), pytest.raises(odps.errors.AuthenticationRequestExpired):
        client.exist_table("nobody")
    with pytest.raises(ODPSError, match="ODPS-0410051"):
        maxcompute_server.odps(account=BearerTokenAccount(get_bearer_token_fun=lambda: "x")).exist_table("nobody")


def test_a_secret_is_in_no_text(maxcompute_server: MaxComputeServed, maxcompute_door: MaxComputeDoor) -> None:
    user = maxcompute_door.temporary(60)
    assert user.secret not in repr(user)
    assert user.token is not None
    assert user.token not in repr(user)
    assert maxcompute_server.user.secret not in repr(maxcompute_server)


def assume(served: MaxComputeServed) -> dict[str, str]:
    """Asks the token service as Alibaba Cloud's own clients do."""
    import base64
    import hashlib
    import hmac
    import uuid

    import requests

    query = {
        "Action": "AssumeRole",
        "Version": "2015-04-01",
        "SignatureMethod": "HMAC-SHA1",
        "SignatureVersion": "1.0",
        "SignatureNonce": uuid.uuid4().hex,
        "Timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "AccessKeyId": served.user.key,
        "RoleArn": ROLE,
        "RoleSessionName": "tests",
    }
    key = f"{served.user.secret}&".encode()
    digest = hmac.new(key, string_to_sign("POST", query).encode(), hashlib.sha1).digest()
    answer = requests.post(
        served.token_service, params={**query, "Signature": base64.b64encode(digest).decode()}, timeout=30
    )
    answer.raise_for_status()
    return dict(answer.json()["Credentials"])
