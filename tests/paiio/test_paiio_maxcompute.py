"""The suites of paiio on MaxCompute."""

from __future__ import annotations

from tests.suites.paiio_column_suite import PaiioColumnSuite
from tests.suites.paiio_dataset_suite import PaiioDatasetSuite
from tests.suites.paiio_job_suite import PaiioJobSuite
from tests.suites.paiio_reader_suite import PaiioReaderSuite
from tests.suites.paiio_writer_suite import PaiioWriterSuite
from tests.tables.maxcompute_tables import reopen, service, tables  # noqa: F401 - fixtures


class TestDatasetOnMaxCompute(PaiioDatasetSuite):
    pass


class TestColumnsOnMaxCompute(PaiioColumnSuite):
    pass


class TestReaderOnMaxCompute(PaiioReaderSuite):
    pass


class TestWriterOnMaxCompute(PaiioWriterSuite):
    pass


class TestJobsOnMaxCompute(PaiioJobSuite):
    last_counts = True
