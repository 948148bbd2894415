"""The tunnel of the MaxCompute server, upwards: sessions, blocks, and the commit that makes all of them visible."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator

from aiohttp import web

from tests.servers.maxcompute_answers import Refused, corrupted
from tests.servers.maxcompute_blocks import MOST_FIELD_BYTES, received, streamed
from tests.servers.maxcompute_call import Call
from tests.servers.maxcompute_frames import unframed
from tests.servers.maxcompute_records import unrecorded
from tests.servers.maxcompute_sessions import Session
from tests.servers.maxcompute_state import partition_values
from tests.servers.maxcompute_tunnel import alive, find_session
from tests.servers.maxcompute_types import stored_schema, tunnel_schema

MOST_BLOCKS = 20_000


async def create_upload(call: Call) -> web.Response:
    """Opens a session."""
    table = call.table
    values = partition_values(table, call.query.get("partition", ""))
    if call.query.get("create_partition") == "true":
        table = call.service.tables.add_partitions(table, [values] if values else [])
    table.partition(values)
    asked = {"partition": values, "overwrite": call.query.get("overwrite") == "true"}
    return _told(call, call.service.sessions.open("upload", table, asked), 201)


async def get_upload(call: Call) -> web.Response:
    """Answers what a session is, and which blocks have come."""
    return _told(call, find_session(call, "upload", "uploadid"), 200)


async def upload_block(call: Call) -> web.Response:
    """Takes in a block; one that has come whole replaces an older one of the same number."""
    _open(call)
    number = call.number("blockid")
    if number >= MOST_BLOCKS:
        raise Refused(400, "InvalidBlockID", "The specified block id is not valid.")
    if "arrow" in call.query:
        # The messages come without their schema, which stands at the beginning of a stream.
        start = bytes(stored_schema(call.table.ddl).serialize())
        file = await received(call, unframed(_decoded(call)), streamed, start)
    else:
        columns = call.table.ddl.columns
        file = await received(call, _decoded(call), lambda path: unrecorded(columns, path))
    # Another request may have committed while this one was coming.
    call.service.sessions.keep_block(_open(call), str(number), file)
    return web.Response()


async def commit_upload(call: Call) -> web.Response:
    """Makes the rows of all blocks visible, in the order of their numbers."""
    session = _open(call)
    files = [session.blocks[key] for key in sorted(session.blocks, key=int)]
    values = tuple((name, value) for name, value in session.asked["partition"])
    call.service.tables.publish(call.table, session.id, [(values, files)], overwrite=session.asked["overwrite"])
    return _told(call, session, 200)


def _open(call: Call) -> Session:
    session = alive(call, find_session(call, "upload", "uploadid"))
    if session.id in call.table.committed:
        message = "You cannot complete the specified operation under the current upload or download status."
        raise Refused(400, "StatusConflict", message)
    return session


def _told(call: Call, session: Session, status: int) -> web.Response:
    closed, expired = session.id in call.table.committed, call.service.sessions.expired(session)
    told = {
        "UploadID": session.id,
        "Status": "closed" if closed else "expired" if expired else "normal",
        "Schema": tunnel_schema(call.table.ddl),
        "UploadedBlockList": [{"BlockID": int(key)} for key in sorted(session.blocks, key=int)],
        "MaxFieldSize": MOST_FIELD_BYTES,
    }
    return web.json_response(told, status=status)


async def _decoded(call: Call) -> AsyncIterator[bytes]:
    """Yields the body without its compression."""
    encoding = call.headers.get("content-encoding", "identity")
    if encoding not in ("identity", "deflate"):
        async for _ in call.body():
            pass
        raise Refused(400, "NotImplemented", f"this server takes no Content-Encoding: {encoding}")
    inflate = zlib.decompressobj() if encoding == "deflate" else None
    try:
        async for piece in call.body():
            yield piece if inflate is None else inflate.decompress(piece)
    except zlib.error as error:
        raise corrupted(str(error)) from error
    if inflate is not None and not inflate.eof:
        raise corrupted("the compressed body ends too early")
