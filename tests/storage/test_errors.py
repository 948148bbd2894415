"""What each provider's exceptions become: told apart, chained, actionable, and without secrets."""

from __future__ import annotations

import errno
import json
import pickle
import subprocess
import sys
from typing import Any

import pytest

from pai_train.errors import StorageError
from pai_train.storage import (
    AccessRefused,
    BucketMissing,
    ObjectChanged,
    ObjectExists,
    ObjectMissing,
    StoreUnavailable,
    mapped,
)

SECRET = "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY"  # noqa: S105 - the one in AWS's documentation


def map_error(url: str, error: Exception, **how: Any) -> StorageError:
    with pytest.raises(StorageError) as caught, mapped(url, **how):
        raise error
    assert caught.value.__cause__ is error
    assert caught.value.fault.where == url
    assert caught.value.fault.todo
    return caught.value


# S3


def client_error(code: str, status: int = 400, **more: str) -> Exception:
    from botocore.exceptions import ClientError

    answer = {"Error": {"Code": code, "Message": f"text of {code}", **more}}
    return ClientError({**answer, "ResponseMetadata": {"HTTPStatusCode": status}}, "GetObject")  # type: ignore[arg-type]


def through_s3fs(error: Exception, set_cause: bool = True) -> Exception:
    from s3fs.errors import translate_boto_error

    try:
        try:
            raise error
        except Exception as original:
            raise translate_boto_error(original, set_cause=set_cause)  # noqa: B904 - as s3fs does it
    except Exception as translated:
        return translated


S3 = [
    ("NoSuchKey", 404, ObjectMissing, "no such object", "check the name"),
    ("404", 404, ObjectMissing, "no such object", "check the name"),
    ("NoSuchBucket", 404, BucketMissing, "no such bucket", "region"),
    ("InvalidAccessKeyId", 403, AccessRefused, "does not know the access key", "AWS_ACCESS_KEY_ID"),
    ("SignatureDoesNotMatch", 403, AccessRefused, "secret is wrong", "AWS_SECRET_ACCESS_KEY"),
    ("ExpiredToken", 400, AccessRefused, "session token", "AWS_SESSION_TOKEN"),
    ("InvalidToken", 400, AccessRefused, "session token", "AWS_SESSION_TOKEN"),
    ("400", 400, AccessRefused, "session token", "AWS_SESSION_TOKEN"),
    ("AccessDenied", 403, AccessRefused, "no permission", "policies"),
    ("403", 403, AccessRefused, "no permission", "AWS_ACCESS_KEY_ID"),
    ("RequestTimeTooSkewed", 403, AccessRefused, "clock", "set the clock"),
    ("PermanentRedirect", 301, StorageError, "another region", "storage.region"),
    ("AuthorizationHeaderMalformed", 400, StorageError, "another region", "storage.region"),
    ("SlowDown", 503, StoreUnavailable, "fewer requests", "storage.parallel"),
    ("InternalError", 500, StoreUnavailable, "fails to answer", "later"),
    ("503", 503, StoreUnavailable, "fails to answer", "later"),
    ("RequestTimeout", 400, StoreUnavailable, "no answer in time", "network"),
    ("IncompleteBody", 400, StoreUnavailable, "cut short", "network"),
    ("ConditionalRequestConflict", 409, StoreUnavailable, "fails to answer", "later"),
    ("NoSuchUpload", 404, StorageError, "upload was ended", "start again"),
    ("InvalidObjectState", 403, StorageError, "archived", "restore"),
    ("EntityTooLarge", 400, StorageError, "cannot be read or written", "reachable"),
]


@pytest.mark.parametrize(("code", "status", "family", "what", "todo"), S3)
@pytest.mark.parametrize("way", ["raw", "s3fs", "s3fs without a cause"])
def test_s3(code: str, status: int, family: type[StorageError], what: str, todo: str, way: str) -> None:
    error = client_error(code, status)
    if way != "raw":
        error = through_s3fs(error, set_cause=way == "s3fs")
    mapped_error = map_error("s3://bucket/key", error)
    assert type(mapped_error) is family
    assert what in mapped_error.fault.what
    assert todo in mapped_error.fault.todo


def test_s3_conditions() -> None:
    refused = client_error("PreconditionFailed", 412, Condition="If-None-Match")
    assert type(map_error("s3://b/k", through_s3fs(refused))) is ObjectExists
    assert type(map_error("s3://b/k", client_error("PreconditionFailed", 412))) is ObjectExists
    assert type(map_error("s3://b/k", client_error("PreconditionFailed", 412), reading=True)) is ObjectChanged
    assert type(
        map_error("s3://b/k", OSError(22, "At least one of the pre-conditions you specified did not hold"))
    ) is (ObjectExists)


def botocore_errors() -> list[tuple[Exception, type[StorageError], str]]:
    from botocore import exceptions as e

    return [
        (e.NoCredentialsError(), AccessRefused, "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
        (e.PartialCredentialsError(provider="env", cred_var="aws_secret_access_key"), AccessRefused, "AWS_PROFILE"),
        (e.ProfileNotFound(profile="nobody"), AccessRefused, "storage.profile"),
        (
            e.EndpointConnectionError(endpoint_url="http://127.0.0.1:1/b/k?X-Amz-Signature=abc"),
            StoreUnavailable,
            "endp",
        ),
        (e.ConnectTimeoutError(endpoint_url="http://x"), StoreUnavailable, "network"),
        (e.ReadTimeoutError(endpoint_url="http://x"), StoreUnavailable, "network"),
        (e.ConnectionClosedError(endpoint_url="http://x"), StoreUnavailable, "network"),
        (e.IncompleteReadError(actual_bytes=1, expected_bytes=2), StoreUnavailable, "network"),
        (e.ResponseStreamingError(error="cut"), StoreUnavailable, "network"),
        (e.FlexibleChecksumError(error_msg="differs"), StoreUnavailable, "network"),
        (e.SSLError(endpoint_url="https://x", error="certificate verify failed"), StorageError, "certificates"),
        (e.NoRegionError(), StorageError, "storage.region"),
        (e.ParamValidationError(report="Invalid bucket name"), StorageError, "URL"),
    ]


@pytest.mark.parametrize("number", range(13))
def test_botocore(number: int) -> None:
    error, family, todo = botocore_errors()[number]
    found = map_error("s3://bucket/key", error)
    assert type(found) is family
    assert todo in found.fault.todo


def test_an_endpoint_that_botocore_refuses() -> None:
    import botocore.session

    with pytest.raises(StorageError, match="Invalid endpoint") as caught, mapped("s3://b/k"):
        botocore.session.Session().create_client("s3", "us-east-1", endpoint_url="no url")
    assert type(caught.value.__cause__) is ValueError


# GCS


def gcs_errors() -> list[tuple[Exception, type[StorageError], str]]:
    from gcsfs.retry import ChecksumError, HttpError
    from google.auth import exceptions as e

    def http(code: int, reason: str, message: str = "text") -> HttpError:
        return HttpError({"code": code, "message": message, "errors": [{"reason": reason}]})

    return [
        (http(404, "notFound"), ObjectMissing, "no such object"),
        (http(403, "forbidden"), AccessRefused, "no permission"),
        (http(401, "authError", "Invalid Credentials"), AccessRefused, "secret is wrong"),
        (http(401, "required", "Anonymous caller does not have storage.objects.get access"), AccessRefused, "no cred"),
        (http(412, "conditionNotMet"), ObjectExists, "already exists"),
        (http(429, "rateLimitExceeded"), StoreUnavailable, "fewer requests"),
        (http(503, "backendError"), StoreUnavailable, "fails to answer"),
        (HttpError({"code": 500, "message": "oops"}), StoreUnavailable, "fails to answer"),
        (HttpError({"code": "502", "message": "oops"}), StoreUnavailable, "fails to answer"),
        (ChecksumError("md5 differs"), StoreUnavailable, "cut short"),
        (OSError("Forbidden: https://storage.googleapis.com/b/o\nno"), AccessRefused, "no permission"),
        (e.DefaultCredentialsError("Your default credentials were not found."), AccessRefused, "no credentials"),
        (e.RefreshError("invalid_grant: Token has been expired or revoked."), AccessRefused, "session token"),
        (e.RefreshError("try again", retryable=True), StoreUnavailable, "fails to answer"),
        (e.TransportError("no route"), StoreUnavailable, "cannot be reached"),
    ]


@pytest.mark.parametrize("number", range(15))
def test_gcs(number: int) -> None:
    error, family, what = gcs_errors()[number]
    found = map_error("gs://bucket/key", error)
    assert type(found) is family
    assert what in found.fault.what
    if "credentials" in what:
        assert "GOOGLE_APPLICATION_CREDENTIALS" in found.fault.todo


def test_what_gcsfs_says_of_an_answer() -> None:
    from gcsfs.retry import validate_response

    for status, family in [(400, StorageError), (403, AccessRefused), (404, ObjectMissing), (412, ObjectExists)]:
        body = json.dumps({"error": {"message": "invalid argument", "code": status}}).encode()
        with pytest.raises(family), mapped("gs://b/k"):
            validate_response(status, body, "b/k")


# Azure


def azure_errors() -> list[tuple[Exception, type[StorageError], str]]:
    from azure.core import exceptions as e
    from azure.identity import CredentialUnavailableError
    from azure.storage.blob import StorageErrorCode

    class Answer:
        reason, headers, content_type = "reason", {}, "text/plain"

        def __init__(self, status_code: int) -> None:
            self.status_code = status_code

        def text(self, encoding: str | None = None) -> str:
            return ""

    def http(family: type[e.HttpResponseError], status: int, code: Any) -> e.HttpResponseError:
        error = family(message=f"text\nsig={SECRET}", response=Answer(status))  # type: ignore[arg-type]
        error.error_code = code
        return error

    wrapped = RuntimeError("Failed to upload block!")
    wrapped.__cause__ = http(e.HttpResponseError, 400, StorageErrorCode.INVALID_BLOCK_LIST)
    return [
        (http(e.ResourceNotFoundError, 404, StorageErrorCode.BLOB_NOT_FOUND), ObjectMissing, "no such object"),
        (http(e.ResourceNotFoundError, 404, StorageErrorCode.CONTAINER_NOT_FOUND), BucketMissing, "no such bucket"),
        (http(e.ResourceNotFoundError, 404, None), ObjectMissing, "no such object"),
        (http(e.ResourceExistsError, 409, StorageErrorCode.BLOB_ALREADY_EXISTS), ObjectExists, "already exists"),
        (http(e.ResourceModifiedError, 412, StorageErrorCode.CONDITION_NOT_MET), ObjectExists, "already exists"),
        (http(e.ClientAuthenticationError, 403, "AuthenticationFailed"), AccessRefused, "secret is wrong"),
        (http(e.ClientAuthenticationError, 401, None), AccessRefused, "secret is wrong"),
        (http(e.HttpResponseError, 403, "AuthorizationPermissionMismatch"), AccessRefused, "no permission"),
        (http(e.HttpResponseError, 401, "NoAuthenticationInformation"), AccessRefused, "no credentials"),
        (http(e.HttpResponseError, 503, StorageErrorCode.SERVER_BUSY), StoreUnavailable, "fewer requests"),
        (http(e.HttpResponseError, 500, "OperationTimedOut"), StoreUnavailable, "in time"),
        (e.ServiceRequestError("Cannot connect to host"), StoreUnavailable, "cannot be reached"),
        (e.ServiceRequestError("certificate verify failed: self-signed"), StorageError, "certificate"),
        (e.ServiceResponseError("Connection aborted"), StoreUnavailable, "cannot be reached"),
        (e.ServiceResponseTimeoutError("slow"), StoreUnavailable, "in time"),
        (e.IncompleteReadError("cut", response=Answer(206)), StoreUnavailable, "cut short"),  # type: ignore[arg-type]
        (CredentialUnavailableError("none configured"), AccessRefused, "no credentials"),
        (wrapped, StorageError, "upload was ended"),
    ]


@pytest.mark.parametrize("number", range(18))
def test_azure(number: int) -> None:
    error, family, what = azure_errors()[number]
    found = map_error("az://container/key", error)
    assert type(found) is family
    assert what in found.fault.what
    assert SECRET not in str(found)
    if family is AccessRefused:
        assert "AZURE_STORAGE_" in found.fault.todo


# OSS


def oss_errors() -> list[tuple[Exception, type[StorageError], str]]:
    import requests
    from alibabacloud_credentials.exceptions import CredentialException
    from alibabacloud_oss_v2 import exceptions as e

    def service(code: str, status: int) -> Exception:
        told = dict.fromkeys(("request_id", "ec", "timestamp"), "x")
        target = f"GET http://x/?a={SECRET}"
        inner = e.ServiceError(code=code, status_code=status, message="text", request_target=target, **told)
        return e.OperationError(name="GetObject", error=inner)

    def carried(kind: type[OSError], code: str, status: int) -> OSError:
        error = kind(errno.EIO, "text")
        error.code, error.status_code = code, status  # type: ignore[attr-defined]
        return error

    return [
        (service("NoSuchKey", 404), ObjectMissing, "no such object"),
        (service("NoSuchBucket", 404), BucketMissing, "no such bucket"),
        (service("FileAlreadyExists", 409), ObjectExists, "already exists"),
        (service("InvalidAccessKeyId", 403), AccessRefused, "does not know the access key"),
        (service("SignatureDoesNotMatch", 403), AccessRefused, "secret is wrong"),
        (service("SecurityTokenExpired", 403), AccessRefused, "session token"),
        (service("AccessDenied", 403), AccessRefused, "no permission"),
        (service("InternalError", 500), StoreUnavailable, "fails to answer"),
        (service("QpsLimitExceeded", 503), StoreUnavailable, "fewer requests"),
        (carried(FileNotFoundError, "NoSuchBucket", 404), BucketMissing, "no such bucket"),
        (carried(PermissionError, "RequestTimeTooSkewed", 403), AccessRefused, "clock"),
        (carried(OSError, "VersionedBucket", 0), StorageError, "keeps versions"),
        (carried(OSError, "Unknown", 503), StoreUnavailable, "fails to answer"),
        (
            e.OperationError(name="Put", error=e.RequestError(error=requests.ConnectionError("no"))),
            StoreUnavailable,
            "re",
        ),
        (
            e.OperationError(name="Put", error=e.RequestError(error=requests.ReadTimeout("no"))),
            StoreUnavailable,
            "time",
        ),
        (e.InconsistentError(client_crc="1", server_crc="2"), StoreUnavailable, "cut short"),
        (e.CredentialsEmptyError(), AccessRefused, "no credentials"),
        (e.BucketNameInvalidError(name="A_B"), StorageError, "not a name"),
        (CredentialException("unable to get credentials from any of the providers"), AccessRefused, "no credentials"),
        (CredentialException("no", code="InvalidAccessKeyId.NotFound"), AccessRefused, "does not know the access key"),
    ]


@pytest.mark.parametrize("number", range(20))
def test_oss(number: int) -> None:
    error, family, what = oss_errors()[number]
    found = map_error("oss://bucket/key", error)
    assert type(found) is family
    assert what in found.fault.what
    assert SECRET not in str(found)
    if "credentials" in what:
        assert "OSS_ACCESS_KEY_ID" in found.fault.todo


# The network, and what is no fault of a store


def network_errors() -> list[tuple[Exception, str]]:
    import http.client
    import socket

    import aiohttp
    import requests
    import urllib3
    from fsspec.exceptions import FSTimeoutError

    return [
        (ConnectionResetError(104, "reset"), "cannot be reached"),
        (ConnectionRefusedError(111, "refused"), "cannot be reached"),
        (OSError(errno.EHOSTUNREACH, "no route"), "cannot be reached"),
        (socket.gaierror(-2, "Name or service not known"), "cannot be reached"),
        (FSTimeoutError(), "in time"),
        (aiohttp.ServerDisconnectedError(), "cannot be reached"),
        (aiohttp.ClientPayloadError("Response payload is not completed"), "cut short"),
        (aiohttp.ServerTimeoutError("slow"), "in time"),
        (requests.exceptions.ChunkedEncodingError("cut"), "cut short"),
        (requests.exceptions.ConnectTimeout("slow"), "in time"),
        (urllib3.exceptions.ProtocolError("Connection broken"), "cannot be reached"),
        (urllib3.exceptions.IncompleteRead(1, 2), "cut short"),
        (http.client.IncompleteRead(b"x", 2), "cut short"),
        (http.client.RemoteDisconnected("gone"), "cannot be reached"),
    ]


@pytest.mark.parametrize("number", range(14))
@pytest.mark.parametrize("scheme", ["s3", "gs", "az", "oss"])
def test_the_network(scheme: str, number: int) -> None:
    error, what = network_errors()[number]
    found = map_error(f"{scheme}://bucket/key", error)
    assert type(found) is StoreUnavailable
    assert what in found.fault.what


@pytest.mark.parametrize(
    "error",
    [TypeError("x"), ValueError("x"), AttributeError("x"), KeyError("x"), AssertionError("x"), RuntimeError("x"),
     NotImplementedError("x"), KeyboardInterrupt(), GeneratorExit()],
)  # fmt: skip
def test_mistakes_of_the_program_pass(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught, mapped("s3://b/k"):
        raise error
    assert caught.value is error


def test_an_error_of_ours_passes_unchanged() -> None:
    ours = ObjectMissing("no such object", where="s3://b/inner", todo="look")
    with pytest.raises(ObjectMissing) as caught, mapped("s3://b/outer"):
        raise ours
    assert caught.value is ours


# Secrets


@pytest.mark.parametrize(
    "text",
    [
        f"Cannot connect to https://b.s3.amazonaws.com/k?X-Amz-Credential=AKIA&X-Amz-Signature={SECRET}",
        f"url='/bucket/key?sig={SECRET}&se=2030' failed",
        f"The MAC signature found in the HTTP request '{SECRET}' is not the same",
        f"Invalid header value b'AWS4-HMAC-SHA256 Credential=AKIA, Signature={SECRET}'",
        f"Invalid header value b'{SECRET}\\n'",
        f"DefaultEndpointsProtocol=https;AccountName=a;AccountKey={SECRET};EndpointSuffix=x",
        f"http://user:{SECRET}@proxy:3128 refused",
        f"Authorization: OSS key:{SECRET}",
        f"bearer {SECRET}",
        f"security-token={SECRET}",
        f"{SECRET} is in the environment",
    ],
)
@pytest.mark.parametrize("scheme", ["s3", "az"])
def test_nothing_secret_is_told(text: str, scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import aiohttp
    import requests
    from botocore.exceptions import HTTPClientError

    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    for error in (
        OSError(errno.EIO, text),
        OSError(text),
        PermissionError(text),
        aiohttp.ClientError(text),
        requests.RequestException(text),
        HTTPClientError(error=text),
        client_error("Odd", 400, Message=text),
    ):
        found = map_error(f"{scheme}://bucket/key", error)
        assert SECRET not in str(found)
        assert SECRET not in repr(found)
        assert SECRET.encode() not in pickle.dumps(found.fault)


def test_what_is_not_secret_is_told() -> None:
    found = map_error(
        "s3://b/k", client_error("EntityTooLarge", 400, Message="at most 5 GiB at http://host/b?x=1 today")
    )
    assert found.fault.got == (
        "400 EntityTooLarge: An error occurred (EntityTooLarge) when calling the GetObject operation: "
        "at most 5 GiB at http://host/b today"
    )
    long = map_error("s3://b/k", OSError(errno.EIO, "word " * 200))
    assert len(long.fault.got) <= 210


def test_no_provider_is_imported_to_read_its_errors() -> None:
    code = (
        "import sys; from pai_train.storage.errors import storage_error; storage_error('s3://b/k', OSError(5, 'x'));"
        "print([m for m in ('botocore', 'aiohttp', 'azure', 'google', 'requests', 'fsspec') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
