"""Answers how far a resumable upload got, as Google Cloud Storage does and its emulator does not, and cuts one off."""

from __future__ import annotations

import re
import threading
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tests.servers.process import HOST

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.servers.served import Served

MODES = ("before", "after", "last", "short")
"""The second part is lost before the server has it, or its answer; the last one's answer; half the second is taken."""
_UNIT = 256 * 2**10


@contextmanager
def resuming(served: Served, mode: str) -> Iterator[tuple[Served, list[str]]]:
    """Starts a relay that cuts off one part of the first upload.

    Yields:
        The server as reached through the relay, and a list that holds the mode once it happened.
    """
    cuts: list[str] = []
    arrived: dict[str, int] = {}
    answers: dict[str, tuple[int, bytes]] = {}
    upstream = urlsplit(served.endpoint).netloc

    class Relay(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_one(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            span = re.fullmatch(r"bytes ([0-9]+|\*)(?:-([0-9]+))?/([0-9]+|\*)", self.headers.get("Content-Range", ""))
            if span is None:
                self._answer(*self._forward(body))
            elif span[1] == "*":
                self._progress()
            else:
                self._part(body, int(span[1]), int(span[2]), span[3])

        do_GET = do_POST = do_PUT = do_DELETE = handle_one  # noqa: N815 - names of the base class

        def log_message(self, *_: object) -> None:
            """Says nothing."""

        def _part(self, body: bytes, start: int, end: int, total: str) -> None:
            if not cuts and mode == "before" and start:
                cuts.append(mode)
                self.close_connection = True
                return
            if not cuts and mode == "short" and start:
                cuts.append(mode)
                body, end = body[:_UNIT], start + _UNIT - 1
            status, headers, content = self._forward(body, f"bytes {start}-{end}/{total}")
            arrived[self.path] = end + 1
            if status != 308:
                answers[self.path] = status, content
            lost = (mode == "after" and start) or (mode == "last" and total != "*")
            if not cuts and lost:
                cuts.append(mode)
                self.close_connection = True
                return
            self._answer(status, headers, content)

        def _progress(self) -> None:
            if self.path in answers:
                status, content = answers[self.path]
                self._answer(status, {}, content)
            else:
                count = arrived.get(self.path, 0)
                self._answer(308, {"Range": f"bytes=0-{count - 1}"} if count else {}, b"")

        def _forward(self, body: bytes, span: str | None = None) -> tuple[int, dict[str, str], bytes]:
            headers = {name: value for name, value in self.headers.items() if name.lower() != "content-length"}
            headers |= {"Content-Range": span} if span else {}
            connection = HTTPConnection(upstream, timeout=30)
            connection.request(self.command, self.path, body, headers)
            answer = connection.getresponse()
            content = answer.read()
            connection.close()
            return answer.status, dict(answer.getheaders()), content

        def _answer(self, status: int, headers: dict[str, str], content: bytes) -> None:
            self.send_response(status)
            for name, value in headers.items():
                if name.lower() not in ("content-length", "transfer-encoding", "connection", "date", "server"):
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    server = ThreadingHTTPServer((HOST, 0), Relay)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield served.behind(f"http://{HOST}:{server.server_port}"), cuts
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
