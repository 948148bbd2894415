"""The operations of the OSS server on one object."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

from aiohttp import web

from tests.servers.oss_answers import Refused, invalid, listed_time
from tests.servers.oss_content import combined, joined
from tests.servers.oss_state import Version

if TYPE_CHECKING:
    from tests.servers.oss_call import Call

_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


async def put_object(call: Call) -> web.StreamResponse:
    """Writes an object whole."""
    bucket = call.bucket
    content, sums = await call.content()
    now, said = call.service.second, call.said()
    version = bucket.put(
        call.key,
        lambda id_: Version(id_, now, content, sums.etag, sums.crc, headers=said, md5=sums.md5),
        call.forbids_overwrite,
    )
    return call.answer(headers=call.written(version))


async def copy_object(call: Call) -> web.StreamResponse:
    """Writes an object that is another one's copy."""
    source, bucket, now = call.source(), call.bucket, call.service.second
    directive = call.headers.get("x-oss-metadata-directive", "COPY").upper()
    if directive not in ("COPY", "REPLACE"):
        raise invalid("The metadata directive must be COPY or REPLACE.", ArgumentName="x-oss-metadata-directive")
    said = call.said() if directive == "REPLACE" else source.headers
    kind = "Normal" if source.kind == "Appendable" else source.kind
    version = bucket.put(
        call.key,
        lambda id_: Version(id_, now, source.content, source.etag, source.crc, kind, said, source.md5),
        call.forbids_overwrite,
    )
    fields = {"LastModified": listed_time(version.modified), "ETag": f'"{version.etag}"'}
    return call.xml("CopyObjectResult", fields, call.written(version))


async def append_object(call: Call) -> web.StreamResponse:
    """Adds bytes to the end of an object, which must be where the client believes it to be."""
    bucket, key = call.bucket, call.key
    if not call.query["position"].isdigit():
        raise invalid("The argument position must be a number.", ArgumentName="position")
    position = int(call.query["position"])
    added, sums = await call.content()
    now, old = call.service.second, bucket.find(key) if bucket.holds(key) else None
    if old is not None and old.kind != "Appendable":
        raise Refused(409, "ObjectNotAppendable", "The object is not appendable.", ec="0026-00000031")
    size = old.content.size if old is not None and old.content is not None else 0
    if position != size:
        raise Refused(
            409,
            "PositionNotEqualToLength",
            "Position is not equal to file length.",
            ec="0026-00000016",
            headers={"x-oss-next-append-position": str(size)},
        )
    crc = combined(old.crc if old else 0, sums.crc, sums.size)
    etag = hashlib.md5(f"{crc}/{size + sums.size}".encode(), usedforsecurity=False).hexdigest().upper()
    if old is None or old.content is None:
        said = call.said()
        version = bucket.put(key, lambda id_: Version(id_, now, added, etag, crc, "Appendable", said))
    else:
        version = Version(old.id, now, joined([old.content, added]), etag, crc, "Appendable", old.headers)
        bucket.replace(key, version)
    return call.answer(headers={**call.written(version), "x-oss-next-append-position": str(size + sums.size)})


async def get_object(call: Call) -> web.StreamResponse:
    """Reads an object, or a range of it."""
    version = _found(call)
    call.check_conditions(version)
    content = version.content
    assert content is not None
    headers, status = call.told(version), 200
    span = _span(call, content.size)
    if span is not None:
        headers["Content-Range"] = f"bytes {span[0]}-{span[1] - 1}/{content.size}"
        status, content = 206, content.cut(*span)
    response = web.StreamResponse(status=status, headers={**headers, "Content-Length": str(content.size)})
    await response.prepare(call.request)
    for piece in content.read():
        await response.write(piece)
    await response.write_eof()
    return response


async def head_object(call: Call) -> web.StreamResponse:
    """Tells what is known of an object."""
    version = _found(call)
    call.check_conditions(version)
    assert version.content is not None
    return call.answer(headers={**call.told(version), "Content-Length": str(version.content.size)})


async def delete_object(call: Call) -> web.StreamResponse:
    """Deletes an object; a missing one is fine."""
    gone = call.bucket.delete(call.key, call.service.second, call.query.get("versionId"))
    headers = {} if gone is None else call.version_header(gone)
    if gone is not None and gone.content is None:
        headers["x-oss-delete-marker"] = "true"
    return call.answer(204, headers=headers)


def _found(call: Call) -> Version:
    version = call.bucket.find(call.key, call.query.get("versionId"))
    if version.content is None:
        headers = {"x-oss-delete-marker": "true", "x-oss-version-id": version.id}
        message = "The specified method is not allowed against this resource."
        raise Refused(405, "MethodNotAllowed", message, headers=headers, Method=call.request.method)
    return version


def _span(call: Call, size: int) -> tuple[int, int] | None:
    """Returns the first byte that is wanted and the one behind the last; None for the whole object.

    A range that does not fit gives the whole object, unless the client asks for what the standard says.
    """
    match = _RANGE.fullmatch(call.headers.get("range", "").strip())
    if match is None or not any(match.groups()):
        return None
    first, last = match.groups()
    start = int(first) if first else max(0, size - int(last))
    end = int(last) + 1 if first and last else size
    if end <= start and first and last:
        return None
    if call.headers.get("x-oss-range-behavior") != "standard":
        return (start, end) if start < end <= size else None
    if start >= size:
        raise Refused(
            416,
            "InvalidRange",
            "The requested range cannot be satisfied.",
            headers={"Content-Range": f"bytes */{size}"},
            ActualObjectSize=str(size),
            RangeHeader=call.headers["range"],
        )
    return start, min(end, size)
