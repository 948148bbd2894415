"""The rows that the feed is measured with in all their forms, and how ours reads them."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from feed_data import Shape, write_csv, write_table, write_tfrecord

from pai_train.feed.contracts import FeedPlan, Shuffle
from pai_train.feed.engines import engine
from pai_train.feed.formats import FileFormat, open_files
from pai_train.spec.address import TableRef
from pai_train.storage import Stores, open_store, resolve
from pai_train.tables.iceberg import IcebergTables

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pai_train.spec.contracts import Source

SUPERBATCH = 32768


class Data:
    """One shape of rows in all its forms, written when first asked for."""

    def __init__(self, folder: Path, shape: Shape) -> None:
        self.shape = shape
        self.folder = folder
        self.defaults = shape.defaults if shape.as_in_life else {}

    @property
    def csv(self) -> Path:
        """The rows as CSV."""
        path = self.folder / f"{self.shape.name}.csv"
        if not path.exists():
            write_csv(self.shape, path)
        return path

    def head(self, rows: int) -> Path:
        """The first rows as CSV."""
        path = self.folder / f"{self.shape.name}-{rows}.csv"
        if not path.exists():
            with self.csv.open("rb") as whole, path.open("wb") as part:
                part.writelines(line for line, _ in zip(whole, range(rows), strict=False))
        return path

    @property
    def tfrecord(self) -> Path:
        """As many rows as Examples."""
        path = self.folder / f"{self.shape.name}.tfrecord"
        if not path.exists():
            write_tfrecord(self.shape, path)
        return path

    @property
    def files(self) -> list[str]:
        """The table's data files."""
        self.table()
        return sorted(str(path) for path in (self.folder / "tables" / "bench" / self.shape.name).rglob("*.parquet"))

    def lines(self, path: Path | None = None) -> Source:
        """Opens a CSV as a source."""
        url = resolve("/", str(path or self.csv))
        store = open_store(url)
        return open_files(store.glob(url), self.shape.arrow, store, FileFormat())

    def table(self) -> Source:
        """Opens the table as a source."""
        root = self.folder / "tables"
        tables = IcebergTables(str(root), "bench", Stores())
        if not (root / "bench" / self.shape.name).exists():
            write_table(self.shape, tables)
        return tables.source(TableRef("bench", self.shape.name))


def plan_of(source: Source, batch_size: int, defaults: Mapping[str, Any], shuffle: Shuffle = "none") -> FeedPlan:
    """Returns what the loop would ask for."""
    steps = max(1, SUPERBATCH // batch_size)
    return FeedPlan(tuple(source.schema.names), batch_size, defaults, shuffle=shuffle, seed=1, lanes=4, steps=steps)


def read(
    source: Source,
    batch_size: int,
    defaults: Mapping[str, Any] = MappingProxyType({}),
    shuffle: Shuffle = "none",
    name: str = "tf_data",
) -> int:
    """Reads a source to its end, as the loop does, and returns how many rows came."""
    with engine(name).open(source, plan_of(source, batch_size, defaults, shuffle)) as superbatches:
        return sum(sum(one.rows) for one in superbatches)
