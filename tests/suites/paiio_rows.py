"""Tables and short ways to fill them, for the tests of paiio."""

from __future__ import annotations

import uuid
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest

from pai_train import paiio
from pai_train.paiio import settings
from pai_train.spec.ddl import parse_ddl
from tests.suites.table_rows import PROJECT, read, ref, stage

if TYPE_CHECKING:
    from pathlib import Path

    from pai_train.tables.contracts import Tables

FRUIT = "CREATE TABLE fruit (uid BIGINT, name STRING, price DOUBLE, virtual BOOLEAN)"
FRUIT_ROWS = [(25, "Apple", 5.0, False), (38, "Pear", 4.5, False), (17, "Watermelon", 2.2, True)]
FRUIT_DEFAULTS = [np.int64(0), "", np.float64(0), False]
NUMBERS = "CREATE TABLE numbers (id BIGINT, f DOUBLE, kind STRING)"


def make(tables: Tables, ddl: str, *batches: pa.RecordBatch, address: str | None = None) -> None:
    """Creates a table and replaces its rows, one data file per batch."""
    statement = parse_ddl(ddl)
    tables.ensure(ref(statement.name), statement)
    session = tables.write(ref(address or statement.name), "overwrite", uuid.uuid4().hex)
    session.commit([stage(session, index, batch) for index, batch in enumerate(batches)])


def make_fruit(tables: Tables) -> None:
    names = ["uid", "name", "price", "virtual"]
    make(tables, FRUIT, pa.record_batch([list(column) for column in zip(*FRUIT_ROWS, strict=True)], names))


def number_rows(lo: int, hi: int) -> pa.RecordBatch:
    ids = range(lo, hi)
    kinds = pa.array([None if i % 5 == 4 else f"k{i}" for i in ids], pa.string())
    floats = pa.array([None if i % 7 == 6 else i / 2 for i in ids], pa.float64())
    return pa.record_batch({"id": pa.array(ids, pa.int64()), "f": floats, "kind": kinds})


def make_numbers(tables: Tables, *counts: int) -> None:
    edges = [sum(counts[:index]) for index in range(len(counts) + 1)]
    make(tables, NUMBERS, *(number_rows(lo, hi) for lo, hi in pairwise(edges)))


def create(tables, ddl):
    statement = parse_ddl(ddl)
    tables.ensure(ref(statement.name), statement)


def held(tables, name="fruit"):
    return [tuple(row.values()) for row in read(tables.source(ref(name))).to_pylist()]


def listed(dataset):
    return [tuple(value.tolist() if isinstance(value, np.ndarray) else value for value in row) for row in dataset]


class Configured:
    """Every test of a subclass finds its `tables` configured."""

    @pytest.fixture
    def jobs(self, tmp_path: Path) -> dict[str, Any]:
        """Where slices find each other, as arguments of `configure`."""
        return {"jobs": f"file://{tmp_path}/jobs"}

    @pytest.fixture(autouse=True)
    def _configured(self, tables: Tables, jobs: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("PAI_TRAIN_JOB", raising=False)
        monkeypatch.delenv("PAI_TRAIN_SLICE_COUNT", raising=False)
        monkeypatch.setattr(settings, "_configured", None)
        paiio.configure(tables, project=PROJECT, **jobs)
