"""The SQL that the MaxCompute server runs: CREATE TABLE, DROP TABLE, ALTER TABLE; each as an instance that is over."""

from __future__ import annotations

import base64
import json
import re
import time
import xml.etree.ElementTree as ET
from email.utils import formatdate
from typing import Any

from aiohttp import web

from pai_train.spec.ddl import parse_ddl
from pai_train.spec.tokens import Cursor, SyntaxFault
from tests.servers.maxcompute_answers import Refused, new_id, xml
from tests.servers.maxcompute_call import Call
from tests.servers.maxcompute_state import Table, Tables, Values, ordered_values

_UNKNOWN = "this server runs CREATE TABLE, DROP TABLE and ALTER TABLE only"


_NEW_TYPES = frozenset(
    {
        *("TINYINT", "SMALLINT", "INT", "FLOAT", "VARCHAR", "CHAR", "BINARY", "DATE", "STRUCT", "JSON"),
        *("TIMESTAMP", "TIMESTAMP_NTZ", "INTERVAL_DAY_TIME", "INTERVAL_YEAR_MONTH", "VECTOR"),
    }
)


class _Failed(Exception):
    """A statement that is not run; its text is what the service says."""


async def create_instance(call: Call) -> web.Response:
    """Runs a statement at once; how it went is told to those who ask for the instance."""
    project = call.names["project"]
    call.service.tables.project(project)
    try:
        job = ET.fromstring(await call.request.text())  # noqa: S314 - from the test itself
    except ET.ParseError:
        raise Refused(400, "InvalidXML", "ODPS-0420031: Invalid XML in HTTP request body") from None
    task, query = job.findtext(".//SQL/Name"), job.findtext(".//SQL/Query")
    if task is None or query is None:
        raise Refused(400, "NotImplemented", f"ODPS-0420061: Invalid parameter in HTTP request - {_UNKNOWN}")
    instance = new_id().lower()
    old_types = call.service.old_types and not _asks_for_new_types(job)
    try:
        run(call.service.tables, project, query, old_types=old_types)
        call.service.instances[instance] = task, ""
    except _Failed as failed:
        call.service.instances[instance] = task, str(failed)
    return web.Response(status=201, headers={"Location": f"http://{call.request.host}{call.request.path}/{instance}"})


async def get_instance(call: Call) -> web.Response:
    """Answers that an instance is over, and how it went, or what it gave."""
    instance = call.names["instance"]
    if instance not in call.service.instances:
        raise Refused(404, "NoSuchObject", f"ODPS-0420111: Instance not found - {instance}")
    name, error = call.service.instances[instance]
    now = formatdate(time.time(), usegmt=True)
    status = "Failed" if error else "Success"
    task: dict[str, Any] = {"@Type": "SQL", "Name": name, "StartTime": now, "EndTime": now, "Status": status}
    if "result" in call.query:
        text = base64.b64encode(error.encode()).decode()
        task["Result"] = {"@Transform": "Base64", "@Format": "text", "#": text}
    elif "taskstatus" not in call.query:
        return xml("Instance", {"Status": "Terminated"})
    return xml("Instance", {"Status": "Terminated", "Tasks": {"Task": task}})


def run(tables: Tables, project: str, statement: str, *, old_types: bool = False) -> None:
    """Runs a statement.

    Args:
        tables: Where.
        project: Of names that say none.
        statement: What is run.
        old_types: Whether the types of 2.0 are refused.

    Raises:
        _Failed: It is wrong, or not one that is run here.
    """
    try:
        cursor = Cursor(statement)
        if cursor.sees("CREATE"):
            _create(tables, project, statement, old_types)
        elif cursor.accept("DROP", "TABLE"):
            _drop(tables, project, cursor)
        elif cursor.accept("ALTER", "TABLE"):
            _alter(tables, project, cursor)
        else:
            cursor.fault(_UNKNOWN, cursor.peek())
    except SyntaxFault as fault:
        at = f"[{fault.line},{fault.column}]"
        raise _Failed(f"ODPS-0130161:{at} Parse exception - {fault.message}") from fault
    except Refused as refused:
        raise _Failed(f"ODPS-0130071:[0,0] Semantic analysis exception - {refused.message}") from refused


def _create(tables: Tables, project: str, statement: str, old_types: bool) -> None:
    ddl = parse_ddl(statement)
    words = {word for column in (*ddl.columns, *ddl.partitions) for word in re.findall(r"\w+", str(column.type))}
    if old_types and (new := sorted(words & _NEW_TYPES)):
        raise _Failed(
            f"ODPS-0130071:[1,1] Semantic analysis exception - type {new[0]} is not enabled in current mode. "
            "Please set odps.sql.type.system.odps2=true to use it."
        )
    project = ddl.project or project
    if ddl.name not in tables.project(project):
        tables.create(project, ddl)
    elif not ddl.if_not_exists:
        raise _Failed(_exists(f"Table {project}.{ddl.name} already exists"))


def _drop(tables: Tables, project: str, cursor: Cursor) -> None:
    missing = cursor.accept("IF", "EXISTS")
    table = _named(tables, project, cursor, missing=missing)
    _end(cursor)
    if table is not None:
        tables.drop(table)


def _alter(tables: Tables, project: str, cursor: Cursor) -> None:
    table = _named(tables, project, cursor)
    assert table is not None
    if cursor.accept("SET", "LIFECYCLE"):
        days = cursor.integer("the days of LIFECYCLE, a number")
        _end(cursor)
        tables.set_lifecycle(table, days)
    elif cursor.accept("ADD"):
        missing = cursor.accept("IF", "NOT", "EXISTS")
        added = _partitions(table, cursor)
        there = [values for values in added if values in table.partitions]
        if there and not missing:
            raise _Failed(_exists(f"Partition already exists, existed values: {[value for _, value in there[0]]}"))
        tables.add_partitions(table, added)
    elif cursor.accept("DROP"):
        missing = cursor.accept("IF", "EXISTS")
        dropped = _partitions(table, cursor)
        for values in dropped:
            if not missing:
                table.partition(values)
        tables.drop_partitions(table, dropped)
    else:
        cursor.fault(f"{_UNKNOWN}: of ALTER TABLE, ADD and DROP PARTITION and SET LIFECYCLE", cursor.peek())


def _named(tables: Tables, project: str, cursor: Cursor, *, missing: bool = False) -> Table | None:
    token = cursor.peek()
    names = [_name(cursor)]
    while cursor.accept_symbol("."):
        names.append(_name(cursor))
    if len(names) > 2:
        cursor.fault("schemas inside a project are not supported", token)
    project = names[0] if len(names) == 2 else project
    found = tables.project(project).get(names[-1].lower())
    if found is None and not missing:
        at = f"[{token.line},{token.column}]"
        raise _Failed(f"ODPS-0130131:{at} Table not found - table {project}.{names[-1]} cannot be resolved")
    return found


def _name(cursor: Cursor) -> str:
    if cursor.peek().kind not in ("word", "name"):
        cursor.expected("a name")
    return cursor.take().value


def _partitions(table: Table, cursor: Cursor) -> list[Values]:
    found = []
    while cursor.accept("PARTITION"):
        cursor.expect_symbol("(")
        pieces = [_pair(cursor)]
        while cursor.accept_symbol(",") or cursor.accept_symbol("/"):
            pieces.append(_pair(cursor))
        cursor.expect_symbol(")")
        found.append(ordered_values(table, pieces))
        cursor.accept_symbol(",")
    if not found:
        cursor.expected("PARTITION")
    _end(cursor)
    return found


def _pair(cursor: Cursor) -> tuple[str, str]:
    name = _name(cursor)
    cursor.expect_symbol("=")
    if cursor.peek().kind not in ("string", "number", "word"):
        cursor.expected("a value")
    return name, cursor.take().value


def _asks_for_new_types(job: ET.Element) -> bool:
    for one in job.iterfind(".//SQL/Config/Property"):
        if one.findtext("Name") == "settings":
            settings = json.loads(one.findtext("Value") or "{}")
            return str(settings.get("odps.sql.type.system.odps2")).lower() == "true"
    return False


def _end(cursor: Cursor) -> None:
    cursor.accept_symbol(";")
    if cursor.peek().kind != "end":
        cursor.expected("the end")


def _exists(what: str) -> str:
    return f"ODPS-0110061: Failed to run ddltask - AlreadyExistsException(message:{what})"
