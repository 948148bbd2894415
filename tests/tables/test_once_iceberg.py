"""The exactly-once suite on Iceberg: in local files, and on s3, where `make test` only lets processes race."""

from __future__ import annotations

from pathlib import Path

import pytest

from pai_train.storage import join
from tests.suites.once_rows import check_whole, unreferenced
from tests.suites.once_suite import OnceSuite, RaceSuite

MODULES = ("pai_train.tables.iceberg",)


class IcebergOnce(OnceSuite):
    modules = MODULES

    def check_store(self, tables, token):
        for name in ("source", "target"):
            check_whole(tables, name)
        assert unreferenced(tables, token, "target") == []


class OnS3:
    @pytest.fixture
    def env(self, s3_server):
        return s3_server.env

    @pytest.fixture
    def reach(self, s3_server):
        root = join(s3_server.root(), "tables")
        return ["tests.suites.once_jobs:iceberg", root, s3_server.scheme, s3_server.endpoint]


class TestOnceInFiles(IcebergOnce):
    def check_store(self, tables, token):
        super().check_store(tables, token)
        assert list(Path(tables.root.removeprefix("file://")).rglob("data/**/.pai_train-*.tmp")) == []

    @pytest.fixture
    def reach(self, tmp_path):
        return ["tests.suites.once_jobs:iceberg", str(tmp_path / "tables")]


class TestRacesOnS3(OnS3, RaceSuite):
    modules = MODULES
    racing_commits = 2
    rounds = 1


@pytest.mark.full
class TestOnceOnS3(OnS3, IcebergOnce):
    """Kills against a server."""
