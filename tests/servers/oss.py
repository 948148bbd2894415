"""A server that speaks OSS, for tests: `python -m tests.servers.oss --port 8000 --root FOLDER`.

It checks signatures, permissions and sums as the service does, and keeps what it is told until it ends. That a client
passes here is evidence about the client, not about the service.
"""

from __future__ import annotations

import argparse
import base64
import secrets
import traceback
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote

from aiohttp import web

from tests.servers import oss_buckets as buckets
from tests.servers import oss_multipart as multipart
from tests.servers import oss_objects as objects
from tests.servers.oss_accounts import Accounts, Clock
from tests.servers.oss_admin import ADMIN_PATH, administer
from tests.servers.oss_answers import Refused, header_time
from tests.servers.oss_call import Call, Service
from tests.servers.oss_signature import Signatures, Signed
from tests.servers.oss_sts import TokenService

_STS_PATHS = ("/", "/sts")
_LONGEST_KEY = 1023
_OF_LISTINGS = "prefix delimiter max-keys encoding-type"


@dataclass(frozen=True)
class _Operation:
    """One of the service's operations: the requests that mean it, who may do it, and what does it."""

    name: str
    method: str
    action: str
    answer: Callable[[Call], Awaitable[web.StreamResponse]]
    wanted: frozenset[str]
    possible: frozenset[str]
    copies: bool


def _operation(
    name: str, method: str, action: str, answer: Any, wanted: str = "", possible: str = "", copies: bool = False
) -> _Operation:
    return _Operation(name, method, action, answer, frozenset(wanted.split()), frozenset(possible.split()), copies)


_OF_SERVICE = [_operation("ListBuckets", "GET", "list", buckets.list_buckets, "", "prefix marker max-keys")]
_OF_BUCKETS = [
    _operation("GetBucketInfo", "GET", "bucket", buckets.get_info, "bucketInfo"),
    _operation("GetBucketLocation", "GET", "bucket", buckets.get_location, "location"),
    _operation("GetBucketVersioning", "GET", "bucket", buckets.get_versioning, "versioning"),
    _operation("PutBucketVersioning", "PUT", "bucket", buckets.put_versioning, "versioning"),
    _operation(
        "ListObjectVersions", "GET", "list", buckets.list_versions,
        "versions", "prefix key-marker version-id-marker max-keys encoding-type",
    ),
    _operation(
        "ListMultipartUploads", "GET", "list", multipart.list_uploads,
        "uploads", "prefix delimiter key-marker upload-id-marker max-uploads encoding-type",
    ),
    _operation(
        "ListObjectsV2", "GET", "list", buckets.list_objects_v2,
        "list-type", f"{_OF_LISTINGS} continuation-token start-after fetch-owner",
    ),
    _operation("ListObjects", "GET", "list", buckets.list_objects, "", f"{_OF_LISTINGS} marker"),
    _operation("DeleteMultipleObjects", "POST", "delete", buckets.delete_objects, "delete", "encoding-type"),
    _operation("PutBucket", "PUT", "bucket", buckets.put_bucket),
    _operation("DeleteBucket", "DELETE", "bucket", buckets.delete_bucket),
]  # fmt: skip
_OF_OBJECTS = [
    _operation("UploadPartCopy", "PUT", "put", multipart.copy_part, "partNumber uploadId", copies=True),
    _operation("UploadPart", "PUT", "put", multipart.upload_part, "partNumber uploadId"),
    _operation("CopyObject", "PUT", "put", objects.copy_object, copies=True),
    _operation("PutObject", "PUT", "put", objects.put_object),
    _operation("AppendObject", "POST", "put", objects.append_object, "append position"),
    _operation("InitiateMultipartUpload", "POST", "put", multipart.initiate, "uploads", "encoding-type"),
    _operation("CompleteMultipartUpload", "POST", "put", multipart.complete, "uploadId", "encoding-type"),
    _operation("AbortMultipartUpload", "DELETE", "put", multipart.abort, "uploadId"),
    _operation("DeleteObject", "DELETE", "delete", objects.delete_object, "", "versionId"),
    _operation(
        "ListParts", "GET", "list", multipart.list_parts, "uploadId", "max-parts part-number-marker encoding-type"
    ),
    _operation("GetObject", "GET", "get", objects.get_object, "", "versionId"),
    _operation("GetObjectMeta", "HEAD", "get", objects.head_object, "objectMeta", "versionId"),
    _operation("HeadObject", "HEAD", "get", objects.head_object, "", "versionId"),
]  # fmt: skip


class OssServer:
    """The server.

    Args:
        service: What it keeps.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._signatures = Signatures(service.accounts, service.clock, service.region)
        self._tokens = TokenService(service.accounts, service.clock)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answers any request."""
        request["id"] = secrets.token_hex(12).upper()
        path, _, query = request.raw_path.partition("?")
        pairs = parse_qsl(query.replace("+", "%2B"), keep_blank_values=True)
        if path == ADMIN_PATH and request.method == "POST":
            return await administer(self._service, request)
        if path in _STS_PATHS and ("Action" in dict(pairs) or (path == "/sts" and request.method == "POST")):
            return await self._assume_role(request, dict(pairs))
        try:
            return await self._operate(request, unquote(path), pairs)
        except Refused as refused:
            return _refusal(request, refused)

    async def _operate(self, request: web.Request, path: str, pairs: list[tuple[str, str]]) -> web.StreamResponse:
        headers = {name.lower(): value.strip() for name, value in request.headers.items()}
        bucket, key = _addressed(headers.get("host", ""), path)
        operation = _operation_of(request.method, bucket, key, frozenset(dict(pairs)), headers)
        if not isinstance(operation, Refused):
            self._service.counts[operation.name] += 1
        sender = self._signatures.sender(Signed(request.method, bucket, key, pairs, headers))
        if isinstance(operation, Refused):
            raise operation
        call = Call(request, self._service, operation.name, bucket, key, dict(pairs), headers, sender)
        if bucket and operation.name != "PutBucket":
            call.bucket_named(bucket)
        call.check(operation.action)
        return await operation.answer(call)

    async def _assume_role(self, request: web.Request, query: dict[str, str]) -> web.StreamResponse:
        self._service.counts["AssumeRole"] += 1
        form = {name: str(value) for name, value in (await request.post()).items()}
        told = {"RequestId": request["id"]}
        try:
            return web.json_response({**told, **self._tokens.assume_role(request.method, {**query, **form})})
        except Refused as refused:
            told |= {"HostId": request.host, "Code": refused.code, "Message": refused.message}
            return web.json_response(told, status=refused.status)

    async def sign_off(self, request: web.Request, response: web.StreamResponse) -> None:
        """Adds what every answer has."""
        response.headers["x-oss-request-id"] = request["id"]
        response.headers["Date"] = header_time(self._service.clock.now())
        response.headers["Server"] = "AliyunOSS"


def _addressed(host: str, path: str) -> tuple[str, str]:
    """Returns bucket and key: the bucket stands in the host, or else at the beginning of the path."""
    label, _, rest = host.partition(":")[0].partition(".")
    if rest == "localhost":
        return label, path.removeprefix("/")
    bucket, _, key = path.removeprefix("/").partition("/")
    return bucket, key


def _operation_of(
    method: str, bucket: str, key: str, query: frozenset[str], headers: Mapping[str, str]
) -> _Operation | Refused:
    if len(key.encode()) > _LONGEST_KEY or key.startswith(("/", "\\")):
        return Refused(400, "InvalidObjectName", "The specified object is not valid.", ObjectName=key)
    copies = "x-oss-copy-source" in headers
    for operation in _OF_OBJECTS if key else _OF_BUCKETS if bucket else _OF_SERVICE:
        if (operation.method, operation.copies) == (method, copies) and operation.wanted <= query:
            if unknown := query - operation.wanted - operation.possible:
                message = "A header or query you provided requests a function that is not implemented."
                return Refused(501, "NotImplemented", message, Query=",".join(sorted(unknown)))
            return operation
    message = "The specified method is not allowed against this resource."
    return Refused(405, "MethodNotAllowed", message, Method=method)


def _refusal(request: web.Request, refused: Refused) -> web.Response:
    headers = {**refused.headers, **({"x-oss-ec": refused.ec} if refused.ec else {})}
    body = refused.document(request["id"], request.host)
    if request.method == "HEAD" or refused.status == 304:
        return web.Response(status=refused.status, headers={**headers, "x-oss-err": base64.b64encode(body).decode()})
    return web.Response(status=refused.status, headers={**headers, "Content-Type": "application/xml"}, body=body)


@web.middleware
async def _broken(request: web.Request, handler: Callable[..., Awaitable[web.StreamResponse]]) -> web.StreamResponse:
    """Prints what is wrong with the server itself."""
    try:
        return await handler(request)
    except (ConnectionError, web.RequestPayloadError):
        # The client has gone: nobody reads this.
        return web.Response(status=400)
    except web.HTTPException:
        raise
    except Exception:
        traceback.print_exc()
        raise


def application(root: Path, region: str) -> web.Application:
    """Returns the server."""
    clock = Clock()
    server = OssServer(Service(root, region, clock, Accounts(clock)))
    app = web.Application(middlewares=[_broken])
    app.router.add_route("*", "/{path:.*}", server.handle)
    app.on_response_prepare.append(server.sign_off)
    return app


def main() -> None:
    """Serves until it is ended."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--root", type=Path, required=True, help="where the bytes of large objects lie")
    parser.add_argument("--region", default="cn-hangzhou")
    options = parser.parse_args()
    options.root.mkdir(parents=True, exist_ok=True)
    web.run_app(
        application(options.root, options.region),
        host=options.host,
        port=options.port,
        print=None,
        access_log=None,
        shutdown_timeout=0.1,
    )


if __name__ == "__main__":
    main()
