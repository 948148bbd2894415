"""The metadata operations of the MaxCompute server: projects, tables, partitions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from email.utils import formatdate
from typing import Any, TypeVar

from aiohttp import web

from tests.servers.maxcompute_answers import Refused, xml
from tests.servers.maxcompute_call import Call
from tests.servers.maxcompute_state import Partition, Table, partition_values
from tests.servers.maxcompute_types import catalog_column
from tests.servers.oss_answers import OWNER

T = TypeVar("T")
_OWNER = f"ALIYUN${OWNER['DisplayName']}"


async def get_tenant(call: Call) -> web.Response:
    """Answers that nothing is known of tenants."""
    raise Refused(404, "NoSuchObject", "ODPS-0420111: Tenant not found")


async def take_logs(call: Call) -> web.Response:
    """Takes what a client reports of itself."""
    await call.request.read()
    return web.Response()


async def get_project(call: Call) -> web.Response:
    """Answers what a project is."""
    name = call.names["project"].lower()
    call.service.tables.project(name)
    answer = xml("Project", {"Name": name, "Owner": _OWNER, "State": "AVAILABLE", "Properties": ""})
    born = formatdate(0, usegmt=True)
    answer.headers.update({"x-odps-owner": _OWNER, "x-odps-creation-time": born, "Last-Modified": born})
    return answer


async def get_tunnel(call: Call) -> web.Response:
    """Answers where the tunnel is: here."""
    call.service.tables.project(call.names["project"])
    return web.Response(text=call.request.host)


async def get_resource(call: Call) -> web.Response:
    """Answers with a piece of a resource, which `MaxComputeDoor.resource` has put there."""
    call.service.tables.project(call.names["project"])
    held = call.service.resources.get((call.names["project"].lower(), call.names["resource"]))
    if held is None:
        raise Refused(404, "NoSuchObject", f"ODPS-0420111: Resource not found - {call.names['resource']}")
    begin = int(call.query.get("rOffset", 0))
    end = begin + int(call.query.get("rSize", len(held)))
    remains = {"x-odps-resource-has-remaining": str(end < len(held)).lower()}
    return web.Response(body=held[begin:end], headers={**remains, "x-odps-resource-type": "file"})


async def list_tables(call: Call) -> web.Response:
    """Answers with a page of tables."""
    tables = call.service.tables.project(call.names["project"])
    wanted = call.query.get("name", "").lower()
    found = [table for name, table in sorted(tables.items()) if name.startswith(wanted)]
    page, marker = _page(call, found)
    listed = [{"Name": table.name, "TableId": table.id, "Owner": _OWNER} for table in page]
    return xml("Tables", {"Marker": marker, "MaxItems": call.service.page, "Table": listed})


async def get_table(call: Call) -> web.Response:
    """Answers what a table is."""
    table = call.table
    schema = _extended(table) if "extended" in call.query else _schema(table)
    fields = {
        "Name": table.name,
        "TableId": table.id,
        "Schema": {"@format": "Json", "#": json.dumps(schema)},
        "Comment": table.ddl.comment or "",
        "Owner": _OWNER,
        "CreationTime": formatdate(table.created, usegmt=True),
        "LastModifiedTime": formatdate(table.modified, usegmt=True),
    }
    return xml("Table", fields)


async def list_partitions(call: Call) -> web.Response:
    """Answers with a page of partitions."""
    table = call.table
    if not table.keys:
        raise Refused(400, "InvalidArgument", f"ODPS-0420061: {table.name} is not a partitioned table")
    found = table.matching(partition_values(table, call.query.get("partition", ""), whole=False))
    page, marker = _page(call, found[::-1] if "reverse" in call.query else found)
    return xml("Partitions", {"Marker": marker, "MaxItems": call.service.page, "Partition": list(map(_listed, page))})


async def get_partition(call: Call) -> web.Response:
    """Answers what a partition is."""
    table = call.table
    partition = table.partition(partition_values(table, call.query["partition"]))
    told = {
        "createTime": partition.created,
        "lastDDLTime": partition.created,
        "lastModifiedTime": partition.modified,
        "partitionSize": sum(file.bytes for file in partition.files),
        "partitionRecordNum": sum(file.rows for file in partition.files),
    }
    if "extended" in call.query:
        told |= {"FileNum": len(partition.files), "PhysicalSize": told["partitionSize"], "LifeCycle": -1}
    return xml("Partition", {"Schema": json.dumps(told)})


def _page(call: Call, found: Sequence[T]) -> tuple[Sequence[T], str]:
    at = int(call.query.get("marker") or 0)
    most = min(int(call.query.get("maxitems") or call.service.page), call.service.page)
    return found[at : at + most], str(at + most) if at + most < len(found) else ""


def _listed(partition: Partition) -> dict[str, Any]:
    return {
        "Column": [{"@Name": name, "@Value": value} for name, value in partition.values],
        "CreationTime": partition.created,
        "LastDDLTime": partition.created,
        "LastModifiedTime": partition.modified,
        "PartitionSize": sum(file.bytes for file in partition.files),
        "PartitionRecordCount": sum(file.rows for file in partition.files),
    }


def _schema(table: Table) -> dict[str, Any]:
    told: dict[str, Any] = {
        "columns": [catalog_column(column) for column in table.ddl.columns],
        "partitionKeys": [catalog_column(column) for column in table.ddl.partitions],
        "comment": table.ddl.comment or "",
        "owner": _OWNER,
        "createTime": table.created,
        "lastDDLTime": table.altered,
        "lastModifiedTime": table.modified,
        "isVirtualView": False,
        "lifecycle": -1 if table.lifecycle is None else table.lifecycle,
        "tableProperties": json.dumps(dict(table.ddl.properties)),
        "size": sum(file.bytes for one in table.partitions.values() for file in one.files),
    }
    if not table.keys:
        told["recordNum"] = sum(file.rows for one in table.partitions.values() for file in one.files)
    return told


def _extended(table: Table) -> dict[str, Any]:
    ddl = table.ddl
    reserved: dict[str, Any] = {**dict(ddl.properties)}
    if dict(ddl.properties).get("transactional") == "true":
        reserved["Transactional"] = "true"
    if ddl.primary_key:
        reserved["PrimaryKey"] = list(ddl.primary_key)
    if ddl.clustered is not None:
        reserved["ClusterType"] = "range" if ddl.clustered.ranged else "hash"
        reserved["BucketNum"] = ddl.clustered.buckets or 0
        reserved["ClusterCols"] = list(ddl.clustered.columns)
        reserved["SortCols"] = [
            {"name": name, "order": "desc" if down else "asc"} for name, down in ddl.clustered.sorted_by
        ]
    files = [file for one in table.partitions.values() for file in one.files]
    return {
        **_schema(table),
        "IsArchived": False,
        "PhysicalSize": sum(file.bytes for file in files),
        "FileNum": len(files),
        "Reserved": json.dumps(reserved),
    }
