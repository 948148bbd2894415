"""A plain HTTP server that tells what it has received, and a client that keeps one connection to it."""

from __future__ import annotations

import hashlib
import random
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


class Handler(BaseHTTPRequestHandler):
    """Answers what a target asks for, and tells what it has received."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self):
        kind, _, rest = self.path[1:].partition("/")
        self.server.got.append((self.command, self.path, dict(self.headers), None))
        if kind == "chunked":
            return self.chunked(int(rest))
        if kind == "until-close":
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"x" * int(rest))
            self.close_connection = True
            return None
        if kind == "status":
            return self.answer(int(rest), b"")
        if kind == "moved":
            return self.answer(201, b"", {"Location": f"http://127.0.0.1:{self.server.server_port}/session?x=1"})
        return self.answer(200, content(int(rest or 0)) if kind == "bytes" else b"")

    def do_HEAD(self):
        self.do_GET()

    def do_PUT(self):
        if self.path == "/early":
            self.answer(403, b"no")
            return sum(map(len, self.body()))
        digest, size = hashlib.sha256(), 0
        for piece in self.body():
            digest.update(piece)
            size += len(piece)
        self.server.got.append((self.command, self.path, dict(self.headers), (size, digest.hexdigest())))
        return self.answer(200, digest.hexdigest().encode())

    def do_POST(self):
        self.do_PUT()

    def body(self):
        if self.headers.get("Transfer-Encoding") == "chunked":
            while size := int(self.rfile.readline().split(b";")[0], 16):
                yield self.rfile.read(size)
                self.rfile.readline()
            while self.rfile.readline() != b"\r\n":
                pass
            return
        left = int(self.headers.get("Content-Length", 0))
        while left:
            try:
                piece = self.rfile.read(min(left, 2**16))
            except ConnectionResetError:
                self.server.torn.append(self.path)
                raise
            assert piece
            left -= len(piece)
            yield piece

    def answer(self, status, body, headers=None):
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if status not in (204, 304):
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def chunked(self, size):
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for start in range(0, size, 1000):
            piece = content(size)[start : start + 1000]
            self.wfile.write(f"{len(piece):x};note=1\r\n".encode() + piece + b"\r\n")
        self.wfile.write(b"0\r\nX-Sum: 1\r\n\r\n")

    def log_message(self, *_):
        pass


class Upstream(ThreadingHTTPServer):
    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.got, self.torn = [], []

    def handle_error(self, *_):
        # A reset by the proxy ends a handler; what reached the server is in `got` and `torn`.
        pass


def content(size):
    return random.Random(size).randbytes(size)


class Client:
    """One connection to the proxy."""

    def __init__(self, served):
        address = urlsplit(served.endpoint)
        self.connection = HTTPConnection(address.hostname, address.port, timeout=20)

    def __call__(self, method, path, body=None, **headers):
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.connection.request(method, path, body, named, encode_chunked=named.get("Transfer-Encoding") == "chunked")
        answer = self.connection.getresponse()
        return answer.status, answer.read(), answer.headers

    def close(self):
        self.connection.close()
