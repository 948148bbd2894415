"""Every format of files by the suite of sources, on this machine and on an object store."""

from __future__ import annotations

import gzip
import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pai_train.feed.formats import FileFormat
from tests.suites.records import tfrecord
from tests.suites.source_suite import SourceSuite, large_table


@pytest.fixture(autouse=True)
def _little_is_kept(monkeypatch):
    monkeypatch.setattr("pai_train.feed.parquet.GROUPS_BYTES", 2**20)
    monkeypatch.setattr("pai_train.feed.ipc.BATCHES_BYTES", 2**20)


class TestParquet(SourceSuite):
    written = FileFormat("parquet")

    def content(self, rows):
        file = io.BytesIO()
        pq.write_table(rows, file, row_group_size=97, write_page_checksum=True, compression="zstd")
        return file.getvalue()

    def large(self, rows):
        file = io.BytesIO()
        pq.write_table(large_table(rows), file, row_group_size=10_000)
        return file.getvalue()


class ArrowSuite(SourceSuite):
    written = FileFormat("arrow")
    writer = staticmethod(pa.ipc.new_file)
    options = pa.ipc.IpcWriteOptions()

    def content(self, rows, size=97):
        file = io.BytesIO()
        with self.writer(file, rows.schema, options=self.options) as writer:
            writer.write_table(rows, size)
        return file.getvalue()

    def large(self, rows):
        return self.content(large_table(rows), 10_000)


class TestArrowFile(ArrowSuite):
    options = pa.ipc.IpcWriteOptions(compression="lz4")


@pytest.mark.full
class TestArrowStream(ArrowSuite):
    writer = staticmethod(pa.ipc.new_stream)
    options = pa.ipc.IpcWriteOptions(compression="zstd")


class OnS3:
    many = 24

    @pytest.fixture
    def root(self, s3_server, monkeypatch):
        s3_server.enter(monkeypatch)
        return s3_server.root()

    @pytest.fixture
    def store(self, root, s3_server):
        return s3_server.stores().open(root)


class TestParquetOnS3(OnS3, TestParquet):
    pass


class TestTfRecord(SourceSuite):
    written = FileFormat("tfrecord")
    names_columns = False

    def content(self, rows):
        return tfrecord(rows)

    def large(self, rows):
        return self.content(large_table(rows // 40, 40 * 120))


@pytest.mark.full
class TestTfRecordPacked(TestTfRecord):
    is_unpacked = True

    def content(self, rows):
        return gzip.compress(tfrecord(rows), 1, mtime=0)

    def large(self, rows):
        table = large_table(rows // 40)
        noise = np.random.default_rng(0).bytes(4800 * table.num_rows)
        raw = pa.array([noise[at : at + 4800] for at in range(0, len(noise), 4800)])
        return self.content(table.set_column(3, "raw", raw))
