"""The operations of the OSS server on buckets, and their listings."""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING, Any

from aiohttp import web

from tests.servers.oss_answers import OWNER, Refused, invalid, listed_time, malformed, named, parsed
from tests.servers.oss_listing import MOST, limit_of, page
from tests.servers.oss_state import Bucket, Version

if TYPE_CHECKING:
    from tests.servers.oss_call import Call, Service

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")
_USUAL = 100


def make_bucket(service: Service, name: str, region: str | None = None) -> Bucket:
    """Makes a bucket.

    Raises:
        Refused: The name is taken, or no name of a bucket.
    """
    if not _NAME.fullmatch(name):
        message = "The specified bucket is not valid."
        raise Refused(400, "InvalidBucketName", message, ec="0015-00000001", BucketName=name)
    if name in service.buckets:
        message = "The requested bucket name is not available. Please select a different name and try again."
        raise Refused(409, "BucketAlreadyExists", message, ec="0015-00000104", BucketName=name)
    service.buckets[name] = Bucket(name, region or service.region, service.second)
    return service.buckets[name]


async def list_buckets(call: Call) -> web.StreamResponse:
    """Lists the buckets of the account."""
    prefix, marker = call.query.get("prefix", ""), call.query.get("marker", "")
    limit = limit_of(call.query.get("max-keys"), _USUAL)
    found = sorted(name for name in call.service.buckets if name.startswith(prefix) and name > marker)
    shown, is_truncated = found[:limit], len(found) > limit
    return call.xml(
        "ListAllMyBucketsResult",
        {
            "Prefix": prefix,
            "Marker": marker,
            "MaxKeys": limit,
            "IsTruncated": is_truncated,
            "NextMarker": shown[-1] if is_truncated else None,
            "Owner": OWNER,
            "Buckets": {"Bucket": [_described(call.service.buckets[name]) for name in shown]},
        },
    )


async def put_bucket(call: Call) -> web.StreamResponse:
    """Makes a bucket."""
    await call.document()
    make_bucket(call.service, call.bucket_name)
    return call.answer()


async def delete_bucket(call: Call) -> web.StreamResponse:
    """Deletes a bucket, which must be empty."""
    if not call.bucket.is_empty:
        message = "The bucket has objects. Please delete them first."
        raise Refused(409, "BucketNotEmpty", message, ec="0015-00000301", BucketName=call.bucket_name)
    del call.service.buckets[call.bucket_name]
    return call.answer(204)


async def get_info(call: Call) -> web.StreamResponse:
    """Tells where a bucket is and how it is set up."""
    bucket = call.bucket
    more = {
        "DataRedundancyType": "LRS",
        "AccessMonitor": "Disabled",
        "TransferAcceleration": "Disabled",
        "CrossRegionReplication": "Disabled",
        "Versioning": bucket.versioning,
        "Owner": OWNER,
        "AccessControlList": {"Grant": "private"},
    }
    return call.xml("BucketInfo", {"Bucket": {**_described(bucket), **more}})


async def get_location(call: Call) -> web.StreamResponse:
    """Tells where a bucket is."""
    location = f"oss-{call.bucket.region}"
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n<LocationConstraint>{location}</LocationConstraint>'
    return call.answer(200, body.encode(), {"Content-Type": "application/xml"})


async def get_versioning(call: Call) -> web.StreamResponse:
    """Tells whether a bucket keeps versions."""
    return call.xml("VersioningConfiguration", {"Status": call.bucket.versioning})


async def put_versioning(call: Call) -> web.StreamResponse:
    """Sets whether a bucket keeps versions from now on."""
    bucket, root = call.bucket, parsed(await call.document())
    status = root.findtext("Status")
    if root.tag != "VersioningConfiguration" or status not in ("Enabled", "Suspended"):
        raise malformed()
    bucket.versioning = status
    return call.answer()


async def list_objects(call: Call) -> web.StreamResponse:
    """Lists objects, the old way: each page from where the client says."""
    marker, limit = call.query.get("marker", ""), limit_of(call.query.get("max-keys"), _USUAL)
    fields, last = _listed(call, marker, limit)
    more = {"Marker": _named(call, marker), "NextMarker": None if last is None else _named(call, last)}
    return call.xml("ListBucketResult", {**fields, **more})


async def list_objects_v2(call: Call) -> web.StreamResponse:
    """Lists objects, the new way: each page from where the one before says."""
    token, start = call.query.get("continuation-token"), call.query.get("start-after", "")
    limit = limit_of(call.query.get("max-keys"), _USUAL)
    try:
        after = base64.b64decode(token, validate=True).decode() if token else start
    except (binascii.Error, UnicodeDecodeError) as error:
        raise invalid("The continuation token is wrong.", ArgumentName="continuation-token") from error
    fields, last = _listed(call, after, limit)
    more = {
        "StartAfter": _named(call, start) if start else None,
        "ContinuationToken": token,
        "NextContinuationToken": None if last is None else base64.b64encode(last.encode()).decode(),
        "KeyCount": len(fields["Contents"]) + len(fields["CommonPrefixes"]),
    }
    return call.xml("ListBucketResult", {**fields, **more})


def _listed(call: Call, after: str, limit: int) -> tuple[dict[str, Any], str | None]:
    """Returns what both listings have in common, and the last that was listed when more follows."""
    bucket, query = call.bucket, call.query
    prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
    found = page(bucket, prefix, delimiter, after, limit)
    has_owner = call.operation == "ListObjects" or query.get("fetch-owner") == "true"
    fields = {
        "Name": bucket.name,
        "Prefix": _named(call, prefix),
        "MaxKeys": limit,
        "Delimiter": _named(call, delimiter),
        "EncodingType": query.get("encoding-type"),
        "IsTruncated": found.next is not None,
        "Contents": [
            {"Key": _named(call, key), **_properties(bucket.find(key)), "Owner": OWNER if has_owner else None}
            for key in found.keys
        ],
        "CommonPrefixes": [{"Prefix": _named(call, name)} for name in found.prefixes],
    }
    return fields, found.next


async def list_versions(call: Call) -> web.StreamResponse:
    """Lists the versions of objects, without folding them."""
    bucket, prefix, limit = call.bucket, call.query.get("prefix", ""), limit_of(call.query.get("max-keys"), _USUAL)
    after, after_id = call.query.get("key-marker", ""), call.query.get("version-id-marker", "")
    found: list[tuple[str, Version, bool]] = []
    for key in bucket.keys_from(max(prefix, after)):
        if not key.startswith(prefix):
            break
        versions = bucket.versions(key)
        ids = [version.id for version in versions]
        if key == after:
            versions = versions[ids.index(after_id) + 1 :] if after_id in ids else []
        found += [(key, version, version.id == ids[0]) for version in versions]
        if len(found) > limit:
            break
    shown = found[:limit]
    key, version, _ = shown[-1] if len(found) > limit else ("", None, False)
    marks = [(key, version, latest) for key, version, latest in shown if version.content is None]
    objects = [(key, version, latest) for key, version, latest in shown if version.content is not None]
    return call.xml(
        "ListVersionsResult",
        {
            "Name": bucket.name,
            "Prefix": _named(call, prefix),
            "KeyMarker": _named(call, after),
            "VersionIdMarker": after_id,
            "MaxKeys": limit,
            "EncodingType": call.query.get("encoding-type"),
            "IsTruncated": len(found) > limit,
            "NextKeyMarker": _named(call, key) if version else None,
            "NextVersionIdMarker": version.id if version else None,
            "Version": [{**_placed(call, *one), **_properties(one[1]), "Owner": OWNER} for one in objects],
            "DeleteMarker": [
                {**_placed(call, *one), "LastModified": listed_time(one[1].modified), "Owner": OWNER} for one in marks
            ],
        },
    )


async def delete_objects(call: Call) -> web.StreamResponse:
    """Deletes many objects at once; missing ones are fine."""
    bucket = call.bucket
    if "content-md5" not in call.headers:
        raise Refused(400, "MissingArgument", "Missing Some Required Arguments.", ArgumentName="Content-MD5")
    root = parsed(await call.document())
    wanted = [(one.findtext("Key", ""), one.findtext("VersionId")) for one in root.findall("Object")]
    if root.tag != "Delete" or not 1 <= len(wanted) <= MOST or not all(key for key, _ in wanted):
        raise malformed()
    told: list[dict[str, Any]] = []
    for key, version in wanted:
        gone = bucket.delete(key, call.service.second, version)
        fields: dict[str, Any] = {"Key": _named(call, key), "VersionId": version}
        if gone is not None and gone.content is None:
            fields |= {"DeleteMarker": True, "DeleteMarkerVersionId": gone.id}
        told.append(fields)
    if root.findtext("Quiet") == "true":
        return call.answer()
    return call.xml("DeleteResult", {"EncodingType": call.query.get("encoding-type"), "Deleted": told})


def _named(call: Call, name: str) -> str:
    return named(name, call.query.get("encoding-type"))


def _described(bucket: Bucket) -> dict[str, Any]:
    return {
        "Name": bucket.name,
        "Location": f"oss-{bucket.region}",
        "Region": bucket.region,
        "CreationDate": listed_time(bucket.created),
        "ExtranetEndpoint": f"oss-{bucket.region}.aliyuncs.com",
        "IntranetEndpoint": f"oss-{bucket.region}-internal.aliyuncs.com",
        "StorageClass": "Standard",
    }


def _placed(call: Call, key: str, version: Version, is_latest: bool) -> dict[str, Any]:
    return {"Key": _named(call, key), "VersionId": version.id, "IsLatest": is_latest}


def _properties(version: Version) -> dict[str, Any]:
    assert version.content is not None
    return {
        "LastModified": listed_time(version.modified),
        "ETag": f'"{version.etag}"',
        "Type": version.kind,
        "Size": version.content.size,
        "StorageClass": "Standard",
    }
