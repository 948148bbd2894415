"""An Iceberg REST catalog over pyiceberg's own SqlCatalog on SQLite; it asks for a token, and can lose an answer.

No small service that speaks this protocol comes as a wheel. What a client sends is read by pyiceberg's own models,
and requirements and updates are applied by pyiceberg's own catalog, which writes metadata with its own FileIO.

    python -m tests.servers.rest_catalog PORT FOLDER TOKEN CLIENT_ID:SECRET
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aiohttp import web
from pyiceberg.catalog.rest import CreateTableRequest
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import (
    CommitFailedException,
    NamespaceAlreadyExistsError,
    NoSuchNamespaceError,
    NoSuchTableError,
    TableAlreadyExistsError,
)
from pyiceberg.partitioning import UNPARTITIONED_PARTITION_SPEC
from pyiceberg.table import CommitTableRequest
from pyiceberg.table.sorting import UNSORTED_SORT_ORDER

from tests.servers.process import HOST

if TYPE_CHECKING:
    from collections.abc import Callable

_STATUS: dict[type[Exception], int] = {
    CommitFailedException: 409,
    NamespaceAlreadyExistsError: 409,
    TableAlreadyExistsError: 409,
    NoSuchNamespaceError: 404,
    NoSuchTableError: 404,
}


@dataclass
class Service:
    """The catalogs, by the hash of their warehouse, which is the prefix of their paths."""

    folder: str
    tokens: set[str]
    credential: str
    catalogs: dict[str, SqlCatalog] = field(default_factory=dict)
    lose: int = 0
    pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(4))

    def app(self) -> web.Application:
        app = web.Application(middlewares=[self._guard])
        below = "/v1/{prefix}/namespaces"
        app.add_routes(
            [
                web.post("/lose/{count}", self._lose),
                web.post("/v1/oauth/tokens", self._token),
                web.get("/v1/config", self._config),
                web.post(below, self._create_namespace),
                web.get(below + "/{project}", self._namespace),
                web.get(below + "/{project}/tables", self._tables),
                web.post(below + "/{project}/tables", self._create),
                web.get(below + "/{project}/tables/{table}", self._table),
                web.post(below + "/{project}/tables/{table}", self._commit),
            ]
        )
        return app

    @web.middleware
    async def _guard(self, request: web.Request, handler: Any) -> web.StreamResponse:
        open_ = request.path.startswith(("/lose/", "/v1/oauth/"))
        if not open_ and request.headers.get("Authorization", "").removeprefix("Bearer ") not in self.tokens:
            return _error(401, "NotAuthorizedException", "no valid token")
        try:
            answer: web.StreamResponse = await handler(request)
        except Exception as error:
            status = next((code for kind, code in _STATUS.items() if isinstance(error, kind)), 500)
            return _error(status, type(error).__name__, str(error))
        if request.method == "POST" and request.match_info.get("table") and self.lose:
            self.lose -= 1
            assert request.transport is not None
            request.transport.abort()
        return answer

    async def _lose(self, request: web.Request) -> web.Response:
        self.lose = int(request.match_info["count"])
        return web.Response()

    async def _token(self, request: web.Request) -> web.Response:
        form = await request.post()
        if f"{form.get('client_id')}:{form.get('client_secret')}" != self.credential:
            return web.json_response({"error": "invalid_client", "error_description": "unknown"}, status=401)
        self.tokens.add(token := secrets.token_hex(16))
        return web.json_response({"access_token": token, "token_type": "bearer", "expires_in": 3600})

    async def _config(self, request: web.Request) -> web.Response:
        prefix = hashlib.sha256(request.query["warehouse"].encode()).hexdigest()[:16]
        if prefix not in self.catalogs:
            uri = f"sqlite:///{self.folder}/{prefix}.db"
            self.catalogs[prefix] = await self._do(lambda: SqlCatalog(prefix, uri=uri))
        return web.json_response({"defaults": {}, "overrides": {"prefix": prefix}})

    async def _create_namespace(self, request: web.Request) -> web.Response:
        project = (await request.json())["namespace"]
        await self._do(lambda: self._catalog(request).create_namespace(tuple(project)))
        return web.json_response({"namespace": project, "properties": {}})

    async def _namespace(self, request: web.Request) -> web.Response:
        project = request.match_info["project"]
        found = await self._do(lambda: self._catalog(request).load_namespace_properties(project))
        return web.json_response({"namespace": [project], "properties": found})

    async def _tables(self, request: web.Request) -> web.Response:
        project = request.match_info["project"]
        found = await self._do(lambda: self._catalog(request).list_tables(project))
        return web.json_response({"identifiers": [{"namespace": [project], "name": name} for _, name in found]})

    async def _create(self, request: web.Request) -> web.Response:
        asked = CreateTableRequest.model_validate_json(await request.text())
        identifier = (request.match_info["project"], asked.name)
        catalog = self._catalog(request)
        make = catalog._create_staged_table if asked.stage_create else catalog.create_table
        spec = asked.partition_spec or UNPARTITIONED_PARTITION_SPEC
        order = asked.write_order or UNSORTED_SORT_ORDER
        table = await self._do(
            lambda: make(identifier, asked.table_schema, asked.location, spec, order, asked.properties)
        )
        return _table(table.metadata, table.metadata_location)

    async def _table(self, request: web.Request) -> web.Response:
        table = await self._do(lambda: self._catalog(request).load_table(_identifier(request)))
        return _table(table.metadata, table.metadata_location)

    async def _commit(self, request: web.Request) -> web.Response:
        asked = CommitTableRequest.model_validate_json(await request.text())
        catalog = self._catalog(request)

        def commit() -> Any:
            table = catalog.load_table(_identifier(request))
            return catalog.commit_table(table, asked.requirements, asked.updates)

        done = await self._do(commit)
        return _table(done.metadata, done.metadata_location)

    def _catalog(self, request: web.Request) -> SqlCatalog:
        return self.catalogs[request.match_info["prefix"]]

    async def _do(self, work: Callable[[], Any]) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self.pool, work)


def _identifier(request: web.Request) -> tuple[str, str]:
    return request.match_info["project"], request.match_info["table"]


def _table(metadata: Any, location: str) -> web.Response:
    text = f'{{"metadata-location": "{location}", "metadata": {metadata.model_dump_json()}, "config": {{}}}}'
    return web.Response(text=text, content_type="application/json")


def _error(status: int, kind: str, message: str) -> web.Response:
    return web.json_response({"error": {"message": message, "type": kind, "code": status}}, status=status)


if __name__ == "__main__":
    port, folder, token, credential = sys.argv[1:]
    web.run_app(Service(folder, {token}, credential).app(), host=HOST, port=int(port), print=None)
