"""A server that speaks MaxCompute, for tests: `python -m tests.servers.maxcompute --port 8000 --root FOLDER`.

It checks signatures and sums as the service does, runs the statements that make tables, and keeps tables and sessions
in the folder, so that it may be started again there. That a client passes here is evidence about the client, not about
the service.
"""

from __future__ import annotations

import argparse
import re
import traceback
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote

from aiohttp import web

from tests.servers import maxcompute_rest as rest
from tests.servers import maxcompute_sql as sql
from tests.servers import maxcompute_storage as storage
from tests.servers import maxcompute_tunnel as tunnel
from tests.servers import maxcompute_upload as upload
from tests.servers import maxcompute_writing as writing
from tests.servers.maxcompute_admin import ADMIN_PATH, administer
from tests.servers.maxcompute_answers import Gone, Refused, new_id
from tests.servers.maxcompute_call import Call, Service, reset
from tests.servers.maxcompute_sessions import Sessions
from tests.servers.maxcompute_signature import Signatures, Signed
from tests.servers.maxcompute_state import Tables
from tests.servers.oss_accounts import Accounts, Clock
from tests.servers.oss_answers import Refused as RefusedByTokenService
from tests.servers.oss_sts import TokenService

_PROJECT = r"/projects/(?P<project>[^/]+)"
_TABLE = rf"{_PROJECT}(?:/schemas/default)?/tables/(?P<table>[^/]+)"
_STORAGE = rf"/api/storage/v1{_TABLE}"
_SESSIONS = rf"{_STORAGE}/sessions"
_IN_SESSION = rf"{_SESSIONS}/(?P<session>[^/]+)"


@dataclass(frozen=True)
class _Operation:
    """One of the service's operations: the requests that mean it, and what answers them.

    Attributes:
        wanted: Parameters that must be there, some of them with a value.
        possible: Parameters that may be there; with any other, the request is refused.
        as_json: Whether its errors are JSON: all of the tunnel's and the Storage API's are.
    """

    name: str
    method: str
    path: re.Pattern[str]
    wanted: frozenset[str]
    possible: frozenset[str]
    answer: Callable[[Call], Awaitable[web.StreamResponse]]
    as_json: bool


def _operation(
    name: str, method: str, path: str, answer: Any, wanted: str = "", possible: str = "", *, as_json: bool = False
) -> _Operation:
    must = frozenset(wanted.split())
    may = {one.partition("=")[0] for one in must} | {*possible.split(), *_ALWAYS}
    return _Operation(name, method, re.compile(path), must, frozenset(may), answer, as_json)


def _data(*told: Any) -> _Operation:
    return _operation(*told, as_json=True)


_ALWAYS = ("curr_project", "curr_schema", "quotaName")
_PAGE = "marker maxitems expectmarker"
_OF_INSTANCE = "instancestatus taskstatus result"
_OF_ROWS = "max_batch_rows split_index row_index row_count"
_FORMAT = "data_format_type data_format_version"
# Of those that match, the first one is meant.
_OPERATIONS = [
    _operation("GetTenant", "GET", r"/tenants", rest.get_tenant),
    _operation("PutLogs", "PUT", rf"{_PROJECT}/logs", rest.take_logs),
    _operation("GetTunnel", "GET", rf"{_PROJECT}/tunnel", rest.get_tunnel, "", "service"),
    _operation("ListTables", "GET", rf"{_PROJECT}/tables", rest.list_tables, "", f"name {_PAGE}"),
    _operation("GetProject", "GET", _PROJECT, rest.get_project, "", "properties"),
    _operation(
        "GetResource", "GET", rf"{_PROJECT}/resources/(?P<resource>[^/]+)", rest.get_resource, "", "rOffset rSize"
    ),
    _operation("CreateInstance", "POST", rf"{_PROJECT}/instances", sql.create_instance),
    _operation("GetInstance", "GET", rf"{_PROJECT}/instances/(?P<instance>[^/]+)", sql.get_instance, "", _OF_INSTANCE),
    _data("CreateDownload", "POST", _TABLE, tunnel.create_download, "downloads", "asyncmode partition"),
    _data("Download", "GET", _TABLE, tunnel.download, "downloadid data", "rowrange columns arrow partition"),
    _data("GetDownload", "GET", _TABLE, tunnel.get_download, "downloadid", "partition"),
    _data(
        "CreateUpload", "POST", _TABLE, upload.create_upload, "uploads", "partition overwrite create_partition reload"
    ),
    _data("UploadBlock", "PUT", _TABLE, upload.upload_block, "uploadid blockid", "arrow partition"),
    _data("CommitUpload", "POST", _TABLE, upload.commit_upload, "uploadid", "partition"),
    _data("GetUpload", "GET", _TABLE, upload.get_upload, "uploadid", "partition create_partition reload"),
    _operation("ListPartitions", "GET", _TABLE, rest.list_partitions, "partitions", f"partition reverse {_PAGE}"),
    _operation("GetPartition", "GET", _TABLE, rest.get_partition, "partition", "extended"),
    _operation("GetTable", "GET", _TABLE, rest.get_table, "", "extended"),
    _data("CreateReadSession", "POST", _SESSIONS, storage.create_read_session, "session_type=batch_read"),
    _data("GetReadSession", "GET", _IN_SESSION, storage.get_read_session, "session_type=batch_read", "session_refresh"),
    _data("CreateWriteSession", "POST", _SESSIONS, writing.create_write_session, "session_type=batch_write"),
    _data("GetWriteSession", "GET", _IN_SESSION, writing.get_write_session, "session_type=batch_write"),
    _data("ReadRows", "GET", rf"{_STORAGE}/data", storage.read_rows, "session_id", f"{_OF_ROWS} {_FORMAT}"),
    _data("CommitWriteSession", "POST", rf"{_STORAGE}/commit", writing.commit_write_session, "session_id"),
    _data("WriteRows", "POST", rf"{_IN_SESSION}/data", writing.write_rows, "block_number attempt_number", _FORMAT),
]


class MaxComputeServer:
    """The server.

    Args:
        service: What it keeps.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._tokens = TokenService(service.accounts, service.clock)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answers any request."""
        request["id"] = new_id()
        path, _, query = request.raw_path.partition("?")
        if path == ADMIN_PATH and request.method == "POST":
            return await administer(self._service, request)
        if path == "/sts":
            return await self._assume_role(request)
        # The service's endpoint ends in /api, the tunnel's does not; both are here.
        base = "/api" if path.startswith("/api/") and not path.startswith("/api/storage/") else ""
        headers = {name.lower(): value.strip() for name, value in request.headers.items()}
        asked = dict(parse_qsl(query, keep_blank_values=True))
        found = _operation_of(request.method, unquote(path).removeprefix(base), asked)
        as_json = found is not None and found[0].as_json
        try:
            if found is not None:
                self._service.counts[found[0].name] += 1
            self._service.signatures.check(Signed(request.method, request.raw_path.removeprefix(base), headers))
            if found is None:
                raise Refused(405, "MethodNotAllowed", f"This server knows no {request.method} {path} of {[*asked]}")
            operation, names = found
            if unknown := asked.keys() - operation.possible:
                raise Refused(400, "NotImplemented", f"This server knows no {operation.name} with {sorted(unknown)}")
            fault = self._service.faults.next(operation.name, _rows_of(asked))
            call = Call(request, self._service, operation.name, names, asked, headers, fault)
            await call.before()
            return await call.after(await operation.answer(call))
        except Refused as refused:
            return refused.answer(request["id"], request.host, as_json=as_json)
        except Gone:
            reset(request)
            return web.Response(status=500)

    async def _assume_role(self, request: web.Request) -> web.StreamResponse:
        self._service.counts["AssumeRole"] += 1
        form = {name: str(value) for name, value in (await request.post()).items()}
        told = {"RequestId": request["id"]}
        try:
            return web.json_response({**told, **self._tokens.assume_role(request.method, {**request.query, **form})})
        except RefusedByTokenService as refused:
            told |= {"HostId": request.host, "Code": refused.code, "Message": refused.message}
            return web.json_response(told, status=refused.status)

    async def sign_off(self, request: web.Request, response: web.StreamResponse) -> None:
        """Adds what every answer has."""
        response.headers["x-odps-request-id"] = request["id"]


def _operation_of(method: str, path: str, query: Mapping[str, str]) -> tuple[_Operation, dict[str, str]] | None:
    given = query.keys() | {f"{name}={value}" for name, value in query.items()}
    for operation in _OPERATIONS:
        match = operation.path.fullmatch(path)
        if match is not None and operation.method == method and operation.wanted <= given:
            return operation, match.groupdict()
    return None


def _rows_of(query: Mapping[str, str]) -> int:
    """Returns how many rows a request asks for; 0 for all that asks for no rows, or wrongly."""
    count = query.get("row_count") or query.get("rowrange", "").rpartition(",")[2].removesuffix(")")
    return int(count) if count.isdecimal() else 0


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
    accounts = Accounts(clock)
    service = Service(
        root,
        clock,
        accounts,
        Signatures(accounts, clock, region),
        Tables(root, lambda: int(clock.now())),
        Sessions(root / "sessions", clock.now),
    )
    _sweep(service)
    server = MaxComputeServer(service)
    app = web.Application(middlewares=[_broken], client_max_size=2**40)
    app.router.add_route("*", "/{path:.*}", server.handle)
    app.on_response_prepare.append(server.sign_off)
    return app


def _sweep(service: Service) -> None:
    """Deletes the files that nothing refers to any more."""
    needed = service.sessions.files()
    for table in service.tables.all():
        needed |= {file.name for partition in table.partitions.values() for file in partition.files}
    for path in service.root.glob("tables/*/*"):
        if path.suffix != ".json" and path.name not in needed:
            path.unlink()


def main() -> None:
    """Serves until it is ended."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--root", type=Path, required=True, help="where tables and sessions lie")
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
        auto_decompress=False,
        max_line_size=65_536,
    )


if __name__ == "__main__":
    main()
