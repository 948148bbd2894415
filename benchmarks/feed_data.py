"""What the feed is measured with: narrow and wide rows, as CSV, as tables and as TFRecord, on local disk."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from pai_train.spec.address import TableRef
from pai_train.spec.ddl import parse_ddl

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pai_train.tables.iceberg import IcebergTables

NARROW = {**{f"f{i}": "DOUBLE" for i in range(4)}, "kind": "STRING"}
LIFE = {
    **{f"f{i}": "DOUBLE" for i in range(7)},
    **{f"i{i}": "BIGINT" for i in range(7)},
    **{f"s{i}": "STRING" for i in range(26)},
}
WIDE = {**{f"i{i}": "BIGINT" for i in range(14)}, **{f"s{i}": "STRING" for i in range(26)}}
ARROW = {"DOUBLE": pa.float64(), "BIGINT": pa.int64(), "STRING": pa.string()}
KINDS = np.array(["Iris-setosa", "Iris-virginica", "Iris-versicolor"], object)
GROUP = 65536
PART_ROWS = 2**18


@dataclass(frozen=True)
class Shape:
    """Rows of one kind.

    Attributes:
        name: For people.
        columns: MaxCompute types by name.
        rows: How many.
        values: How many different ones the columns of strings have, in turn, of 8 bytes each; 0 for three plants.
        as_in_life: Numbers of all digits, every other column of strings of uneven length, 8 to 64 bytes, and a
            twentieth of every third column null.
    """

    name: str
    columns: dict[str, str]
    rows: int
    values: tuple[int, ...]
    as_in_life: bool = False

    @property
    def defaults(self) -> dict[str, Any]:
        """What stands for null, by name."""
        return {name: {"DOUBLE": 0.0, "BIGINT": 0, "STRING": "-"}[kind] for name, kind in self.columns.items()}

    @property
    def arrow(self) -> dict[str, pa.DataType]:
        """Arrow types by name."""
        return {name: ARROW[kind] for name, kind in self.columns.items()}

    def batches(self, most: int = GROUP) -> Iterator[pa.RecordBatch]:
        """Yields the rows in batches of at most so many."""
        for seed, start in enumerate(range(0, self.rows, most)):
            yield self.batch(seed, min(most, self.rows - start))

    def batch(self, seed: int, rows: int) -> pa.RecordBatch:
        """Makes rows of random values."""
        random = np.random.default_rng(seed)
        made: dict[str, Any] = {}
        values = itertools.cycle(self.values)
        for name, kind in self.columns.items():
            if kind == "DOUBLE":
                found = random.normal(size=rows)
                made[name] = found if self.as_in_life else np.round(found, 4)
            elif kind == "BIGINT":
                made[name] = random.integers(0, 2**31, rows)
            elif not (count := next(values)):
                made[name] = KINDS[random.integers(0, 3, rows)]
            else:
                numbers = random.integers(10**7, 10**7 + count, rows)
                made[name] = pa.array(numbers).cast(pa.string())
                if self.as_in_life and count > 1_000:
                    made[name] = pc.binary_repeat(made[name], pa.array(numbers % 8 + 1))
        if self.as_in_life:
            for name in list(made)[::3]:
                made[name] = pc.if_else(pa.array(random.random(rows) < 0.05), None, made[name])
        return pa.record_batch(made)


def write_csv(shape: Shape, path: Path) -> None:
    """Writes rows as CSV without header and quotes."""
    options = pa_csv.WriteOptions(include_header=False, quoting_style="none")
    with pa_csv.CSVWriter(path, pa.schema(list(shape.arrow.items())), write_options=options) as writer:
        for batch in shape.batches():
            writer.write_batch(batch)


def write_table(shape: Shape, tables: IcebergTables, part_rows: int = PART_ROWS) -> TableRef:
    """Writes rows as an Iceberg table of data files of so many rows."""
    ref = TableRef("bench", shape.name)
    declared = ", ".join(f"{column} {kind}" for column, kind in shape.columns.items())
    tables.ensure(ref, parse_ddl(f"CREATE TABLE {shape.name} ({declared})"))
    session, parts = tables.write(ref, "overwrite", "t"), []
    most = min(GROUP, part_rows)
    batches = shape.batches(most)
    for number in range(-(-shape.rows // part_rows)):
        writer = session.part(number, 0)
        for batch in itertools.islice(batches, part_rows // most):
            writer.write(batch)
        parts.append(writer.finish())
    session.commit(parts)
    return ref


def write_tfrecord(shape: Shape, path: Path) -> None:
    """Writes as many rows as Examples; the same 16,384 again and again, as each has to be parsed all the same."""
    import tensorflow as tf

    def feature(value: Any) -> Any:
        if isinstance(value, float):
            return tf.train.Feature(float_list=tf.train.FloatList(value=[value]))
        if isinstance(value, int):
            return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[str(value).encode()]))

    def example(row: dict[str, Any]) -> bytes:
        found = {name: feature(value) for name, value in row.items() if value is not None}
        text: bytes = tf.train.Example(features=tf.train.Features(feature=found)).SerializeToString()
        return text

    examples = [example(row) for row in shape.batch(0, 16384).to_pylist()]
    with tf.io.TFRecordWriter(str(path)) as writer:
        for example in itertools.islice(itertools.cycle(examples), shape.rows):
            writer.write(example)
