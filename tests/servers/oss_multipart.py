"""The operations of the OSS server on uploads in parts."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

from aiohttp import web

from tests.servers.oss_answers import Refused, invalid, listed_time, malformed, named, parsed
from tests.servers.oss_listing import limit_of
from tests.servers.oss_state import Part, Upload

if TYPE_CHECKING:
    from tests.servers.oss_call import Call
    from tests.servers.oss_content import Content, Sums

_MOST_PARTS = 10_000


async def initiate(call: Call) -> web.StreamResponse:
    """Starts an upload."""
    bucket = call.bucket
    bucket.check_free(call.key, call.forbids_overwrite)
    upload = bucket.begin(call.key, call.said(), call.service.second)
    return call.xml(
        "InitiateMultipartUploadResult",
        {"EncodingType": _encoding(call), "Bucket": bucket.name, "Key": _named(call, call.key), "UploadId": upload.id},
    )


async def upload_part(call: Call) -> web.StreamResponse:
    """Takes in one part; of two with the same number, the later one counts."""
    number = _number(call)
    _upload(call)
    _add(call, number, *await call.content())
    sums = _upload(call).parts[number].sums
    return call.answer(headers={"ETag": f'"{sums.etag}"', "x-oss-hash-crc64ecma": str(sums.crc)})


async def copy_part(call: Call) -> web.StreamResponse:
    """Makes a part of an object that is there already, or of a range of it."""
    number, source = _number(call), call.source()
    _upload(call)
    content = source.content
    assert content is not None
    if given := call.headers.get("x-oss-copy-source-range"):
        match = re.fullmatch(r"bytes=(\d+)-(\d+)", given.strip())
        if match is None or not int(match[1]) <= int(match[2]) < content.size:
            raise Refused(416, "InvalidRange", "The requested range cannot be satisfied.", RangeHeader=given)
        content = content.cut(int(match[1]), int(match[2]) + 1)
    sums = await asyncio.to_thread(content.summed)
    _add(call, number, content, sums)
    fields = {"LastModified": listed_time(call.service.second), "ETag": f'"{sums.etag}"'}
    return call.xml("CopyPartResult", fields)


async def complete(call: Call) -> web.StreamResponse:
    """Makes an object of an upload."""
    body = await call.document()
    version = call.bucket.complete(_upload(call), _wanted(call, body), call.service.second, call.forbids_overwrite)
    fields = {
        "EncodingType": _encoding(call),
        "Location": f"http://{call.request.host}/{call.bucket.name}/{named(call.key, 'url')}",
        "Bucket": call.bucket.name,
        "Key": _named(call, call.key),
        "ETag": f'"{version.etag}"',
    }
    return call.xml("CompleteMultipartUploadResult", fields, call.written(version))


async def abort(call: Call) -> web.StreamResponse:
    """Ends an upload without an object."""
    del call.bucket.uploads[_upload(call).id]
    return call.answer(204)


async def list_parts(call: Call) -> web.StreamResponse:
    """Lists what has been sent of an upload."""
    upload, limit = _upload(call), limit_of(call.query.get("max-parts"), 1000, "max-parts")
    marker = int(call.query.get("part-number-marker", 0))
    parts = [upload.parts[number] for number in sorted(upload.parts) if number > marker]
    shown = parts[:limit]
    return call.xml(
        "ListPartsResult",
        {
            "EncodingType": _encoding(call),
            "Bucket": call.bucket.name,
            "Key": _named(call, upload.key),
            "UploadId": upload.id,
            "StorageClass": "Standard",
            "PartNumberMarker": marker,
            "NextPartNumberMarker": shown[-1].number if shown else 0,
            "MaxParts": limit,
            "IsTruncated": len(parts) > limit,
            "Part": [
                {
                    "PartNumber": part.number,
                    "LastModified": listed_time(part.modified),
                    "ETag": f'"{part.sums.etag}"',
                    "HashCrc64ecma": part.sums.crc,
                    "Size": part.sums.size,
                }
                for part in shown
            ],
        },
    )


async def list_uploads(call: Call) -> web.StreamResponse:
    """Lists the uploads that are under way."""
    limit = limit_of(call.query.get("max-uploads"), 1000, "max-uploads")
    prefix, delimiter = call.query.get("prefix", ""), call.query.get("delimiter", "")
    after, after_id = call.query.get("key-marker", ""), call.query.get("upload-id-marker", "")
    found: list[tuple[str, str, Upload | None]] = []
    for upload in sorted(call.bucket.uploads.values(), key=lambda upload: (upload.key, upload.id)):
        if not upload.key.startswith(prefix):
            continue
        cut = upload.key.find(delimiter, len(prefix)) if delimiter else -1
        place = (upload.key, upload.id, upload) if cut < 0 else (upload.key[: cut + len(delimiter)], "", None)
        # Without an id, the mark stands behind all uploads of its key.
        if place[0] > after or (place[0] == after and after_id and place[1] > after_id):
            found += [place] if not found or found[-1][:2] != place[:2] else []
    shown = found[:limit]
    last = shown[-1] if len(found) > limit else ("", "", None)
    return call.xml(
        "ListMultipartUploadsResult",
        {
            "EncodingType": _encoding(call),
            "Bucket": call.bucket.name,
            "KeyMarker": _named(call, after),
            "UploadIdMarker": after_id,
            "NextKeyMarker": _named(call, last[0]),
            "NextUploadIdMarker": last[1],
            "Delimiter": _named(call, delimiter),
            "Prefix": _named(call, prefix),
            "MaxUploads": limit,
            "IsTruncated": len(found) > limit,
            "Upload": [
                {"Key": _named(call, key), "UploadId": id_, "Initiated": listed_time(upload.initiated)}
                for key, id_, upload in shown
                if upload is not None
            ],
            "CommonPrefixes": [{"Prefix": _named(call, key)} for key, _, upload in shown if upload is None],
        },
    )


def _upload(call: Call) -> Upload:
    return call.bucket.upload(call.key, call.query["uploadId"])


def _add(call: Call, number: int, content: Content, sums: Sums) -> None:
    # The upload may have ended while the part came.
    _upload(call).parts[number] = Part(number, content, sums, call.service.second)


def _number(call: Call) -> int:
    given = call.query["partNumber"]
    if not given.isdigit() or not 1 <= int(given) <= _MOST_PARTS:
        message = f"Part number must be an integer between 1 and {_MOST_PARTS}, inclusive."
        raise invalid(message, ArgumentName="partNumber", ArgumentValue=given)
    return int(given)


def _wanted(call: Call, body: bytes) -> list[tuple[int, str]] | None:
    """Returns the numbers and etags of the parts that a client names; None when it wants all."""
    if call.headers.get("x-oss-complete-all", "").lower() == "yes":
        if body:
            raise invalid("The body must be empty with x-oss-complete-all.", ArgumentName="x-oss-complete-all")
        return None
    root = parsed(body)
    if root.tag != "CompleteMultipartUpload":
        raise malformed()
    try:
        return [
            (int(part.findtext("PartNumber", "")), part.findtext("ETag", "").strip('"').upper())
            for part in root.findall("Part")
        ]
    except ValueError as error:
        raise malformed() from error


def _encoding(call: Call) -> str | None:
    return call.query.get("encoding-type")


def _named(call: Call, name: str) -> str:
    return named(name, _encoding(call))
