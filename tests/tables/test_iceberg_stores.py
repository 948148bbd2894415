"""The table suite on every remote store that has exclusive create."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pai_train.storage import join
from pai_train.tables.iceberg import IcebergTables
from tests.suites.table_suite import TableSuite

if TYPE_CHECKING:
    from tests.servers.served import Served


class TestTablesOnStores(TableSuite):
    @pytest.fixture(params=["oss", "s3", "gcs", "azure"])
    def tables(self, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> IcebergTables:
        served: Served = request.getfixturevalue(f"{request.param}_server")
        served.enter(monkeypatch)
        return IcebergTables(join(served.root(), "tables"), "lab", served.stores())
