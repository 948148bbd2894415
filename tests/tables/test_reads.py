"""What is opened of a table for counting, planning and slicing: manifests, and no data file but the slice's own."""

from __future__ import annotations

import pytest

from pai_train.spec.address import parse_tables
from pai_train.spec.ddl import parse_ddl
from pai_train.spec.slices import slice_rows
from pai_train.storage import Store, open_store
from pai_train.tables.catalog import StoreCatalog
from pai_train.tables.iceberg import IcebergTables
from pai_train.tables.several import open_tables
from tests.suites.table_rows import IRIS, PROJECT, ids, ref, rows, write

FILES = 40


class Watched(Store):
    """A store that keeps which objects were opened or read."""

    def __init__(self, real):
        super().__init__(real.scheme, real.filesystem, is_local=real.is_local, exclusive_create=real.exclusive_create)
        self.opened = []

    def open_input(self, url, info=None):
        self.opened.append(url)
        return super().open_input(url, info)

    def open_arrow(self, url):
        self.opened.append(url)
        return super().open_arrow(url)

    def read(self, url, *arguments, **options):
        self.opened.append(url)
        return super().read(url, *arguments, **options)

    def take(self):
        """Returns the data files opened since it was last asked, each once."""
        opened, self.opened = self.opened, []
        assert opened, "nothing was opened at all"
        return sorted({url for url in opened if "/data/" in url})


@pytest.fixture
def store(tmp_path):
    return Watched(open_store(f"file://{tmp_path}"))


@pytest.fixture
def tables(tmp_path, store):
    tables = IcebergTables(str(tmp_path), PROJECT)
    tables.ensure(ref("iris"), parse_ddl(IRIS))
    write(tables, "iris", "t", *(rows(n * 10, n * 10 + 10) for n in range(FILES)))
    tables._catalog = StoreCatalog(tables.root, store)
    return tables


def files_of(source):
    return sorted({chunk.ref.rpartition("@")[0] for chunk in source.chunks()})


def test_counting_opens_no_data_file(tables, store):
    assert tables.count(ref("iris")) == FILES * 10
    assert tables.count(ref("iris?start=7&end=300")) == 293
    assert store.take() == []


def test_a_slice_opens_its_own_files_only(tables, store):
    count = tables.count(ref("iris"))
    sources = [tables.source(ref("iris"), rows=slice_rows(count, slice_id, 8)) for slice_id in range(8)]
    assert store.take() == []
    mine = sources[3]
    assert ids(mine) == list(range(150, 200))
    assert store.take() == files_of(mine)
    assert len(files_of(mine)) == FILES // 8
    others = {url for source in sources for url in files_of(source) if source is not mine}
    assert others.isdisjoint(files_of(mine))


def test_a_range_of_the_address_opens_its_own_files_only(tables, store):
    source = tables.source(ref("iris?start=25&end=45"))
    assert ids(source) == list(range(25, 45))
    assert store.take() == files_of(source)
    assert len(files_of(source)) == 3


def test_several_tables_open_no_data_file(tables, store):
    refs = parse_tables("iris?end=100,iris?start=390", PROJECT)
    source = open_tables(tables, refs, rows=range(95, 105))
    assert store.take() == []
    assert ids(source) == [*range(95, 100), *range(390, 395)]
    assert store.take() == files_of(source)
    assert len(files_of(source)) == 2
