"""Fixtures of the tests of tables on MaxCompute: an empty project, and the tables in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pai_train.storage import Limits, StorageOptions, Stores
from pai_train.tables.maxcompute import open_tables
from tests.suites.table_rows import PROJECT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from odps import ODPS

    from pai_train.tables.maxcompute.tables import MaxComputeTables
    from tests.servers.maxcompute_fixture import MaxComputeDoor, MaxComputeServed

QUICK = Stores(StorageOptions(limits=Limits(timeout_s=5, deadline_s=2)))


@pytest.fixture
def service(maxcompute_server: MaxComputeServed, maxcompute_door: MaxComputeDoor) -> Iterator[ODPS]:
    """pyodps's own client in a project that is empty, and is emptied afterwards."""
    maxcompute_door._do("project", name=PROJECT)
    service = maxcompute_server.odps(project=PROJECT)
    yield service
    maxcompute_door.forget()
    for table in list(service.list_tables()):
        service.delete_table(table.name)


@pytest.fixture
def reopen(
    service: ODPS, maxcompute_server: MaxComputeServed, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[[], MaxComputeTables]:
    """Opens the tables anew, as another process does."""
    maxcompute_server.enter(monkeypatch)
    return lambda: open_tables(str(tmp_path / "tables"), PROJECT, QUICK)


@pytest.fixture
def tables(reopen: Callable[[], MaxComputeTables]) -> MaxComputeTables:
    return reopen()
