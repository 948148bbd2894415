"""A REST service as catalog: pyiceberg's RestCatalog, with deadlines, whose files go through our store."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from pydantic import ValidationError
from pyiceberg.catalog import TOKEN
from pyiceberg.catalog.rest import CREDENTIAL, SCOPE, RestCatalog
from pyiceberg.catalog.rest.auth import AuthManager, NoopAuthManager
from pyiceberg.exceptions import (
    CommitFailedException,
    CommitStateUnknownException,
    NamespaceAlreadyExistsError,
    NoSuchNamespaceError,
    RESTError,
    ServerError,
    ServiceUnavailableError,
)
from pyiceberg.partitioning import UNPARTITIONED_PARTITION_SPEC, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table.sorting import UNSORTED_SORT_ORDER, SortOrder
from pyiceberg.typedef import EMPTY_DICT, Identifier, Properties
from pyiceberg.types import LongType, NestedField
from requests import RequestException, Session
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from pai_train.errors import TableError
from pai_train.redact import hide
from pai_train.spec.catalog import SECRETS
from pai_train.storage import Store, join
from pai_train.tables.catalog import CommitRaced
from pai_train.tables.store_io import StoreIO

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import pyarrow as pa
    from pyiceberg.io import FileIO
    from pyiceberg.table import CommitTableResponse, Table
    from pyiceberg.table.update import TableRequirement, TableUpdate

_CONNECT_S = 10
_ANSWER_S = 30
_UNSURE = (RequestException, ServerError, ServiceUnavailableError, ValidationError)
_VARIABLES = {
    "PAI_TRAIN_CATALOG_TOKEN": TOKEN,
    "PAI_TRAIN_CATALOG_CREDENTIAL": CREDENTIAL,
    "PAI_TRAIN_CATALOG_SCOPE": SCOPE,
    "PAI_TRAIN_CATALOG_OAUTH2_SERVER_URI": "oauth2-server-uri",
}


class RestStoreCatalog(RestCatalog):
    """Tables that a service lists; the commit point is its own.

    The service writes the metadata files, with its own right to the store; data files and manifests are ours. A bearer
    token comes from PAI_TRAIN_CATALOG_TOKEN, or is asked for with PAI_TRAIN_CATALOG_CREDENTIAL=client_id:secret and
    PAI_TRAIN_CATALOG_SCOPE, at PAI_TRAIN_CATALOG_OAUTH2_SERVER_URI or the service itself.

    Args:
        address: http://host:port/path or https://…; `?warehouse=name` where the service knows several by name.
        root: The folder of all projects, a full URL, below which new tables are put.
        store: The store that holds it.

    Raises:
        TableError: The service does not answer, or lets nobody in with this token.
    """

    def __init__(self, address: str, root: str, store: Store) -> None:
        parts = urlsplit(address)
        self.address = address
        self.root = root
        self.store = store
        uri = parts._replace(query="").geturl().rstrip("/")
        warehouse = parse_qs(parts.query).get("warehouse", [root])[0]
        with self._answering():
            super().__init__("pai_train", **{"uri": uri, "warehouse": warehouse, **_secrets(os.environ, uri)})

    def create_table(
        self,
        identifier: str | Identifier,
        schema: Schema | pa.Schema,
        location: str | None = None,
        partition_spec: PartitionSpec = UNPARTITIONED_PARTITION_SPEC,
        sort_order: SortOrder = UNSORTED_SORT_ORDER,
        properties: Properties = EMPTY_DICT,
    ) -> Table:
        project, name = self.identifier_to_tuple(identifier)
        location = location or join(self.root, project, name)
        with self._answering():
            if not self.namespace_exists(project):
                self._create_project(project)
            made: Table = super().create_table(identifier, schema, location, partition_spec, sort_order, properties)
            return made

    def load_table(self, identifier: str | Identifier) -> Table:
        with self._answering():
            found: Table = super().load_table(identifier)
            return found

    def list_tables(self, namespace: str | Identifier) -> list[Identifier]:
        with self._answering():
            try:
                found: list[Identifier] = super().list_tables(namespace)
            except NoSuchNamespaceError:
                found = []
            return found

    def commit_table(
        self, table: Table, requirements: tuple[TableRequirement, ...], updates: tuple[TableUpdate, ...]
    ) -> CommitTableResponse:
        with self._answering():
            try:
                done: CommitTableResponse = super().commit_table(table, requirements, updates)
            except CommitFailedException as raced:
                raise CommitRaced(str(raced)) from raced
            except _UNSURE as lost:
                raise CommitStateUnknownException(f"{self.address}: {lost}") from lost
            return done

    def probe(self, project: str) -> str:
        """Stages a table, which the service checks and does not create."""
        with self._answering():
            if not self.namespace_exists(project):
                return f"answers; the project {project} would be made with its first table"
            name = f"probe_{os.urandom(8).hex()}"
            schema = Schema(NestedField(1, "id", LongType()))
            self._create_table((project, name), schema, join(self.root, project, name), stage_create=True)
        return "answers; a table can be created"

    def supports_server_side_planning(self) -> bool:
        """Says no: which files a snapshot has is read from its manifests, through the store."""
        return False

    def _create_project(self, project: str) -> None:
        try:
            self.create_namespace(project)
        except NamespaceAlreadyExistsError:
            # Another process has just done so.
            return

    def _create_legacy_oauth2_auth_manager(self, session: Session) -> AuthManager:
        # Called with each new session before its first request.
        for scheme in ("http://", "https://"):
            session.mount(scheme, _Patient())
        if TOKEN not in self.properties and CREDENTIAL not in self.properties:
            return NoopAuthManager()
        return super()._create_legacy_oauth2_auth_manager(session)

    def _load_file_io(self, properties: Properties = EMPTY_DICT, location: str | None = None) -> FileIO:
        return StoreIO(self.store)

    @contextmanager
    def _answering(self) -> Iterator[None]:
        try:
            yield
        except CommitStateUnknownException:
            raise
        except RequestException as error:
            raise TableError(
                "the catalog does not answer", where=self.address, got=_words(error), todo="see that the service runs"
            ) from error
        except ValidationError as error:
            got = error.errors(include_url=False, include_input=False)[0]["msg"]
            raise TableError(
                "what answers is no Iceberg REST catalog", where=self.address, got=got, todo="check the address"
            ) from error
        except (RESTError, NotImplementedError, ValueError) as error:
            todo = f"it lets in who has a token: {SECRETS[self.address.partition('://')[0]]}"
            raise TableError("the catalog refuses", where=self.address, got=str(error), todo=todo) from error


class _Patient(HTTPAdapter):
    """Gives every request a deadline, and asks again where asking does not change anything."""

    def __init__(self) -> None:
        busy = (429, 502, 503, 504)
        again = Retry(3, connect=1, read=1, allowed_methods=("GET", "HEAD"), status_forcelist=busy, backoff_factor=0.1)
        again.raise_on_status = False
        super().__init__(max_retries=again)

    def send(self, request: Any, *args: Any, **options: Any) -> Any:
        if options.get("timeout") is None:
            options["timeout"] = (_CONNECT_S, _ANSWER_S)
        return super().send(request, *args, **options)


def _secrets(environ: Mapping[str, str], uri: str) -> dict[str, str]:
    """Returns what the environment gives to be let in, and has its parts masked in every text."""
    found = {key: environ[name] for name, key in _VARIABLES.items() if environ.get(name)}
    hide(found.get(TOKEN))
    if CREDENTIAL in found:
        hide(found[CREDENTIAL])
        hide(found[CREDENTIAL].partition(":")[2] or None)
        found.setdefault("oauth2-server-uri", f"{uri}/v1/oauth/tokens")
    return found


def _words(error: BaseException) -> str:
    """Returns the innermost words, which say what happened to the connection."""
    while error.args and isinstance(error.args[0], BaseException):
        error = error.args[0]
    reason = getattr(error, "reason", None)
    return str(reason if reason is not None else error)
