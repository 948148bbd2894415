"""Samples: put where nothing is, and never over what somebody put there meanwhile."""

from __future__ import annotations

import logging

import pytest

from pai_train.errors import TableError
from pai_train.samples import file_sample, table_sample
from pai_train.spec.address import TableRef
from pai_train.spec.table import Column
from pai_train.spec.types import parse_type
from pai_train.storage import open_store
from pai_train.tables.iceberg import IcebergTables

REF = TableRef("p", "t")
COLUMNS = [Column("a", parse_type("BIGINT"))]


@pytest.fixture
def tables(tmp_path):
    return IcebergTables(str(tmp_path / "tables"), "p")


def csv(tmp_path, text):
    path = tmp_path / "t.csv"
    path.write_text(text)
    return path


def rows(tables):
    source = tables.source(REF)
    return [
        value for chunk in source.chunks() for batch in source.read(chunk, ["a"]) for value in batch["a"].to_pylist()
    ]


def test_a_table_that_was_filled_meanwhile_stays_as_it_is(tables, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    table_sample(csv(tmp_path, "1\n2\n"), tables, REF, COLUMNS).place()
    assert rows(tables) == [1, 2]
    table_sample(csv(tmp_path, "3\n"), tables, REF, COLUMNS).place()
    assert rows(tables) == [1, 2]
    assert "stays as it is" in caplog.text


def test_a_sample_that_does_not_fit_is_a_fault(tables, tmp_path):
    tables.ensure(REF, _ddl("b"))
    with pytest.raises(TableError, match="'a'"):
        table_sample(csv(tmp_path, "1\n"), tables, REF, COLUMNS).place()


def test_a_file_that_appeared_meanwhile_stays_as_it_is(tmp_path):
    url = f"file://{tmp_path}/there.csv"
    store = open_store(url)
    sample = file_sample(csv(tmp_path, "1\n"), store, url)
    store.put(url, b"2\n")
    sample.place()
    assert store.read(url) == b"2\n"


def _ddl(column):
    from pai_train.spec.table import Ddl

    return Ddl(REF.name, (Column(column, parse_type("BIGINT")),))
