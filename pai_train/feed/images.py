"""Image files as a source, a row each: decoded, resized, and labelled by their folder or by a list."""

from __future__ import annotations

import hashlib
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv

from pai_train.errors import DataError, Fault, PaiTrainError, did_you_mean
from pai_train.feed.contents import changed
from pai_train.feed.file_set import FileSet
from pai_train.feed.pieces import CHUNKS
from pai_train.spec.contracts import Chunk, RowPlace, Snapshot
from pai_train.storage.contracts import ByteRange
from pai_train.storage.errors import ObjectChanged
from pai_train.storage.urls import basename, display, join
from pai_train.tables.cut import MIN_ROWS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pai_train.storage.store import ObjectInfo, Store

CHUNK_BYTES = 16 * 2**20
"""Bytes of the decoded images of a chunk, unless one alone takes more."""

_LOOKED_AT = 64


class ImageSource:
    """Rows of PNG and JPEG files; a `Source` and a `LocatingSource`.

    Columns: `image`, uint8 as a fixed shape tensor of [height, width, channels]; `label`, the name of the file's folder
    or what a list says; `path`, the file's address. Images are resized bilinearly, with antialiasing, whatever their
    proportions; an orientation in EXIF data is not applied.

    Args:
        objects: The files, in row order.
        store: Where they are.
        height: Rows of pixels.
        width: Columns of pixels.
        channels: 1 for grey, 3 for RGB, 4 for RGBA.
        labels: A CSV file, with the columns path and label in its first line and paths that start at its own folder,
            that gives the labels; None for the names of the files' folders.
        chunk_rows: Images of a chunk; left out, a 64th of all, at least 4, as far as they take no more than 16 MiB.
    """

    def __init__(
        self,
        objects: Sequence[ObjectInfo],
        *,
        store: Store,
        height: int,
        width: int,
        channels: int = 3,
        labels: ObjectInfo | None = None,
        chunk_rows: int | None = None,
    ) -> None:
        if channels not in (1, 3, 4) or height < 1 or width < 1:
            raise DataError(
                "not the shape of an image",
                got=f"height {height}, width {width}, channels {channels}",
                wanted="a height and a width from 1, and 1, 3 or 4 channels",
            )
        self._files = FileSet(objects, store, "PNG or JPEG")
        self._shape = (height, width, channels)
        self._labels = labels
        self._label_of: Mapping[str, str] | None = None
        self._lock = Lock()
        size = height * width * channels
        fair = max(-(-len(self._files.objects) // CHUNKS), MIN_ROWS)
        self._chunk_rows = chunk_rows or min(fair, max(1, CHUNK_BYTES // size))

    @property
    def schema(self) -> pa.Schema:
        tensor = pa.fixed_shape_tensor(pa.uint8(), self._shape)
        return pa.schema([("image", tensor), ("label", pa.string()), ("path", pa.string())])

    @property
    def snapshot(self) -> Snapshot:
        told = [self._files.id, *(() if self._labels is None else (self._labels.etag, str(self._labels.size)))]
        identity = hashlib.sha256("\n".join(told).encode()).hexdigest()
        return Snapshot(identity, len(self._files.objects), self._files.bytes)

    def chunks(self) -> Sequence[Chunk]:
        count = len(self._files.objects)
        return [
            Chunk(number, len(rows), None, self._ref(rows))
            for number, rows in enumerate(
                range(lo, min(lo + self._chunk_rows, count)) for lo in range(0, count, self._chunk_rows)
            )
        ]

    def read(self, chunk: Chunk, columns: Sequence[str], start: int = 0) -> Iterator[pa.RecordBatch]:
        schema = self.schema
        for name in columns:
            if name not in schema.names:
                raise DataError(f"there is no column {name!r}", todo=did_you_mean(name, schema.names))
        rows = self._rows(chunk)[start:]
        made = {
            "image": lambda: self._images(rows),
            "label": lambda: pa.array([self._label(row) for row in rows], pa.string()),
            "path": lambda: pa.array([self._files.name(row) for row in rows], pa.string()),
        }
        arrays = [made[name]() for name in columns]
        yield pa.RecordBatch.from_arrays(arrays, schema=pa.schema([schema.field(name) for name in columns]))

    def locate(self, chunk: Chunk, rows: Sequence[int]) -> Sequence[RowPlace]:
        held = self._rows(chunk)
        return [RowPlace(self._files.objects[held[row]].url) for row in rows]

    def faults(self) -> list[Fault]:
        """Decodes a few images spread over all, and lists those that are none and those without a label."""
        count = len(self._files.objects)
        try:
            missing = [row for row in range(count) if self._labels is not None and self._find(row) is None]
        except PaiTrainError as error:
            return [error.fault]
        found = [self._no_label(row).fault for row in missing[:1]]
        for row in range(0, count, max(1, count // _LOOKED_AT)):
            try:
                self._images(range(row, row + 1))
            except PaiTrainError as error:
                found.append(error.fault)
        return found

    def _rows(self, chunk: Chunk) -> range:
        lo = chunk.id * self._chunk_rows
        return range(lo, min(lo + self._chunk_rows, len(self._files.objects)))

    def _ref(self, rows: range) -> str:
        url = self._files.objects[rows[0]].url
        return url if len(rows) == 1 else f"{url} and {len(rows) - 1} more"

    def _images(self, rows: range) -> pa.Array:
        from pai_train.feed.pixels import NoImageError, pixels

        height, width, channels = self._shape
        images: np.ndarray[Any, Any] = np.empty((len(rows), height, width, channels), np.uint8)
        for place, (row, data) in enumerate(zip(rows, self._contents(rows), strict=True)):
            try:
                images[place] = pixels(data, self._shape)
            except NoImageError as error:
                self._files.check_unchanged(row)
                raise self._files.damaged(row, f"{len(data)} bytes: {error}") from None
        storage = pa.FixedSizeListArray.from_arrays(pa.array(images.reshape(-1)), height * width * channels)
        return pa.ExtensionArray.from_storage(self.schema.field("image").type, storage)

    def _contents(self, rows: range) -> Iterator[bytes]:
        """Yields whole files, later ones of a remote store already on their way."""
        infos = [self._files.objects[row] for row in rows]
        spans = (ByteRange(info.url, 0, info.size, info.etag, info.size) for info in infos)
        for row, info in zip(rows, infos, strict=True):
            if not info.size:
                raise self._files.damaged(row, "0 bytes")
            self._files.check_unchanged(row)
        try:
            for info, data in zip(infos, self._files.store.read_many(spans), strict=True):
                if len(data) != info.size:
                    raise changed(info, f"{len(data)} bytes")
                yield data
        except ObjectChanged as error:
            info = next((one for one in infos if display(one.url) == error.fault.where), infos[0])
            raise changed(info, "another version") from None

    def _label(self, row: int) -> str:
        label = self._find(row)
        if label is None:
            raise self._no_label(row)
        return label

    def _find(self, row: int) -> str | None:
        url = self._files.objects[row].url
        if self._labels is None:
            return basename(url.rpartition("/")[0])
        return self._listed(self._labels).get(url)

    def _no_label(self, row: int) -> DataError:
        return DataError(
            "the list of labels has no line for an image",
            where=None if self._labels is None else display(self._labels.url),
            got=self._files.name(row),
            wanted="a line with its path, from the list's own folder on, and its label",
        )

    def _listed(self, labels: ObjectInfo) -> Mapping[str, str]:
        with self._lock:
            if self._label_of is None:
                with FileSet([labels], self._files.store, "a list of labels in CSV").opened(0) as stream:
                    options = pa_csv.ConvertOptions(
                        column_types={"path": pa.string(), "label": pa.string()}, include_columns=["path", "label"]
                    )
                    try:
                        table = pa_csv.read_csv(stream, convert_options=options)
                    except KeyError as error:
                        raise DataError(
                            "the list of labels has other columns",
                            where=display(labels.url),
                            got=str(error),
                            wanted="path,label in the first line",
                        ) from None
                folder = labels.url.rpartition("/")[0]
                urls = (join(folder, path) for path in table.column("path").to_pylist())
                self._label_of = dict(zip(urls, table.column("label").to_pylist(), strict=True))
            return self._label_of
