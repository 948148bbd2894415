"""The exactly-once suite on MaxCompute: kills, races and repetition against a server."""

from __future__ import annotations

import pytest

from tests.suites.once_suite import OnceSuite
from tests.tables.maxcompute_tables import service  # noqa: F401 - a fixture

# ruff: noqa: F811 - fixtures that are imported


class TestOnceOnMaxCompute(OnceSuite):
    modules = ("pai_train.tables.maxcompute.tables",)

    @pytest.fixture
    def env(self, service, maxcompute_server):
        return maxcompute_server.env

    @pytest.fixture
    def reach(self, tmp_path):
        return ["tests.suites.once_jobs:maxcompute", str(tmp_path / "tables")]
