"""What the OSS server of the tests does with listings, buckets and versions, asked by Alibaba Cloud's own client."""

from __future__ import annotations

import uuid
from typing import Any

import alibabacloud_oss_v2 as oss
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.servers.oss_clients import Bucket, client_of, refusal
from tests.servers.oss_fixture import OssDoor
from tests.servers.served import Served


@pytest.fixture
def bucket(oss_server: Served, oss_door: OssDoor) -> Bucket:
    return Bucket(client_of(oss_server), oss_door.bucket())


def keys_of(bucket: Bucket, **fields: Any) -> list[str]:
    return [found.key for found in bucket.list_objects_v2(**fields).contents or []]


# Listings

_LETTERS = st.text("ab/é😀", min_size=1, max_size=5).filter(lambda key: not key.startswith("/"))


@settings(max_examples=20, deadline=None)
@given(
    st.sets(_LETTERS, max_size=12),
    st.sampled_from(["", "a", "a/", "é", "ab/"]),
    st.sampled_from(["", "/", "b"]),
    st.integers(1, 4),
)
def test_listings(
    oss_server: Served, oss_door: OssDoor, keys: set[str], prefix: str, delimiter: str, limit: int
) -> None:
    bucket = Bucket(client_of(oss_server), oss_door.bucket())
    for key in keys:
        bucket.put(key)
    folded = set()
    for key in keys:
        if key.startswith(prefix):
            cut = key.find(delimiter, len(prefix)) if delimiter else -1
            folded.add((key, "key") if cut < 0 else (key[: cut + 1], "prefix"))
    wanted = sorted(folded, key=lambda one: one[0].encode())
    fields = {"bucket": bucket.name, "prefix": prefix or None, "delimiter": delimiter or None}
    for pages in (
        bucket.client.list_objects_v2_paginator(limit=limit).iter_page(oss.ListObjectsV2Request(**fields)),
        bucket.client.list_objects_paginator(limit=limit).iter_page(oss.ListObjectsRequest(**fields)),
    ):
        found = []
        for page in pages:
            here = [(one.key, "key") for one in page.contents or []]
            here += [(one.prefix, "prefix") for one in page.common_prefixes or []]
            assert len(here) == limit or not page.is_truncated
            found += sorted(here, key=lambda one: one[0].encode())
        assert found == wanted
    for after in [*keys, "a", "a/"]:
        behind = sorted(key for key in keys if key > after and key.startswith(prefix))
        assert keys_of(bucket, prefix=prefix or None, start_after=after) == behind


def test_how_much_a_page_holds(bucket: Bucket) -> None:
    for number in range(101):
        bucket.put(f"{number:03}")
    assert len(keys_of(bucket)) == 100
    assert len(keys_of(bucket, max_keys=1000)) == bucket.list_objects_v2(max_keys=1000).key_count == 101
    for wrong in (0, 1001):
        refused = refusal(bucket.list_objects_v2, max_keys=wrong)
        assert (refused.status_code, refused.code) == (400, "InvalidArgument")
    assert refusal(bucket.list_objects_v2, **{"continuation_token": "%%"}).code == "InvalidArgument"
    objects = [oss.ObjectIdentifier(key=f"{number:03}") for number in range(100)]
    bucket.delete_multiple_objects(delete=oss.Delete(objects=objects, quiet=True))
    assert keys_of(bucket) == ["100"]
    too_many = [oss.ObjectIdentifier(key=str(number)) for number in range(1001)]
    assert refusal(bucket.delete_multiple_objects, delete=oss.Delete(objects=too_many)).code == "MalformedXML"


def test_deleting_many_needs_a_sum(bucket: Bucket) -> None:
    bucket.put("k")
    body = b"<Delete><Object><Key>k</Key></Object></Delete>"
    assert refusal(bucket.raw, "POST", body=body, parameters={"delete": ""}).code == "MissingArgument"
    assert keys_of(bucket) == ["k"]


# Buckets


def test_buckets(bucket: Bucket, oss_server: Served) -> None:
    assert bucket.get_bucket_location().location == "oss-cn-hangzhou"
    info = bucket.get_bucket_info().bucket_info
    assert (info.name, info.location, info.versioning) == (bucket.name, "oss-cn-hangzhou", None)
    assert info.extranet_endpoint == "oss-cn-hangzhou.aliyuncs.com"
    assert info.intranet_endpoint == "oss-cn-hangzhou-internal.aliyuncs.com"
    new = Bucket(bucket.client, f"new-{uuid.uuid4().hex[:20]}")
    new.put_bucket()
    assert refusal(new.put_bucket).code == "BucketAlreadyExists"
    pages = bucket.client.list_buckets_paginator(limit=1).iter_page(oss.ListBucketsRequest())
    names = [found.name for page in pages for found in page.buckets]
    assert names == sorted(names)
    assert {bucket.name, new.name, oss_server.bucket} <= set(names)
    new.put("k")
    refused = refusal(new.delete_bucket)
    assert (refused.status_code, refused.code) == (409, "BucketNotEmpty")
    new.delete_object(key="k")
    new.delete_bucket()
    assert refusal(new.list_objects_v2).code == "NoSuchBucket"
    assert refusal(bucket.raw, "GET", parameters={"acl": ""}).code == "NotImplemented"
    assert refusal(bucket.raw, "GET", key="k", parameters={"acl": ""}).code == "NotImplemented"
    assert refusal(bucket.raw, "POST").code == "MethodNotAllowed"


def test_versions(bucket: Bucket) -> None:
    assert bucket.get_bucket_versioning().version_status is None
    first = bucket.put("k", b"before")
    bucket.put_bucket_versioning(versioning_configuration=oss.VersioningConfiguration(status="Enabled"))
    assert bucket.get_bucket_versioning().version_status == "Enabled"
    assert bucket.get_bucket_info().bucket_info.versioning == "Enabled"
    # The service takes no notice of forbid_overwrite here.
    second = bucket.put("k", b"second", forbid_overwrite=True)
    assert first.version_id is None
    assert bucket.read("k") == b"second"
    assert [bucket.read("k", version_id=id_) for id_ in ("null", second.version_id)] == [b"before", b"second"]
    mark = bucket.delete_object(key="k")
    assert mark.delete_marker is True
    assert keys_of(bucket) == []
    assert refusal(bucket.get_object, key="k").headers["x-oss-delete-marker"] == "true"
    assert refusal(bucket.head_object, key="k", version_id=mark.version_id).code == "MethodNotAllowed"
    listed = bucket.list_object_versions()
    assert [found.version_id for found in listed.version] == [second.version_id, "null"]
    assert [(found.version_id, found.is_latest) for found in listed.delete_marker] == [(mark.version_id, True)]
    pages = bucket.client.list_object_versions_paginator(limit=1).iter_page(
        oss.ListObjectVersionsRequest(bucket=bucket.name)
    )
    assert sum(len(page.version or []) + len(page.delete_marker or []) for page in pages) == 3
    bucket.delete_object(key="k", version_id=mark.version_id)
    assert bucket.read("k") == b"second"
    bucket.put_bucket_versioning(versioning_configuration=oss.VersioningConfiguration(status="Suspended"))
    for body in (b"third", b"fourth"):
        assert bucket.put("k", body).version_id == "null"
    assert [found.version_id for found in bucket.list_object_versions().version] == ["null", second.version_id]
    bucket.delete_object(key="k", version_id="null")
    assert bucket.read("k") == b"second"
    assert refusal(bucket.get_object, key="k", version_id="null").code == "NoSuchVersion"
