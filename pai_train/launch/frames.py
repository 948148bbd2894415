"""What travels between workers: a kind, a length and as many bytes."""

from __future__ import annotations

import socket
import struct

HEAD = struct.Struct("!cQ")
VALUE, BYTES, LEFT = b"v", b"b", b"x"
PIECE = 2**22
"""Bytes sent or received at once."""


def exactly(peer: socket.socket, length: int) -> bytes:
    """Returns so many bytes; a connection that is closed before is a ConnectionResetError."""
    data = bytearray()
    while len(data) < length:
        piece = peer.recv(min(length - len(data), PIECE))
        if not piece:
            raise ConnectionResetError("the connection is closed")
        data += piece
    return bytes(data)


def tune(peer: socket.socket) -> None:
    """Sends small messages at once, and notices a machine that is gone."""
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # A machine that is cut off sends no farewell: it counts as lost after half a minute.
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 4)):
        if hasattr(socket, name):
            peer.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
