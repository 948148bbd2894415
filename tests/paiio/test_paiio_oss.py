"""Slices of a job, and works of a queue, that find each other on a remote store, beside the tables."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import pytest

from pai_train import paiio
from pai_train.storage import join
from pai_train.tables.iceberg import IcebergTables
from tests.suites.paiio_job_suite import PaiioJobSuite
from tests.suites.paiio_rows import make_numbers
from tests.suites.table_rows import PROJECT

if TYPE_CHECKING:
    from tests.servers.served import Served


class TestJobsOnOss(PaiioJobSuite):
    @pytest.fixture
    def served(self, oss_server: Served, monkeypatch: pytest.MonkeyPatch) -> Served:
        oss_server.enter(monkeypatch)
        return oss_server

    @pytest.fixture
    def tables(self, served: Served) -> IcebergTables:
        return IcebergTables(join(served.root(), "tables"), PROJECT, served.stores())

    @pytest.fixture
    def jobs(self, served: Served) -> dict[str, object]:
        return {"stores": served.stores()}

    def test_rows_and_works_of_a_queue(self, tables):
        make_numbers(tables, 50)
        queues = [paiio.WorkQueue("numbers", num_slices=5, job="j") for _ in range(2)]
        rows = []
        for queue in queues:
            dataset = paiio.TableRecordDataset(queue.input_dataset(), [np.int64(0)], "id")
            rows += [row for batch in dataset.batch(8).as_numpy_iterator() for row in batch[0].tolist()]
        assert Counter(rows) == Counter(range(50))
