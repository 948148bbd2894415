"""The way to a MaxCompute service: signed requests to it and to its tunnel, each repeated while it is not there."""

from __future__ import annotations

import json
import logging
import threading
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from odps import ODPS
from odps.errors import WaitTimeoutError
from odps.rest import RestClient

from pai_train.errors import PaiTrainError, TableError
from pai_train.tables.maxcompute.account import Account
from pai_train.tables.maxcompute.errors import CutShort
from pai_train.tables.maxcompute.retry import Repeat

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pai_train.storage import Limits
    from pai_train.tables.maxcompute.service import Service

_T = TypeVar("_T")

TUNNEL_HEADERS = {"odps-tunnel-date-transform": "v1", "x-odps-tunnel-version": "6"}
_HINTS = {"odps.sql.type.system.odps2": "true", "odps.sql.decimal.odps2": "true", "odps.namespace.schema": "false"}
_FIRST_LOOK_S, _LONGEST_LOOK_S = 0.1, 2.0
_LONGEST_RUN_S = 600
_RESOURCE_BYTES = 4 * 2**20


class Connection:
    """Sends requests; may be used by several threads at once.

    Args:
        service: Which service.
        limits: How long an answer is waited for, and for how long a request is repeated.
        repeat: How requests are repeated; None for as the limits say.

    Attributes:
        service: Which service.
        retry: Repeats what it could not do just now.
        patience_s: Seconds for which anything is waited.
    """

    def __init__(self, service: Service, limits: Limits, repeat: Repeat | None = None) -> None:
        # It logs what it signs, and tokens with it.
        logging.getLogger("odps").setLevel(logging.WARNING)
        self.service = service
        self.retry = repeat or Repeat(limits.deadline_s)
        self.patience_s = limits.deadline_s
        self._account = Account(service.endpoint, service.role_arn)
        self._timeout_s = limits.timeout_s
        self._rest = self._client(service.endpoint)
        self._tunnel: _Client | None = None
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"Connection({self.service!r})"

    def get(self, path: str, where: str, **params: str) -> str:
        """Returns the text that the service answers.

        Args:
            path: Below its endpoint.
            where: What it is about, for people.
            params: Of the query.

        Raises:
            PaiTrainError: It does not answer, or refuses.
        """
        return self.retry(where, lambda: self._text(path, params))

    def find(self, path: str, where: str, missing: Callable[[BaseException], bool], **params: str) -> str | None:
        """Returns what `get` does, or None where the refusal says that it is not there."""

        def ask() -> str | None:
            try:
                return self._text(path, params)
            except Exception as error:
                if missing(error):
                    return None
                raise

        return self.retry(where, ask)

    def resource(self, project: str, name: str) -> Iterator[bytes]:
        """Yields what a resource of a project holds, piece by piece.

        Raises:
            PaiTrainError: It is not there, or the service does not answer.
        """
        url = f"{self.service.endpoint}/projects/{project}/resources/{quote(name, safe='')}"
        at, more = 0, True
        while more:
            params = {"rOffset": str(at), "rSize": str(_RESOURCE_BYTES)}
            answer = self.retry(f"odps://{project}/resources/{name}", partial(self._rest.get, url, params=params))
            more = answer.headers.get("x-odps-resource-has-remaining", "").lower() == "true" and bool(answer.content)
            at += len(answer.content)
            yield answer.content

    def run(self, sql: str, project: str, where: str) -> None:
        """Runs a statement on the service, and waits for its end; it may be sent again.

        Raises:
            TableError: It is refused, or not run in time.
            PaiTrainError: The service does not answer.
        """
        instance = self.retry(where, lambda: self._odps().run_sql(sql, project=project, hints=dict(_HINTS)))

        def wait() -> None:
            instance.wait_for_success(interval=_FIRST_LOOK_S, max_interval=_LONGEST_LOOK_S, timeout=_LONGEST_RUN_S)

        try:
            self.retry(where, wait)
        except PaiTrainError as error:
            if not isinstance(error.__cause__, WaitTimeoutError):
                raise
            raise TableError(
                "the statement is not run in time",
                where=where,
                got=f"instance {instance.id}, after {_LONGEST_RUN_S} s",
                todo="start again; a project whose quota is used up lets statements wait",
            ) from None

    def tunnel(self, method: str, path: str, *, headers: dict[str, str] | None = None, **how: Any) -> Any:
        """Sends one request to the tunnel and returns the answer; its errors are pyodps's."""
        client = self._tunnel_client()
        return client.request(f"{client.endpoint}/{path}", method, headers={**TUNNEL_HEADERS, **(headers or {})}, **how)

    def ask_tunnel(self, method: str, path: str, params: Mapping[str, str]) -> dict[str, Any]:
        """Sends one request about a session and returns the answer; its errors are pyodps's.

        Raises:
            CutShort: The answer is not whole.
        """
        answer = self.tunnel(method, path, params=dict(params), data=b"" if method == "post" else None)
        try:
            told: dict[str, Any] = json.loads(answer.text)
        except ValueError as error:
            raise CutShort(f"an answer that is not whole: {answer.text[:80]!r}") from error
        return told

    def _text(self, path: str, params: Mapping[str, str]) -> str:
        text = str(self._rest.get(f"{self.service.endpoint}/{path}", params=dict(params)).text)
        if not text.strip():
            raise CutShort("an answer without content")
        return text

    def _tunnel_client(self) -> _Client:
        with self._lock:
            if self._tunnel is None:
                endpoint = self.service.tunnel_endpoint or self._told_endpoint()
                self._tunnel = self._client(endpoint)
            return self._tunnel

    def _told_endpoint(self) -> str:
        url = f"{self.service.endpoint}/projects/{self.service.project}/tunnel"
        host = str(self._rest.get(url, action="service").text).strip()
        scheme = self.service.endpoint.partition("://")[0]
        return f"{scheme}://{host}"

    def _client(self, endpoint: str) -> _Client:
        return _Client(self._account, endpoint, self.service.project, timeout_s=self._timeout_s)

    def _odps(self) -> ODPS:
        return ODPS(
            self._account,
            project=self.service.project,
            endpoint=self.service.endpoint,
            logview_host=self.service.endpoint,
            overwrite_global=False,
            rest_client_cls=_Client,
            rest_client_kwargs={"timeout_s": self._timeout_s},
        )


class _Client(RestClient):  # type: ignore[misc]
    """Sends each request once, waits for its answer no longer than is said, and tells nobody how it is used."""

    def __init__(self, *args: Any, timeout_s: float, **options: Any) -> None:
        super().__init__(*args, retry_enabled=False, **options)
        self._timeout_s = timeout_s

    def request(self, url: str, method: str, stream: bool = False, **how: Any) -> Any:
        how.setdefault("timeout", (self._timeout_s, self._timeout_s))
        return super().request(url, method, stream=stream, **how)

    def upload_survey_log(self) -> None:
        """Sends nothing."""
