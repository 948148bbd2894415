"""Rows of the MaxCompute server as the tunnel's records, written and read by pyodps's own codecs."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import odps
import pandas as pd
import pyarrow as pa
from odps import types as odps_types
from odps.compat import Monthdelta
from odps.models import Record
from odps.tunnel.io.reader import TunnelRecordReader
from odps.tunnel.io.writer import BaseRecordWriter

from pai_train.spec.table import Column
from tests.servers.maxcompute_answers import corrupted
from tests.servers.maxcompute_types import codec_schema, stored_type

_ROWS = 4096
# Points in time come and go as those of UTC, whatever the clock of this machine shows.
odps.options.local_timezone = False
odps.options.allow_antique_date = True
# Another attempt at a stream that is spoiled would begin in its middle.
odps.options.retry_times = 0


class _Sink:
    """Collects what a codec writes."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def write(self, piece: bytes) -> None:
        self._pieces.append(bytes(piece))

    def flush(self) -> None:
        """Nothing waits here."""

    def taken(self) -> bytes:
        taken = b"".join(self._pieces)
        self._pieces.clear()
        return taken


def recorded(columns: Sequence[Column], batches: Iterable[pa.RecordBatch], *, corrupt: bool) -> Iterator[bytes]:
    """Yields rows as records, whose sums the codec makes.

    Args:
        columns: Of the records, in their order.
        batches: Of these columns, by the same names.
        corrupt: Whether one bit of the first sum is a wrong one.
    """
    schema = codec_schema(columns)
    sink = _Sink()
    writer = BaseRecordWriter(schema, sink)
    for batch in batches:
        for at in range(0, batch.num_rows, _ROWS):
            piece = batch.slice(at, _ROWS)
            values = [
                [_value(value, kind) for value in piece.column(name).to_pylist()]
                for name, kind in zip(schema.names, schema.types, strict=True)
            ]
            for row in zip(*values, strict=True):
                writer.write(Record(schema=schema, values=list(row), max_field_size=2**31))
                if corrupt:
                    writer.flush()
                    yield _flipped(sink.taken())
                    corrupt = False
            writer.flush()
            yield sink.taken()
    writer.close()
    yield _flipped(sink.taken()) if corrupt else sink.taken()


def _flipped(record: bytes) -> bytes:
    """Returns a record with one bit of its sum, which stands at its end, flipped."""
    return record[:-1] + bytes([record[-1] ^ 1])


def unrecorded(columns: Sequence[Column], path: Path) -> Iterator[pa.RecordBatch]:
    """Yields the rows that the records in a file say."""
    schema = codec_schema(columns)
    fields = pa.schema([(column.name, stored_type(kind)) for column, kind in zip(columns, schema.types, strict=True)])
    with path.open("rb") as file:
        reader = TunnelRecordReader(schema, lambda cursor, **_: file)
        rows: list[Sequence[Any]] = []
        while True:
            try:
                record = reader.read()
            except Exception as error:
                raise corrupted(f"{type(error).__name__}: {error}") from error
            if record is not None:
                rows.append(record.values)
            if rows and (record is None or len(rows) == _ROWS):
                kept = [
                    pa.array([_stored(value, kind) for value in values], field.type)
                    for values, kind, field in zip(zip(*rows, strict=True), schema.types, fields, strict=True)
                ]
                yield pa.RecordBatch.from_arrays(kept, schema=fields)
                rows = []
            if record is None:
                return


def _value(value: Any, kind: Any) -> Any:
    """Returns what a record holds for what Arrow keeps."""
    if value is None:
        return None
    if isinstance(kind, odps_types.Array):
        return [_value(one, kind.value_type) for one in value]
    if isinstance(kind, odps_types.Map):
        return {_value(key, kind.key_type): _value(one, kind.value_type) for key, one in value}
    if isinstance(kind, odps_types.Struct):
        return tuple(_value(value[name], one) for name, one in kind.field_types.items())
    if isinstance(kind, odps_types.IntervalDayTime):
        return pd.Timedelta(seconds=value["sec"]) + pd.Timedelta(value["nano"], "ns")
    if isinstance(kind, odps_types.IntervalYearMonth):
        return Monthdelta(value)
    if isinstance(kind, odps_types.Json):
        return json.loads(value)
    if isinstance(kind, odps_types.BaseTimestamp):
        return pd.Timestamp(value)
    return value


def _stored(value: Any, kind: Any) -> Any:
    """Returns what Arrow keeps for what a record holds."""
    if value is None:
        return None
    if isinstance(kind, odps_types.Array):
        return [_stored(one, kind.value_type) for one in value]
    if isinstance(kind, odps_types.Map):
        return [(_stored(key, kind.key_type), _stored(one, kind.value_type)) for key, one in value.items()]
    if isinstance(kind, odps_types.Struct):
        fields = zip(kind.field_types.items(), value, strict=True)
        return {name: _stored(one, inner) for (name, inner), one in fields}
    if isinstance(kind, odps_types.IntervalDayTime):
        days, seconds = value.days * 86_400 + value.seconds, value.microseconds * 1000 + value.nanoseconds
        return {"sec": days, "nano": seconds}
    if isinstance(kind, odps_types.IntervalYearMonth):
        return value.total_months()
    if isinstance(kind, odps_types.Json):
        return json.dumps(value)
    if isinstance(kind, odps_types.Datetime) and isinstance(value, datetime.datetime):
        return value.replace(tzinfo=None)
    return value
