"""One request to the MaxCompute server, taken apart, with what its operation needs to answer it."""

from __future__ import annotations

import asyncio
import itertools
import json
import socket
import struct
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from tests.servers import maxcompute_faults as faults
from tests.servers.maxcompute_answers import Gone, Refused
from tests.servers.maxcompute_faults import Fault, Faults
from tests.servers.maxcompute_sessions import Sessions
from tests.servers.maxcompute_signature import Signatures
from tests.servers.maxcompute_state import Table, Tables
from tests.servers.oss_accounts import Accounts, Clock


@dataclass
class Service:
    """Everything the server knows.

    Attributes:
        root: Where everything that lasts lies.
        page: How many tables or partitions a list has at most.
        stream_rate: Bytes that a stream of rows has in a second, up or down; 0 for as many as there are.
        old_types: Whether a statement must ask for the types of 2.0 before it may name them.
        instances: What was run, by id: nothing where it went well, or else the error.
        counts: Requests by operation.
        resources: What resources hold, by project and name; gone when the server ends.
    """

    root: Path
    clock: Clock
    accounts: Accounts
    signatures: Signatures
    tables: Tables
    sessions: Sessions
    faults: Faults = field(default_factory=Faults)
    page: int = 1000
    stream_rate: float = 0
    old_types: bool = False
    instances: dict[str, tuple[str, str]] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    resources: dict[tuple[str, str], bytes] = field(default_factory=dict)


@dataclass
class Call:
    """One request.

    Attributes:
        request: As it came.
        service: Everything there is.
        operation: Its name.
        names: What its path names: `project`, and where there is one `table`, `instance`, `session`.
        query: The parameters.
        headers: By name in lower case.
        fault: What goes wrong with it.
    """

    request: web.Request
    service: Service
    operation: str
    names: Mapping[str, str]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    fault: Fault | None

    @property
    def table(self) -> Table:
        """The table that it is about, as it is now."""
        return self.service.tables.table(self.names["project"], self.names["table"])

    def has(self, kind: str) -> bool:
        """Returns whether it goes wrong in this way."""
        return self.fault is not None and self.fault.kind == kind

    # What was sent

    async def body(self) -> AsyncIterator[bytes]:
        """Yields the body as it comes."""
        async for chunk in self.request.content.iter_any():
            await self._wait(len(chunk))
            yield chunk

    async def told(self) -> dict[str, Any]:
        """Returns a body that is a JSON object."""
        try:
            told = json.loads(await self.request.read())
        except ValueError:
            told = None
        if not isinstance(told, dict):
            raise Refused(400, "InvalidArgument", "Invalid argument: the body is not a JSON object.")
        return told

    def number(self, name: str, *, least: int = 0) -> int:
        """Returns a parameter that is a whole number."""
        given = self.query.get(name, "")
        if not given.isdecimal() or int(given) < least:
            raise Refused(400, "InvalidArgument", f"Invalid argument: {name}={given!r}")
        return int(given)

    async def _wait(self, size: int) -> None:
        # Others are served between two pieces, however fast this client is.
        rate = self.service.stream_rate
        await asyncio.sleep(size / rate if rate else 0)

    # What goes wrong

    async def before(self) -> None:
        """Spoils a request before anything is done."""
        fault = self.fault
        if fault is None:
            return
        if fault.kind == faults.DELAY:
            await asyncio.sleep(fault.seconds)
        elif fault.kind == faults.RESET:
            raise Gone
        elif fault.kind == faults.ERROR:
            async for _ in self.body():
                pass
            raise Refused(fault.status, fault.code, fault.message)

    async def after(self, answer: web.StreamResponse) -> web.StreamResponse:
        """Spoils an answer, if it is not a stream that was spoiled already."""
        fault = self.fault
        if fault is None or not isinstance(answer, web.Response):
            return answer
        if fault.kind == faults.LOST:
            raise Gone
        if fault.kind == faults.EMPTY:
            return web.Response(status=200)
        if fault.kind in (faults.CUT, faults.SHORT):
            body = bytes(answer.body or b"")  # type: ignore[arg-type]
            return await self.stream(iter([body]), dict(answer.headers), answer.status)
        return answer

    async def stream(
        self, pieces: Iterable[bytes], headers: Mapping[str, str] | None = None, status: int = 200
    ) -> web.StreamResponse:
        """Answers with a body that is made while it is sent."""
        if self.has(faults.LOST):
            raise Gone
        if self.has(faults.EMPTY):
            pieces = ()
        cut = self.fault if self.has(faults.CUT) or self.has(faults.SHORT) else None
        if cut is not None:
            pieces = _until(iter(pieces), cut.after)
        kept = {name: value for name, value in (headers or {}).items() if name.lower() != "content-length"}
        answer = web.StreamResponse(status=status, headers=kept)
        answer.enable_chunked_encoding()
        await answer.prepare(self.request)
        for piece in pieces:
            await answer.write(piece)
            await self._wait(len(piece))
        if cut is not None and cut.kind == faults.CUT and self.request.transport is not None:
            # What was written still arrives; the end of the body never does.
            self.request.transport.close()
            raise ConnectionResetError
        await answer.write_eof()
        return answer


def _until(pieces: Iterator[bytes], after: int | None) -> Iterator[bytes]:
    if after is None:
        # A body is cut where it hurts: behind its first small pieces, in the middle of a large one.
        start = list(itertools.islice(pieces, 4))
        whole = b"".join(start)
        yield whole[: len(whole) // 2]
        return
    for piece in pieces:
        yield piece[:after]
        after -= len(piece)
        if after <= 0:
            return


def reset(request: web.Request) -> None:
    """Ends a connection at once, so that the client sees a reset and not an end."""
    transport = request.transport
    if transport is None:
        return
    # SO_LINGER with no time sends RST.
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
