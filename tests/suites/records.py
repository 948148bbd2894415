"""TFRecord files as TensorFlow's own writer makes them, for tests."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pyarrow as pa
import tensorflow as tf


def example(**features) -> bytes:
    """Returns an Example; a value's Python type chooses the list, a list holds several, None leaves a feature out."""
    found = {}
    for name, given in features.items():
        values = given if isinstance(given, list) else [given]
        if given is None:
            continue
        if all(isinstance(value, bytes) for value in values):
            found[name] = tf.train.Feature(bytes_list=tf.train.BytesList(value=values))
        elif any(isinstance(value, float) for value in values):
            found[name] = tf.train.Feature(float_list=tf.train.FloatList(value=values))
        else:
            found[name] = tf.train.Feature(int64_list=tf.train.Int64List(value=values))
    return tf.train.Example(features=tf.train.Features(feature=found)).SerializeToString()


def tfrecord(rows: pa.Table | list[bytes]) -> bytes:
    """Returns a file of serialized records, or of the rows of a table as Examples."""
    records = rows if isinstance(rows, list) else [example(**_row(row)) for row in rows.to_pylist()]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x"
        with tf.io.TFRecordWriter(str(path)) as writer:
            for record in records:
                writer.write(record)
        return path.read_bytes()


def _row(row):
    return {name: value.encode() if isinstance(value, str) else value for name, value in row.items()}
