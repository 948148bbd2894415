"""The suites of paiio on Iceberg in local files."""

from __future__ import annotations

import pytest

from pai_train.tables.iceberg import IcebergTables
from tests.suites.paiio_column_suite import PaiioColumnSuite
from tests.suites.paiio_dataset_suite import PaiioDatasetSuite
from tests.suites.paiio_job_suite import PaiioJobSuite
from tests.suites.paiio_reader_suite import PaiioReaderSuite
from tests.suites.paiio_writer_suite import PaiioWriterSuite
from tests.suites.table_rows import PROJECT


@pytest.fixture
def tables(tmp_path):
    return IcebergTables(str(tmp_path / "tables"), PROJECT)


class TestDatasetOnIceberg(PaiioDatasetSuite):
    pass


class TestColumnsOnIceberg(PaiioColumnSuite):
    pass


class TestReaderOnIceberg(PaiioReaderSuite):
    pass


class TestWriterOnIceberg(PaiioWriterSuite):
    pass


class TestJobsOnIceberg(PaiioJobSuite):
    pass
