"""What the OSS server of the tests does with uploads in parts, asked by Alibaba Cloud's own client."""

from __future__ import annotations

import hashlib
import io
import os
import random
from functools import partial
from pathlib import Path

import alibabacloud_oss_v2 as oss
import crcmod
import pytest

from tests.servers.oss_clients import Bucket, client_of, refusal
from tests.servers.oss_fixture import OssDoor
from tests.servers.served import Served

md5 = partial(hashlib.md5, usedforsecurity=False)
crc64 = crcmod.mkCrcFun(0x142F0E1EBA9EA3693, initCrc=0, xorOut=2**64 - 1, rev=True)
LEAST = 100 * 1024


@pytest.fixture
def bucket(oss_server: Served, oss_door: OssDoor) -> Bucket:
    return Bucket(client_of(oss_server), oss_door.bucket())


class Upload:
    """An upload of the key `k`."""

    def __init__(self, bucket: Bucket, key: str = "k", **fields: object) -> None:
        self.bucket = bucket
        self.key = key
        self.id = bucket.initiate_multipart_upload(key=key, **fields).upload_id

    def part(self, number: int, body: bytes) -> oss.UploadPart:
        sent = self.bucket.upload_part(key=self.key, upload_id=self.id, part_number=number, body=body)
        assert sent.etag == f'"{md5(body).hexdigest().upper()}"'
        assert sent.hash_crc64 == str(crc64(body))
        return oss.UploadPart(part_number=number, etag=sent.etag)

    def complete(self, *parts: oss.UploadPart) -> oss.CompleteMultipartUploadResult:
        return self.bucket.complete_multipart_upload(
            key=self.key, upload_id=self.id, complete_multipart_upload=oss.CompleteMultipartUpload(parts=list(parts))
        )

    def abort(self) -> None:
        self.bucket.abort_multipart_upload(key=self.key, upload_id=self.id)


def test_parts_become_an_object(bucket: Bucket, oss_door: OssDoor) -> None:
    bodies = [random.Random(number).randbytes(size) for number, size in enumerate([LEAST, 2**20, 5])]
    upload = Upload(bucket, "a b+é", metadata={"mark": "1"}, content_type="text/x")
    parts = [upload.part(10 * number + 1, bodies[number]) for number in (2, 0, 1)]
    assert oss_door.uploads(bucket.name) == [{"key": "a b+é", "id": upload.id, "parts": [1, 11, 21]}]
    assert bucket.list_objects_v2().contents is None
    done = upload.complete(*sorted(parts, key=lambda part: part.part_number))
    whole = b"".join(bodies)
    digest = md5(b"".join(md5(body).digest() for body in bodies)).hexdigest().upper()
    assert (done.etag, done.hash_crc64, done.key) == (f'"{digest}-3"', str(crc64(whole)), "a b+é")
    assert bucket.read("a b+é") == whole
    head = bucket.head_object(key="a b+é")
    assert (head.etag, head.object_type, head.content_length) == (done.etag, "Multipart", len(whole))
    assert (head.metadata, head.content_type, head.content_md5) == ({"mark": "1"}, "text/x", None)
    assert oss_door.uploads(bucket.name) == []
    for start, end in [(0, 0), (LEAST - 1, LEAST), (LEAST, LEAST + 2**20), (len(whole) - 6, len(whole) - 1)]:
        part = bucket.read("a b+é", range_header=f"bytes={start}-{end}", range_behavior="standard")
        assert part == whole[start : end + 1]


def test_the_later_part_counts(bucket: Bucket) -> None:
    upload = Upload(bucket)
    first, second = upload.part(1, b"first"), upload.part(1, b"second")
    refused = refusal(upload.complete, first)
    assert (refused.status_code, refused.code) == (400, "InvalidPart")
    upload.complete(second)
    assert bucket.read("k") == b"second"


def test_small_parts(bucket: Bucket) -> None:
    upload = Upload(bucket)
    parts = [upload.part(number, b"x" * (LEAST - 1)) for number in (1, 2)]
    refused = refusal(upload.complete, *parts)
    assert (refused.status_code, refused.code) == (400, "EntityTooSmall")
    upload.complete(parts[1])
    assert bucket.head_object(key="k").content_length == LEAST - 1


def test_wrong_parts(bucket: Bucket) -> None:
    upload = Upload(bucket)
    parts = [upload.part(number, b"x" * LEAST) for number in (1, 2)]
    assert refusal(upload.complete, *parts[::-1]).code == "InvalidPartOrder"
    assert refusal(upload.complete, parts[0], parts[0]).code == "InvalidPartOrder"
    assert refusal(upload.complete, oss.UploadPart(part_number=3, etag=parts[0].etag)).code == "InvalidPart"
    assert refusal(upload.complete).code == "InvalidArgument"
    for number in (0, 10_001, "x"):
        part = {"key": "k", "upload_id": upload.id, "part_number": number, "body": b"1"}
        assert refusal(bucket.upload_part, **part).code == "InvalidArgument"
    complete = {"key": "k", "parameters": {"uploadId": upload.id}}
    assert refusal(bucket.raw, "POST", body=b"<Complete", **complete).code == "MalformedXML"
    assert refusal(bucket.raw, "POST", body=b"<Other/>", **complete).code == "MalformedXML"
    bucket.complete_multipart_upload(key="k", upload_id=upload.id, complete_all="yes")
    assert bucket.head_object(key="k").content_length == 2 * LEAST


def test_an_upload_that_is_over(bucket: Bucket) -> None:
    done, aborted, other = Upload(bucket), Upload(bucket), Upload(bucket, "other")
    part = done.part(1, b"1")
    done.complete(part)
    aborted.part(1, b"2")
    aborted.abort()
    other.key = "k"
    for upload in (done, aborted, other):
        for ask in (
            lambda upload=upload: upload.part(1, b"1"),
            lambda upload=upload: upload.complete(part),
            upload.abort,
            lambda upload=upload: bucket.list_parts(key="k", upload_id=upload.id),
        ):
            refused = refusal(ask)
            assert (refused.status_code, refused.code) == (404, "NoSuchUpload")
    assert bucket.read("k") == b"1"


def test_an_upload_that_ends_while_a_part_comes(bucket: Bucket) -> None:
    upload = Upload(bucket)

    class Body(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if self.tell() == LEAST:
                upload.abort()
            return super().read(LEAST)

    part = {"key": "k", "upload_id": upload.id, "part_number": 1, "body": Body(bytes(3 * LEAST))}
    assert refusal(bucket.upload_part, **part).code == "NoSuchUpload"


def test_listing_parts(bucket: Bucket) -> None:
    upload = Upload(bucket, "é k")
    bodies = {number: b"%d" % number * number for number in (1, 2, 5, 9)}
    for number, body in bodies.items():
        upload.part(number, body)
    request = oss.ListPartsRequest(bucket=bucket.name, key="é k", upload_id=upload.id)
    pages = list(bucket.client.list_parts_paginator(limit=3).iter_page(request))
    assert [len(page.parts) for page in pages] == [3, 1]
    found = {part.part_number: part for page in pages for part in page.parts}
    assert {number: part.size for number, part in found.items()} == {
        number: len(body) for number, body in bodies.items()
    }
    assert {part.hash_crc64 for part in found.values()} == {str(crc64(body)) for body in bodies.values()}
    assert {page.key for page in pages} == {"é k"}


def test_listing_uploads(bucket: Bucket) -> None:
    wanted = sorted((key, Upload(bucket, key).id) for key in ("a/1", "a/2", "a/2", "b+é", "c"))
    request = {"bucket": bucket.name, "encoding_type": "url"}
    for limit in (1, 2, 9):
        pages = bucket.client.list_multipart_uploads_paginator(limit=limit)
        found = [page.uploads or [] for page in pages.iter_page(oss.ListMultipartUploadsRequest(**request))]
        assert [(upload.key, upload.upload_id) for page in found for upload in page] == wanted
        assert all(len(page) <= limit for page in found)
    assert [upload.key for upload in bucket.list_multipart_uploads(prefix="a/2").uploads] == ["a/2", "a/2"]
    assert [upload.key for upload in bucket.list_multipart_uploads(delimiter="/").uploads] == ["b+é", "c"]
    assert [upload.key for upload in bucket.list_multipart_uploads(key_marker="a/2").uploads] == ["b+é", "c"]
    assert refusal(bucket.delete_bucket).code == "BucketNotEmpty"


def test_parts_that_are_copied(bucket: Bucket, oss_door: OssDoor) -> None:
    body = os.urandom(3 * LEAST)
    source = Upload(bucket, "é source")
    source.complete(source.part(1, body[: 2 * LEAST]), source.part(2, body[2 * LEAST :]))
    other = Bucket(bucket.client, oss_door.bucket())
    upload = Upload(other)
    parts = []
    for number, (start, end) in enumerate([(LEAST // 2, 2 * LEAST + 9), (7, 7)], 1):
        copied = other.upload_part_copy(
            key="k",
            upload_id=upload.id,
            part_number=number,
            source_bucket=bucket.name,
            source_key="é source",
            source_range=f"bytes={start}-{end}",
        )
        assert copied.etag == f'"{md5(body[start : end + 1]).hexdigest().upper()}"'
        parts.append(oss.UploadPart(part_number=number, etag=copied.etag))
    wrong = {"key": "k", "upload_id": upload.id, "part_number": 3, "source_bucket": bucket.name}
    beyond = refusal(other.upload_part_copy, **wrong, source_key="é source", source_range=f"bytes=0-{len(body)}")
    assert (beyond.status_code, beyond.code) == (416, "InvalidRange")
    assert refusal(other.upload_part_copy, **wrong, source_key="absent").code == "NoSuchKey"
    bucket.delete_object(key="é source")
    wanted = body[LEAST // 2 : 2 * LEAST + 10] + body[7:8]
    assert upload.complete(*parts).hash_crc64 == str(crc64(wanted))
    assert other.read("k") == wanted


def test_the_clients_own_uploader_and_copier(bucket: Bucket, oss_door: OssDoor, tmp_path: Path) -> None:
    body = os.urandom(5 * 2**20 + 3)
    (tmp_path / "file").write_bytes(body)
    uploader = bucket.client.uploader(part_size=2**20, parallel_num=3)
    uploader.upload_file(oss.PutObjectRequest(bucket=bucket.name, key="k"), str(tmp_path / "file"))
    copier = bucket.client.copier(part_size=2**20, multipart_copy_threshold=2**20, parallel_num=3)
    copier.copy(oss.CopyObjectRequest(bucket=bucket.name, key="c", source_bucket=bucket.name, source_key="k"))
    downloader = bucket.client.downloader(part_size=2**20, parallel_num=3)
    downloader.download_file(oss.GetObjectRequest(bucket=bucket.name, key="c"), str(tmp_path / "back"))
    assert (tmp_path / "back").read_bytes() == body
    assert bucket.head_object(key="c").object_type == "Multipart"
    assert oss_door.uploads(bucket.name) == []
