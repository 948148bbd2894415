"""A proxy in front of a store server that spoils a share of the requests: `python -m tests.servers.faults_proxy`.

Requests pass byte for byte, the Host header too, so that a signature made for the proxy's address is still right.
Bodies are streamed. A second port is the control door: GET tells the settings and what happened, GET /journal every
request besides, POST changes settings by their names.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import struct
from collections import Counter
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from http import HTTPStatus
from typing import Any

from tests.servers.faults_http import LONGEST_HEAD, PIECE, Head, body_of
from tests.servers.faults_plan import CUT, DELAY, ERROR, LOST, RESET, SCHEMES, Fault, Plan, error_answer

HOST = "127.0.0.1"
_REMEMBERED = 20_000
_EARLY_ANSWER_S = 1


@dataclass
class Seen:
    """One request, without its query, which may hold a signature; `fault` is None for one that was left alone."""

    method: str
    path: str
    fault: str | None = None
    status: int | None = None


@dataclass
class Proxy:
    """Takes requests, spoils some, and forwards the rest to the server.

    Attributes:
        upstream: Host and port of the server.
        port: Where it listens.
        scheme: Whose errors it tells.
        plan: What it does to which request.
        requests: How many have come.
        injected: How many were spoiled, by kind.
        journal: The newest requests.
    """

    upstream: tuple[str, int]
    port: int
    scheme: str
    plan: Plan = field(default_factory=Plan)
    requests: int = 0
    injected: Counter[str] = field(default_factory=Counter)
    journal: list[Seen] = field(default_factory=list)
    _served: set[asyncio.Task[Any]] = field(default_factory=set)
    _listening: asyncio.Server | None = None
    _moving: asyncio.Event = field(default_factory=asyncio.Event)

    async def follow(self) -> None:
        """Makes the sockets what the mode says."""
        mode = self.plan.settings.mode
        if mode == "down" and self._listening is not None:
            self._listening.close()
            self._listening = None
        if mode == "down" or (mode == "up" and not self._moving.is_set()):
            for task in self._served:
                task.cancel()
        if mode == "up":
            self._moving.set()
        else:
            self._moving.clear()
        if mode != "down" and self._listening is None:
            self._listening = await asyncio.start_server(self._serve, HOST, self.port, limit=LONGEST_HEAD)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._served.add(task)
        try:
            while await self._exchange(reader, writer):
                pass
            writer.close()
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            # The client or the server has gone away, or the mode ends all connections.
            reset(writer)
        finally:
            self._served.discard(task)

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Serves one request; returns whether the connection can have another."""
        await self._moving.wait()
        head = await Head.read(reader)
        if head is None:
            return False
        await self._moving.wait()
        method, target = head.first[0], head.first[1]
        seen, fault = Seen(method, target.partition("?")[0]), self.plan.next(method, target)
        self.requests += 1
        self.journal.append(seen)
        del self.journal[:-_REMEMBERED]
        if fault.kind in (RESET, ERROR, DELAY):
            self._count(seen, fault)
        if fault.kind == RESET:
            return reset(writer)
        if fault.kind == ERROR:
            return await self._refuse(reader, writer, head, fault, seen)
        if fault.kind == DELAY:
            await asyncio.sleep(fault.chance.uniform(0, self.plan.settings.delay_s))
        server_reader, server = await asyncio.open_connection(*self.upstream, limit=LONGEST_HEAD)
        sending = asyncio.create_task(self._send(reader, server, head))
        try:
            return await self._answer(server_reader, writer, head, fault, seen) and await _ended(sending)
        finally:
            sending.cancel()
            server.close()

    def _count(self, seen: Seen, fault: Fault) -> None:
        seen.fault = fault.kind
        self.injected[str(fault.kind)] += 1

    async def _send(self, reader: asyncio.StreamReader, server: asyncio.StreamWriter, head: Head) -> bool:
        """Forwards a request; returns whether all of it was read."""
        server.write(head.raw)
        try:
            async for piece in body_of(reader, head):
                await self._moving.wait()
                # The server may answer and close without reading all: its answer still counts.
                if not server.is_closing():
                    server.write(piece)
                    with suppress(ConnectionError):
                        await server.drain()
        except (OSError, asyncio.IncompleteReadError):
            # The client has gone in mid-body, and so it is for the server.
            return reset(server)
        return True

    async def _answer(
        self, server: asyncio.StreamReader, writer: asyncio.StreamWriter, request: Head, fault: Fault, seen: Seen
    ) -> bool:
        answer = await Head.read(server)
        while answer is not None and answer.first[1].startswith("1"):
            writer.write(answer.raw)
            answer = await Head.read(server)
        if answer is None:
            return reset(writer)
        await self._moving.wait()
        seen.status = int(answer.first[1])
        if fault.kind == LOST:
            self._count(seen, fault)
            return reset(writer)
        writer.write(answer.moved("{}:{}".format(*self.upstream), request.headers.get("host", "")))
        if request.first[0] == "HEAD" or seen.status in (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED):
            await writer.drain()
            return request.keeps and answer.keeps
        if not answer.has_end:
            while piece := await server.read(PIECE):
                await self._pass(writer, piece)
            return False
        if fault.kind == CUT and (answer.is_chunked or answer.length):
            self._count(seen, fault)
            return await self._cut(server, writer, answer, fault)
        async for piece in body_of(server, answer):
            await self._pass(writer, piece)
        return request.keeps and answer.keeps

    async def _pass(self, writer: asyncio.StreamWriter, piece: bytes) -> None:
        await self._moving.wait()
        writer.write(piece)
        await writer.drain()

    async def _cut(
        self, server: asyncio.StreamReader, writer: asyncio.StreamWriter, answer: Head, fault: Fault
    ) -> bool:
        """Passes the first bytes of a body, or all of a chunked one but its end mark, then closes or resets."""
        left = fault.chance.randrange(answer.length) if answer.length else None
        held = b""
        async for piece in body_of(server, answer):
            await self._pass(writer, held)
            held = piece if left is None else piece[:left]
            if left is not None:
                left -= len(held)
                if not left:
                    await self._pass(writer, held)
                    break
        return fault.chance.random() < 0.5 and reset(writer)

    async def _refuse(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: Head, fault: Fault, seen: Seen
    ) -> bool:
        status, headers, body = error_answer(self.scheme, fault, head.first[0], self.plan.settings.retry_after_s)
        seen.status = status
        if not head.waits:
            async for _ in body_of(reader, head):
                pass
        keeps = head.keeps and not head.waits
        headers |= {"Content-Length": str(len(body))} | ({} if keeps else {"Connection": "close"})
        lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", *(f"{name}: {headers[name]}" for name in headers)]
        writer.write("\r\n".join([*lines, "", ""]).encode() + (b"" if head.first[0] == "HEAD" else body))
        await writer.drain()
        return keeps

    async def control(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serves one request of the control door."""
        head = await Head.read(reader)
        if head is None:
            return writer.close()
        text = await reader.readexactly(head.length)
        status, told = HTTPStatus.OK, {}
        try:
            if head.first[0] == "POST":
                changes = json.loads(text).items()
                self.plan.change(
                    **{name: tuple(value) if isinstance(value, list) else value for name, value in changes}
                )
                await self.follow()
        except (TypeError, ValueError) as error:
            status, told = HTTPStatus.BAD_REQUEST, {"error": str(error)}
        told |= {"settings": asdict(self.plan.settings), "requests": self.requests, "injected": self.injected}
        if head.first[1] == "/journal":
            told["journal"] = [asdict(seen) for seen in self.journal]
        body = json.dumps(told).encode()
        writer.write(f"HTTP/1.1 {status} -\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body)
        await writer.drain()
        return writer.close()


async def _ended(sending: asyncio.Task[bool]) -> bool:
    """Returns whether the request was read to its end, which an early answer does not wait for."""
    done, _ = await asyncio.wait({sending}, timeout=_EARLY_ANSWER_S)
    return bool(done) and sending.result()


def reset(writer: asyncio.StreamWriter) -> bool:
    """Resets a connection, as a crashed peer does; returns False."""
    if not writer.is_closing():
        option = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, option)
        writer.transport.abort()
    return False


async def _main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--upstream", required=True, help="host:port of the server")
    parser.add_argument("--port", type=int, required=True, help="where clients connect")
    parser.add_argument("--control", type=int, required=True, help="port of the control door")
    parser.add_argument("--scheme", choices=SCHEMES, required=True, help="whose errors are told")
    given = parser.parse_args()
    host, _, port = given.upstream.rpartition(":")
    proxy = Proxy((host, int(port)), given.port, given.scheme)
    await proxy.follow()
    # The door opens last: whoever reaches it finds the proxy serving.
    async with await asyncio.start_server(proxy.control, HOST, given.control) as door:
        await door.serve_forever()


if __name__ == "__main__":
    asyncio.run(_main())
