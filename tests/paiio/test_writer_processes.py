"""Several processes that write one table: slices of a job commit together, a slice has one writer."""

from __future__ import annotations

import subprocess
import sys

import pytest

from pai_train import paiio
from pai_train.errors import TableError
from pai_train.spec.ddl import parse_ddl
from pai_train.tables.iceberg import IcebergTables
from tests.suites.paiio_rows import Configured
from tests.suites.table_rows import PROJECT, ids, ref

SLICES = 3
WRITE = """
import os, sys
from pai_train import paiio
from pai_train.errors import TableError
slice_id = int(sys.argv[1])
writer = paiio.TableWriter("odps://lab/tables/t", slice_id)
sys.stdout.write("open\\n"), sys.stdout.flush()
order = sys.stdin.readline()
for row in range(slice_id * 100000, slice_id * 100000 + 20000):  # more than the writer buffers
    writer.write((row,), (0,))
if order == "die\\n":
    os._exit(9)
writer.close()
"""


class TestProcesses(Configured):
    @pytest.fixture
    def tables(self, tmp_path):
        tables = IcebergTables(str(tmp_path / "tables"), PROJECT)
        tables.ensure(ref("t"), parse_ddl("CREATE TABLE t (id BIGINT)"))
        return tables

    @pytest.fixture
    def start(self, tmp_path, monkeypatch):
        monkeypatch.setenv("PAI_TRAIN_TABLES_ROOT", str(tmp_path / "tables"))
        started = []

        def one(slice_id):
            child = subprocess.Popen(
                [sys.executable, "-c", WRITE, str(slice_id)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            started.append(child)
            return child

        yield one
        for child in started:
            child.kill()
            child.communicate()

    def test_three_processes_publish_one_table(self, tables, start, monkeypatch):
        monkeypatch.setenv("PAI_TRAIN_JOB", "job-1")
        monkeypatch.setenv("PAI_TRAIN_SLICE_COUNT", str(SLICES))
        children = [start(slice_id) for slice_id in range(SLICES)]
        assert [child.stdout.readline() for child in children] == ["open\n"] * SLICES
        for child in children[1:]:
            child.stdin.write("go\n")
            child.stdin.flush()
        children[0].communicate("die\n")
        assert [child.wait(60) for child in children] == [9, 0, 0]
        assert ids(tables.source(ref("t"))) == []
        again = start(0)
        again.communicate("go\n")
        assert again.returncode == 0
        found = ids(tables.source(ref("t")))
        assert sorted(found) == [slice_id * 100000 + row for slice_id in range(SLICES) for row in range(20000)]

    def test_one_slice_in_two_processes(self, tables, start):
        paiio.configure(tables, project=PROJECT)
        child = start(0)
        assert child.stdout.readline() == "open\n"
        with pytest.raises(TableError, match="has a writer already"):
            paiio.TableWriter("t")
        child.kill()
        child.wait()
        with paiio.TableWriter("t") as writer:
            writer.write((7,), (0,))
        assert ids(tables.source(ref("t"))) == [7]
