"""Metadata and SQL of the MaxCompute server, asked by pyodps."""

from __future__ import annotations

import time

import odps.errors
import pyarrow as pa
import pytest
from odps.errors import NoSuchObject, NoSuchPartition, ODPSError, ParseError

from tests.servers.maxcompute_fixture import MaxComputeDoor, MaxComputeServed

DDL = """
CREATE TABLE IF NOT EXISTS {name} (
  id BIGINT NOT NULL COMMENT 'which',
  Label STRING DEFAULT 'x',
  price DECIMAL(10,2)
)
COMMENT 'it\\'s all here'
PARTITIONED BY (dt STRING COMMENT 'day', hour BIGINT)
TBLPROPERTIES ('transactional'='true')
LIFECYCLE 30
"""


@pytest.fixture
def table(maxcompute_server: MaxComputeServed) -> str:
    name = maxcompute_server.table()
    maxcompute_server.odps().execute_sql(DDL.format(name=name))
    return name


def test_a_table_is_what_its_statement_says(maxcompute_server: MaxComputeServed, table: str) -> None:
    found = maxcompute_server.odps().get_table(table)
    columns = {
        column.name: (str(column.type).lower(), column.comment, column.nullable) for column in found.table_schema
    }
    assert columns == {
        "id": ("bigint", "which", False),
        "label": ("string", "", True),
        "price": ("decimal(10,2)", "", True),
        "dt": ("string", "day", True),
        "hour": ("bigint", "", True),
    }
    assert [column.name for column in found.table_schema.partitions] == ["dt", "hour"]
    assert (found.comment, found.lifecycle, found.size) == ("it's all here", 30, 0)
    assert abs(found.last_data_modified_time.timestamp() - time.time()) < 60
    assert found.is_transactional
    assert not found.is_virtual_view


def test_names_have_no_case(maxcompute_server: MaxComputeServed, table: str) -> None:
    client = maxcompute_server.odps(project=maxcompute_server.project.upper())
    assert client.exist_table(table.upper())
    assert client.get_table(table.upper()).table_schema["LABEL"].type == "string"
    client.execute_sql(f"DROP TABLE {table.upper()}")
    assert not client.exist_table(table)


def test_what_is_there_is_made_again_only_if_not_exists(maxcompute_server: MaxComputeServed, table: str) -> None:
    client = maxcompute_server.odps()
    client.execute_sql(DDL.format(name=table))
    with pytest.raises(ODPSError, match=r"ODPS-0110061.*already exists"):
        client.execute_sql(DDL.format(name=table).replace("IF NOT EXISTS", ""))


@pytest.mark.parametrize(
    ("statement", "kind", "said"),
    [
        ("CREATE TABLE t (a BIGNT)", ParseError, r"ODPS-0130161:\[1,19\] Parse exception"),
        ("CREATE TABLE t (a BIGINT) STORED AS ORC", ParseError, "ODPS-0130161"),
        ("SELECT 1", ParseError, "CREATE TABLE, DROP TABLE and ALTER TABLE only"),
        ("DROP TABLE nobody", odps.errors.NoSuchTable, r"ODPS-0130131:\[1,12\] Table not found"),
        ("ALTER TABLE nobody SET LIFECYCLE 1", odps.errors.NoSuchTable, "ODPS-0130131"),
        ("DROP TABLE elsewhere.t", ODPSError, "Project not found"),
    ],
    ids=["type", "clause", "query", "drop", "alter", "project"],
)
def test_a_wrong_statement_fails_with_the_services_code(
    maxcompute_server: MaxComputeServed, statement: str, kind: type[Exception], said: str
) -> None:
    with pytest.raises(kind, match=said):
        maxcompute_server.odps().execute_sql(statement)


def test_what_is_missing_is_refused_by_name(maxcompute_server: MaxComputeServed, table: str) -> None:
    client = maxcompute_server.odps()
    with pytest.raises(NoSuchObject, match=r"ODPS-0130131:Table not found - 'pai_train\.nobody'"):
        client.get_table("nobody").reload()
    with pytest.raises(NoSuchPartition):
        client.get_table(table).partitions["dt=1,hour=2"].reload()
    with pytest.raises(NoSuchObject, match="ODPS-0420111"):
        maxcompute_server.odps(project="elsewhere").get_table("t").reload()
    assert not client.exist_project("elsewhere")
    assert client.exist_project(maxcompute_server.project)


def test_what_this_server_does_not_do_is_refused(maxcompute_server: MaxComputeServed, table: str) -> None:
    client = maxcompute_server.odps()
    with pytest.raises(ODPSError, match=r"no GetTable with \['data', 'linenum'\]"):
        client.get_table(table).head(3)
    with pytest.raises(ODPSError, match=r"no GET .*functions"):
        list(client.list_functions())


def test_partitions_come_and_go(maxcompute_server: MaxComputeServed, table: str) -> None:
    found = maxcompute_server.odps().get_table(table)
    for day in ("20240102", "20240101"):
        for hour in (1, 2):
            found.create_partition(f"dt='{day}',hour={hour}")
    specs = [str(partition.partition_spec) for partition in found.partitions]
    assert specs == [f"dt='{day}',hour='{hour}'" for day in ("20240101", "20240102") for hour in (1, 2)]
    assert len(list(found.iterate_partitions("dt=20240101"))) == 2
    assert found.exist_partition("dt=20240101,hour=1")
    assert not found.exist_partition("dt=20240101,hour=3")
    found.create_partition("hour=1,dt='20240101'", if_not_exists=True)
    with pytest.raises(ODPSError, match="Partition already exists"):
        found.create_partition("dt=20240101,hour=1")
    with pytest.raises(ODPSError, match="partition spec is not valid"):
        maxcompute_server.odps().execute_sql(f"ALTER TABLE {table} ADD PARTITION (dt='1')")
    found.delete_partition("dt=20240101,hour=1")
    assert not found.exist_partition("dt=20240101,hour=1")
    with found.open_writer(partition="dt=20240101,hour=2", arrow=True) as writer:
        writer.write(pa.table({"id": [1], "label": ["x"], "price": pa.array([None], pa.decimal128(10, 2))}))
    partition = found.get_partition("dt=20240101,hour=2")
    assert partition.record_num == 1
    assert partition.size > 0


def test_a_partition_value_may_hold_anything(maxcompute_server: MaxComputeServed, table: str) -> None:
    client = maxcompute_server.odps()
    client.execute_sql(f"ALTER TABLE {table} ADD PARTITION (dt='a b&c=d', hour=1)")
    [partition] = client.get_table(table).partitions
    assert partition.partition_spec.kv["dt"] == "a b&c=d"


def test_lists_come_in_pages(maxcompute_server: MaxComputeServed, maxcompute_door: MaxComputeDoor, table: str) -> None:
    project = maxcompute_door.project()
    client = maxcompute_server.odps(project=project)
    for name in ("c", "a", "b", "d", "e"):
        client.create_table(f"t_{name}", ("a bigint", "p string"))
    client.create_table("other", "a bigint")
    found = client.get_table("t_a")
    for number in range(5):
        found.create_partition(f"p={number}")
    maxcompute_door.requests(forget=True)
    with maxcompute_door.page(2):
        assert [one.name for one in client.list_tables(prefix="t_")] == ["t_a", "t_b", "t_c", "t_d", "t_e"]
        assert [str(one.partition_spec) for one in found.partitions] == [f"p='{number}'" for number in range(5)]
    counts = maxcompute_door.requests()
    assert (counts["ListTables"], counts["ListPartitions"]) == (3, 3)


def test_projects_do_not_mix(maxcompute_server: MaxComputeServed, maxcompute_door: MaxComputeDoor) -> None:
    first, second = (maxcompute_server.odps(project=maxcompute_door.project()) for _ in range(2))
    first.create_table("t", "a bigint")
    second.create_table("t", "b string")
    first.execute_sql(f"ALTER TABLE {second.project}.t SET LIFECYCLE 9")
    assert first.get_table("t").table_schema.names == ["a"]
    assert (second.get_table("t").lifecycle, first.get_table("t").lifecycle) == (9, -1)


def test_the_metadata_tells_rows_and_when_they_came(
    maxcompute_server: MaxComputeServed, maxcompute_door: MaxComputeDoor
) -> None:
    client, name = maxcompute_server.odps(), maxcompute_server.table()
    client.create_table(name, "a bigint")
    table = client.get_table(name)
    rows, written, altered = table.record_num, table.last_data_modified_time, table.last_meta_modified_time
    with maxcompute_door.clock(60), table.open_writer(arrow=True) as writer:
        writer.write(pa.table({"a": [1, 2, 3]}))
    table.reload()
    assert (rows, table.record_num) == (0, 3)
    assert 55 <= (table.last_data_modified_time - written).total_seconds() <= 65
    assert table.last_meta_modified_time == altered


def test_new_types_must_be_asked_for_where_the_project_is_old(
    maxcompute_server: MaxComputeServed, maxcompute_door: MaxComputeDoor
) -> None:
    client, name = maxcompute_server.odps(), maxcompute_server.table()
    with maxcompute_door.old_types():
        client.execute_sql(f"CREATE TABLE {name}_old (a BIGINT, b ARRAY<STRING>, c DOUBLE, d DATETIME)")
        for statement in (
            f"CREATE TABLE {name} (a ARRAY<INT>)",
            f"CREATE TABLE {name} (a BIGINT) PARTITIONED BY (p DATE)",
        ):
            with pytest.raises(ODPSError, match=r"ODPS-0130071.*odps\.sql\.type\.system\.odps2"):
                client.execute_sql(statement)
            assert not client.exist_table(name)
        client.execute_sql(f"CREATE TABLE {name} (a ARRAY<INT>)", hints={"odps.sql.type.system.odps2": True})
    assert client.exist_table(name)
