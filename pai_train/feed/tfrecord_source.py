"""TFRecord files of tf.train.Example as a source; TensorFlow, whose kernel parses them, is imported to read."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING, NoReturn

import numpy as np
import pyarrow as pa

from pai_train.errors import DataError, Fault, PaiTrainError, did_you_mean, nearest
from pai_train.feed.features import ExampleError, feature_kind
from pai_train.feed.file_set import FileSet
from pai_train.feed.record_files import RecordFiles
from pai_train.feed.tfrecord import HEADER
from pai_train.spec.contracts import Chunk, RowPlace, Snapshot
from pai_train.tables.cut import MAX_ROWS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pai_train.feed.record_files import Records, Stretch
    from pai_train.storage.store import ObjectInfo, Store

_READ = "BIGINT, INT, SMALLINT, TINYINT, BOOLEAN, FLOAT, DOUBLE, STRING or BINARY"


class TfRecordSource:
    """Rows of TFRecord files, one tf.train.Example each; a `Source` and a `LocatingSource`.

    Args:
        objects: The files, in row order.
        columns: The columns, named like the features that are read: whole numbers and BOOLEAN from int64_list, FLOAT
            and DOUBLE from float_list, STRING and BINARY from bytes_list. A feature that is missing is null.
        store: Where the files are.
        compression: How they are compressed: auto, none, gzip or zstd.
        chunk_bytes: Size of a chunk; left out, a 64th of the files' total size within 1 KiB and 4 MiB.

    Raises:
        DataError: No column is declared, or one of a type that no feature has.
    """

    def __init__(
        self,
        objects: Sequence[ObjectInfo],
        columns: Mapping[str, pa.DataType],
        *,
        store: Store,
        compression: str = "auto",
        chunk_bytes: int | None = None,
    ) -> None:
        if not columns:
            raise DataError("no columns are declared", wanted="columns: {feature: TYPE, …}")
        self._schema = pa.schema(list(columns.items()))
        self._files = FileSet(objects, store, "TFRecord")
        self._records = RecordFiles(self._files, compression, chunk_bytes)
        self._lock = Lock()
        self._stretches: list[tuple[Stretch, ...]] = []
        self._chunks: list[Chunk] | None = None
        self._rows: int | None = None

    @property
    def schema(self) -> pa.Schema:
        return self._schema

    @property
    def snapshot(self) -> Snapshot:
        self.chunks()
        return Snapshot(self._files.id, self._rows, self._files.bytes)

    def chunks(self) -> Sequence[Chunk]:
        """Lists the chunks; small files are read once to count their rows, compressed ones to unpack them."""
        with self._lock:
            if self._chunks is None:
                self._stretches, counts = self._records.chunks()
                self._rows = None if counts is None else sum(counts)
                self._chunks = [
                    Chunk(
                        number,
                        None if counts is None else counts[number],
                        sum(one.hi - one.lo for one in stretches),
                        self._ref(stretches),
                    )
                    for number, stretches in enumerate(self._stretches)
                ]
            return self._chunks

    def read(self, chunk: Chunk, columns: Sequence[str], start: int = 0) -> Iterator[pa.RecordBatch]:
        schema = pa.schema([self._field(name) for name in columns])
        for records in self._of(chunk):
            skipped = min(start, len(records.frames))
            start -= skipped
            for lo in range(skipped, len(records.frames), MAX_ROWS):
                yield self._parse(records, lo, schema)

    def locate(self, chunk: Chunk, rows: Sequence[int]) -> Sequence[RowPlace]:
        found = list(self._of(chunk))
        edges = np.cumsum([0, *(len(records.frames) for records in found)])
        places = []
        for row in rows:
            at = int(np.searchsorted(edges, row, side="right")) - 1
            records, inner = found[at], row - int(edges[at])
            begin, length = int(records.frames.starts[inner]), int(records.frames.lengths[inner])
            places.append(
                RowPlace(
                    self._files.objects[records.file].url,
                    row=self._records.number(records, inner),
                    offset=records.offset + begin,
                    raw=records.data[begin + HEADER : begin + HEADER + length].tobytes(),
                )
            )
        return places

    def faults(self) -> list[Fault]:
        """Reads the first records of every file and lists what does not fit the declaration; writes nothing."""
        wrong = [
            Fault(
                f"column {field.name!r} has a type that no feature of an Example has",
                got=str(field.type),
                wanted=_READ,
                todo="declare a type that the feature's values have",
            )
            for field in self._schema
            if feature_kind(field.type) is None
        ]
        if wrong:
            return wrong
        looked = self._files.each(self._look)
        faults = [fault for _, found in looked for fault in found]
        if faults:
            return list(dict.fromkeys(faults))
        seen = {name for found, _ in looked for name in found}
        unclaimed = seen - set(self._schema.names)
        # A feature may be rare, and then is null in most rows; one whose name is nearly there is a slip.
        return [
            Fault(
                f"there is no column {name!r} among the features of the first records",
                self._files.name(0),
                wanted=", ".join(sorted(seen)),
                todo=did_you_mean(name, unclaimed),
            )
            for name in self._schema.names
            if name not in seen and nearest(name, unclaimed) is not None
        ]

    def _look(self, index: int) -> tuple[set[str], list[Fault]]:
        """Reads the first records of a file; returns the names of their features, and what does not fit."""
        from pai_train.feed.examples import names

        try:
            records = self._records.head(index)
        except PaiTrainError as error:
            return set(), [error.fault]
        faults = []
        for field in self._schema if len(records.frames) else ():
            try:
                self._parse(records, 0, pa.schema([field]))
            except PaiTrainError as error:
                faults.append(error.fault)
        few = [] if faults else _contents(records, 0, min(len(records.frames), 8)).to_pylist()
        return {name for record in few for name in names(record)}, faults

    def _of(self, chunk: Chunk) -> Iterator[Records]:
        self.chunks()
        for stretch in self._stretches[chunk.id]:
            yield self._records.records(stretch)

    def _parse(self, records: Records, lo: int, schema: pa.Schema) -> pa.RecordBatch:
        from pai_train.feed.examples import parse

        try:
            return parse(_contents(records, lo, min(lo + MAX_ROWS, len(records.frames))), schema)
        except ExampleError as error:
            self._refuse(records, lo + error.row, error)

    def _refuse(self, records: Records, row: int, error: ExampleError) -> NoReturn:
        self._files.check_unchanged(records.file)
        column = f"column {error.column!r}: " if error.column is not None else ""
        raise DataError(
            column + error.what,
            where=self._records.where(records, row),
            got=error.got,
            wanted=error.wanted,
            todo="correct the declared type, or write the file anew",
        ) from error

    def _field(self, name: str) -> pa.Field:
        if name not in self._schema.names:
            raise DataError(f"there is no column {name!r}", todo=did_you_mean(name, self._schema.names))
        field = self._schema.field(name)
        if feature_kind(field.type) is None:
            raise DataError(f"column {name!r} has a type that no feature has", got=str(field.type), wanted=_READ)
        return field

    def _ref(self, stretches: Sequence[Stretch]) -> str:
        first = stretches[0]
        ref = f"{self._files.objects[first.file].url}#{first.lo}-{first.hi}"
        return ref if len(stretches) == 1 else f"{ref} and {len(stretches) - 1} more"


def _contents(records: Records, lo: int, hi: int) -> pa.Array:
    """Returns what records hold, as binary: the bytes between two contents are taken for values, and left out."""
    frames = records.frames[lo:hi]
    if not len(frames):
        return pa.array([], pa.binary())
    edges = np.stack([frames.starts + HEADER, frames.starts + HEADER + frames.lengths], 1).reshape(-1)
    offsets = pa.py_buffer(edges.astype(np.int32))
    both = pa.Array.from_buffers(pa.binary(), len(edges) - 1, [None, offsets, pa.py_buffer(records.data)])
    return both.take(pa.array(np.arange(0, len(edges), 2)))
