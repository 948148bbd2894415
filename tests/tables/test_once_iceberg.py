"""The exactly-once suite on Iceberg: in local files, and on s3, where `make test` only lets processes race."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from pai_train.errors import TableError
from pai_train.spec.ddl import parse_ddl
from pai_train.storage import join
from tests.suites.once_jobs import OUTPUT
from tests.suites.once_rows import check_whole, unreferenced
from tests.suites.once_suite import OnceSuite, RaceSuite
from tests.suites.table_rows import IRIS, ids, ref, rows, stage

MODULES = ("pai_train.tables.iceberg",)


class IcebergOnce(OnceSuite):
    modules = MODULES

    def check_store(self, tables, token):
        check_whole(tables, OUTPUT)
        assert unreferenced(tables, token, OUTPUT) == []


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

    def test_two_living_processes_on_one_slice(self, tables, reach, zygote, tmp_path):
        tables.ensure(ref(OUTPUT), parse_ddl(IRIS.replace("iris", OUTPUT)))
        other = zygote.start("tests.suites.once_jobs:hold_slice", reach, "t", str(tmp_path / "begun"))
        while not (tmp_path / "begun").exists():
            time.sleep(0.005)
        session = tables.write(ref(OUTPUT), "append", "t")
        with pytest.raises(TableError, match=rf"slice 0 in attempt 0 is being written(.|\n)*process {other} on"):
            session.part(0, 0)
        os.kill(other, signal.SIGKILL)
        zygote.wait(other)
        session.commit([stage(session, 0, rows(0, 5))])
        assert ids(tables.source(ref(OUTPUT))) == list(range(5))
        self.check_store(tables, "t")


class TestRacesOnS3(OnS3, RaceSuite):
    modules = MODULES
    racing_commits = 2
    rounds = 1


@pytest.mark.full
@pytest.mark.timeout(1200)
class TestOnceOnS3(OnS3, IcebergOnce):
    """Kills against a server."""

    most_commits = 60
    most_held_up = 12
