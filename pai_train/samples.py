"""Sample data of the shipped recipes, put where a missing input of the same name is expected."""

from __future__ import annotations

import logging
from glob import escape
from typing import TYPE_CHECKING

from pai_train.errors import TableError
from pai_train.fill import Fill
from pai_train.job import Sample
from pai_train.spec.table import Column, Ddl
from pai_train.storage import ObjectExists, Store, display, open_store, resolve

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pai_train.spec.address import TableRef
    from pai_train.tables.contracts import Tables

logger = logging.getLogger(__name__)


def table_sample(path: Path, tables: Tables, ref: TableRef, columns: Sequence[Column]) -> Sample:
    """Returns a sample that makes a table of a CSV file without header."""
    url = resolve("/", str(path.resolve()))

    def place() -> None:
        from pai_train.feed.csv import CsvSource
        from pai_train.tables.arrow import arrow_schema

        store = open_store(url)
        types = {field.name: field.type for field in arrow_schema(columns)}
        source = CsvSource(store.glob(escape(url)), types, store=store, header=False)
        ddl = Ddl(ref.name, tuple(columns), comment=f"sample {path.name}")
        try:
            Fill(source, 1, tables, ref, ddl, "fail").run(lambda _: None, lambda: None)
        except TableError:
            if not _filled(tables, ref):
                raise
            logger.info("%s was filled meanwhile, and stays as it is", ref)

    return Sample(display(url), str(ref), place)


def file_sample(path: Path, store: Store, url: str) -> Sample:
    """Returns a sample that puts a copy of a file under a URL."""

    def place() -> None:
        try:
            store.create(url, path.read_bytes())
        except ObjectExists:
            logger.info("%s appeared meanwhile, and stays as it is", display(url))

    return Sample(display(resolve("/", str(path.resolve()))), display(url), place)


def _filled(tables: Tables, ref: TableRef) -> bool:
    info = tables.describe(ref)
    return info is not None and info.snapshot is not None and info.snapshot.rows != 0
