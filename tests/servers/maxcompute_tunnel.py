"""The tunnel of the MaxCompute server, downwards: sessions that are snapshots, and the rows of a range."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
from aiohttp import web

from pai_train.spec.table import Column
from tests.servers import maxcompute_faults as faults
from tests.servers.maxcompute_answers import Refused
from tests.servers.maxcompute_call import Call
from tests.servers.maxcompute_frames import framed
from tests.servers.maxcompute_records import recorded
from tests.servers.maxcompute_sessions import Session
from tests.servers.maxcompute_state import partition_values
from tests.servers.maxcompute_types import tunnel_schema

_RANGE = re.compile(r"\((\d+),(\d+)\)")


async def create_download(call: Call) -> web.Response:
    """Opens a session on the rows that are there now."""
    table = call.table
    partition = table.partition(partition_values(table, call.query.get("partition", "")))
    asked = {"schema": tunnel_schema(table.ddl)}
    session = call.service.sessions.open("download", table, asked, [call.service.tables.part(table, partition)])
    return _told(call, session, 200)


async def get_download(call: Call) -> web.Response:
    """Answers what a session is."""
    return _told(call, find_session(call, "download", "downloadid"), 200)


async def download(call: Call) -> web.StreamResponse:
    """Sends the rows of a range."""
    session = alive(call, find_session(call, "download", "downloadid"))
    match = _RANGE.fullmatch(call.query.get("rowrange", ""))
    if match is None or int(match[1]) + int(match[2]) > session.view.rows:
        raise Refused(400, "InvalidRowRange", "The specified row range is not valid.")
    start, count = int(match[1]), int(match[2])
    if call.fault is not None and call.has(faults.FEWER):
        count = max(0, count - call.fault.rows)
    columns = _columns(call)
    names = [column.name for column in columns]
    batches = (batch.select(names) for _, batch in session.view.batches(start, count))
    headers = {"Content-Type": "application/octet-stream"}
    corrupt = call.has(faults.CORRUPT)
    if "arrow" in call.query:
        return await call.stream(framed(_messages(batches), corrupt=corrupt), headers)
    return await call.stream(recorded(columns, batches, corrupt=corrupt), headers)


def find_session(call: Call, kind: str, parameter: str) -> Session:
    """Returns the session that a request names.

    Raises:
        Refused: It is not there.
    """
    session = call.service.sessions.find(call.query.get(parameter, ""), kind, call.table)
    if session is None:
        code = "NoSuchDownload" if kind == "download" else "NoSuchUpload"
        raise Refused(404, code, f"The specified {kind} id does not exist.")
    return session


def alive(call: Call, session: Session) -> Session:
    """Returns a session that is made and has not ended.

    Raises:
        Refused: It is not, or it has.
    """
    if call.service.sessions.expired(session):
        raise Refused(400, "StatusConflict", f"The {session.kind} session is expired.")
    if session.polls:
        raise Refused(400, "StatusConflict", f"The {session.kind} session is being made.")
    return session


def _told(call: Call, session: Session, status: int) -> web.Response:
    state = (
        "expired"
        if call.service.sessions.expired(session)
        else "normal"
        if session.asked_whether_ready()
        else "initiating"
    )
    told: dict[str, Any] = {"DownloadID": session.id, "Status": state, "RecordCount": session.view.rows}
    return web.json_response({**told, "Schema": session.asked["schema"], "SupportReadByRawSize": False}, status=status)


def _columns(call: Call) -> list[Column]:
    columns = {column.name: column for column in call.table.ddl.columns}
    asked = [name.lower() for name in call.query.get("columns", "").split(",") if name]
    if unknown := [name for name in asked if name not in columns]:
        raise Refused(400, "InvalidColumnSpec", f"The specified columns are not valid. {unknown}")
    if "arrow" in call.query or not asked:
        # Arrow comes in the order of the table, records come in the order in which they are asked for.
        return [column for name, column in columns.items() if name in asked or not asked]
    return [columns[name] for name in asked]


def _messages(batches: Iterator[pa.RecordBatch]) -> Iterator[memoryview]:
    for batch in batches:
        yield memoryview(batch.serialize())
