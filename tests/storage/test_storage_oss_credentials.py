"""Who we are on OSS: keys from the environment, profiles, roles with keys that end; each refusal by its own name."""

from __future__ import annotations

import json
import pickle
from typing import TYPE_CHECKING, Any

import pytest

from pai_train.storage import Access, AccessRefused, Limits, StorageOptions, Store, Stores, StoreUnavailable, join
from pai_train.storage.errors import BucketMissing
from tests.servers.oss_fixture import ROLE

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.oss_fixture import OssDoor, OssUser
    from tests.servers.served import Served

QUICK = Limits(timeout_s=5, deadline_s=0.5)


@pytest.fixture
def url(oss_server: Served) -> str:
    return join(oss_server.root(), "object")


@pytest.fixture(autouse=True)
def clean(oss_server: Served, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Only the region is in the environment, and no file of credentials and no cloud's own service is near."""
    from alibabacloud_credentials.utils import auth_constant, auth_util

    for kind in ("OSS", "ALIBABA_CLOUD"):
        for name in ("ACCESS_KEY_ID", "ACCESS_KEY_SECRET", "SESSION_TOKEN", "SECURITY_TOKEN"):
            monkeypatch.delenv(f"{kind}_{name}", raising=False)
    monkeypatch.setenv("OSS_REGION", oss_server.env["OSS_REGION"])
    # The library reads the environment once, when it is imported.
    monkeypatch.setattr(auth_util, "environment_ecs_metadata_disabled", "true")
    monkeypatch.setattr(auth_util, "environment_access_key_id", None)
    monkeypatch.setattr(auth_constant, "HOME", str(tmp_path))


@pytest.fixture
def token_service(oss_server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """The token service is the test server, which speaks no TLS."""
    from Tea.core import TeaCore

    send = TeaCore.do_action

    def plainly(request: Any, options: Any = None) -> Any:
        request.protocol = "http"
        return send(request, options)

    monkeypatch.setattr(TeaCore, "do_action", staticmethod(plainly))
    monkeypatch.setenv("ALIBABA_CLOUD_STS_ENDPOINT", oss_server.endpoint)


def opened(served: Served, **access: Any) -> Store:
    options = StorageOptions(access={"oss": Access(endpoint=served.endpoint, **access)}, limits=QUICK)
    return Stores(options).open("oss://")


def enter(monkeypatch: pytest.MonkeyPatch, user: OssUser) -> None:
    for name, value in user.env.items():
        monkeypatch.setenv(name, value)


# Keys


def test_the_cloud_has_names_of_its_own(
    oss_server: Served, oss_door: OssDoor, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = oss_door.temporary(3600)
    monkeypatch.setenv("ALIBABA_CLOUD_ACCESS_KEY_ID", user.key)
    monkeypatch.setenv("ALIBABA_CLOUD_ACCESS_KEY_SECRET", user.secret)
    monkeypatch.setenv("ALIBABA_CLOUD_SECURITY_TOKEN", str(user.token))
    store = opened(oss_server)
    store.put(url, b"1")
    assert pickle.loads(pickle.dumps(store.filesystem)).cat_file(url) == b"1"
    # The names of OSS go first.
    enter(monkeypatch, oss_door.user(["get"]))
    with pytest.raises(AccessRefused):
        store.put(url, b"2")
    assert store.read(url) == b"1"


def test_a_profile(oss_server: Served, oss_door: OssDoor, url: str, tmp_path: Path) -> None:
    user = oss_door.user()
    profile = {"name": "research", "mode": "AK", "access_key_id": user.key, "access_key_secret": user.secret}
    (tmp_path / ".aliyun").mkdir()
    (tmp_path / ".aliyun" / "config.json").write_text(json.dumps({"current": "", "profiles": [profile]}))
    (tmp_path / ".alibabacloud").mkdir()
    (tmp_path / ".alibabacloud" / "credentials.ini").write_text(
        f"[other]\ntype = access_key\naccess_key_id = {user.key}\naccess_key_secret = {user.secret}\n"
    )
    for name in ("research", "other"):
        assert opened(oss_server, profile=name).put(url, b"1").size == 1
    with pytest.raises(AccessRefused, match="profile") as caught:
        opened(oss_server, profile="absent").put(url, b"1")
    assert (caught.value.fault.got, "absent" in str(caught.value.fault.todo)) == ("absent", True)


def test_no_credentials(oss_server: Served, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AccessRefused, match="no credentials") as caught:
        opened(oss_server).put(url, b"1")
    assert "OSS_ACCESS_KEY_ID and OSS_ACCESS_KEY_SECRET" in (caught.value.fault.todo or "")
    monkeypatch.setenv("OSS_ACCESS_KEY_ID", "LTAI1")
    with pytest.raises(AccessRefused, match="half") as half:
        opened(oss_server).put(url, b"1")
    assert half.value.fault.wanted == "OSS_ACCESS_KEY_SECRET"


@pytest.mark.parametrize(
    ("case", "code", "says"),
    [
        ("key", "InvalidAccessKeyId", "does not know the access key"),
        ("secret", "SignatureDoesNotMatch", "secret is wrong"),
        ("token", "InvalidSecurityToken", "token is wrong"),
        ("expired", "SecurityTokenExpired", "has expired"),
        ("denied", "AccessDenied", "no permission"),
        ("clock", "RequestTimeTooSkewed", "clock"),
    ],
)
def test_each_refusal_has_its_own_name(
    oss_server: Served, oss_door: OssDoor, url: str, monkeypatch: pytest.MonkeyPatch, case: str, code: str, says: str
) -> None:
    user = oss_door.user(["get"] if case == "denied" else None)
    user = oss_door.temporary(-1) if case == "expired" else oss_door.temporary(900) if case == "token" else user
    enter(monkeypatch, user)
    changed = {"key": "ACCESS_KEY_ID", "secret": "ACCESS_KEY_SECRET", "token": "SESSION_TOKEN"}.get(case)
    if changed:
        monkeypatch.setenv(f"OSS_{changed}", "wrong-one-of-these")
    store = opened(oss_server)
    with oss_door.clock(3600 if case == "clock" else 0):
        with pytest.raises(AccessRefused, match=says) as caught:
            store.put(url, b"1")
        with pytest.raises(PermissionError) as raw:
            store.filesystem.pipe_file(url, b"1")
    assert (raw.value.code, raw.value.status_code, bool(raw.value.request_id)) == (code, 403, True)
    assert store.stats.counts().retries == 0
    for secret in (user.secret, user.token or user.secret):
        assert secret not in f"{caught.value} {raw.value} {raw.value!r} {raw.value.__cause__}"


def test_a_missing_bucket_is_no_missing_object(
    oss_server: Served, oss_door: OssDoor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    enter(monkeypatch, oss_door.user())
    store, url = opened(oss_server), "oss://absent-bucket/folder/object"
    (tmp_path / "file").write_bytes(b"1")
    for work in (
        lambda: store.read(url),
        lambda: store.put(url, b"1"),
        lambda: store.put(url, tmp_path / "file"),
        lambda: store.create(url, b"1"),
        lambda: store.list("oss://absent-bucket/folder"),
        lambda: store.glob("oss://absent-bucket/*"),
    ):
        with pytest.raises(BucketMissing):
            work()


def test_a_netrc_does_not_replace_the_signature(
    oss_server: Served, oss_door: OssDoor, url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "netrc").write_text("default login somebody password else\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    enter(monkeypatch, oss_door.user())
    assert opened(oss_server).put(url, b"1").size == 1


# Roles


@pytest.mark.usefixtures("token_service")
def test_a_role_is_taken_on_once_and_renewed_before_it_ends(
    oss_server: Served, oss_door: OssDoor, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = oss_door.user(["assume"])
    enter(monkeypatch, user)
    with pytest.raises(AccessRefused):
        opened(oss_server).put(url, b"0")
    store = opened(oss_server, role_arn=ROLE)
    oss_door.requests(forget=True)
    for size in (1, 2, 3):
        store.put(url, b"1" * size)
    assert oss_door.requests()["AssumeRole"] == 1
    # Keys that live no longer than 15 minutes are about to end from the first on.
    with oss_door.token_life(600):
        short = opened(oss_server, role_arn=ROLE)
        for size in (1, 2, 3):
            short.put(url, b"1" * size)
    assert oss_door.requests()["AssumeRole"] > 3
    for shown in (store.filesystem.to_json(), str(pickle.dumps(store.filesystem)), repr(vars(store.filesystem))):
        assert user.secret not in shown
    assert pickle.loads(pickle.dumps(store.filesystem)).cat_file(url) == b"111"


@pytest.mark.usefixtures("token_service")
def test_each_bucket_may_have_a_role_of_its_own(
    oss_server: Served, oss_door: OssDoor, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    enter(monkeypatch, oss_door.user())
    reader = ROLE.replace("pai-train", "reader")
    oss_door.role(reader, ["get", "list"])
    other = oss_door.bucket()
    store = opened(oss_server, roles={other: reader})
    store.put(url, b"1")
    with pytest.raises(AccessRefused, match="no permission"):
        store.put(f"oss://{other}/object", b"1")
    assert store.list(f"oss://{other}") == []


@pytest.mark.usefixtures("token_service")
@pytest.mark.parametrize("case", ["unknown role", "not allowed", "wrong key"])
def test_a_role_that_is_refused(
    oss_server: Served,
    oss_door: OssDoor,
    url: str,
    monkeypatch: pytest.MonkeyPatch,
    case: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    enter(monkeypatch, oss_door.user(["get"] if case == "not allowed" else None))
    if case == "wrong key":
        monkeypatch.setenv("OSS_ACCESS_KEY_SECRET", "a-wrong-secret-of-mine")
    role = ROLE + "-unknown" if case == "unknown role" else ROLE
    store = opened(oss_server, role_arn=role)
    with pytest.raises(AccessRefused, match="role") as caught:
        store.put(url, b"1")
    told = {"unknown role": "EntityNotExist", "not allowed": "NoPermission", "wrong key": "SignatureDoesNotMatch"}
    assert (caught.value.fault.where, told[case] in (caught.value.fault.got or "")) == (role, True)
    assert "wrong-secret" not in str(caught.value)
    assert capfd.readouterr().err == ""
    assert store.stats.counts().requests == 0


@pytest.mark.usefixtures("token_service")
def test_a_token_service_that_is_away(
    oss_server: Served, oss_door: OssDoor, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    enter(monkeypatch, oss_door.user())
    monkeypatch.setenv("ALIBABA_CLOUD_STS_ENDPOINT", "127.0.0.1:9")
    with pytest.raises(StoreUnavailable):
        opened(oss_server, role_arn=ROLE).put(url, b"1")
