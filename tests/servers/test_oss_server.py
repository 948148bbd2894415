"""What the OSS server of the tests does with objects and buckets, asked by Alibaba Cloud's own client."""

from __future__ import annotations

import base64
import hashlib
import os
import random
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import alibabacloud_oss_v2 as oss
import crcmod
import pytest

from tests.servers.oss_clients import Bucket, client_of, refusal
from tests.servers.oss_fixture import OssDoor
from tests.servers.served import Served

md5 = partial(hashlib.md5, usedforsecurity=False)
crc64 = crcmod.mkCrcFun(0x142F0E1EBA9EA3693, initCrc=0, xorOut=2**64 - 1, rev=True)
EMPTY_MD5 = "1B2M2Y8AsgTpgAmY7PhCfg=="


@pytest.fixture
def bucket(oss_server: Served, oss_door: OssDoor) -> Bucket:
    return Bucket(client_of(oss_server), oss_door.bucket())


def keys_of(bucket: Bucket, **fields: Any) -> list[str]:
    return [found.key for found in bucket.list_objects_v2(**fields).contents or []]


# Objects


@pytest.mark.parametrize("size", [0, 1, 2**16, 2**16 + 1, 3 * 2**20 + 7])
def test_put_then_read(bucket: Bucket, size: int) -> None:
    body = random.Random(size).randbytes(size)
    put = bucket.put("a b", body, metadata={"mark": "x y"}, cache_control="no-cache")
    etag, crc = f'"{md5(body).hexdigest().upper()}"', str(crc64(body))
    assert (put.etag, put.hash_crc64, put.version_id) == (etag, crc, None)
    assert len(put.request_id) == 24
    assert bucket.read("a b") == body
    head = bucket.head_object(key="a b")
    assert (head.content_length, head.etag, head.hash_crc64, head.object_type) == (size, etag, crc, "Normal")
    assert (head.metadata, head.cache_control) == ({"mark": "x y"}, "no-cache")
    found = bucket.list_objects_v2().contents[0]
    assert (found.key, found.size, found.etag, found.object_type) == ("a b", size, etag, "Normal")
    assert found.last_modified == head.last_modified
    bucket.delete_object(key="a b")
    assert keys_of(bucket) == []
    bucket.delete_object(key="a b")


@pytest.mark.parametrize("key", ["a%41", "日本/é", "a+b&c=d;e", "x?y#z", "a//b", "~'\"$`\\", "a" * 1023])
def test_names_as_they_stand(bucket: Bucket, key: str) -> None:
    bucket.put(key, key.encode())
    bucket.copy_object(key="copy", source_key=key)
    assert bucket.read("copy") == bucket.read(key) == key.encode()
    assert key in keys_of(bucket)
    deleted = bucket.delete_multiple_objects(delete=oss.Delete(objects=[oss.ObjectIdentifier(key=key)]))
    assert [found.key for found in deleted.deleted_objects] == [key]
    assert keys_of(bucket) == ["copy"]


def test_missing_objects(bucket: Bucket) -> None:
    for ask in (bucket.get_object, bucket.head_object):
        refused = refusal(ask, key="no")
        assert (refused.status_code, refused.code) == (404, "NoSuchKey")
        assert len(refused.request_id) == 24
    absent = Bucket(bucket.client, f"{bucket.name}-absent")
    for ask in (lambda: absent.put("k"), lambda: absent.head_object(key="k"), absent.list_objects_v2):
        refused = refusal(ask)
        assert (refused.status_code, refused.code) == (404, "NoSuchBucket")


@pytest.mark.parametrize(
    ("wanted", "standard", "legacy"),
    [
        ("bytes=0-0", b"0", b"0"),
        ("bytes=3-", b"3456789", b"3456789"),
        ("bytes=-3", b"789", b"789"),
        ("bytes=8-9", b"89", b"89"),
        ("bytes=8-10", b"89", None),
        ("bytes=10-", 416, None),
        ("bytes=10-12", 416, None),
        ("bytes=-20", b"0123456789", b"0123456789"),
        ("bytes=5-4", None, None),
        ("bytes=x", None, None),
    ],
)
def test_ranges(bucket: Bucket, wanted: str, standard: bytes | int | None, legacy: bytes | None) -> None:
    bucket.put("k", b"0123456789")
    for behavior, expected in (("standard", standard), (None, legacy)):
        fields = {"key": "k", "range_header": wanted, "range_behavior": behavior}
        if expected == 416:
            refused = refusal(bucket.get_object, **fields)
            assert (refused.status_code, refused.code) == (416, "InvalidRange")
            continue
        answer = bucket.get_object(**fields)
        assert answer.body.read() == (b"0123456789" if expected is None else expected)
        assert answer.status_code == (200 if expected is None else 206)
        assert (answer.content_range or "/10").endswith("/10")
        assert answer.hash_crc64 == str(crc64(b"0123456789"))


def test_conditions(bucket: Bucket) -> None:
    etag = bucket.put("k").etag
    assert bucket.read("k", if_match=etag, if_none_match='"other"') == b"1"
    assert refusal(bucket.get_object, key="k", if_match='"other"').status_code == 412
    assert refusal(bucket.get_object, key="k", if_none_match=etag).status_code == 304
    refused = refusal(bucket.copy_object, key="c", source_key="k", if_match='"other"')
    assert (refused.status_code, refused.code) == (412, "PreconditionFailed")
    early = "Fri, 13 Nov 2015 14:47:53 GMT"
    assert refusal(bucket.head_object, key="k", if_unmodified_since=early).status_code == 412
    assert bucket.read("k", if_modified_since=early) == b"1"


def test_sums_are_checked(bucket: Bucket, oss_door: OssDoor) -> None:
    bucket.put("k", b"1", content_md5=base64.b64encode(md5(b"1").digest()).decode())
    upload = bucket.initiate_multipart_upload(key="k").upload_id
    for wrong in (EMPTY_MD5, "not base64", "YQ=="):
        refused = refusal(bucket.put, "k", b"2", content_md5=wrong)
        assert (refused.status_code, refused.code) == (400, "InvalidDigest")
        part = {"key": "k", "upload_id": upload, "part_number": 1, "body": b"2"}
        assert refusal(bucket.upload_part, **part, content_md5=wrong).code == "InvalidDigest"
    assert bucket.read("k") == b"1"
    assert oss_door.uploads(bucket.name) == [{"key": "k", "id": upload, "parts": []}]


def test_half_a_body_is_nothing(bucket: Bucket, oss_server: Served) -> None:
    """The fixture fails at its end when the server has printed anything about it."""
    sent: list[Any] = []

    class Recorded(oss.transport.RequestsHttpClient):
        def send(self, request: Any, **options: Any) -> Any:
            sent.append(request)
            return super().send(request, **options)

    Bucket(client_of(oss_server, http_client=Recorded()), bucket.name).put("other", b"x" * 1000)
    server = urlsplit(oss_server.endpoint)
    head = [f"PUT /{bucket.name}/other HTTP/1.1", f"Host: {server.netloc}", "Content-Length: 1000"]
    head += [f"{name}: {value}" for name, value in sent[0].headers.items() if value is not None]
    message = "\r\n".join([*head, "", "y" * 1000]).encode()

    def answer(cut: int) -> bytes:
        with socket.create_connection((server.hostname, server.port), timeout=30) as door:
            door.sendall(message[: len(message) - cut])
            if cut:
                door.shutdown(socket.SHUT_WR)
            return door.recv(100)

    for cut in (1, 500, 1000):
        assert b" 200 " not in answer(cut)
        assert bucket.read("other") == b"x" * 1000
    assert b" 200 " in answer(0)
    assert bucket.read("other") == b"y" * 1000


# Exclusive creation


def test_forbid_overwrite(bucket: Bucket) -> None:
    bucket.put("source", b"2")
    bucket.put("k", b"1", forbid_overwrite=True)
    upload = bucket.initiate_multipart_upload(key="k").upload_id
    part = bucket.upload_part(key="k", upload_id=upload, part_number=1, body=b"3")
    done = oss.CompleteMultipartUpload(parts=[oss.UploadPart(part_number=1, etag=part.etag)])
    complete = {"key": "k", "upload_id": upload, "complete_multipart_upload": done}
    for ask, fields in (
        (bucket.put_object, {"key": "k", "body": b"2"}),
        (bucket.copy_object, {"key": "k", "source_key": "source"}),
        (bucket.complete_multipart_upload, complete),
        (bucket.initiate_multipart_upload, {"key": "k"}),
    ):
        refused = refusal(ask, **fields, forbid_overwrite=True)
        assert (refused.status_code, refused.code) == (409, "FileAlreadyExists")
    assert bucket.read("k") == b"1"
    bucket.complete_multipart_upload(**complete, forbid_overwrite=False)
    assert bucket.read("k") == b"3"


def test_one_winner(bucket: Bucket) -> None:
    keys, start = [f"v{number}" for number in range(10)], threading.Barrier(6)

    def create(worker: int, key: str) -> bool:
        body = b"%d" % worker * 1000
        try:
            if worker % 3 == 0:
                bucket.put(key, body, forbid_overwrite=True)
            elif worker % 3 == 1:
                bucket.copy_object(key=key, source_key=f"source{worker}", forbid_overwrite=True)
            else:
                upload = bucket.initiate_multipart_upload(key=key).upload_id
                bucket.upload_part(key=key, upload_id=upload, part_number=1, body=body)
                bucket.complete_multipart_upload(key=key, upload_id=upload, complete_all="yes", forbid_overwrite=True)
        except oss.exceptions.OperationError as error:
            if error.unwrap().code != "FileAlreadyExists":
                raise
            return False
        return True

    def race(worker: int) -> list[str]:
        won = []
        for key in keys:
            start.wait(timeout=60)
            won += [key] if create(worker, key) else []
        return won

    for worker in range(6):
        bucket.put(f"source{worker}", b"%d" % worker * 1000)
    with ThreadPoolExecutor(6) as pool:
        won = list(pool.map(race, range(6)))
    assert sorted(key for worker in won for key in worker) == sorted(keys)
    for worker, keys_won in enumerate(won):
        assert all(bucket.read(key) == b"%d" % worker * 1000 for key in keys_won)


# Copies and appends


def test_copy(bucket: Bucket, oss_door: OssDoor) -> None:
    body = os.urandom(2**20)
    source = bucket.put("é/a b", body, metadata={"mark": "1"}, content_type="text/x")
    other = Bucket(bucket.client, oss_door.bucket())
    copy = other.copy_object(key="c", source_bucket=bucket.name, source_key="é/a b")
    assert (copy.etag, copy.hash_crc64) == (source.etag, source.hash_crc64)
    head = other.head_object(key="c")
    assert (head.metadata, head.content_type) == ({"mark": "1"}, "text/x")
    other.copy_object(
        key="c", source_bucket=bucket.name, source_key="é/a b", metadata_directive="REPLACE", metadata={"mark": "2"}
    )
    assert other.head_object(key="c").metadata == {"mark": "2"}
    bucket.put("é/a b", b"changed")
    bucket.delete_object(key="é/a b")
    assert other.read("c") == body
    assert refusal(other.copy_object, key="c", source_key="no").code == "NoSuchKey"
    assert refusal(other.copy_object, key="c", source_bucket="absent", source_key="no").code == "NoSuchBucket"


def test_append(bucket: Bucket) -> None:
    body = b""
    for piece in (b"one", b"", os.urandom(100_000), b"four"):
        appended = bucket.append_object(key="k", position=len(body), body=piece)
        body += piece
        assert (appended.next_position, appended.hash_crc64) == (len(body), str(crc64(body)))
        assert bucket.read("k") == body
        for wrong in (len(body) + 1, len(body) - 1):
            refused = refusal(bucket.append_object, key="k", position=wrong, body=b"x")
            assert (refused.status_code, refused.code) == (409, "PositionNotEqualToLength")
            assert refused.headers["x-oss-next-append-position"] == str(len(body))
    head = bucket.head_object(key="k")
    assert (head.object_type, head.next_append_position) == ("Appendable", head.content_length)
    bucket.put("n", b"1")
    assert refusal(bucket.append_object, key="n", position=1, body=b"x").code == "ObjectNotAppendable"
    assert refusal(bucket.append_object, key="new", position=1, body=b"x").code == "PositionNotEqualToLength"


# The door


def test_the_door_counts(bucket: Bucket, oss_door: OssDoor) -> None:
    oss_door.requests(forget=True)
    bucket.put("k")
    bucket.put("k")
    refusal(bucket.head_object, key="no")
    assert oss_door.requests() == {"PutObject": 2, "HeadObject": 1}
    assert oss_door.requests(forget=True) == {"PutObject": 2, "HeadObject": 1}
    assert oss_door.requests() == {}


def test_the_door_says_what_is_wrong(oss_door: OssDoor) -> None:
    with pytest.raises(ValueError, match="KeyError"):
        oss_door.uploads("absent")
    with pytest.raises(ValueError, match="Paused"):
        oss_door.bucket(versioning="Paused")


def test_the_door_puts_the_clock_back(bucket: Bucket, oss_door: OssDoor) -> None:
    with oss_door.clock(600):
        bucket.put("k")
        ahead = bucket.head_object(key="k").last_modified.timestamp() - time.time()
    assert ahead == pytest.approx(600, abs=30)
    bucket.put("k")
    assert abs(bucket.head_object(key="k").last_modified.timestamp() - time.time()) < 30
