"""The Storage API of the MaxCompute server, writing: sessions, blocks with their messages, and the commit of some."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
from aiohttp import web

from tests.servers.maxcompute_answers import Refused
from tests.servers.maxcompute_blocks import received, streamed
from tests.servers.maxcompute_call import Call
from tests.servers.maxcompute_sessions import Session
from tests.servers.maxcompute_state import partition_values
from tests.servers.maxcompute_storage import FORMATS, find_session
from tests.servers.maxcompute_tunnel import alive
from tests.servers.maxcompute_types import storage_schema, stored_schema

MOST_BLOCKS = 20_000


async def create_write_session(call: Call) -> web.Response:
    """Opens a session."""
    table, told = call.table, await call.told()
    spec = told.get("PartitionSpec") or ""
    if len(spec.replace("/", ",").split(",")) < len(table.keys) or (table.keys and not spec):
        raise Refused(400, "NotImplemented", "this server writes no dynamic partitions: PartitionSpec")
    values = table.partition(partition_values(table, spec)).values
    asked = {"partition": values, "overwrite": told.get("Overwrite", True)}
    return _told(call, call.service.sessions.open("write", table, asked), created=True)


async def get_write_session(call: Call) -> web.Response:
    """Answers what a session is."""
    return _told(call, find_session(call, "write", call.names["session"]))


async def write_rows(call: Call) -> web.Response:
    """Takes in one attempt at a block; it counts when the commit names it."""
    session = _open(call, call.names["session"])
    number, attempt = call.number("block_number"), call.number("attempt_number")
    if number >= MOST_BLOCKS:
        raise Refused(400, "InvalidBlockID", "The specified block id is not valid.")
    schema = stored_schema(call.table.ddl)
    file = await received(call, call.body(), lambda path: _conformed(path, schema))
    _open(call, session.id)
    # The files of two attempts have two names, so that a message names one of them.
    call.service.sessions.keep_block(session, f"{number}-{file.name}", file)
    message = json.dumps({"block": number, "attempt": attempt, "file": file.name, "rows": file.rows})
    return web.json_response({"CommitMessage": message})


async def commit_write_session(call: Call) -> web.Response:
    """Makes the rows of the blocks visible whose messages have come, in the order of their numbers."""
    session = _open(call, call.query.get("session_id", ""))
    blocks: dict[int, str] = {}
    for message in (await call.told()).get("CommitMessages") or []:
        block, key = _block(message, session)
        if block in blocks:
            raise Refused(400, "InvalidArgument", f"Invalid argument: CommitMessages: block {block} is there twice")
        blocks[block] = key
    files = [session.blocks[blocks[number]] for number in sorted(blocks)]
    values = tuple((name, value) for name, value in session.asked["partition"])
    call.service.tables.publish(call.table, session.id, [(values, files)], overwrite=session.asked["overwrite"])
    return _told(call, session, created=True)


def _open(call: Call, session_id: str) -> Session:
    session = alive(call, find_session(call, "write", session_id))
    if session.id in call.table.committed:
        raise Refused(400, "StatusConflict", "The write session is committed.")
    return session


def _block(message: Any, session: Session) -> tuple[int, str]:
    try:
        told = json.loads(message)
        key = f"{told['block']}-{told['file']}"
        session.blocks[key]
    except (TypeError, ValueError, KeyError):
        raise Refused(400, "InvalidArgument", f"Invalid argument: CommitMessages: {message!r}") from None
    return told["block"], key


def _told(call: Call, session: Session, *, created: bool = False) -> web.Response:
    committed, expired = session.id in call.table.committed, call.service.sessions.expired(session)
    ready = committed or session.asked_whether_ready()
    told = {
        "SessionId": session.id,
        "SessionType": "BATCH_WRITE",
        "SessionStatus": "COMMITTED" if committed else "EXPIRED" if expired else "NORMAL" if ready else "INIT",
        "ExpirationTime": int(session.expires * 1000),
        "Message": "",
        "DataSchema": storage_schema(call.table.ddl.columns, call.table.ddl.partitions),
        "SupportedDataFormat": FORMATS,
        "MaxBlockNumber": MOST_BLOCKS,
    }
    return web.json_response(told, status=(201 if ready else 202) if created else 200)


def _conformed(path: Path, schema: pa.Schema) -> Any:
    """Yields batches with the table's columns in its order, as a client may name them in capitals and other units."""
    for batch in streamed(path):
        names = {name.lower(): at for at, name in enumerate(batch.schema.names)}
        if names.keys() != set(schema.names):
            raise Refused(400, "SchemaNotMatch", f"The columns are not the table's: {sorted(names)}")
        try:
            columns = [batch.column(names[field.name]).cast(field.type) for field in schema]
        except pa.ArrowException as error:
            raise Refused(400, "SchemaNotMatch", f"The columns are not of the table's types: {error}") from error
        yield pa.RecordBatch.from_arrays(columns, schema=schema)
