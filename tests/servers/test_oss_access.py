"""Who is let in by the OSS server of the tests: signatures, temporary keys, clocks, regions, permissions."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import alibabacloud_oss_v2 as oss
import pytest
from alibabacloud_oss_v2.signer import SignerV4

from tests.servers.oss_clients import Bucket, Rerouted, client_of, refusal
from tests.servers.oss_fixture import OssDoor, OssUser
from tests.servers.served import Served

both = pytest.mark.parametrize("version", ["v1", "v4"])


@pytest.fixture
def key() -> str:
    return f"{uuid.uuid4().hex}/a b+é?#%41.csv"


def bucket_of(served: Served, user: OssUser | None = None, version: str = "v4", **settings: Any) -> Bucket:
    return Bucket(client_of(served, user, version, **settings), served.bucket)


# Signatures


@both
def test_a_right_signature(oss_server: Served, key: str, version: str) -> None:
    bucket = bucket_of(oss_server, version=version)
    bucket.put(key, b"123", content_type="text/x", metadata={"mark": "1"})
    assert bucket.read(key, range_header="bytes=1-", response_content_type=None) == b"23"
    assert bucket.head_object(key=key).metadata == {"mark": "1"}
    listed = bucket.list_objects_v2(prefix=key, max_keys=1, encoding_type="url")
    assert [found.key for found in listed.contents] == [key]
    assert oss_server.bucket in [found.name for found in bucket.client.list_buckets(oss.ListBucketsRequest()).buckets]
    bucket.delete_object(key=key)


@both
def test_an_unknown_key(oss_server: Served, key: str, version: str) -> None:
    refused = refusal(bucket_of(oss_server, OssUser("LTAInobody", "x"), version).put, key)
    assert (refused.status_code, refused.code, refused.ec) == (403, "InvalidAccessKeyId", "0002-00000902")


@both
def test_a_wrong_secret(oss_server: Served, oss_door: OssDoor, key: str, version: str) -> None:
    user = oss_door.user()
    bucket = bucket_of(oss_server, OssUser(user.key, user.secret + "x"), version)
    refused = refusal(bucket.put, key)
    assert (refused.status_code, refused.code) == (403, "SignatureDoesNotMatch")
    assert refused.error_fileds["OSSAccessKeyId"] == user.key
    assert refused.error_fileds["StringToSign"]
    assert user.secret not in str(refused.error_fileds)
    assert refusal(bucket.head_object, key=key).code == "SignatureDoesNotMatch"


def test_no_signature(oss_server: Served, key: str) -> None:
    anonymous = oss.credentials.AnonymousCredentialsProvider()
    bucket = bucket_of(oss_server, credentials_provider=anonymous)
    refused = refusal(bucket.put, key)
    assert (refused.status_code, refused.code) == (403, "AccessDenied")
    assert refusal(bucket.head_object, key=key).code == "AccessDenied"


@pytest.mark.parametrize("given", ["", "Basic YTpi", "OSS key", "OSS4-HMAC-SHA256 Credential=a/b,Signature=00"])
def test_no_right_header(oss_server: Served, key: str, given: str) -> None:
    def change(request: Any) -> None:
        request.headers["Authorization"] = given

    refused = refusal(bucket_of(oss_server, http_client=Rerouted(change)).put, key)
    assert (refused.status_code, refused.code) == (400, "InvalidArgument")


def _set(name: str, value: str) -> Callable[[Any], None]:
    def change(request: Any) -> None:
        request.headers[name] = value

    return change


def _turn(old: str, new: str) -> Callable[[Any], None]:
    def change(request: Any) -> None:
        assert old in request.url
        request.url = request.url.replace(old, new)

    return change


def _method(request: Any) -> None:
    request.method = "POST"


CHANGES = {
    "key": _turn("/k?", "/other?"),
    "query": _turn("partNumber=1", "partNumber=2"),
    "method": _method,
    "type": _set("Content-Type", "text/changed"),
    "md5": _set("Content-MD5", "1B2M2Y8AsgTpgAmY7PhCfg=="),
    "header": _set("x-oss-meta-mark", "2"),
    "more": _set("x-oss-forbid-overwrite", "true"),
}


@both
@pytest.mark.parametrize("name", CHANGES)
def test_a_request_that_was_changed(oss_server: Served, key: str, version: str, name: str) -> None:
    changes: list[Callable[[Any], None]] = []
    rerouted = Rerouted(lambda request: [change(request) for change in changes])
    bucket = bucket_of(oss_server, version=version, http_client=rerouted)
    upload = bucket.initiate_multipart_upload(key="k", metadata={"mark": "1"}).upload_id
    wanted = {"parameters": {"partNumber": "1", "uploadId": upload}}
    bucket.raw("PUT", key="k", **wanted)
    changes.append(CHANGES[name])
    assert refusal(bucket.raw, "PUT", key="k", **wanted).code == "SignatureDoesNotMatch"
    changes.clear()
    bucket.abort_multipart_upload(key="k", upload_id=upload)


class _MoreSigned(SignerV4):
    """Signs headers that need not be signed; the client offers the setting, and loses it on the way."""

    def sign(self, signing_ctx: Any) -> None:
        signing_ctx.additional_headers = {"Range", "User-Agent"}
        super().sign(signing_ctx)
        assert "AdditionalHeaders=" in signing_ctx.request.headers["Authorization"]


def test_additional_headers_are_signed(oss_server: Served, key: str) -> None:
    bucket = bucket_of(oss_server, signer=_MoreSigned())
    bucket.put(key, b"123")
    assert bucket.read(key, range_header="bytes=1-1") == b"2"
    changed = bucket_of(oss_server, signer=_MoreSigned(), http_client=Rerouted(_set("Range", "bytes=0-0")))
    assert refusal(changed.read, key, range_header="bytes=1-1").code == "SignatureDoesNotMatch"


def test_the_bucket_in_the_host(oss_server: Served, key: str) -> None:
    port = urlsplit(oss_server.endpoint).port

    def change(request: Any) -> None:
        host = f"{oss_server.bucket}.localhost:{port}"
        assert urlsplit(request.url).netloc == host
        request.url = request.url.replace(host, f"127.0.0.1:{port}")
        request.headers["Host"] = host

    settings = {"endpoint": f"http://localhost:{port}", "use_path_style": False, "http_client": Rerouted(change)}
    for version in ("v1", "v4"):
        bucket = bucket_of(oss_server, version=version, **settings)
        bucket.put(key, version.encode())
        assert bucket.read(key) == version.encode()
        assert [found.key for found in bucket.list_objects_v2(prefix=key).contents] == [key]
    assert bucket_of(oss_server).read(key) == b"v4"


# Clocks and regions


@both
@pytest.mark.parametrize("minutes", [-16, -14, 14, 16])
def test_a_clock_that_is_wrong(oss_server: Served, oss_door: OssDoor, key: str, version: str, minutes: int) -> None:
    bucket = bucket_of(oss_server, version=version)
    with oss_door.clock(60 * minutes):
        if abs(minutes) < 15:
            put = bucket.put(key)
        else:
            refused = refusal(bucket.put, key)
            put = refused
            assert (refused.status_code, refused.code) == (403, "RequestTimeTooSkewed")
            assert refused.error_fileds["MaxAllowedSkewMilliseconds"] == "900000"
            assert refused.error_fileds["ServerTime"]
        told = oss.serde.deserialize_httptime(put.headers["Date"]).timestamp()
        assert told - time.time() == pytest.approx(60 * minutes, abs=30)
    bucket.put(key)


def test_a_signature_for_another_region(oss_server: Served, key: str) -> None:
    refused = refusal(bucket_of(oss_server, region="cn-beijing").put, key)
    assert (refused.status_code, refused.code, refused.ec) == (400, "InvalidArgument", "0002-00000226")
    assert refused.message == "Invalid signing region in Authorization header."


def test_a_bucket_in_another_region(oss_server: Served, oss_door: OssDoor, key: str) -> None:
    bucket = Bucket(client_of(oss_server), oss_door.bucket(region="cn-beijing"))
    refused = refusal(bucket.put, key)
    assert (refused.status_code, refused.code) == (403, "AccessDenied")
    assert refused.error_fileds["Endpoint"] == "oss-cn-beijing.aliyuncs.com"


# Permissions

DOES: dict[str, Callable[[Bucket], Any]] = {
    "list": lambda bucket: (bucket.list_objects_v2(), bucket.list_objects(), bucket.list_multipart_uploads()),
    "get": lambda bucket: (bucket.read("there"), bucket.head_object(key="there")),
    "put": lambda bucket: (bucket.put("new"), bucket.append_object(key=uuid.uuid4().hex, position=0, body=b"1")),
    "delete": lambda bucket: (
        bucket.delete_object(key="new"),
        bucket.delete_multiple_objects(delete=oss.Delete(objects=[oss.ObjectIdentifier(key="new")])),
    ),
    "bucket": lambda bucket: (bucket.get_bucket_info(), bucket.get_bucket_location(), bucket.get_bucket_versioning()),
}


@pytest.mark.parametrize("action", DOES)
def test_permissions(oss_server: Served, oss_door: OssDoor, action: str) -> None:
    name = oss_door.bucket()
    Bucket(client_of(oss_server), name).put("there")
    user = oss_door.user([])
    bucket = Bucket(client_of(oss_server, user), name)
    for allowed in ([], [other for other in DOES if other != action]):
        oss_door.permit(user, allowed)
        refused = refusal(DOES[action], bucket)
        assert (refused.status_code, refused.code) == (403, "AccessDenied")
    oss_door.permit(user, [action])
    DOES[action](bucket)


def test_permission_for_one_operation(oss_server: Served, oss_door: OssDoor, key: str) -> None:
    bucket = bucket_of(oss_server, oss_door.user(["PutObject", "UploadPart", "InitiateMultipartUpload", "get"]))
    bucket.put(key)
    upload = bucket.initiate_multipart_upload(key=key).upload_id
    bucket.upload_part(key=key, upload_id=upload, part_number=1, body=b"1")
    assert refusal(bucket.abort_multipart_upload, key=key, upload_id=upload).code == "AccessDenied"
    assert refusal(bucket.copy_object, key=key, source_key=key).code == "AccessDenied"
    bucket_of(oss_server).abort_multipart_upload(key=key, upload_id=upload)


def test_a_copy_reads_its_source(oss_server: Served, oss_door: OssDoor, key: str) -> None:
    bucket_of(oss_server).put(key)
    bucket = bucket_of(oss_server, oss_door.user(["put"]))
    assert refusal(bucket.copy_object, key=f"{key}2", source_key=key).code == "AccessDenied"
