"""The rows of the MaxCompute server: Arrow files that never change, and views of them in a session's own order."""

from __future__ import annotations

import itertools
import uuid
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

ROWS_OF_BATCH = 16_384
_BYTES_OF_BATCH = 4 * 2**20


@dataclass(frozen=True)
class RowFile:
    """Rows that were written once.

    Attributes:
        name: Of the file, in its table's folder.
        ends: Rows up to the end of each batch in it.
        bytes: Of its columns.
    """

    name: str
    ends: tuple[int, ...]
    bytes: int

    @property
    def rows(self) -> int:
        return self.ends[-1] if self.ends else 0

    def told(self) -> dict[str, Any]:
        """Returns it as JSON keeps it."""
        return {"name": self.name, "ends": list(self.ends), "bytes": self.bytes}

    @classmethod
    def of(cls, told: dict[str, Any]) -> RowFile:
        """Returns what JSON kept."""
        return cls(told["name"], tuple(told["ends"]), told["bytes"])


def write_rows(folder: Path, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> RowFile:
    """Writes a file; batches that are small or large are brought to the usual size."""
    name = f"{uuid.uuid4().hex}.arrow"
    ends: list[int] = []
    size = 0
    folder.mkdir(parents=True, exist_ok=True)
    with pa.OSFile(str(folder / name), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        for batch in _even(schema, batches):
            writer.write_batch(batch)
            ends.append((ends[-1] if ends else 0) + batch.num_rows)
            size += batch.nbytes
    return RowFile(name, tuple(ends), size)


def _even(schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    waiting: list[pa.RecordBatch] = []
    rows = size = 0
    for whole in batches:
        for at in range(0, whole.num_rows, ROWS_OF_BATCH):
            batch = whole.slice(at, ROWS_OF_BATCH)
            waiting.append(batch)
            rows += batch.num_rows
            size += batch.nbytes
            if rows >= ROWS_OF_BATCH or size >= _BYTES_OF_BATCH:
                yield _joined(schema, waiting)
                waiting, rows, size = [], 0, 0
    if waiting:
        yield _joined(schema, waiting)


def _joined(schema: pa.Schema, batches: Sequence[pa.RecordBatch]) -> pa.RecordBatch:
    [batch] = pa.Table.from_batches(batches, schema).combine_chunks().to_batches()
    return batch


@dataclass(frozen=True)
class Part:
    """The rows of a partition, or of a table that has none.

    Attributes:
        folder: Where its files lie.
        files: In order.
        values: Of the partition's columns.
    """

    folder: Path
    files: tuple[RowFile, ...]
    values: tuple[tuple[str, str], ...] = ()

    @property
    def rows(self) -> int:
        return sum(file.rows for file in self.files)

    @property
    def bytes(self) -> int:
        return sum(file.bytes for file in self.files)


@dataclass(frozen=True)
class _Unit:
    """A batch in a file, or in a seeded view the same batch in another order."""

    part: Part
    file: RowFile
    batch: int
    rows: int
    number: int


@dataclass(frozen=True)
class View:
    """The rows that a session reads, in one order that never changes.

    Attributes:
        parts: In order.
        seed: Chooses the order of the rows inside each part; None leaves them as they were written.
    """

    parts: tuple[Part, ...]
    seed: int | None = None

    @property
    def rows(self) -> int:
        return sum(part.rows for part in self.parts)

    @cached_property
    def _units(self) -> list[_Unit]:
        units: list[_Unit] = []
        numbers = itertools.count()
        for part in self.parts:
            own = [
                _Unit(part, file, batch, end - start, next(numbers))
                for file in part.files
                for batch, (start, end) in enumerate(itertools.pairwise((0, *file.ends)))
            ]
            if self.seed is not None:
                own = [own[at] for at in np.random.default_rng([self.seed, len(units)]).permutation(len(own))]
            units += own
        return units

    @cached_property
    def _ends(self) -> list[int]:
        return list(itertools.accumulate(unit.rows for unit in self._units))

    def batches(self, start: int, count: int) -> Iterator[tuple[Part, pa.RecordBatch]]:
        """Yields rows from `start` on, each batch with the part that it is of."""
        at = bisect_right(self._ends, start)
        before = self._ends[at - 1] if at else 0
        skip, opened = start - before, _Opened()
        while count > 0:
            unit = self._units[at]
            batch = opened.batch(unit)
            if self.seed is not None:
                batch = batch.take(np.random.default_rng([self.seed, unit.number]).permutation(unit.rows))
            batch = batch.slice(skip, count)
            count -= batch.num_rows
            skip, at = 0, at + 1
            yield unit.part, batch


class _Opened:
    """The file that was read last, mapped and not copied."""

    def __init__(self) -> None:
        self._path: Path | None = None
        self._reader: Any = None

    def batch(self, unit: _Unit) -> pa.RecordBatch:
        path = unit.part.folder / unit.file.name
        if path != self._path:
            self._path, self._reader = path, pa.ipc.open_file(pa.memory_map(str(path)))
        return self._reader.get_batch(unit.batch)
